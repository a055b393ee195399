"""Which of the proposed steps are changes: weakest first, those that noise explains as well are taken out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tesserabench.analysis.changepoints.evidence import Evidence
from tesserabench.analysis.changepoints.excursions import margin
from tesserabench.analysis.changepoints.location import Location
from tesserabench.analysis.changepoints.stretches import Stretch, inflation

_LINE = 0.98


@dataclass(frozen=True, slots=True)
class Lone:
    """A host that moved while the others did not."""

    place: int
    host: str
    shift: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The steps of a window that stand."""

    steps: tuple[Location, ...] = ()
    strengths: tuple[float, ...] = ()
    excursions: tuple[tuple[int, int], ...] = ()
    """Stretches that were taken for bursts."""
    lines: tuple[int, ...] = ()
    """Steps that a line explains better."""
    lone: tuple[Lone, ...] = ()
    """Steps that were one host's."""
    factor: float = 1.0
    """By how much correlation widens standard errors."""

    @property
    def places(self) -> tuple[int, ...]:
        """The first points of new levels."""
        return tuple(step.place for step in self.steps)


@dataclass(slots=True)
class _Kept:
    """The steps that are left, with what the stretches between them say."""

    evidence: Evidence
    bounds: list[int]
    stretches: list[Stretch]
    steps: list[float]

    @classmethod
    def of(cls, evidence: Evidence, proposed: Sequence[int]) -> "_Kept":
        bounds = [0, *proposed, len(evidence.values)]
        stretches = [evidence.stretch(start, end) for start, end in pairwise(bounds)]
        steps = [evidence.step(*bounds[at : at + 3]) for at in range(len(proposed))]
        return cls(evidence, bounds, stretches, steps)

    def strengths(self, factor: float) -> list[float]:
        found = [step / factor for step in self.steps]
        if factor > 1:
            for at, strength in enumerate(found):
                if strength >= 1:
                    found[at] = min(strength, self.evidence.beyond_wandering(*self.bounds[at : at + 3]))
        return found

    def remove(self, step: int) -> None:
        """Take out a step; only its neighbours say something else then."""
        del self.bounds[step + 1], self.steps[step], self.stretches[step]
        self.stretches[step] = self.evidence.stretch(*self.bounds[step : step + 2])
        for other in (step - 1, step):
            if 0 <= other < len(self.steps):
                self.steps[other] = self.evidence.step(*self.bounds[other : other + 3])

    def lone(self) -> tuple[int, Lone] | None:
        """The first step that is the move of one host alone."""
        for at in range(len(self.steps)):
            if (told := self.evidence.lone_move(*self.bounds[at : at + 3])) is not None:
                return at, Lone(self.bounds[at + 1], *told)
        return None

    def line(self) -> int | None:
        """The first step that a line explains better."""
        told = (at for at in range(len(self.steps)) if self.evidence.is_line(*self.bounds[at : at + 3]))
        return next(told, None)

    def burst(self) -> int | None:
        """The segment that is most clearly a burst of far points and no level."""
        total = sum([one.deviation**2 * one.count for one in self.stretches])
        deviation = math.sqrt(total / len(self.evidence.values))
        margins = [
            (value, at)
            for at in range(len(self.stretches))
            if (value := margin(self.evidence, self.bounds, at, deviation)) is not None and value < 0
        ]
        return min(margins)[1] if margins else None


def accept(evidence: Evidence, proposed: Sequence[int]) -> Accepted:
    """The steps that stand when the weakest is taken out until all are strong and no excursion is a burst.

    A step that a line explains counts for _LINE: it goes when no weaker one is left to go before it.
    """
    excursions, lines, lone = list[tuple[int, int]](), list[int](), list[Lone]()
    kept = _Kept.of(evidence, proposed)
    while kept.steps:
        if min(kept.steps) < 1:
            # Correlation only makes it weaker: what it does need not be known yet.
            kept.remove(kept.steps.index(min(kept.steps)))
            continue
        factor = inflation(kept.stretches)
        found = kept.strengths(factor)
        weakest = min(range(len(found)), key=found.__getitem__)
        if found[weakest] >= _LINE and (move := kept.lone()) is not None:
            lone.append(move[1])
            kept.remove(move[0])
        elif found[weakest] >= _LINE and (line := kept.line()) is not None:
            lines.append(kept.bounds[line + 1])
            kept.remove(line)
        elif found[weakest] < 1:
            if kept.steps[weakest] >= factor and evidence.is_line(*kept.bounds[weakest : weakest + 3]):
                # What wanders by itself is no step, and may be a line.
                lines.append(kept.bounds[weakest + 1])
            kept.remove(weakest)
        elif (burst := kept.burst()) is not None:
            start, end = kept.bounds[burst : burst + 2]
            excursions.append((start, end))
            kept = _Kept.of(evidence, [place for place in kept.bounds[1:-1] if place not in (start, end)])
        else:
            return Accepted(
                steps=_located(evidence, kept.bounds, factor),
                strengths=tuple(found),
                excursions=tuple(sorted(excursions)),
                lines=tuple(sorted(lines)),
                lone=tuple(sorted(lone, key=lambda move: move.place)),
                factor=factor,
            )
    return Accepted(
        excursions=tuple(sorted(excursions)),
        lines=tuple(sorted(lines)),
        lone=tuple(sorted(lone, key=lambda move: move.place)),
    )


def _located(evidence: Evidence, bounds: Sequence[int], factor: float) -> tuple[Location, ...]:
    """Each step where it most likely is, between the step before it and where the next was proposed."""
    found: list[Location] = []
    left = 0
    for place, right in pairwise(bounds[1:]):
        found.append(evidence.location(left, place, right, factor))
        left = found[-1].place
    return tuple(found)
