"""What a worker is told to do: a plan that travels as JSON."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tesserabench.bench.case import Case
from tesserabench.bench.codec import decode, encode
from tesserabench.bench.definition import Suite
from tesserabench.bench.errors import InvalidPlan
from tesserabench.bench.registry import INSTALLED, Registry, nearest
from tesserabench.bench.selection import expand, parse_tier
from tesserabench.bench.vocabulary import Backend, DeviceKind, Mode, Phase, Tier

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """How hard to measure. `for_tier` gives the defaults of a tier; all durations are in seconds."""

    target: float = 0.0025
    """Stop when the half-width of the 95 % interval of the median is at most this fraction of the median."""
    min_samples: int = 30
    max_samples: int = 10_000
    budget_seconds: float = 10.0
    """Measuring time for one case; up to three times as much until `min_samples` are there."""
    min_device_seconds: float = 0.1
    """Least time spent inside timed regions before a case may count as converged."""
    warmup_min_calls: int = 5
    warmup_min_seconds: float = 0.2
    warmup_cap_seconds: float = 5.0
    setup_budget_seconds: float = 120.0
    """Budget of each of: ceiling probe, prepare, verify."""
    throttle_limit: float = 0.01
    """Largest fraction of the measured time the device may spend throttled."""
    require_idle: bool = True
    """Refuse to measure while another process computes on the device."""
    probe_ceilings: bool = True
    min_blocks: int = 3
    """Groups of samples, apart in time, that a converged result needs at least."""
    sustained_seconds: float = 10.0
    """Mode sustained: how long the device works without a pause, after it has reached its equilibrium."""
    sustained_warmup_cap_seconds: float = 30.0
    flush: str = "read"
    """How mode cold empties the cache: `read` leaves clean lines behind, `write` dirty ones."""
    backend: Backend | None = None
    """Way of timing to use; None takes the best that the device and the work allow."""
    determinism_launches: int = 0
    """Launches over the same inputs whose outputs are compared bit by bit; 0 leaves the check out."""
    drill: Mapping[str, float] = field(default_factory=dict)
    """Benchmark name to slow-down factor: plants an alarm on purpose; its measurements carry the flag `drill`."""

    def __post_init__(self) -> None:
        for name in ("target", "budget_seconds", "setup_budget_seconds"):
            self._require(name, getattr(self, name) > 0, "above zero")
        self._require("sustained_seconds", self.sustained_seconds >= 2, "2 or more: energy counters are slow")
        self._require("sustained_warmup_cap_seconds", self.sustained_warmup_cap_seconds >= 0, "zero or more")
        self._require("flush", self.flush in {"read", "write"}, "read or write")
        self._require("min_blocks", self.min_blocks >= 1, "1 or more")
        self._require("determinism_launches", self.determinism_launches >= 0, "zero or more")
        for name in ("min_device_seconds", "warmup_min_seconds", "warmup_cap_seconds", "throttle_limit"):
            self._require(name, getattr(self, name) >= 0, "zero or more")
        self._require("min_samples", self.min_samples >= 10, "10 or more")
        self._require("max_samples", self.max_samples >= self.min_samples, f"at least min_samples ({self.min_samples})")
        self._require("warmup_min_calls", self.warmup_min_calls >= 1, "1 or more")
        for name, factor in self.drill.items():
            if not (math.isfinite(factor) and factor >= 1):
                raise InvalidPlan(f"options.drill.{name} is {factor!r}; it must be a finite factor of 1 or more")

    def _require(self, name: str, holds: bool, what: str) -> None:  # noqa: FBT001 - a private assertion
        if not holds:
            raise InvalidPlan(f"options.{name} is {getattr(self, name)!r}; it must be {what}")

    @classmethod
    def for_tier(cls, tier: Tier | str) -> "MeasureOptions":
        """Return the defaults of a tier: smoke in about a second a case, nightly as precise as its budget allows."""
        return _BY_TIER[parse_tier(tier)]

    def budget_of(self, phase: Phase, mode: Mode | None = None) -> float:
        """Return after how many seconds a watcher may take a phase of a mode for hung, in seconds."""
        if phase is Phase.WARMUP:
            cap = self.sustained_warmup_cap_seconds if mode is Mode.SUSTAINED else self.warmup_cap_seconds
            return self.setup_budget_seconds + cap
        if phase is Phase.MEASURE:
            budget = max(self.budget_seconds, self.sustained_seconds) if mode is Mode.SUSTAINED else self.budget_seconds
            return 3 * budget + 30
        return self.setup_budget_seconds


_BY_TIER = {
    Tier.SMOKE: MeasureOptions(
        target=0.01,
        min_samples=10,
        budget_seconds=0.5,
        min_device_seconds=0.02,
        warmup_min_seconds=0.05,
        warmup_cap_seconds=0.3,
    ),
    Tier.REGRESSION: MeasureOptions(),
    Tier.FULL: MeasureOptions(),
    Tier.NIGHTLY: MeasureOptions(target=0.001, budget_seconds=30.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPlan:
    """The work of one trial. Everything a measurement depends on is in here or in its environment."""

    suite: str
    tier: Tier
    cases: tuple[Case, ...]
    seed: int = 0
    mode: Mode | None = None
    """Timing mode of every case; None takes each benchmark's own."""
    options: MeasureOptions = field(default_factory=MeasureOptions)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if not self.cases:
            raise InvalidPlan("plan.cases is empty; name at least one case")
        if self.schema_version != SCHEMA_VERSION:
            raise InvalidPlan(f"plan.schema_version is {self.schema_version}; this engine reads {SCHEMA_VERSION}")
        names = {case.benchmark for case in self.cases}
        for name in self.options.drill:
            if name not in names:
                raise InvalidPlan(f"options.drill names {name!r}, which is not in the plan; {nearest(name, names)}")

    @property
    def order(self) -> tuple[Case, ...]:
        """The cases in the order they are measured: shuffled by the seed, so that drift hits none of them always."""
        return tuple(random.Random(f"order:{self.seed}").sample(self.cases, len(self.cases)))  # noqa: S311 - no secret

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON types."""
        return dict(encode(self))

    @classmethod
    def from_dict(cls, data: object) -> "TrialPlan":
        """Read what `to_dict` wrote; raise InvalidPlan naming the field that is wrong."""
        return decode(cls, data, "plan")


def plan_trial(  # noqa: PLR0913 - the flags of a run, all keyword-only
    suite: Suite | str,
    *,
    tier: Tier | str,
    device_kind: DeviceKind | str,
    overrides: Mapping[str, str] | None = None,
    include: str | None = None,
    exclude: str | None = None,
    seed: int = 0,
    mode: Mode | str | None = None,
    options: MeasureOptions | None = None,
    registry: Registry = INSTALLED,
) -> TrialPlan:
    """Return the plan for a suite on a kind of device; raise a SelectionError when the request cannot be met.

    A drill may name a benchmark by its full name, or by its short name where that is clear.
    """
    found = registry.find_suite(suite) if isinstance(suite, str) else suite
    cases = expand(found, tier=tier, device_kind=device_kind, overrides=overrides, include=include, exclude=exclude)
    chosen = options or MeasureOptions.for_tier(tier)
    full_names = {item.short_name: item.name for item in found.benchmarks}
    drill = {full_names.get(name, name): factor for name, factor in chosen.drill.items()}
    return TrialPlan(
        suite=found.name,
        tier=parse_tier(tier),
        cases=cases,
        seed=seed,
        mode=None if mode is None else parse_mode(mode),
        options=replace(chosen, drill=drill),
    )


def parse_mode(name: str) -> Mode:
    """Return the timing mode `name`; raise InvalidPlan listing the modes."""
    try:
        return Mode(name)
    except ValueError:
        raise InvalidPlan(f"mode is {name!r}; it must be one of: {', '.join(Mode)}") from None
