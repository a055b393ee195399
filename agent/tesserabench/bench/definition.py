"""What a benchmark is: its axes, its tiers, its formulas and how its work is prepared."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tesserabench.bench.case import Case, Params, ParamValue, render_value
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.errors import InvalidOverride, InvalidPlan, RegistrationError
from tesserabench.bench.vocabulary import DeviceKind, Mode, Tier

Prepare = Callable[[ArrayDevice, Params, int], Workload]
Count = Callable[[Params], int]
AxisValue = ParamValue | tuple[ParamValue, ...]
Axes = Mapping[str, Sequence[AxisValue]]
"""Axis name to its values. A name such as `"m,n,k"` ties parameters together: its values are tuples."""

MOST_CASES = 10_000
"""Largest number of cases that parameters given by hand may make of one benchmark."""

_TRUTH = {"true": True, "false": False}


def _points(axes: Axes) -> tuple[Params, ...]:
    """Return the product of the axes, the last axis fastest, tied axes taken together."""
    choices: list[list[dict[str, ParamValue]]] = []
    for axis, values in axes.items():
        names = axis.split(",")
        rows = [value if isinstance(value, tuple) else (value,) for value in values]
        choices.append([dict(zip(names, row, strict=True)) for row in rows])
    return tuple(
        Params({name: value for part in combination for name, value in part.items()})
        for combination in itertools.product(*choices)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A registered benchmark.

    `flops` and `bytes` give the operations and the compulsory bytes of one launch; absent where the notion is empty.
    `tolerance` gives the largest relative Frobenius error that counts as correct; absent means the limit of the dtype.
    Axes of a tier replace those of the smaller tiers, and those of `device_tiers` replace both for that device.
    """

    name: str
    suite: str
    summary: str
    prepare: Prepare
    parameters: Axes
    tiers: Mapping[Tier, Axes] = field(default_factory=dict)
    device_tiers: Mapping[DeviceKind, Mapping[Tier, Axes]] = field(default_factory=dict)
    devices: tuple[DeviceKind, ...] = tuple(DeviceKind)
    flops: Count | None = None
    bytes: Count | None = None
    tolerance: Callable[[Params], float] | None = None
    version: int = 1
    items: Count | None = None
    """Things done in one launch (keys sorted, look-ups, nodes): gives the metric `item_rate`."""
    mode: Mode = Mode.HOT
    """Timing mode when a plan names none."""
    device_modes: Mapping[DeviceKind, Mode] = field(default_factory=dict)
    """The same for one kind of device."""
    modes: frozenset[Mode] = frozenset(Mode)
    """Modes in which timing it means anything."""
    several_devices: bool = False
    """Its work also uses other devices that the process sees: nothing else may be measured on them meanwhile."""
    inputs: str = "normal"
    """How the inputs are distributed, as a stable word: normal, uniform, zipf, none, ..."""

    def __post_init__(self) -> None:
        for axes in (
            self.parameters,
            *self.tiers.values(),
            *(a for t in self.device_tiers.values() for a in t.values()),
        ):
            self._check_axes(axes)
        for mode in (self.mode, *self.device_modes.values()):
            if mode not in self.modes:
                raise RegistrationError(f"{self.name}: its default mode {mode} is not among its modes")

    def _check_axes(self, axes: Axes) -> None:
        for axis, values in axes.items():
            if axis not in self.parameters:
                raise RegistrationError(f"{self.name}: tier axis {axis!r} is not among its parameters")
            if not values:
                raise RegistrationError(f"{self.name}: axis {axis!r} has no values")
            width = len(axis.split(","))
            if any((len(value) if isinstance(value, tuple) else 1) != width for value in values):
                raise RegistrationError(f"{self.name}: every value of axis {axis!r} must have {width} part(s)")

    @property
    def short_name(self) -> str:
        """The name without its suite."""
        return self.name.removeprefix(f"{self.suite}/")

    def default_mode(self, device_kind: DeviceKind) -> Mode:
        """The timing mode on a kind of device when a plan names none."""
        return self.device_modes.get(device_kind, self.mode)

    @property
    def domain(self) -> Mapping[str, tuple[ParamValue, ...]]:
        """Every parameter with its declared values, in order."""
        points = _points(self.parameters)
        return {name: tuple(dict.fromkeys(point[name] for point in points)) for name in points[0]} if points else {}

    def in_tier(self, tier: Tier, device_kind: DeviceKind) -> bool:
        """Tell whether the benchmark belongs to `tier`: to the first tier it names, and to every larger one."""
        named = set(self.tiers) | set(self.device_tiers.get(device_kind, {}))
        return device_kind in self.devices and (not named or any(smaller in named for smaller in tier.chain))

    def cases(
        self,
        tier: Tier,
        device_kind: DeviceKind,
        overrides: Mapping[str, tuple[ParamValue, ...]] | None = None,
    ) -> tuple[Case, ...]:
        """Return the cases of `tier` on a kind of device, with the values of `overrides` in place of the tier's."""
        axes = dict(self.parameters)
        for source in (self.tiers, self.device_tiers.get(device_kind, {})):
            for smaller in tier.chain:
                axes.update(source.get(smaller, {}))
        replaced = overrides or {}
        self._check_count(replaced)
        found = dict.fromkeys(
            Params({**point, **dict(zip(replaced, values, strict=True))})
            for point in _points(axes)
            for values in itertools.product(*replaced.values())
        )
        return tuple(Case(benchmark=self.name, params=params, version=self.version) for params in found)

    def _check_count(self, replaced: Mapping[str, tuple[ParamValue, ...]]) -> None:
        count = math.prod(map(len, replaced.values()))
        if count > MOST_CASES:
            lengths = ", ".join(f"{len(values)} of {name}" for name, values in replaced.items())
            raise InvalidOverride(
                f"{self.name} would have {count} cases ({lengths}); "
                f"give values for at most {MOST_CASES}, in several runs"
            )

    def check_case(self, case: Case) -> None:
        """Raise InvalidPlan unless the case has this version and exactly these parameters, each of its type."""
        if case.version != self.version:
            raise InvalidPlan(
                f"case {case.id} has version {case.version} of {self.name}, but version {self.version} is installed; "
                "use the same engine version for planning and measuring"
            )
        domain = self.domain
        if set(case.params) != set(domain):
            raise InvalidPlan(f"case {case.id} must have exactly the parameters: {', '.join(domain) or 'none'}")
        for name, value in case.params.items():
            if type(value) is not type(domain[name][0]):
                wanted = type(domain[name][0]).__name__
                raise InvalidPlan(f"{self.name}.{name} is {value!r}; it must be of type {wanted}")

    def parse_override(self, name: str, text: str) -> tuple[ParamValue, ...]:
        """Return the values of an override such as `512` or `256,512`; raise InvalidOverride with the remedy."""
        domain = self.domain
        if name not in domain:
            known = ", ".join(domain) or "none"
            raise InvalidOverride(f"{self.name} has no parameter {name!r}; its parameters: {known}")
        return tuple(self._parse_value(name, part.strip(), domain[name]) for part in text.split(","))

    def _parse_value(self, name: str, text: str, declared: tuple[ParamValue, ...]) -> ParamValue:
        sample = declared[0]
        if isinstance(sample, bool):
            if text.lower() not in _TRUTH:
                raise InvalidOverride(f"{self.name}.{name} is {text!r}; it must be true or false")
            return _TRUTH[text.lower()]
        if isinstance(sample, str):
            if text not in declared:
                options = ", ".join(map(render_value, declared))
                raise InvalidOverride(f"{self.name}.{name} is {text!r}; it must be one of: {options}")
            return text
        number = "a whole number" if isinstance(sample, int) else "a number"
        try:
            value: int | float = int(text) if isinstance(sample, int) else float(text)
        except ValueError:
            raise InvalidOverride(f"{self.name}.{name} is {text!r}; it must be {number}") from None
        if not 0 < value < float("inf"):
            raise InvalidOverride(f"{self.name}.{name} is {text!r}; it must be {number} above zero")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named list of benchmarks; a benchmark may stand in several suites and keeps its name and its series."""

    name: str
    summary: str
    benchmarks: tuple[Benchmark, ...]

    @property
    def devices(self) -> tuple[DeviceKind, ...]:
        """The kinds of device at least one of its benchmarks supports."""
        return tuple(kind for kind in DeviceKind if any(kind in item.devices for item in self.benchmarks))
