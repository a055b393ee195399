"""The history of a series is judged by the policy too, with rules about the hosts that measured it."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from support.histories import changes, measure, take_in, wobbly
from support.laboratory import Laboratory, at_once
from tesserabench.analysis.rules import RuleSet
from tesserabench.collector.core import policies, policy_trials, siblings
from tesserabench.collector.core.finding_causes import Asking
from tesserabench.collector.core.policies import NewPolicy
from tesserabench.collector.store.tables import Series
from tesserabench.collector.work.causes import CauseFinder

STEPPED = [1.0] * 12 + [1.12] * 8


async def put(laboratory: Laboratory, rules: str) -> None:
    text = f"apiVersion: tesserabench/v1\nkind: Policy\nrules:\n{rules}"
    async with laboratory.database.transaction() as session:
        await policies.apply(session, NewPolicy(project="default", text=text), actor="ann", now=laboratory.clock())


async def test_a_step_is_as_bad_as_the_rule_of_its_host_says_and_its_finding_has_the_rules_owner(
    laboratory: Laboratory,
) -> None:
    await put(
        laboratory,
        """  - {name: elsewhere, match: {host: node-2}, severities: {critical: 50 %}, owner: nobody}
  - {name: here, match: {host: node-1, branch: main}, severities: {major: 3 %, critical: 20 %}, owner: me, alert: info}
""",
    )
    await measure(laboratory, wobbly(STEPPED))
    await take_in(laboratory)
    (found,) = await changes(laboratory)
    assert (found.state, found.worse, found.severity) == ("confirmed", True, "major")
    await CauseFinder(Asking(database=laboratory.database, offload=at_once, clock=laboratory.clock)).step()
    (finding,) = await laboratory.regressions()
    assert (finding.severity, finding.owner, finding.alert) == ("major", "me", "minor")
    assert finding.policy == "projects/default/policies/1"


async def test_a_step_that_is_ignored_or_too_small_to_matter_is_kept_and_opens_no_finding(
    laboratory: Laboratory,
) -> None:
    await put(
        laboratory,
        """  - {name: flaky, match: {benchmark: gemm}, ignore: until the new driver}
  - {name: rest, minimum-effect: 15 %}
""",
    )
    await measure(laboratory, wobbly(STEPPED))
    await take_in(laboratory)
    (found,) = await changes(laboratory)
    assert (found.state, found.worse, found.severity) == ("confirmed", True, None)
    await CauseFinder(Asking(database=laboratory.database, offload=at_once, clock=laboratory.clock)).step()
    assert not await laboratory.regressions()


async def test_a_trial_searches_the_histories_too(laboratory: Laboratory) -> None:
    await measure(laboratory, wobbly(STEPPED))
    await take_in(laboratory)
    text = (
        "apiVersion: tesserabench/v1\nkind: Policy\nrules: [{name: wide, match: {host: node-1}, minimum-effect: 15 %}]"
    )
    request = policy_trials.Request(
        project="default",
        rules=policies.read(text, project="default", source="policy.yaml"),
        since=laboratory.clock() - timedelta(days=30),
    )
    steps = [step async for step in policy_trials.try_out(laboratory.judging, request)]
    report = steps[-1]
    assert isinstance(report, policy_trials.Report)
    assert [step.phase for step in steps[:-1] if isinstance(step, policy_trials.Progress)] == ["histories"]
    (finding,) = report.trial.findings
    assert (finding.pair.kind, finding.outcome, finding.pair.before.severity) == ("history", "gone", "critical")
    assert finding.pair.after.rule == "wide"
    assert finding.pair.worsening == pytest.approx(0.12, abs=0.01)
    assert (report.trial.before.alerts, report.trial.after.alerts, report.trial.runs) == (1, 0, 0)


async def test_a_suite_that_is_made_of_cases_of_others_has_their_histories(laboratory: Laboratory) -> None:
    await measure(laboratory, wobbly(STEPPED))
    await take_in(laboratory)
    async with laboratory.database.transaction() as session:
        await session.execute(update(Series).values(suite="memory"))
        assert (await siblings.read(session, laboratory.clock(), suite="core")).readings
        assert not (await siblings.read(session, laboratory.clock(), suite="latency")).readings
    for suite, histories in (("core", 1), ("memory", 1), ("latency", 0)):
        request = policy_trials.Request(
            project="default", rules=RuleSet(), since=laboratory.clock() - timedelta(days=30), suite=suite
        )
        (report,) = [
            step
            async for step in policy_trials.try_out(laboratory.judging, request)
            if isinstance(step, policy_trials.Report)
        ]
        assert report.histories == histories, suite
