"""Causes: what attribution says of scripted fleets, as a confusion table.

Once with the changes that a perfect detector would report, and once with those that ours finds on the same histories,
so that its errors count, too. Right means every cause named as it was, with its device, fact or commit, and no other.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detection.tables import percent, table
from support.figures import Figure
from support.scripted_fleets import ask, detected_changes, is_right, play, scenarios, told_changes, verdict_words
from tesserabench.analysis.changepoints import Status, analyse

NOISES = (0.003, 0.01, 0.03)
NOWHERE_CODE = frozenset({"one slow device", "one slow device, points missing", "one device throttling", "a slow host"})
"""Stories in which `code` would send people after the wrong thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was said of one story at one level of noise."""

    scenario: str
    noise: float
    detected: bool
    """With changes that our detector found, rather than given ones."""
    right: int
    said: Mapping[str, int]
    """Causes that were named together, and how often."""

    @property
    def asked(self) -> int:
        """How many fleets there were."""
        return sum(self.said.values())

    @property
    def blamed_code(self) -> int:
        """How often `code` was among the causes."""
        return sum(count for words, count in self.said.items() if "code" in words.split("+"))


def names() -> list[str]:
    """The stories."""
    return [item.name for item in scenarios(NOISES[0])]


def told(name: str, noise: float, seeds: Sequence[int], *, detected: bool) -> Told:
    """Ask about one story with several seeds."""
    scenario = next(item for item in scenarios(noise) if item.name == name)
    said: Counter[str] = Counter()
    right = 0
    for seed in seeds:
        fleet = play(scenario, seed)
        changes = detected_changes(fleet, _confirmed) if detected else told_changes(scenario, fleet)
        found = ask(fleet, changes)
        said[verdict_words(found)] += 1
        right += is_right(scenario, found)
    return Told(scenario=name, noise=noise, detected=detected, right=right, said=dict(said))


def _confirmed(levels: Sequence[float]) -> list[tuple[int, int, int, float]]:
    # Tracks are kept in logarithms, histories are not.
    return [
        (change.index, change.earliest, change.latest, change.shift)
        for change in analyse([math.exp(level) for level in levels]).changes
        if change.status is Status.CONFIRMED
    ]


def confusion(found: Sequence[Told], *, detected: bool) -> str:
    """One row a story: how often it was right at each level of noise, and what was said over all of them."""
    rows = []
    for name in dict.fromkeys(item.scenario for item in found):
        ours = [item for item in found if item.scenario == name and item.detected is detected]
        if not ours:
            continue
        said: Counter[str] = Counter()
        for item in ours:
            said.update(item.said)
        rights = " / ".join(percent(item.right / item.asked) for item in ours)
        rows.append([name, rights, ", ".join(f"{words} {count}" for words, count in said.most_common())])
    how = "changes that our detector found" if detected else "changes as they were"
    noises = " / ".join(f"{100 * noise:g}" for noise in NOISES)
    return table((f"story ({how})", f"right at {noises} % noise, %", "said, times"), rows) if rows else ""


def figures(found: Sequence[Told]) -> list[Figure]:
    """Shares that are right, the worst story, and slow devices blamed on code."""
    result: list[Figure] = []
    for detected in (False, True):
        part = [item for item in found if item.detected is detected]
        if not part:
            continue
        how = "detected" if detected else "given"
        right = sum(item.right for item in part) / sum(item.asked for item in part)
        result.append(Figure(name=f"causes right, {how} changes", value=right, unit="1"))
        blamed = sum(item.blamed_code for item in part if item.scenario in NOWHERE_CODE)
        result.append(Figure(name=f"machines blamed on code, {how}", value=blamed, unit="times"))
    return result
