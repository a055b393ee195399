"""How found change points are held against the truth."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MARGIN = 5
"""A change found within this many points of the true one is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts over any number of histories."""

    hits: int = 0
    false: int = 0
    missed: int = 0
    points: int = 0
    histories: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            hits=self.hits + other.hits,
            false=self.false + other.false,
            missed=self.missed + other.missed,
            points=self.points + other.points,
            histories=self.histories + other.histories,
        )

    @property
    def precision(self) -> float:
        """Share of what was found that is true; 1 when nothing was found."""
        found = self.hits + self.false
        return self.hits / found if found else 1.0

    @property
    def recall(self) -> float:
        """Share of the true changes that was found; 1 when there are none."""
        true = self.hits + self.missed
        return self.hits / true if true else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    @property
    def false_per_thousand(self) -> float:
        """False alarms in a thousand points."""
        return 1000 * self.false / self.points if self.points else 0.0

    @property
    def false_each(self) -> float:
        """False alarms in a history."""
        return self.false / self.histories if self.histories else 0.0


def held_against(
    found: Iterable[int], changes: Sequence[int], points: int, *, ambiguous: Sequence[int] = (), margin: int = MARGIN
) -> Tally:
    """One history's tally. A true change is paired with one found change at most, from the oldest on, which pairs as
    many as can be; what is left over near an ambiguous change is neither right nor wrong.
    """
    left = sorted({int(index) for index in found if 0 < index < points})
    hits = 0
    for change in sorted(changes):
        near = next((index for index in left if abs(index - change) <= margin), None)
        if near is not None:
            left.remove(near)
            hits += 1
    false = sum(all(abs(index - other) > margin for other in ambiguous) for index in left)
    return Tally(hits=hits, false=false, missed=len(changes) - hits, points=points, histories=1)


def together(tallies: Iterable[Tally]) -> Tally:
    """The sum of tallies."""
    return sum(tallies, start=Tally())
