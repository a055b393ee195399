"""What came of trying a policy out: findings that differ, counts, and what each rule decides."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from tesserabench.analysis.policy_trial import GATE, Judged, Pair, Said
from tesserabench.analysis.results import SeriesKey
from tesserabench.analysis.words import Severity, Verdict

_WEEK = timedelta(weeks=1)
_SAME_STEP_RUNS = 3
"""A history puts a step where the levels say; the gate sees it in the run that is first beyond the limit."""


class Outcome(StrEnum):
    """How two policies differ on a finding."""

    NEW = "new"  # only the candidate finds it
    GONE = "gone"  # only the policy in force finds it
    SEVERITY = "severity"  # both find it, of another size
    ALERT = "alert"  # both find it, and only one of them wakes somebody


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding on which the policies differ."""

    outcome: Outcome
    run_id: int
    at: datetime
    line: str
    pair: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counts for one policy."""

    failed_runs: int = 0
    inconclusive_runs: int = 0
    findings: int = 0
    by_severity: Mapping[Severity, int] = field(default_factory=dict)
    alerts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCount:
    """What one rule of the candidate decides."""

    rule: str
    results: int
    before: int
    """Findings of the policy in force among them."""
    after: int
    """Findings of the candidate among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of trying a policy out."""

    runs: int
    series: int
    before: Totals
    after: Totals
    findings: tuple[Finding, ...]
    """Worst first."""
    rules: tuple[RuleCount, ...]

    def alerts_per_week(self, totals: Totals, since: datetime, until: datetime) -> float:
        """Alerts a week over the time that was looked at."""
        return totals.alerts / max((until - since) / _WEEK, 1e-9)


def summarise(judged: Sequence[Judged], steps: Sequence[Judged] = ()) -> Trial:
    """What came of a trial.

    Args:
        judged: Runs, oldest first.
        steps: Steps of histories, each as a run with the one series that it is about, oldest first. One that the gate
            finds in the same run is not counted again.
    """
    gate = _episodes(judged)
    seen = _Places(judged, gate)
    episodes = [*gate, *(_step(step) for step in steps if not seen.shows(step))]
    findings = [
        Finding(outcome=outcome, run_id=one.run_id, at=one.at, line=one.line, pair=one.pair)
        for one in episodes
        if (outcome := _outcome(one.pair)) is not None
    ]
    return Trial(
        runs=len(judged),
        series=len({pair.series.key for run in judged for pair in run.pairs if pair.kind == GATE}),
        before=_totals(judged, episodes, 0),
        after=_totals(judged, episodes, 1),
        findings=tuple(sorted(findings, key=_badness)),
        rules=_by_rule(judged, episodes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Episode:
    """The first run of a finding of either policy."""

    run_id: int
    at: datetime
    line: str
    pair: Pair
    begins: tuple[bool, bool]
    """Whether the finding begins here for the policy in force, and for the candidate."""


def _episodes(judged: Iterable[Judged]) -> list[_Episode]:
    going_on: dict[tuple[SeriesKey, str, str], tuple[bool, bool]] = defaultdict(lambda: (False, False))
    found: list[_Episode] = []
    for run in judged:
        for pair in run.pairs:
            place = (pair.series.key, run.line, pair.kind)
            on = going_on[place]
            begins = (pair.before.found and not on[0], pair.after.found and not on[1])
            if any(begins):
                found.append(_Episode(run_id=run.run_id, at=run.at, line=run.line, pair=pair, begins=begins))
            # An undecided run ends nothing.
            going_on[place] = (_goes_on(pair.before, on[0]), _goes_on(pair.after, on[1]))
    return found


def _step(step: Judged) -> _Episode:
    """A step of a history: it does not last, the level behind it does."""
    (pair,) = step.pairs
    begins = (pair.before.found, pair.after.found)
    return _Episode(run_id=step.run_id, at=step.at, line=step.line, pair=pair, begins=begins)


class _Places:
    """Where in the order of a series' runs the gate found something."""

    def __init__(self, judged: Iterable[Judged], gate: Iterable[_Episode]) -> None:
        self._runs: defaultdict[tuple[SeriesKey, str], list[int]] = defaultdict(list)
        for run in judged:
            for pair in (pair for pair in run.pairs if pair.kind == GATE):
                self._runs[pair.series.key, run.line].append(run.run_id)
        self._found: defaultdict[tuple[SeriesKey, str], list[int]] = defaultdict(list)
        for one in (one for one in gate if one.pair.kind == GATE):
            self._found[one.pair.series.key, one.line].append(one.run_id)

    def shows(self, step: Judged) -> bool:
        """Whether the gate found a step too: in the same run, or in one so near that it is the same step."""
        (pair,) = step.pairs
        place = (pair.series.key, step.line)
        order = {run_id: index for index, run_id in enumerate(self._runs[place])}
        if step.run_id not in order:
            return False
        return any(abs(order[run_id] - order[step.run_id]) <= _SAME_STEP_RUNS for run_id in self._found[place])


def _goes_on(said: Said, on: bool) -> bool:  # noqa: FBT001 - private
    return said.found or (on and said.verdict is Verdict.INCONCLUSIVE)


def _outcome(pair: Pair) -> Outcome | None:
    before, after = pair.before, pair.after
    if before.found != after.found:
        return Outcome.NEW if after.found else Outcome.GONE
    if before.severity is not after.severity:
        return Outcome.SEVERITY
    return Outcome.ALERT if before.alerts != after.alerts else None


def _totals(judged: Sequence[Judged], episodes: Sequence[_Episode], side: int) -> Totals:
    mine = [(one.pair.before, one.pair.after)[side] for one in episodes if one.begins[side]]
    by_severity: defaultdict[Severity, int] = defaultdict(int)
    for said in mine:
        if said.severity is not None:
            by_severity[said.severity] += 1
    return Totals(
        failed_runs=sum(run.verdicts[side] is Verdict.REGRESSED for run in judged),
        inconclusive_runs=sum(run.verdicts[side] is Verdict.INCONCLUSIVE for run in judged),
        findings=len(mine),
        by_severity=dict(by_severity),
        alerts=sum(said.alerts for said in mine),
    )


def _by_rule(judged: Sequence[Judged], episodes: Sequence[_Episode]) -> tuple[RuleCount, ...]:
    results: defaultdict[str, int] = defaultdict(int)
    for run in judged:
        for pair in run.pairs:
            results[pair.after.rule] += 1
    before: defaultdict[str, int] = defaultdict(int)
    after: defaultdict[str, int] = defaultdict(int)
    for one in episodes:
        before[one.pair.after.rule] += one.begins[0]
        after[one.pair.after.rule] += one.begins[1]
    names = sorted(results.keys() | before.keys(), key=lambda name: (-after[name], -before[name], name))
    return tuple(RuleCount(rule=name, results=results[name], before=before[name], after=after[name]) for name in names)


_ORDER = {Outcome.NEW: 0, Outcome.SEVERITY: 1, Outcome.ALERT: 2, Outcome.GONE: 3}


def _badness(finding: Finding) -> tuple[int, int, float, int, SeriesKey]:
    severity = finding.pair.after.severity or finding.pair.before.severity
    rank = severity.rank if severity else 0
    return _ORDER[finding.outcome], -rank, -(finding.pair.worsening or 0.0), finding.run_id, finding.pair.series.key
