"""Judged runs of the past, with what was said of them and what was known then: what trying a policy out judges again.

What people answered later, what histories have shown since and how devices are now say nothing of an old run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.compare import Comparison, Entry, Rules, rejudged
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.policy_trial import Given, PastRun, with_launches
from tesserabench.analysis.quality import QualityAnswer
from tesserabench.analysis.results import SeriesKey
from tesserabench.analysis.words import Severity, Verdict
from tesserabench.collector.core import baselines, policies, results, slow_heads
from tesserabench.collector.core.comparisons import key_of_entry
from tesserabench.collector.core.false_alarms import Raised
from tesserabench.collector.core.finding_levels import has_level, is_no_worse
from tesserabench.collector.core.finding_life import SURE, is_quiet
from tesserabench.collector.core.grounds import Grounds
from tesserabench.collector.core.slow_heads import SlowPlaces
from tesserabench.collector.store import comparisons as comparison_store
from tesserabench.collector.store import policy_trials as store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store.policy_trials import FindingThen
from tesserabench.collector.store.tables import Comparison as ComparisonRow
from tesserabench.collector.store.tables import Project, Run
from tesserabench.collector.store.words import RegressionState
from tesserabench.wire.names import regression_name


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownThen:
    """What was known when a run was judged, whatever the policy."""

    limit_factors: Mapping[str, float] = field(default_factory=dict)
    slow: SlowPlaces = field(default_factory=dict)
    passed: frozenset[SeriesKey] = frozenset()
    """What got worse and was let pass, because people had answered it."""
    answered: Mapping[SeriesKey, Mapping[str, Any]] = field(default_factory=dict)
    """The levels that people had said they would live with, as findings show them."""

    def limits(self, rules: Rules) -> Rules:
        """The limits of a policy, raised where they were."""
        return Raised(rules=rules, factors=self.limit_factors) if self.limit_factors else rules

    def settled(self, comparison: Comparison) -> Comparison:
        """A comparison without what only slow devices showed, and without what people had answered."""
        excused = slow_heads.excuse(comparison, self.slow)
        passed = {
            entry.series.key: replace(entry.judgement, verdict=Verdict.PASS, reason=None, severity=None)
            for entry in excused.entries
            if entry.judgement.verdict is Verdict.REGRESSED and self._passes(entry)
        }
        return rejudged(excused, passed) if passed else excused

    def _passes(self, entry: Entry) -> bool:
        shown = self.answered.get(entry.series.key)
        if shown is None:
            return entry.series.key in self.passed
        # On top of what it is compared with, when that has the level already, it is news.
        return is_no_worse(shown, entry) and not has_level(entry.base.value, shown)


async def read(session: AsyncSession, run_id: int, usual: Policy) -> PastRun:
    """A judged run, with everything that its verdict rested on.

    Args:
        session: The transaction.
        run_id: The run.
        usual: What holds where a policy says nothing.
    """
    run = await session.get_one(Run, run_id)
    project = await session.get_one(Project, run.project_id)
    judged = await comparison_store.find(session, run_id)
    assert judged is not None
    base = await session.get(Run, judged.base_run_id) if judged.base_run_id is not None else None
    head = await results.result_set(session, run)
    for again in await store.again(session, run_id):
        head = with_launches(head, await results.result_set(session, again))
    grounds = Grounds.from_json(judged.grounds)
    given = await _given(session, run, project, judged, usual)
    return PastRun(
        run_id=run.id,
        at=run.created_at,
        suite=run.suite,
        branch=baselines.own_branch(run, project),
        line=baselines.branch_line(run, project),
        base=await results.result_set(session, base) if base else None,
        head=head,
        history=grounds.history,
        known=await _known(session, (run, project), judged, given, grounds),
        given=given,
    )


async def _given(session: AsyncSession, run: Run, project: Project, judged: ComparisonRow, usual: Policy) -> Given:
    assert run.verdict is not None
    entries = judged.content.get("entries", ())
    return Given(
        rules=(await policies.judged_by(session, project, judged.content, usual)).rules,
        verdict=Verdict(run.verdict),
        entries={key_of_entry(entry): _said(entry) for entry in entries},
        quality={
            key_of_entry(entry): QualityAnswer(line["answer"].removeprefix("QUALITY_ANSWER_").lower())
            for entry in entries
            for line in entry.get("quality", ())
        },
    )


def _said(entry: Mapping[str, Any]) -> tuple[Verdict, Severity | None]:
    severity = entry.get("severity", "").removeprefix("SEVERITY_").lower()
    verdict = entry["verdict"].removeprefix("VERDICT_").lower()
    return Verdict(verdict), Severity(severity) if severity else None


async def _known(
    session: AsyncSession, where: tuple[Run, Project], judged: ComparisonRow, given: Given, grounds: Grounds
) -> KnownThen:
    """What people lived with when the run was judged, on its line or on that of its base, and the other grounds."""
    run, project = where
    own, base = baselines.branch_line(run, project), baselines.base_line(run, project)
    # What was called worse, nothing let pass.
    keys = [key for key, (verdict, _) in given.entries.items() if verdict is not Verdict.REGRESSED]
    wanted = {(key.case_id, key.mode, key.metric, key.device): key for key in keys}
    ids = await result_store.series_ids(session, run.project_id, wanted)
    lines = [own] if base is None else [own, base]
    found = await store.findings_then(session, list(ids.values()), lines, at=judged.created_at)
    newest = {(one.series_id, one.line): one for one in found}
    linked = {key_of_entry(entry): entry.get("regression", "") for entry in judged.content.get("entries", ())}
    passed, answered = set(), {}
    for columns, series_id in ids.items():
        key = wanted[columns]
        here = newest.get((series_id, own))
        one = here or newest.get((series_id, base or own))
        if one is None or not _is_answer(one, on_base=here is None):
            continue
        if linked.get(key) == regression_name(one.finding_id):
            passed.add(key)
        else:
            answered[key] = one.shown
    return KnownThen(
        limit_factors=grounds.limit_factors, slow=grounds.slow, passed=frozenset(passed), answered=answered
    )


def _is_answer(found: FindingThen, *, on_base: bool) -> bool:
    """Whether people live with it; what is open where a branch comes from is not the branch's doing either."""
    state = RegressionState(found.state)
    return is_quiet(state) or (on_base and state in SURE)
