"""Which of the proposed steps are changes: weakest first, those that noise explains as well are taken out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tesserabench.analysis.changepoints.evidence import Evidence
from tesserabench.analysis.changepoints.excursions import margin
from tesserabench.analysis.changepoints.stretches import inflation


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The steps of a window that stand."""

    places: tuple[int, ...] = ()
    strengths: tuple[float, ...] = ()
    excursions: tuple[tuple[int, int], ...] = ()
    """Stretches that were taken for bursts."""
    lines: tuple[int, ...] = ()
    """Steps that a line explains better."""
    factor: float = 1.0
    """By how much correlation widens standard errors."""


def accept(evidence: Evidence, proposed: Sequence[int]) -> Accepted:
    """The steps that stand when the weakest is taken out until all are strong and no excursion is a burst."""
    kept, excursions, lines = list(proposed), list[tuple[int, int]](), list[int]()
    count = len(evidence.values)
    while kept:
        bounds = [0, *kept, count]
        stretches = [evidence.stretch(start, end) for start, end in pairwise(bounds)]
        factor = inflation(stretches)
        found = [
            evidence.strength(bounds[at], bounds[at + 1], bounds[at + 2], factor, count) for at in range(len(kept))
        ]
        weakest = min(range(len(found)), key=found.__getitem__)
        if found[weakest] < 1:
            if evidence.lines.get((bounds[weakest], bounds[weakest + 1], bounds[weakest + 2])):
                lines.append(kept[weakest])
            del kept[weakest]
            continue
        deviation = math.sqrt(sum(one.deviation**2 * one.count for one in stretches) / count)
        margins = [
            (value, at)
            for at in range(len(bounds) - 1)
            if (value := margin(evidence, bounds, at, deviation)) is not None and value < 0
        ]
        if not margins:
            return Accepted(
                places=tuple(kept),
                strengths=tuple(found),
                excursions=tuple(sorted(excursions)),
                lines=tuple(sorted(lines)),
                factor=factor,
            )
        at = min(margins)[1]
        excursions.append((bounds[at], bounds[at + 1]))
        kept = [place for place in kept if place not in (bounds[at], bounds[at + 1])]
    return Accepted(excursions=tuple(sorted(excursions)), lines=tuple(sorted(lines)))
