"""What a worker of an interleaved comparison is told to do: pairs of cases, as JSON."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from tesserabench.bench.case import Case, Params, ParamValue
from tesserabench.bench.codec import decode, encode
from tesserabench.bench.definition import Benchmark
from tesserabench.bench.errors import InvalidOverride, InvalidPlan, NothingSelected
from tesserabench.bench.plan import MeasureOptions, TrialPlan
from tesserabench.bench.registry import nearest
from tesserabench.bench.vocabulary import Mode, Tier

SCHEMA_VERSION = 1


class ArmName(StrEnum):
    """Which side of a pair; the last two are the null control, both of them arm A."""

    A = "a"
    B = "b"
    NULL_A = "null_a"
    NULL_B = "null_b"


class ArmOrder(StrEnum):
    """Which arm a worker prepares first, and so which gets the first addresses."""

    AB = "ab"
    BA = "ba"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two cases that are compared; `control` when both are arm A."""

    a: Case
    b: Case
    control: bool = False

    @property
    def arms(self) -> tuple[ArmName, ArmName]:
        """What the two sides are called in results."""
        return (ArmName.NULL_A, ArmName.NULL_B) if self.control else (ArmName.A, ArmName.B)


@dataclass(frozen=True, slots=True, kw_only=True)
class DuetPlan:
    """The work of one worker. Workers of one comparison differ in seed and order alone."""

    suite: str
    tier: Tier
    pairs: tuple[Pair, ...]
    order: ArmOrder = ArmOrder.AB
    seed: int = 0
    mode: Mode | None = None
    """Timing mode of every case; None takes each benchmark's own."""
    options: MeasureOptions = field(default_factory=MeasureOptions)
    """A drill slows arm B alone."""
    bundle_a: str | None = None
    """Bundle that arm A's benchmarks come from, as `find_bundle` takes it; None for what the installation brings."""
    bundle_b: str | None = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if not self.pairs:
            raise InvalidPlan("plan.pairs is empty; name at least one pair of cases")
        if self.schema_version != SCHEMA_VERSION:
            raise InvalidPlan(f"plan.schema_version is {self.schema_version}; this engine reads {SCHEMA_VERSION}")
        sides = Counter(
            (arm, case) for pair in self.pairs for arm, case in zip(pair.arms, (pair.a, pair.b), strict=True)
        )
        (arm, case), times = sides.most_common(1)[0]
        if times > 1:
            raise InvalidPlan(f"plan.pairs has {case.id} in arm {arm} {times} times; results could not be told apart")
        names = {pair.b.benchmark for pair in self.pairs if not pair.control}
        for name in self.options.drill:
            if name not in names:
                raise InvalidPlan(f"options.drill names {name!r}, which is not in arm B; {nearest(name, names)}")

    @property
    def sequence(self) -> tuple[Pair, ...]:
        """The pairs in the order they are measured: shuffled by the seed, so that drift hits none of them always."""
        return tuple(random.Random(f"order:{self.seed}").sample(self.pairs, len(self.pairs)))  # noqa: S311 - no secret

    def trial_plan(self, arm: ArmName) -> TrialPlan:
        """The plan of one arm by itself, as the parts that know nothing of arms take it."""
        is_b = arm is ArmName.B
        drill = self.options.drill if is_b else {}
        return TrialPlan(
            suite=self.suite,
            tier=self.tier,
            cases=tuple(dict.fromkeys(pair.b if is_b else pair.a for pair in self.pairs)),
            seed=self.seed,
            mode=self.mode,
            options=replace(self.options, drill=drill),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON types."""
        return dict(encode(self))

    @classmethod
    def from_dict(cls, data: object) -> "DuetPlan":
        """Read what `to_dict` wrote; raise InvalidPlan naming the field that is wrong."""
        return decode(cls, data, "plan")


def arm_order(worker: int) -> ArmOrder:
    """Return the order of worker number `worker`, from 0: AB BA BA AB, and again. Whatever grows steadily cancels."""
    return ArmOrder.AB if worker % 4 in {0, 3} else ArmOrder.BA


def of_worker(plan: DuetPlan, worker: int) -> DuetPlan:
    """Return the plan of worker number `worker`, from 0: its own seed, and the arms in its order."""
    return replace(plan, seed=(plan.seed + worker) % 2**63, order=arm_order(worker))


def with_control(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Return the pairs and a null control: arm A of the first pair against itself."""
    return (*pairs, Pair(a=pairs[0].a, b=pairs[0].a, control=True))


def pairs_of_overrides(
    cases: Sequence[Case], overrides: Mapping[str, str], benchmarks: Mapping[str, Benchmark]
) -> tuple[Pair, ...]:
    """Return for each case the pair with the same case under other parameters; unchanged cases are left out.

    Args:
        cases: Arm A.
        overrides: `param` or `benchmark.param` to the one value that arm B has; with none, every case is paired with
            itself, which makes the whole comparison a null control.
        benchmarks: The benchmarks of the cases by full name.

    Raises:
        InvalidOverride: a parameter is not known, or a value is not right.
        NothingSelected: no case changes.
    """
    if not overrides:
        return tuple(Pair(a=case, b=case) for case in cases)
    used: set[str] = set()
    pairs = []
    for case in cases:
        found = _values(benchmarks[case.benchmark], overrides)
        used.update(found)
        changed = Params({**case.params, **{key.rpartition(".")[2]: value for key, value in found.items()}})
        if changed != case.params:
            pairs.append(Pair(a=case, b=replace(case, params=changed)))
    for key in overrides:
        if key not in used:
            known = sorted({name for item in benchmarks.values() for name in item.domain})
            raise InvalidOverride(f"no case of arm A has a parameter {key!r}; {nearest(key.rpartition('.')[2], known)}")
    _require_distinct(pairs)
    if not pairs:
        told = ", ".join(f"{key}={value}" for key, value in overrides.items())
        raise NothingSelected(f"{told} changes none of the {len(cases)} cases: arm B would be arm A; give other values")
    return tuple(pairs)


def _require_distinct(pairs: Sequence[Pair]) -> None:
    """Refuse pairs that share arm B's case: it could not be said what its results are compared with."""
    for number, pair in enumerate(pairs):
        for earlier in pairs[:number]:
            if earlier.b == pair.b:
                raise InvalidOverride(
                    f"{earlier.a.id} and {pair.a.id} both become {pair.b.id} in arm B; "
                    "leave one of them: set the same parameter in arm A too, or name its case"
                )


def _values(benchmark: Benchmark, overrides: Mapping[str, str]) -> dict[str, ParamValue]:
    """Return what concerns a benchmark, by the override's own key; a qualified override beats a plain one."""
    found: dict[str, ParamValue] = {}
    for key in sorted(overrides, key=lambda key: "." in key):
        owner, _, name = key.rpartition(".")
        if (owner and owner not in {benchmark.name, benchmark.short_name}) or name not in benchmark.domain:
            continue
        values = benchmark.parse_override(name, overrides[key])
        if len(values) != 1:
            raise InvalidOverride(f"{key} is {overrides[key]!r}; arm B has one value of it, so give a single one")
        found[key] = values[0]
    return found


def pairs_of_arms(a: Sequence[Case], b: Sequence[Case]) -> tuple[tuple[Pair, ...], tuple[Case, ...]]:
    """Return the cases of two arms that belong together, and those that have no counterpart.

    A single case on either side belongs to the other one. Otherwise cases belong together that have the same parameters
    and the same benchmark, or, where each arm has one benchmark only, the same parameters.
    """
    if len(a) == 1 and len(b) == 1:
        return (Pair(a=a[0], b=b[0]),), ()
    single = len({case.benchmark for case in a}) == 1 and len({case.benchmark for case in b}) == 1
    waiting = {_identity(case, single=single): case for case in b}
    pairs, alone = [], []
    for case in a:
        other = waiting.pop(_identity(case, single=single), None)
        if other is None:
            alone.append(case)
        else:
            pairs.append(Pair(a=case, b=other))
    return tuple(pairs), (*alone, *waiting.values())


def _identity(case: Case, *, single: bool) -> tuple[str, Params]:
    """What two versions of one case share: the suite may have another name in another bundle."""
    return "" if single else case.benchmark.rpartition("/")[2], case.params
