"""Policies over a laboratory's runs: applied, refused, compared, tried out."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import select
from support.laboratory import Conditions, Laboratory, Request
from support.statuses import reason_of
from support.tbctl import Said, Tbctl, clean_environment
from tesserabench.collector.api.interceptor import CallInterceptor
from tesserabench.collector.api.policy_service import PolicyService
from tesserabench.collector.api.server import GrpcServer, Service
from tesserabench.collector.core.spec import GateSpec
from tesserabench.collector.core.tokens import Authenticator
from tesserabench.collector.store.tables import Audit
from tesserabench.v1 import policy_service_pb2, policy_service_pb2_grpc, run_pb2
from tesserabench.wire.channel import client_options
from tesserabench.wire.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    Policies = policy_service_pb2_grpc.PolicyServiceAsyncStub

HEAD = "apiVersion: tesserabench/v1\nkind: Policy\n"
STRICT = HEAD + "rules: [{name: products, match: {benchmark: gemm}, minimum-effect: 1 %}]\n"
WIDE = HEAD + "rules: [{name: products, match: {benchmark: gemm}, minimum-effect: 8 %, owner: '@kernels'}]\n"
SLOW = Conditions(factors={"gemm[n=512]": 1.06})
AT_ONCE = Request(gate=GateSpec(confirm=False))
CURRENT = "projects/default/policies/current"


@pytest_asyncio.fixture
async def port(laboratory: Laboratory) -> "AsyncIterator[int]":
    """Where the service over the laboratory's database listens; everybody may do everything."""
    service = Service(
        name="tesserabench.v1.PolicyService",
        servicer=PolicyService(laboratory.judging),
        add=policy_service_pb2_grpc.add_PolicyServiceServicer_to_server,
    )
    interceptor = CallInterceptor(Authenticator(laboratory.database, required=False))
    server = GrpcServer([service], interceptor, listen="127.0.0.1:0", tls=None)
    try:
        yield await server.start()
    finally:
        await server.stop(0)


@pytest_asyncio.fixture
async def policies(port: int) -> "AsyncIterator[Policies]":
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=client_options()) as channel:
        yield policy_service_pb2_grpc.PolicyServiceStub(channel)


async def applied(policies: "Policies", text: str, **fields: object) -> policy_service_pb2.ApplyPolicyResponse:
    request = policy_service_pb2.ApplyPolicyRequest(text=text, source="policy.yaml", **fields)  # type: ignore[arg-type]
    answer: policy_service_pb2.ApplyPolicyResponse = await policies.ApplyPolicy(request)
    return answer


async def tried(
    policies: "Policies", laboratory: Laboratory, text: str, days: float = 90
) -> tuple[list[policy_service_pb2.PolicyTestProgress], policy_service_pb2.PolicyTestReport]:
    since = Timestamp()
    since.FromDatetime(laboratory.clock.now - timedelta(days=days))
    request = policy_service_pb2.TestPolicyRequest(text=text, since=since)
    steps = [step async for step in policies.TestPolicy(request)]
    assert steps[-1].HasField("report")
    return [step.progress for step in steps[:-1]], steps[-1].report


async def test_revisions_are_kept_with_who_when_and_why(policies: "Policies", laboratory: Laboratory) -> None:
    nothing = await policies.GetPolicy(policy_service_pb2.GetPolicyRequest(name=CURRENT))
    assert (nothing.name, nothing.revision, nothing.text, nothing.current) == (
        "projects/default/policies/0",
        0,
        "",
        True,
    )
    tried = await applied(policies, STRICT, dry_run=True)
    assert (tried.policy.name, len(tried.changes)) == ("", 2)
    first = await applied(policies, STRICT, comment="products are quiet", expected_revision=0)
    assert first.policy.name == "projects/default/policies/1"
    laboratory.clock.advance(60)
    second = await applied(policies, WIDE, expected_revision=1)
    changes = [(change.rule, change.setting, change.before, change.after) for change in second.changes]
    assert changes == [("products", "minimum-effect", "1 %", "8 %"), ("products", "owner", "", "@kernels")]
    again = await applied(policies, WIDE, expected_revision=1)
    assert (again.unchanged, again.policy.revision) == (True, 2)
    listed = await policies.ListPolicies(policy_service_pb2.ListPoliciesRequest(page_size=1))
    assert [(item.revision, item.current, item.text) for item in listed.policies] == [(2, True, "")]
    request = policy_service_pb2.ListPoliciesRequest(page_size=1, page_token=listed.next_page_token)
    rest = await policies.ListPolicies(request)
    (old,) = rest.policies
    assert (old.revision, old.current, old.rules, rest.next_page_token) == (1, False, 1, "")
    assert (old.comment, old.created_by.name) == ("products are quiet", "anonymous")
    kept = await policies.GetPolicy(policy_service_pb2.GetPolicyRequest(name="projects/default/policies/1"))
    assert kept.text == STRICT
    async with laboratory.database.transaction() as session:
        rows = (await session.scalars(select(Audit).where(Audit.action == "policy.applied").order_by(Audit.id))).all()
    assert [row.resource for row in rows] == ["projects/default/policies/1", "projects/default/policies/2"]


async def refused(call: "Awaitable[object]") -> tuple[grpc.StatusCode, str | None, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), reason_of(caught.value), caught.value.details() or ""


