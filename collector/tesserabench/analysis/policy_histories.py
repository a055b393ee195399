"""Steps in the histories of series, as two policies see them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tesserabench.analysis.changepoints import ChangePoint, Settings, Status, analyse
from tesserabench.analysis.policy import fraction
from tesserabench.analysis.policy_trial import HISTORY, Judged, Pair, Said
from tesserabench.analysis.results import SeriesResult
from tesserabench.analysis.rules import Alert, Rule, RuleSet, subject_of
from tesserabench.analysis.words import Better, Verdict

LEAST_CHANGE = 0.01
"""Smaller steps are not looked for unless the policy says so."""
VISIBLE_SHARE = 0.5
"""Steps of half of what matters are looked for, so that one that grows is seen early."""

_SAME_STEP_POINTS = 5
"""Two searches put a step where they see it; so close together it is the same one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastHistory:
    """The history of one series on one line, oldest point first."""

    series: SeriesResult
    """Without launches."""
    branch: str
    line: str
    run_ids: tuple[int, ...]
    times: tuple[datetime, ...]
    values: tuple[float, ...]
    hosts: tuple[str, ...]


def smallest_change(rule: Rule) -> float:
    """The smallest step to look for under a rule, as a fraction."""
    if rule.smallest_change is not None:
        return min(rule.smallest_change, 0.99)
    return round(min(max(LEAST_CHANGE, VISIBLE_SHARE * rule.minimum_effect), 0.99), 6)


def search_both(
    histories: Sequence[PastHistory], current: RuleSet, candidate: RuleSet, since: datetime
) -> list[Judged]:
    """Confirmed steps from `since` on that either policy makes a finding of, in the order of their runs."""
    found = [judged for history in histories for judged in _search(history, (current, candidate), since)]
    return sorted(found, key=lambda judged: judged.run_id)


def _search(history: PastHistory, policies: tuple[RuleSet, RuleSet], since: datetime) -> list[Judged]:
    subject = subject_of(history.series, branch=history.branch)
    subject = replace(subject, hosts=tuple(sorted(set(history.hosts))))
    rules = [policy.for_subject(subject) for policy in policies]
    before, after = _steps(history, rules)
    places = dict.fromkeys(before)
    for place in after:
        if _near(place, before) is None:
            places[place] = None
    judged = []
    for place in places:
        if history.times[place] < since:
            continue
        twin = _near(place, after)
        sides = (before.get(place), after[twin] if twin is not None else None)
        said = [_said(rule, step, history, history.times[place]) for rule, step in zip(rules, sides, strict=True)]
        shown = next(step for step in sides if step is not None)
        pair = Pair(
            series=history.series, worsening=_worsening(shown, history), before=said[0], after=said[1], kind=HISTORY
        )
        judged.append(
            Judged(
                run_id=history.run_ids[place],
                at=history.times[place],
                line=history.line,
                pairs=(pair,),
                verdicts=(said[0].verdict, said[1].verdict),
            )
        )
    return judged


def _steps(history: PastHistory, rules: Sequence[Rule]) -> list[dict[int, ChangePoint]]:
    searched: dict[float, dict[int, ChangePoint]] = {}
    for rule in rules:
        least = smallest_change(rule)
        if least not in searched:
            analysis = analyse(history.values, history.hosts, Settings(smallest_change=least))
            confirmed = (change for change in analysis.changes if change.status is Status.CONFIRMED)
            searched[least] = {change.index: change for change in confirmed}
    return [searched[smallest_change(rule)] for rule in rules]


def _near(place: int, steps: dict[int, ChangePoint]) -> int | None:
    close = [other for other in steps if abs(other - place) <= _SAME_STEP_POINTS]
    return min(close, key=lambda other: (abs(other - place), other), default=None)


def _worsening(step: ChangePoint, history: PastHistory) -> float:
    return fraction(step.shift if history.series.side.better is Better.LOWER else -step.shift)


def _said(rule: Rule, step: ChangePoint | None, history: PastHistory, at: datetime) -> Said:
    severity = None
    if step is not None and not (rule.ignore is not None and rule.ignore.holds(at.date())):
        severity = rule.policy().severity(_worsening(step, history), primary=history.series.primary)
    return Said(
        verdict=Verdict.REGRESSED if severity else Verdict.PASS,
        severity=severity,
        rule=rule.name,
        alerts=not history.line and rule.alert is not Alert.NONE,
    )
