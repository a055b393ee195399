"""What a policy says is what happens: limits, owners, alerts, hosts, how suspicions are settled."""

from typing import Any

import pytest
from support.laboratory import FINISHED, JUDGING, Conditions, Laboratory, Request
from tesserabench.collector.core import metrics, policies, regression_gauges, runs
from tesserabench.collector.core.comparing import compare_references
from tesserabench.collector.core.policies import NewPolicy
from tesserabench.collector.core.spec import GateSpec, HostSelector, Revision, RunSpec
from tesserabench.collector.errors import InvalidArgumentError
from tesserabench.collector.store import comparisons as store
from tesserabench.collector.store.tables import Run
from tesserabench.wire.reasons import Reason

SLOW = Conditions(factors={"gemm[n=512]": 1.06})
AT_ONCE = Request(gate=GateSpec(confirm=False))


async def put(laboratory: Laboratory, body: str) -> str:
    """Apply a policy; gives its name."""
    text = f"apiVersion: tesserabench/v1\nkind: Policy\n{body}"
    async with laboratory.database.transaction() as session:
        new = NewPolicy(project="default", text=text)
        applied = await policies.apply(session, new, actor="ann", now=laboratory.clock())
        return f"projects/default/policies/{applied.row.revision}"


async def judged(laboratory: Laboratory, run_id: int) -> dict[str, Any]:
    """The comparison that decided a run."""
    async with laboratory.database.transaction() as session:
        row = await store.find(session, run_id)
        assert row is not None
        return row.content


