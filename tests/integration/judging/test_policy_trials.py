"""Trying a policy out judges old runs by what was known then: only the policy may make a difference."""

import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from support.histories import measure, take_in, wobbly
from support.laboratory import CASES, Conditions, Laboratory, Request, branch
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.policy_trial import Judged, judge_both
from tesserabench.analysis.results import SeriesKey
from tesserabench.analysis.rules import RuleSet
from tesserabench.analysis.words import Verdict
from tesserabench.collector.core import past_runs, policies, policy_trials, triage
from tesserabench.collector.core.grounds import Grounds
from tesserabench.collector.core.policies import NewPolicy
from tesserabench.collector.core.policy_trials import Report
from tesserabench.collector.core.regressions import Act
from tesserabench.collector.core.slow_heads import SlowDevice
from tesserabench.collector.core.spec import GateSpec, Revision
from tesserabench.collector.store.tables import Comparison, Run

HEAD = "apiVersion: tesserabench/v1\nkind: Policy\n"
MAIN = branch("main")
AT_ONCE = Request(revision=Revision(branch="main"), gate=GateSpec(confirm=False))
GEMM = "gemm[n=512]"


def slow(times: float, host: str = "node-1") -> Conditions:
    return Conditions(factors={GEMM: times}, host=host)


async def again(laboratory: Laboratory, run_id: int, candidate: RuleSet) -> Judged:
    """A run under the policy in force and under another one."""
    async with laboratory.database.transaction() as session:
        run = await session.get_one(Run, run_id)
        past = await past_runs.read(session, run_id, laboratory.judging.policy)
        project = await policies.get(session, "default", policies.CURRENT)
        current = policies.policy_of("default", project[0], laboratory.judging.policy).rules
        assert run.verdict
    # To where it is judged, everything travels.
    return judge_both(pickle.loads(pickle.dumps(past)), current, candidate)


async def trial(laboratory: Laboratory, text: str) -> Report:
    request = policy_trials.Request(
        project="default",
        rules=policies.read(text, project="default", source="policy.yaml"),
        since=laboratory.clock() - timedelta(days=30),
    )
    steps = [step async for step in policy_trials.try_out(laboratory.judging, request)]
    assert isinstance(steps[-1], Report)
    return steps[-1]


def act(laboratory: Laboratory) -> Act:
    laboratory.clock.advance(60)
    return Act(actor="ann", comment="so it is", now=laboratory.clock())


async def answer(laboratory: Laboratory, regression_id: int, word: str) -> None:
    """Let a person answer a finding."""
    async with laboratory.database.transaction() as session:
        doing = act(laboratory)
        if word == "accepted":
            await triage.accept(session, regression_id, act=doing)
        elif word == "ignored":
            await triage.ignore(session, regression_id, act=doing)
        else:
            await triage.resolve(session, regression_id, resolution=word, duplicate_of=None, act=doing)


@pytest.mark.parametrize("word", ["accepted", "ignored", "wont_fix", "false_positive"])
async def test_what_people_answer_after_a_run_changes_nothing_of_what_is_said_of_it(
    laboratory: Laboratory, word: str
) -> None:
    await measure(laboratory, wobbly([1.0] * 10))
    await take_in(laboratory)
    found = await laboratory.run(AT_ONCE, slow(1.10))
    before = await again(laboratory, found, RuleSet())
    (regression,) = await laboratory.regressions()
    await answer(laboratory, regression.id, word)
    await measure(laboratory, wobbly([1.10] * 10))
    await take_in(laboratory)
    assert await again(laboratory, found, RuleSet()) == before
    assert before.verdicts == (Verdict.REGRESSED, Verdict.REGRESSED)


async def test_under_the_same_policy_every_run_gets_the_verdict_that_it_was_given(laboratory: Laboratory) -> None:
    ids = [await laboratory.run(MAIN)]
    # One that is not shown again, one that is, one that people live with, and one that comes on top of that.
    ids.append(await laboratory.run(MAIN, slow(1.06)))
    await laboratory.confirm(ids[-1])
    ids.append(await laboratory.run(MAIN, slow(1.06)))
    await laboratory.confirm(ids[-1], slow(1.06))
    (regression,) = await laboratory.regressions()
    await answer(laboratory, regression.id, "ignored")
    ids.append(await laboratory.run(AT_ONCE, slow(1.06)))
    ids.append(await laboratory.run(AT_ONCE, slow(1.5)))
    ids.append(await laboratory.run(branch("feature"), slow(1.06)))
    stored = [Verdict((await laboratory.get(run_id)).verdict or "") for run_id in ids]
    assert [verdict.value for verdict in stored] == [
        "inconclusive",
        "inconclusive",
        "regressed",
        "pass",
        "regressed",
        "pass",
    ]
    # The one on top is a finding of its own.
    await answer(laboratory, (await laboratory.regressions())[-1].id, "accepted")
    judged = [await again(laboratory, run_id, RuleSet()) for run_id in ids]
    assert [one.verdicts for one in judged] == [(verdict, verdict) for verdict in stored]
    report = await trial(laboratory, HEAD)
    assert not report.trial.findings
    assert (report.trial.before, report.trial.before.failed_runs) == (report.trial.after, 2)


