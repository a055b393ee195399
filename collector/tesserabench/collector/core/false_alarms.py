"""How often the gate calls identical code different, on each class of hosts, and what follows from it.

The figure comes from runs that measure the same code twice (`core.identical`). It is told wherever the gate speaks.
Where it is surely above one in a hundred, the smallest change that matters is raised until it would not have been:
nothing else ever moves a limit by itself.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.compare import Comparison, Entry, Rules
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import SeriesResult
from tesserabench.analysis.wording import percent
from tesserabench.analysis.words import Verdict
from tesserabench.collector.core.proportions import surely_above, wilson
from tesserabench.collector.store import false_alarms as store

TOLERATED = 0.01
"""Share of identical code that may be called different."""

FEWEST = 50
"""Fewer comparisons move no limit: they are of one afternoon."""

WINDOW = timedelta(days=90)
"""Comparisons of identical code that are older say nothing about the hosts of today."""

LARGEST_FACTOR = 5.0
"""Limits are raised to this many times at most: beyond, the hosts are at fault, not the limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseAlarmRate:
    """What the gate said of identical code on one class of hosts."""

    host_class: str
    """Device model of GPUs; for a CPU the host."""
    comparisons: int
    false_alarms: int
    inconclusive: int
    low: float
    """Ends of the 95 % interval of the share (Wilson)."""
    high: float
    limit_factor: float
    """What the smallest change that matters is multiplied by: 1 as long as the share is not surely too large."""
    last_at: datetime

    @property
    def rate(self) -> float:
        """Share of false alarms."""
        return self.false_alarms / self.comparisons

    def sentence(self) -> str:
        """`False alarms of identical code on Tesla X: 3 of 1204, 0.2 % (0.1 to 0.7 %).`, and what that does."""
        told = f"False alarms of identical code on {self.host_class}: {self.false_alarms} of {self.comparisons}"
        share = f"{self.rate:.1%} ({self.low:.1%} to {self.high:.1%})".replace("%", " %")
        raised = f" The smallest change that matters is taken {self.limit_factor:.1f} times as large there for it."
        return f"{told}, {share}.{raised if self.limit_factor > 1 else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What one comparison of identical code says about one class of hosts."""

    comparisons: int
    false_alarms: int
    inconclusive: int
    excesses: tuple[float, ...]
    """Of each false alarm, its estimated change as a multiple of the smallest change that matters, in logarithms."""


def count(comparison: Comparison) -> dict[str, Count]:
    """By class of hosts what was judged of identical code, primary metrics only.

    What could not be told at all (a case that failed, say) was not judged; what was measured and is inconclusive was.
    """
    by_class: dict[str, list[Entry]] = {}
    for entry in comparison.entries:
        if entry.series.primary and entry.judgement.change is not None:
            by_class.setdefault(entry.series.key.device, []).append(entry)
    return {host_class: _count(entries) for host_class, entries in by_class.items()}


def _count(entries: Iterable[Entry]) -> Count:
    judgements = [entry.judgement for entry in entries]
    alarms = [item for item in judgements if item.verdict in {Verdict.REGRESSED, Verdict.IMPROVED}]
    return Count(
        comparisons=len(judgements),
        false_alarms=len(alarms),
        inconclusive=sum(item.verdict is Verdict.INCONCLUSIVE for item in judgements),
        excesses=tuple(
            abs(math.log1p(item.change)) / math.log1p(item.minimum_effect) for item in alarms if item.change is not None
        ),
    )


def limit_factor(excesses: Sequence[float], comparisons: int) -> float:
    """What the limits must be multiplied by so that so many comparisons would have had no more than tolerated alarms.

    1 for too few comparisons, and when it may be chance (exact binomial test, 2.5 %). Rounded up to a tenth.

    Args:
        excesses: Of each false alarm, how many times the limit it was.
        comparisons: How many comparisons there were.
    """
    if comparisons < FEWEST or not surely_above(len(excesses), comparisons, TOLERATED):
        return 1.0
    allowed = math.floor(TOLERATED * comparisons)
    decisive = sorted(excesses, reverse=True)[allowed]
    # Just above the largest alarm that must go.
    return min(LARGEST_FACTOR, max(1.0, (math.floor(decisive * 10 + 1e-9) + 1) / 10))


def raised(policy: Policy, factor: float) -> Policy:
    """The policy with a smallest change that matters so many times as large; severities never below it."""
    if factor <= 1:
        return policy
    minor = policy.minor * factor
    return replace(policy, minor=minor, major=max(policy.major, minor), critical=max(policy.critical, minor))


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """Limits of series, raised on the classes of hosts that need it."""

    rules: Rules
    factors: Mapping[str, float]
    """By class of hosts."""

    def __call__(self, series: SeriesResult) -> Policy:
        """The limits of a series."""
        return raised(self.rules(series), self.factors.get(series.key.device, 1.0))


def raised_rules(rules: Rules, known: Sequence[FalseAlarmRate]) -> Rules:
    """The limits of series, raised where identical code is called different too often."""
    factors = {rate.host_class: rate.limit_factor for rate in known if rate.limit_factor > 1}
    return Raised(rules=rules, factors=factors) if factors else rules


def told(comparison: Comparison, known: Sequence[FalseAlarmRate]) -> Comparison:
    """A comparison that says how often the gate errs on its hosts, and where limits were raised for it."""
    factors = {rate.host_class: rate.limit_factor for rate in known if rate.limit_factor > 1}
    entries = tuple(_told(entry, factors.get(entry.series.key.device)) for entry in comparison.entries)
    notes = (*comparison.notes, *(rate.sentence() for rate in known))
    return replace(comparison, entries=entries, notes=notes)


def _told(entry: Entry, factor: float | None) -> Entry:
    if factor is None:
        return entry
    limit = percent(entry.judgement.minimum_effect).lstrip("+")
    why = f"Changes from {limit} on matter here, {factor:.1f} times the usual: identical code differs too often."
    return replace(entry, judgement=replace(entry.judgement, explanation=f"{entry.judgement.explanation} {why}"))


async def rates(
    session: AsyncSession, project: str, now: datetime, *, window: timedelta = WINDOW, host_classes: Sequence[str] = ()
) -> list[FalseAlarmRate]:
    """The rates of a project (empty: of all projects together) by class of hosts.

    Args:
        session: The transaction.
        project: Its name.
        now: The time.
        window: How far back comparisons count.
        host_classes: Only these; empty for all.
    """
    found = await store.totals(session, project, since=now - window, host_classes=host_classes)
    rates = []
    for row in found:
        low, high = wilson(row.false_alarms, row.comparisons)
        rates.append(
            FalseAlarmRate(
                host_class=row.host_class,
                comparisons=row.comparisons,
                false_alarms=row.false_alarms,
                inconclusive=row.inconclusive,
                low=low,
                high=high,
                limit_factor=limit_factor(row.excesses, row.comparisons),
                last_at=row.last_at,
            )
        )
    return rates


async def on_classes(
    session: AsyncSession, project: str, host_classes: Sequence[str], now: datetime
) -> tuple[FalseAlarmRate, ...]:
    """The rates of a project on these classes of hosts; none of those on which identical code was never compared."""
    return tuple(await rates(session, project, now, host_classes=host_classes)) if host_classes else ()