def product(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(
        entry for entry in content["entries"] if (entry["case"]["benchmark"], entry["metric"]) == ("gemm", "time")
    )
    return found


async def test_limits_are_those_of_the_rule_and_the_verdict_names_it(laboratory: Laboratory) -> None:
    await laboratory.run()
    name = await put(laboratory, "rules: [{name: wide, match: {benchmark: gemm}, minimum-effect: 12 %}]")
    run_id = await laboratory.run(conditions=SLOW)
    content = await judged(laboratory, run_id)
    entry = product(content)
    assert ((await laboratory.get(run_id)).verdict, entry["verdict"]) == ("pass", "VERDICT_PASS")
    assert (content["policy"], entry["rule"], entry["minimum_effect"]) == (name, "wide", 0.12)
    assert {other["rule"] for other in content["entries"] if other["case"]["benchmark"] != "gemm"} == {"built in"}
    # What people ask for is judged by what is in force when they ask.
    again = await put(laboratory, "rules: [{name: narrow, match: {benchmark: gemm}, minimum-effect: 1 %}]")
    asked = await compare_references(laboratory.judging, "default", "run:1", f"run:{run_id}")
    assert (asked["policy"], asked["verdict"], product(asked)["rule"]) == (again, "VERDICT_REGRESSED", "narrow")
    assert (await judged(laboratory, run_id))["policy"] == name


async def test_every_look_at_a_run_takes_the_policy_of_the_first(laboratory: Laboratory) -> None:
    await laboratory.run()
    first = await put(laboratory, "defaults: {minimum-effect: 2 %, owner: '@performance'}")
    run_id = await laboratory.run(conditions=SLOW)
    assert (await laboratory.get(run_id)).state == JUDGING
    await put(laboratory, "defaults: {minimum-effect: 20 %}")
    await laboratory.confirm(run_id, SLOW)
    run = await laboratory.get(run_id)
    assert (run.state, run.verdict, run.severity) == (FINISHED, "regressed", "major")
    assert (await judged(laboratory, run_id))["policy"] == first
    (regression,) = await laboratory.regressions()
    assert (regression.owner, regression.policy, regression.alert) == ("@performance", first, "")


async def test_what_is_ignored_decides_nothing_until_the_day_and_what_wakes_nobody_has_no_alert(
    laboratory: Laboratory,
) -> None:
    await laboratory.run()
    today = laboratory.clock.now.date()
    rule = "rules: [{name: flaky, match: {benchmark: gemm}, ignore: {reason: new driver, until: %s}}]"
    await put(laboratory, rule % today.replace(year=today.year + 1).isoformat())
    run_id = await laboratory.run(AT_ONCE, SLOW)
    entry = product(await judged(laboratory, run_id))
    assert ((await laboratory.get(run_id)).verdict, entry["verdict"]) == ("pass", "VERDICT_PASS")
    assert f"Ignored until {today.year + 1}" in entry["explanation"]
    assert "by rule 'flaky' of the policy: new driver" in entry["explanation"]
    assert not await laboratory.regressions()
    await put(laboratory, rule % today.isoformat() + "\ndefaults: {alert: none}")
    slower = Conditions(factors={"gemm[n=512]": 1.13})
    assert (await laboratory.get(await laboratory.run(AT_ONCE, slower))).verdict == "regressed"
    (regression,) = await laboratory.regressions()
    assert (regression.state, regression.alert) == ("confirmed", "none")
    async with laboratory.database.transaction() as session:
        await regression_gauges.refresh(session, laboratory.clock())
    assert not [sample for family in metrics.REGRESSION_RATIO.collect() for sample in family.samples]


async def asked(laboratory: Laboratory, branch: str, hosts: tuple[str, ...] = (), **more: Any) -> Run:
    spec = RunSpec(suite="core", trials=5, selector=HostSelector(hosts=hosts))
    new = runs.NewRun(project="default", spec=spec, revision=Revision(branch=branch), **more)
    async with laboratory.database.transaction() as session:
        return await runs.create(session, new, actor="tester", now=laboratory.clock.now)


async def test_a_run_is_measured_where_the_policy_allows_it_and_settled_as_it_says(laboratory: Laboratory) -> None:
    for host in ("node-1", "node-2", "ci-1"):
        await laboratory.host(host)
    await put(
        laboratory,
        """rules:
  - {name: releases, match: {branch: "release/*"}, hosts: ["node-*", "!node-2"], confirmation: {by: duet, looks: 2}}
  - {name: quick, match: {branch: quick}, confirmation: none}
  - {name: gone, match: {branch: gone}, hosts: lab-9}
""",
    )
    release = await asked(laboratory, "release/1", request_id="once")
    assert release.spec["selector"]["hosts"] == ["node-1"]
    assert release.gate == {"confirm": True, "looks": 2}
    assert (await asked(laboratory, "release/1", request_id="once")).id == release.id
    assert (await asked(laboratory, "release/1", hosts=("node-1",))).spec["selector"]["hosts"] == ["node-1"]
    for branch, hosts, says in (
        ("release/1", ("ci-1",), "rule 'releases' of the policy allows node-\\*, !node-2; choose among them"),
        ("gone", (), "rule 'gone' of the policy allows lab-9, and no host of the fleet is one of them"),
    ):
        with pytest.raises(InvalidArgumentError, match=says) as caught:
            await asked(laboratory, branch, hosts=hosts)
        assert caught.value.reason == Reason.HOST_NOT_ALLOWED
    assert (await asked(laboratory, "quick")).gate == {"confirm": False}
    # What a run says itself goes before.
    assert (await asked(laboratory, "quick", gate=GateSpec(confirm=True))).gate == {"confirm": True}
    main = await asked(laboratory, "main")
    assert ("hosts" in main.spec["selector"], main.gate) == (False, {})
    assert GateSpec.from_json(main.gate).confirms


async def test_an_absolute_limit_fails_the_gate_and_what_was_not_measured_never_passes(laboratory: Laboratory) -> None:
    await laboratory.run()
    await put(
        laboratory,
        """rules:
  - {name: promise, match: {benchmark: gemm, metric: bandwidth}, quality: {minimum: 2, unit: TB/s, weight: 3}}
  - {name: floor, match: {benchmark: copy, metric: time}, quality: {maximum: 2, unit: ms}}
""",
    )
    run = await laboratory.get(await laboratory.run())
    assert (run.verdict, run.severity) == ("regressed", "critical")
    assert run.verdict_reason.startswith(
        "1 value beyond an absolute limit: gemm[n=512] bandwidth is 1e+12 B/s, below 2e+12."
    )
    content = await judged(laboratory, run.id)
    assert content["quality_score"] == 0.25
    lines = {(entry["case"]["benchmark"], entry["metric"]): entry.get("quality") for entry in content["entries"]}
    assert lines["gemm", "bandwidth"] == [
        {"minimum": 2e12, "value": 1e12, "answer": "QUALITY_ANSWER_FAIL", "weight": 3.0, "rule": "promise"}
    ]
    assert not await laboratory.regressions()
    await put(laboratory, "rules: [{name: energy, match: {metric: energy}, quality: {maximum: 5, unit: J}}]")
    run = await laboratory.get(await laboratory.run())
    assert (run.verdict, run.severity) == ("inconclusive", None)
    assert run.verdict_reason.endswith("3 absolute limits could not be checked: copy[n=1] energy.")
