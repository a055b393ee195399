"""What a further look measures: which cases, and in how many launches, within the time that is left.

Pure: the most valuable questions first, suspected before undecided and severe before mild; a question that no longer
fits is left out, and a later, cheaper one may still fit.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tesserabench.analysis.results import SeriesKey

FEWEST_LAUNCHES = 3
"""Fewer launches do not say how much they differ."""

FEWEST_IN_TURNS = 5
"""Workers that an interleaved comparison takes at least."""

MOST_LAUNCHES = 30
"""More launches at once are no longer another session: another look is worth more."""

MOST_CASES = 500
"""A run takes at most this many patterns."""

SIDES_IN_TURNS = 2
"""How often a launch in turns measures each case: once a side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A series that is not decided."""

    key: SeriesKey
    suspected: bool
    severity: int = 0
    """Rank of the severity that its estimate would have; 0 for none."""
    worsening: float = 0.0
    launches: int | None = None
    """How many more launches would settle it, as far as one look can tell."""

    @property
    def rank(self) -> tuple[bool, int, float, SeriesKey]:
        """Sorts the most valuable first."""
        return not self.suspected, -self.severity, -self.worsening, self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What launches take, in seconds, as the judged run took; what is not known counts as the others do."""

    startup_seconds: float = 0.0
    case_seconds: Mapping[str, float] = field(default_factory=dict)
    sides: int = 1
    """How often each case is measured in a launch."""

    def of(self, cases: Iterable[str], launches: int) -> float:
        """Time for so many launches of these cases."""
        usual = sum(self.case_seconds.values()) / len(self.case_seconds) if self.case_seconds else 0.0
        measuring = math.fsum(self.case_seconds.get(case, usual) for case in cases)
        return launches * (self.startup_seconds + self.sides * measuring)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookPlan:
    """What one look measures."""

    cases: tuple[str, ...]
    launches: int
    expected_seconds: float


def plan(
    questions: Sequence[Question],
    costs: Costs,
    *,
    usual_launches: int,
    fewest_launches: int = FEWEST_LAUNCHES,
    seconds_left: float | None = None,
) -> LookPlan | None:
    """What to measure; none when there is nothing to ask, or not even the first question fits.

    Args:
        questions: What is not decided.
        costs: What launches take.
        usual_launches: Launches of the judged run, taken where nothing tells how many would settle it.
        fewest_launches: Fewer are of no use.
        seconds_left: Device time that the look may take; none for any.
    """
    wanted = _launches_by_case(questions, max(fewest_launches, usual_launches), fewest_launches)
    chosen: list[str] = []
    launches = fewest_launches
    for case, most in list(wanted.items())[:MOST_CASES]:
        tried = range(max(launches, most), launches - 1, -1)
        cases = [*chosen, case]
        fits = (number for number in tried if seconds_left is None or costs.of(cases, number) <= seconds_left)
        found = next(fits, None)
        if found is not None:
            chosen, launches = cases, found
    if not chosen:
        return None
    return LookPlan(cases=tuple(sorted(chosen)), launches=launches, expected_seconds=costs.of(chosen, launches))


def _launches_by_case(questions: Sequence[Question], usual: int, fewest: int) -> dict[str, int]:
    """The cases, most valuable first, each with the launches that its questions want."""
    wanted: dict[str, int] = {}
    for question in sorted(questions, key=lambda question: question.rank):
        launches = usual if question.launches is None else min(MOST_LAUNCHES, max(fewest, question.launches))
        case = question.key.case_id
        wanted[case] = max(wanted.get(case, 0), launches)
    return wanted
