"""What a verdict rested on besides what was measured: kept with it, so that it can be reached again.

Histories go on, devices are mended, limits are raised and fall back: an old run is judged by none of that.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Self

from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.results import SeriesKey
from tesserabench.collector.core.judging_case import Case
from tesserabench.collector.core.slow_heads import SlowDevice, SlowPlaces

_KEY = ("case_id", "mode", "metric", "device")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What was known when a run was judged."""

    history: Mapping[SeriesKey, RunNoise] = field(default_factory=dict)
    limit_factors: Mapping[str, float] = field(default_factory=dict)
    """By class of hosts what the smallest change that matters was multiplied by."""
    slow: SlowPlaces = field(default_factory=dict)

    @classmethod
    def of(cls, case: Case) -> Self:
        """Those of a run that is judged now."""
        factors = {rate.host_class: rate.limit_factor for rate in case.false_alarms if rate.limit_factor > 1}
        return cls(history=case.history, limit_factors=factors, slow=case.slow)

    def to_json(self) -> dict[str, Any]:
        """For the database; what is empty is left out."""
        noises = [{**asdict(key), **asdict(noise)} for key, noise in self.history.items()]
        slow = {place: asdict(device) | {"since": device.since.isoformat()} for place, device in self.slow.items()}
        content = {"history": noises, "limit_factors": dict(self.limit_factors), "slow": slow}
        return {name: value for name, value in content.items() if value}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        history = {}
        for row in content.get("history", ()):
            noise = {name: value for name, value in row.items() if name not in _KEY}
            history[SeriesKey(**{name: row[name] for name in _KEY})] = RunNoise(**noise)
        slow = {
            place: SlowDevice(**(device | {"since": datetime.fromisoformat(device["since"])}))
            for place, device in content.get("slow", {}).items()
        }
        return cls(history=history, limit_factors=content.get("limit_factors", {}), slow=slow)
