"""What the workers of one trial measure: cases by themselves, or pairs of two arms in turns."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tesserabench.bench import Case, Measurement, TrialPlan
from tesserabench.bench.duet import ArmName, DuetPlan, Pair

Key = tuple[str, str]
"""Arm, empty for a case by itself, and id of the case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """The cases of a trial. In an interleaved comparison `plan` is arm A's, and `duet` says which pairs there are."""

    plan: TrialPlan
    duet: DuetPlan | None = None

    @property
    def wanted(self) -> dict[Key, Case]:
        """Every result that the trial should give."""
        if self.duet is None:
            return {("", case.id): case for case in self.plan.cases}
        return {(arm, case.id): case for pair in self.duet.pairs for arm, case in _sides(pair)}

    @property
    def arm_order(self) -> str:
        """Which arm comes first, `ab` or `ba`; empty without arms."""
        return "" if self.duet is None else self.duet.order.value

    def struck(self, case: str, remaining: Collection[Key]) -> tuple[Key, ...]:
        """What cannot be had any more once a worker has failed in a case: half a pair is worth nothing."""
        if self.duet is None:
            return tuple(key for key in remaining if key[1] == case)
        pairs = (pair for pair in self.duet.pairs if case in {pair.a.id, pair.b.id})
        keys = {(str(arm), side.id) for pair in pairs for arm, side in _sides(pair)}
        return tuple(key for key in remaining if key in keys)

    def orphans(self, remaining: Collection[Key]) -> tuple[Key, ...]:
        """What lost its other side, because a worker died between the two."""
        if self.duet is None:
            return ()
        sides = ([(str(arm), case.id) for arm, case in _sides(pair)] for pair in self.duet.pairs)
        halves = ([key for key in pair if key in remaining] for pair in sides)
        return tuple(half[0] for half in halves if len(half) == 1)

    def order(self, remaining: Collection[Key]) -> Mapping[str, Any]:
        """What a worker is told that is to measure what remains; a drill may only name what is in a plan."""
        if self.duet is None:
            cases = tuple(case for key, case in self.wanted.items() if key in remaining)
            options = replace(self.plan.options, drill=_drill(self.plan, {case.benchmark for case in cases}))
            return {"plan": replace(self.plan, cases=cases, options=options).to_dict()}
        pairs = tuple(
            pair for pair in self.duet.pairs if all((arm, side.id) in remaining for arm, side in _sides(pair))
        )
        slowed = {pair.b.benchmark for pair in pairs if not pair.control}
        options = replace(self.duet.options, drill=_drill(self.duet, slowed))
        return {"duet": replace(self.duet, pairs=pairs, options=options).to_dict()}


def key_of(measurement: Measurement) -> Key:
    """Which of the wanted results a measurement is."""
    return measurement.arm, measurement.case.id


def _sides(pair: Pair) -> tuple[tuple[ArmName, Case], tuple[ArmName, Case]]:
    return (pair.arms[0], pair.a), (pair.arms[1], pair.b)


def _drill(plan: TrialPlan | DuetPlan, benchmarks: Collection[str]) -> dict[str, float]:
    return {name: factor for name, factor in plan.options.drill.items() if name in benchmarks}