async def test_a_policy_changes_what_it_is_about_and_nothing_else(laboratory: Laboratory) -> None:
    await laboratory.run(MAIN)
    both = Conditions(factors={GEMM: 1.06, "copy[n=1]": 1.06})
    # The product is shown again, the copy is not.
    run_id = await laboratory.run(MAIN, both)
    await laboratory.confirm(run_id, slow(1.06))
    wide = RuleSet.parse(HEAD + "rules: [{name: wide, match: {benchmark: gemm}, minimum-effect: 9 %}]")
    judged = await again(laboratory, run_id, wide)
    said = {pair.series.benchmark: (pair.before.verdict, pair.after.verdict) for pair in judged.pairs}
    assert said["gemm"] == (Verdict.REGRESSED, Verdict.PASS)
    # What the second look left open stays open, though all launches together would pass.
    assert said["copy"] == (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE)
    assert judged.verdicts == (Verdict.REGRESSED, Verdict.INCONCLUSIVE)


async def test_what_people_lived_with_then_is_no_finding_of_a_stricter_policy(laboratory: Laboratory) -> None:
    text = HEAD + "defaults: {minimum-effect: 20 %}"
    await laboratory.run(MAIN)
    await laboratory.run(AT_ONCE, slow(1.06))
    (regression,) = await laboratory.regressions()
    earlier = await laboratory.run(AT_ONCE, slow(1.06))
    await answer(laboratory, regression.id, "accepted")
    async with laboratory.database.transaction() as session:
        new = NewPolicy(project="default", text=text)
        await policies.apply(session, new, actor="ann", now=laboratory.clock())
    lived_with = await laboratory.run(AT_ONCE, slow(1.06))
    on_top = await laboratory.run(AT_ONCE, slow(1.15))
    strict = RuleSet.parse(HEAD + "defaults: {minimum-effect: 1 %}")
    assert (await again(laboratory, earlier, strict)).verdicts[1] is Verdict.REGRESSED
    assert (await again(laboratory, lived_with, strict)).verdicts == (Verdict.PASS, Verdict.PASS)
    assert (await again(laboratory, on_top, strict)).verdicts == (Verdict.PASS, Verdict.REGRESSED)


async def test_what_a_slow_machine_excused_and_what_raised_the_limits_stands(laboratory: Laboratory) -> None:
    await laboratory.run(MAIN)
    found = await laboratory.run(AT_ONCE, slow(1.06))
    assert (await again(laboratory, found, RuleSet())).verdicts[1] is Verdict.REGRESSED
    strict = RuleSet.parse(HEAD + "defaults: {minimum-effect: 1 %}")
    place = SlowDevice(device="d", finding="regressions/9", slower_by=0.06, since=datetime(2030, 1, 1, tzinfo=UTC))
    for grounds, expected in (
        (Grounds(slow={"node-1/uuid-node-1": place}), Verdict.INCONCLUSIVE),
        (Grounds(limit_factors={"Simulated 1": 8.0}), Verdict.PASS),
    ):
        async with laboratory.database.transaction() as session:
            row = await session.get_one(Comparison, found)
            content = row.content | {
                "entries": [entry | {"verdict": f"VERDICT_{expected.upper()}"} for entry in row.content["entries"]]
            }
            changed = {"content": content, "grounds": grounds.to_json()}
            await session.execute(update(Comparison).where(Comparison.run_id == found).values(**changed))
            await session.execute(update(Run).where(Run.id == found).values(verdict=expected.value))
        assert (await again(laboratory, found, strict)).verdicts == (expected, expected)


def test_the_grounds_of_a_verdict_come_back_as_they_were_written() -> None:
    key = SeriesKey(case_id=CASES[0], mode="cold", metric="time", device="Simulated 1")
    noise = RunNoise(deviation=0.01, degrees=7.0, level=13.8, runs=9, correlation=0.2, largest=None)
    slow_device = SlowDevice(
        device="d", finding="regressions/9", slower_by=0.06, since=datetime(2030, 1, 1, tzinfo=UTC)
    )
    grounds = Grounds(history={key: noise}, limit_factors={"X": 1.5}, slow={"a/b": slow_device})
    assert Grounds.from_json(grounds.to_json()) == grounds
    assert Grounds.from_json(replace(grounds, slow={}).to_json()).slow == {}
    assert Grounds.from_json({}) == Grounds()