async def test_what_is_wrong_unseen_or_unknown_is_refused_with_a_reason(policies: "Policies") -> None:
    await applied(policies, STRICT)
    code, reason, says = await refused(applied(policies, WIDE, expected_revision=0))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, Reason.POLICY_CHANGED)
    assert "revision 1 is in force, applied by anonymous" in says
    wrong = HEAD + "rules: [{name: a, minimum_effect: 2 %}]"
    code, reason, says = await refused(applied(policies, wrong))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_POLICY)
    assert "policy.yaml:3: rules[0].minimum_effect: no such key; did you mean 'minimum-effect'?" in says
    _, _, says = await refused(applied(policies, HEAD + "project: other"))
    assert "the file is for project 'other'" in says
    unknown = policy_service_pb2.GetPolicyRequest(name="projects/default/policies/7")
    code, reason, _ = await refused(policies.GetPolicy(unknown))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, Reason.POLICY_NOT_FOUND)
    both = policy_service_pb2.DiffPolicyRequest(text=STRICT, to_revision=1)
    code, _, says = await refused(policies.DiffPolicy(both))
    assert (code, "either a file or to_revision" in says) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_a_trial_tells_what_would_be_gone_and_counts_a_lasting_finding_once(
    policies: "Policies", laboratory: Laboratory
) -> None:
    await laboratory.run()
    for _ in range(2):
        await laboratory.run(AT_ONCE, SLOW)
    progress, report = await tried(policies, laboratory, WIDE)
    assert [(step.phase, step.done, step.total) for step in progress][:3] == [
        ("runs", 0, 3),
        ("runs", 1, 3),
        ("runs", 2, 3),
    ]
    assert (report.runs, report.series, report.revision) == (3, 3, 0)
    assert (report.current.failed_runs, report.current.findings, report.current.major) == (2, 1, 1)
    assert (report.candidate.failed_runs, report.candidate.findings, report.candidate.alerts) == (0, 0, 0)
    assert report.current.alerts_per_week == pytest.approx(7 / 90, rel=1e-3)
    (finding,) = report.findings
    assert finding.outcome == policy_service_pb2.POLICY_TEST_OUTCOME_GONE
    assert (finding.case.id, finding.kind, finding.rule_before, finding.rule_after) == (
        "gemm[n=512]",
        "gate",
        "built in",
        "products",
    )
    assert (finding.before, finding.after) == (run_pb2.SEVERITY_MAJOR, run_pb2.SEVERITY_UNSPECIFIED)
    assert finding.worsening == pytest.approx(0.06, abs=0.005)
    assert [(rule.rule, rule.findings_before, rule.findings_after) for rule in report.rules] == [
        ("products", 1, 0),
        ("built in", 0, 0),
    ]


async def test_tbctl_takes_a_file_from_its_review_into_force(
    port: int, laboratory: Laboratory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await laboratory.run()
    await laboratory.run(AT_ONCE, SLOW)
    (tmp_path / "strict.yaml").write_text(STRICT)
    (tmp_path / "wide.yaml").write_text(WIDE)
    server = ("--server", f"127.0.0.1:{port}")

    async def tbctl(*words: str) -> Said:
        return await asyncio.to_thread(Tbctl(capture=capsys, always=server), "policy", *words)

    with clean_environment(tmp_path):
        said = await tbctl("diff", "wide.yaml")
        assert (said.status, "added" in said.out, "@kernels" in said.out) == (0, True, True)
        said = await tbctl("apply", "wide.yaml", "--comment", "restless hosts")
        assert said.out.rstrip().endswith("project default: revision 1 is in force, 1 rules")
        assert "this file is in force already, as revision 1" in (await tbctl("apply", "wide.yaml")).out
        assert (await tbctl("apply", "strict.yaml", "--expect", "0")).status == 2
        assert (await tbctl("get")).out == WIDE
        (listed,) = json.loads((await tbctl("list", "-o", "json")).out)["items"]
        assert (listed["revision"], listed["comment"], listed["current"]) == (1, "restless hosts", True)
        lines = (await tbctl("diff", "strict.yaml", "--text")).out
        assert "-rules: [{name: products, match: {benchmark: gemm}, minimum-effect: 8 %, owner: '@kernels'}]" in lines
        said = await tbctl("test", "strict.yaml", "--since", "90d", "--exit-code", "--markdown", "trial.md")
        assert (said.status, said.last_line) == (10, "exit 10: strict.yaml would have fired 1 more alert(s)")
        assert "Findings that differ over 2 runs and 0 histories: 1 new." in said.out
        assert "runs: 0 of 2" in said.err
        report = (tmp_path / "trial.md").read_text()
        assert "| new | 2 | `gemm[n=512]` | time | +6.0 % | - | major | products |" in report
        document = json.loads((await tbctl("test", "wide.yaml", "--since", "90d", "--exit-code", "-o", "json")).out)
        assert (document["kind"], document["revision"], document.get("findings", [])) == ("PolicyTest", 1, [])
        said = await tbctl("explain", "--series", "case=core/gemm[n=512]")
        assert [line.split() for line in said.out.splitlines()[1:2]] == [["minimum-effect", "8", "%", "products", "3"]]


async def test_a_trial_of_the_policy_in_force_finds_no_difference_and_looks_only_at_its_time(
    policies: "Policies", laboratory: Laboratory
) -> None:
    await laboratory.run()
    await laboratory.run(AT_ONCE, SLOW)
    await applied(policies, STRICT)
    _, report = await tried(policies, laboratory, STRICT)
    assert not report.findings
    assert report.current == report.candidate
    assert report.current.findings == 1
    laboratory.clock.advance(10 * 86_400)
    _, report = await tried(policies, laboratory, WIDE, days=5)
    assert (report.runs, report.histories) == (0, 0)
