"""Change points, side by side: on generated histories, and on recorded ones when `DETECTION_DATA` names a folder."""

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detection.detectors import Detector
from detection.scoring import MARGIN, Tally, held_against, together
from support.detection_data import History, crowded, drifts, fleets, single_steps, stationary

SEED = 1001
"""Detectors are tuned on seeds below 1000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a detector found in a group of histories."""

    group: str
    tally: Tally
    seconds: float


def generated(scale: float, seed: int = SEED) -> dict[str, list[History]]:
    """The groups of generated histories."""
    some = max(8, round(24 * scale))
    return {
        "crowded": list(crowded(seed, 4 * some)),
        "stationary": list(stationary(seed, 3 * some)),
        "step 2 %": list(single_steps(seed, some, 0.02)),
        "step 5 %": list(single_steps(seed, some, 0.05)),
        "step 10 %": list(single_steps(seed, some, 0.10)),
        "late 5 %": list(single_steps(seed, some, 0.05, after=8)),
        "late 10 %": list(single_steps(seed, some, 0.10, after=8)),
        "drift": list(drifts(seed, some)),
        "fleet": list(fleets(seed, 2 * some)),
    }


def recorded(every: int) -> dict[str, list[History]]:
    """The groups of recorded histories in the folder `DETECTION_DATA`, every so-manieth; none without such a folder."""
    folder = os.environ.get("DETECTION_DATA")
    if not folder:
        return {}
    groups: dict[str, list[History]] = {}
    for name in ("injected", "stationary", "hosts"):
        path = Path(folder) / f"{name}.json"
        series = json.loads(path.read_text(encoding="utf-8"))["series"] if path.exists() else []
        for item in series[::every]:
            groups.setdefault(_group(name, item), []).append(_history(item))
    return groups


def _group(name: str, item: dict[str, Any]) -> str:
    if name != "injected":
        return f"recorded {name}"
    size = item.get("size")
    told = f" {100 * float(size):.0f} %" if isinstance(size, float) else ""
    return f"recorded {item['kind']}{told}"


def _history(item: dict[str, Any]) -> History:
    hosts = item.get("hosts")
    return History(
        name=str(item["id"]),
        family=str(item.get("kind", "")),
        values=tuple(map(float, item["values"])),
        noise=str(item.get("noise", "")),
        spread=0.0,
        changes=tuple(map(int, item.get("must") or ())),
        ambiguous=tuple(map(int, item.get("may") or ())),
        hosts=tuple(map(str, hosts)) if hosts else None,
    )


def score(detector: Detector, group: str, histories: Iterable[History]) -> Found:
    """What a detector finds in a group; histories that are too long for it are left out."""
    begun = time.perf_counter()
    tallies = [_one(detector, history) for history in histories if len(history.values) <= detector.longest]
    return Found(group=group, tally=together(tallies), seconds=time.perf_counter() - begun)


def _one(detector: Detector, history: History) -> Tally:
    found = detector.detect(list(history.values), history.hosts)
    return held_against(found, history.changes, len(history.values), ambiguous=history.ambiguous)


# --- point by point --------------------------------------------------------------------------------------------------

HORIZON = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a user sees who looks after every point."""

    delays: tuple[int | None, ...]
    """Points of the new level until a step was shown; None when it was not within `HORIZON`."""
    ever_false: int
    """False alarms that were shown at any time in stationary histories."""
    vanished: int
    """Those of them that were gone at the end."""
    points: int

    @property
    def median_delay(self) -> float | None:
        """Of the steps that were shown; None when none was."""
        shown = [delay for delay in self.delays if delay is not None]
        return float(np.median(shown)) if shown else None

    def shown_within(self, points: int) -> float:
        """Share of the steps that was shown within so many points."""
        return sum(delay is not None and delay <= points for delay in self.delays) / max(1, len(self.delays))

    @property
    def ever_false_per_thousand(self) -> float:
        """False alarms ever shown in a thousand points."""
        return 1000 * self.ever_false / max(1, self.points)


def replay(detector: Detector, steps: Iterable[History], quiet: Iterable[History]) -> Replayed:
    """Ask the detector again after every point."""
    delays = tuple(_delay(detector, history) for history in steps)
    shown = [_shown(detector, history) for history in quiet]
    return Replayed(
        delays=delays,
        ever_false=sum(ever for ever, _, _ in shown),
        vanished=sum(gone for _, gone, _ in shown),
        points=sum(points for _, _, points in shown),
    )


def _delay(detector: Detector, history: History) -> int | None:
    (change,) = history.changes
    for seen in range(1, min(HORIZON, len(history.values) - change) + 1):
        found = _prefix(detector, history, change + seen)
        if any(abs(index - change) <= MARGIN for index in found):
            return seen
    return None


def _shown(detector: Detector, history: History) -> tuple[int, int, int]:
    ever: list[int] = []
    found: list[int] = []
    for seen in range(20, len(history.values) + 1):
        found = _prefix(detector, history, seen)
        ever += [index for index in found if all(abs(index - other) > MARGIN for other in ever)]
    gone = sum(all(abs(index - other) > MARGIN for other in found) for index in ever)
    return len(ever), gone, len(history.values) - 20


def _prefix(detector: Detector, history: History, points: int) -> list[int]:
    hosts = history.hosts[:points] if history.hosts else None
    return detector.detect(list(history.values[:points]), hosts)


def replayed_histories(
    groups: dict[str, list[History]], most: int
) -> Iterator[tuple[str, list[History], list[History]]]:
    """Steps and quiet histories to replay, generated and recorded ones apart."""
    for prefix in ("", "recorded "):
        steps = [*groups.get(f"{prefix}step 5 %", []), *groups.get(f"{prefix}step 10 %", [])]
        quiet = groups.get(f"{prefix}stationary", [])
        if steps and quiet:
            yield prefix, _spread(steps, most), _spread(quiet, most)


def _spread(histories: Sequence[History], most: int) -> list[History]:
    every = max(1, len(histories) // most)
    return list(histories[::every])[:most]
