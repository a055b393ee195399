"""Policies over a laboratory's runs: applied, refused, compared, tried out."""

from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import select
from support.laboratory import Conditions, Laboratory, Request
from support.statuses import reason_of
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
    from collections.abc import AsyncIterator

    Policies = policy_service_pb2_grpc.PolicyServiceAsyncStub

HEAD = "apiVersion: tesserabench/v1\nkind: Policy\n"
STRICT = HEAD + "rules: [{name: products, match: {benchmark: gemm}, minimum-effect: 1 %}]\n"
WIDE = HEAD + "rules: [{name: products, match: {benchmark: gemm}, minimum-effect: 8 %, owner: '@kernels'}]\n"
SLOW = Conditions(factors={"gemm[n=512]": 1.06})
AT_ONCE = Request(gate=GateSpec(confirm=False))
CURRENT = "projects/default/policies/current"


@pytest_asyncio.fixture
async def policies(laboratory: Laboratory) -> "AsyncIterator[Policies]":
    """A client of the service over the laboratory's database; everybody may do everything."""
    service = Service(
        name="tesserabench.v1.PolicyService",
        servicer=PolicyService(laboratory.judging),
        add=policy_service_pb2_grpc.add_PolicyServiceServicer_to_server,
    )
    interceptor = CallInterceptor(Authenticator(laboratory.database, required=False))
    server = GrpcServer([service], interceptor, listen="127.0.0.1:0", tls=None)
    port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=client_options()) as channel:
            yield policy_service_pb2_grpc.PolicyServiceStub(channel)
    finally:
        await server.stop(0)


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


async def test_what_was_never_applied_is_built_in(policies: "Policies") -> None:
    policy = await policies.GetPolicy(policy_service_pb2.GetPolicyRequest(name=CURRENT))
    assert (policy.name, policy.revision, policy.text, policy.current) == ("projects/default/policies/0", 0, "", True)


async def test_revisions_are_kept_with_who_when_and_why(policies: "Policies", laboratory: Laboratory) -> None:
    first = await applied(policies, STRICT, comment="products are quiet")
    assert first.policy.name == "projects/default/policies/1"
    laboratory.clock.advance(60)
    second = await applied(policies, WIDE, expected_revision=1)
    changes = [(change.rule, change.setting, change.before, change.after) for change in second.changes]
    assert changes == [("products", "minimum-effect", "1 %", "8 %"), ("products", "owner", "", "@kernels")]
    again = await applied(policies, WIDE)
    assert (again.unchanged, again.policy.revision) == (True, 2)
    listed = await policies.ListPolicies(policy_service_pb2.ListPoliciesRequest(page_size=1))
    assert [(item.revision, item.current, item.text) for item in listed.policies] == [(2, True, "")]
    rest = await policies.ListPolicies(
        policy_service_pb2.ListPoliciesRequest(page_size=1, page_token=listed.next_page_token)
    )
    (old,) = rest.policies
    assert (old.revision, old.current, old.comment, old.created_by.name, old.rules) == (
        1,
        False,
        "products are quiet",
        "anonymous",
        1,
    )
    assert not rest.next_page_token
    kept = await policies.GetPolicy(policy_service_pb2.GetPolicyRequest(name="projects/default/policies/1"))
    assert kept.text == STRICT
    async with laboratory.database.transaction() as session:
        rows = (await session.scalars(select(Audit).where(Audit.action == "policy.applied").order_by(Audit.id))).all()
    assert [row.resource for row in rows] == ["projects/default/policies/1", "projects/default/policies/2"]


async def test_a_change_that_was_not_seen_is_not_overwritten(policies: "Policies") -> None:
    await applied(policies, STRICT)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await applied(policies, WIDE, expected_revision=0)
    assert (caught.value.code(), reason_of(caught.value)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        Reason.POLICY_CHANGED,
    )
    assert "revision 1 is in force, applied by anonymous" in (caught.value.details() or "")


async def test_a_dry_run_changes_nothing(policies: "Policies") -> None:
    answer = await applied(policies, STRICT, dry_run=True)
    assert (answer.policy.name, len(answer.changes)) == ("", 2)
    policy = await policies.GetPolicy(policy_service_pb2.GetPolicyRequest(name=CURRENT))
    assert policy.revision == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + "rules: [{name: a, minimum_effect: 2 %}]", "policy.yaml:3: rules[0].minimum_effect: no such key"),
        (HEAD + "project: other", "the file is for project 'other'"),
    ],
)
async def test_a_file_that_is_wrong_is_refused_with_its_place(policies: "Policies", text: str, says: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await applied(policies, text)
    assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_POLICY)
    assert says in (caught.value.details() or "")


async def test_a_difference_names_rules_and_warns_of_what_can_never_apply(policies: "Policies") -> None:
    await applied(policies, STRICT)
    hidden = STRICT.replace("]\n", ", {name: never, match: {benchmark: gemm, metric: time}, minimum-effect: 3 %}]\n")
    request = policy_service_pb2.DiffPolicyRequest(text=hidden, source="p.yaml")
    answer = await policies.DiffPolicy(request)
    assert {(change.rule, change.setting) for change in answer.changes} == {
        ("never", "match"),
        ("never", "minimum-effect"),
    }
    assert answer.warnings == [
        "p.yaml:3: never.minimum-effect: rule 'products' in line 3 always decides it; move this rule before that one"
    ]
    assert getattr(answer, "from").revision == 1


async def test_an_unknown_revision_is_not_found(policies: "Policies") -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await policies.GetPolicy(policy_service_pb2.GetPolicyRequest(name="projects/default/policies/7"))
    assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.NOT_FOUND, Reason.POLICY_NOT_FOUND)


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


async def test_a_trial_of_the_policy_in_force_finds_no_difference(policies: "Policies", laboratory: Laboratory) -> None:
    await laboratory.run()
    await laboratory.run(AT_ONCE, SLOW)
    await applied(policies, STRICT)
    _, report = await tried(policies, laboratory, STRICT)
    assert not report.findings
    assert report.current == report.candidate


async def test_a_trial_looks_only_at_its_time(policies: "Policies", laboratory: Laboratory) -> None:
    await laboratory.run()
    laboratory.clock.advance(10 * 86_400)
    _, report = await tried(policies, laboratory, STRICT, days=5)
    assert (report.runs, report.histories) == (0, 0)
