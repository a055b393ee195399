"""What a run measures and how it is judged, as values; in JSON they have the wire contract's field names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from tesserabench.collector.core.selectors import parse_conditions
from tesserabench.collector.errors import invalid_field

TIERS = ("smoke", "regression", "full", "nightly")
DEFAULT_TIER = "regression"
DEFAULT_TRIALS: Mapping[str, int] = {"smoke": 1, "regression": 5, "full": 5, "nightly": 10}
"""Worker processes per host by tier: the unit of replication is the launch, so a gate needs a few of them."""

FEWEST_DUET_TRIALS = 5
"""An interleaved comparison has one number for each worker, and an interval of fewer than five says little."""

LARGEST_DRILL = 100.0
DEFAULT_BRANCH = "main"

_DEVICE = re.compile(r"auto|(cpu|cuda|simulated)(:[0-9]{1,3})?")
_DURATION = re.compile(r"(-?[0-9]+(?:\.[0-9]{1,9})?)s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterOverride:
    """One parameter, as `parameter` or `benchmark.parameter`, set to another value (as text)."""

    parameter: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSelector:
    """Which hosts may take a run: names (empty: any), conditions that must all hold, and how many hosts."""

    hosts: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DuetSpec:
    """An interleaved comparison: what arm B has otherwise than arm A. Nothing makes it a null control.

    `smallest_effect` is the relative change that counts as one; 0 leaves it to the analysis.
    """

    overrides: tuple[ParameterOverride, ...] = ()
    smallest_effect: float = 0.0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The comparison that `to_json` or protobuf's JSON mapping wrote."""
        return cls(overrides=_overrides(data), smallest_effect=float(data.get("smallest_effect", 0.0)))

    def to_json(self) -> dict[str, Any]:
        """The comparison in protobuf's JSON mapping with the original field names; defaults are left out."""
        data: dict[str, Any] = {
            "overrides": [{"parameter": item.parameter, "value": item.value} for item in self.overrides],
            "smallest_effect": self.smallest_effect,
        }
        return {key: value for key, value in data.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What is to be measured and how. `mode` empty leaves each benchmark its own; `seed` 0 is not chosen yet."""

    suite: str
    tier: str = DEFAULT_TIER
    device: str = "auto"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    overrides: tuple[ParameterOverride, ...] = ()
    trials: int = 0
    mode: str = ""
    seed: int = 0
    case_timeout_seconds: float | None = None
    timeout_seconds: float | None = None
    drill: Mapping[str, float] = field(default_factory=dict)
    selector: HostSelector = field(default_factory=HostSelector)
    duet: DuetSpec | None = None
    determinism_launches: int = 0
    """Launches over the same inputs whose outputs are compared bit by bit; 0 leaves the check out."""

    @property
    def device_kind(self) -> str:
        """The device without its index: `auto`, `cpu`, `cuda` or `simulated`."""
        return self.device.partition(":")[0]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The spec that `to_json` or protobuf's JSON mapping wrote."""
        selector = data.get("selector", {})
        return cls(
            suite=data.get("suite", ""),
            tier=_word("TIER_", data.get("tier")) or DEFAULT_TIER,
            device=data.get("device") or "auto",
            include=tuple(data.get("include", ())),
            exclude=tuple(data.get("exclude", ())),
            overrides=_overrides(data),
            trials=int(data.get("trials", 0)),
            mode=_word("TIMING_MODE_", data.get("mode")),
            seed=int(data.get("seed", 0)),
            case_timeout_seconds=_seconds(data.get("case_timeout")),
            timeout_seconds=_seconds(data.get("timeout")),
            # Infinity and NaN are words in protobuf's JSON; float() reads them and `validate` refuses them.
            drill={name: float(factor) for name, factor in data.get("drill", {}).items()},
            selector=HostSelector(
                hosts=tuple(selector.get("hosts", ())),
                conditions=tuple(selector.get("conditions", ())),
                count=int(selector.get("count", 0)) or 1,
            ),
            duet=DuetSpec.from_json(data["duet"]) if "duet" in data else None,
            determinism_launches=int(data.get("determinism_launches", 0)),
        )

    def to_json(self) -> dict[str, Any]:
        """The spec in protobuf's JSON mapping with the original field names; defaults are left out."""
        selector = {
            "hosts": list(self.selector.hosts),
            "conditions": list(self.selector.conditions),
            "count": self.selector.count,
        }
        data: dict[str, Any] = {
            "suite": self.suite,
            "tier": f"TIER_{self.tier.upper()}",
            "device": self.device,
            "include": list(self.include),
            "exclude": list(self.exclude),
            "overrides": [{"parameter": item.parameter, "value": item.value} for item in self.overrides],
            "trials": self.trials,
            "mode": f"TIMING_MODE_{self.mode.upper()}" if self.mode else None,
            "seed": str(self.seed) if self.seed else None,
            "case_timeout": _duration(self.case_timeout_seconds),
            "timeout": _duration(self.timeout_seconds),
            "drill": dict(self.drill),
            "selector": {key: value for key, value in selector.items() if value},
            "determinism_launches": self.determinism_launches,
        }
        told = {key: value for key, value in data.items() if value not in (None, [], {}, 0, "")}
        # A duet that says nothing compares the run with itself: it must not be lost for being empty.
        return told if self.duet is None else told | {"duet": self.duet.to_json()}

    def settled(self, *, seed: int) -> Self:
        """The spec with what was left to the server filled in: trials by tier, seed."""
        usual = DEFAULT_TRIALS[self.tier]
        if self.duet is not None:
            usual = max(usual, FEWEST_DUET_TRIALS)
        return replace(self, trials=self.trials or usual, seed=self.seed or seed)

    def validate(self) -> None:
        """Check what needs no knowledge of the fleet.

        Raises:
            InvalidArgumentError: names the field, its value and what would be right.
        """
        if self.tier not in TIERS:
            raise invalid_field("spec.tier", self.tier, f"give one of {', '.join(TIERS)}")
        if not _DEVICE.fullmatch(self.device):
            remedy = "give auto, cpu, cuda, simulated, or one device by index such as cuda:1"
            raise invalid_field("spec.device", self.device, remedy)
        _check_patterns("spec.include", self.include)
        _check_patterns("spec.exclude", self.exclude)
        for benchmark, factor in self.drill.items():
            if not 1.0 < factor <= LARGEST_DRILL:
                remedy = f"give a factor above 1 and at most {LARGEST_DRILL:g}; 1.10 makes it 10 % slower"
                raise invalid_field(f"spec.drill[{benchmark}]", factor, remedy)
        for name, seconds in (("case_timeout", self.case_timeout_seconds), ("timeout", self.timeout_seconds)):
            if seconds is not None and not seconds > 0:
                raise invalid_field(f"spec.{name}", seconds, "give a time above zero, or leave it out")
        if self.duet is not None and self.mode == "sustained":
            remedy = "two arms in turns reach no equilibrium of power of their own; give hot, cold, rotating or host"
            raise invalid_field("spec.mode", self.mode, remedy)
        if self.duet is not None and not 0 <= self.duet.smallest_effect < 1:
            remedy = "give a fraction between 0 and 1, such as 0.01 for 1 %, or leave it out"
            raise invalid_field("spec.duet.smallest_effect", self.duet.smallest_effect, remedy)
        parse_conditions(self.selector.conditions)


def _overrides(data: Mapping[str, Any]) -> tuple[ParameterOverride, ...]:
    return tuple(
        ParameterOverride(parameter=item.get("parameter", ""), value=item.get("value", ""))
        for item in data.get("overrides", ())
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """The code that is measured; `base_branch` empty means the project's default branch."""

    commit: str = ""
    branch: str = ""
    base_branch: str = ""
    pull_request: str = ""
    build_url: str = ""
    repository: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The revision that `to_json` or protobuf's JSON mapping wrote."""
        return cls(**{name: data.get(name, "") for name in cls.__slots__})

    def to_json(self) -> dict[str, Any]:
        """The revision in protobuf's JSON mapping with the original field names."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value}


MOST_LOOKS = 10
"""More further looks than this spend the error in steps too small to decide anything."""

LOOKS_WITHIN_BUDGET = 3
"""Further looks at most where a budget was given and their number was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """How a run is judged; `baseline` empty means the head of the base branch.

    `looks` 0 leaves their number to the server: one further look at what is suspected, or as many at everything
    undecided as the budget allows. `confirm` None leaves it to the project's policy, and without one it is done.
    """

    baseline: str = ""
    confirm: bool | None = None
    looks: int = 0
    budget_seconds: float | None = None

    @property
    def confirms(self) -> bool:
        """Whether what is suspected is measured again before it counts."""
        return self.confirm is not False

    @property
    def says_how(self) -> bool:
        """Whether it says anything about measuring again."""
        return self.confirm is not None or self.looks > 0 or self.budget_seconds is not None

    @property
    def sequential(self) -> bool:
        """Whether everything undecided is measured again, and not only what is suspected."""
        return self.confirms and (self.looks > 0 or self.budget_seconds is not None)

    @property
    def further_looks(self) -> int:
        """How many looks may follow the first one."""
        if not self.confirms:
            return 0
        return self.looks or (1 if self.budget_seconds is None else LOOKS_WITHIN_BUDGET)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The gate that `to_json` or protobuf's JSON mapping wrote."""
        return cls(
            baseline=data.get("baseline", ""),
            confirm=data.get("confirm"),
            looks=int(data.get("looks", 0)),
            budget_seconds=_seconds(data.get("budget")),
        )

    def to_json(self) -> dict[str, Any]:
        """The gate in protobuf's JSON mapping with the original field names."""
        data: dict[str, Any] = {
            "baseline": self.baseline,
            "looks": self.looks,
            "budget": _duration(self.budget_seconds),
        }
        said = {} if self.confirm is None else {"confirm": self.confirm}
        return said | {name: value for name, value in data.items() if value}

    def validate(self) -> None:
        """Check that the options fit together.

        Raises:
            InvalidArgumentError: names the field, its value and what would be right.
        """
        if not 0 <= self.looks <= MOST_LOOKS:
            raise invalid_field("gate.looks", self.looks, f"give 1 to {MOST_LOOKS} further looks, or leave it out")
        if self.budget_seconds is not None and not self.budget_seconds > 0:
            raise invalid_field("gate.budget", self.budget_seconds, "give a time above zero, such as 1200s")
        if not self.confirms and (self.looks or self.budget_seconds is not None):
            name, value = ("gate.looks", self.looks) if self.looks else ("gate.budget", self.budget_seconds)
            raise invalid_field(name, value, "nothing is measured again while gate.confirm is false; leave one out")


def _check_patterns(name: str, patterns: tuple[str, ...]) -> None:
    for index, pattern in enumerate(patterns):
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            remedy = f"not a regular expression ({error}); escape what is meant literally"
            raise invalid_field(f"{name}[{index}]", pattern, remedy) from None


def _word(prefix: str, name: str | None) -> str:
    """The lower-case tail of an enum value's name; empty for none or unspecified."""
    if name is None or name.endswith("_UNSPECIFIED"):
        return ""
    return name.removeprefix(prefix).lower()


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 3.5s")
    return float(match[1])


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
