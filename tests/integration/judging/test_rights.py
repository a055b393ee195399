"""Who may do what about findings, policies, histories and devices: every call and role, by real tokens."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import pytest_asyncio
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from support.histories import measure, take_in
from support.judging_services import served
from support.laboratory import Conditions, Laboratory, branch
from support.statuses import reason_of
from tesserabench.collector.core import policies, regressions, siblings, tokens
from tesserabench.collector.core.policies import NewPolicy
from tesserabench.collector.core.regressions import NewFinding, Subject
from tesserabench.collector.store import projects
from tesserabench.collector.store import series as series_store
from tesserabench.collector.store.series import SeriesFacts
from tesserabench.collector.store.tables import Regression, RegressionMember
from tesserabench.collector.store.words import FindingKind, Severity
from tesserabench.v1 import (
    history_service_pb2,
    host_service_pb2,
    policy_service_pb2,
    regression_service_pb2,
)
from tesserabench.v1 import regression_service_pb2 as pb
from tesserabench.wire.reasons import Reason

ELSEWHERE = "atlantis"
SECRET = b"atlantis"
POLICY = "apiVersion: tesserabench/v1\nkind: Policy\ndefaults: {owner: somebody}\n"
ROLES = ("viewer", "runner", "admin")
DENIED = grpc.StatusCode.PERMISSION_DENIED
MISSING = grpc.StatusCode.NOT_FOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a call is about."""

    project: str
    finding: int = 1
    series: int = 1
    since: Timestamp

    @property
    def regression(self) -> str:
        return f"regressions/{self.finding}"


@dataclass(frozen=True, slots=True)
class Right:
    """A call, the least role that may make it, and how it refuses what is another project's."""

    role: str
    request: Callable[[Place], Message]
    elsewhere: grpc.StatusCode = DENIED


def _answer(make: Callable[..., Message], **fields: Any) -> Right:
    return Right("runner", lambda place: make(name=place.regression, comment="so it is", **fields), MISSING)


def _policy(make: Callable[..., Message], **fields: Any) -> Callable[[Place], Message]:
    return lambda place: make(project=place.project, text=POLICY, **fields)


CALLS = {
    "RegressionService/ListRegressions": Right("viewer", lambda at: pb.ListRegressionsRequest(project=at.project)),
    "RegressionService/GetRegression": Right("viewer", lambda at: pb.GetRegressionRequest(name=at.regression), MISSING),
    "RegressionService/GetDetectorScore": Right("viewer", lambda at: pb.GetDetectorScoreRequest(project=at.project)),
    "RegressionService/AcknowledgeRegression": _answer(pb.AcknowledgeRegressionRequest),
    "RegressionService/AssignRegression": _answer(pb.AssignRegressionRequest, owner="ann"),
    "RegressionService/CommentRegression": _answer(pb.CommentRegressionRequest),
    "RegressionService/GiveRegressionFeedback": _answer(pb.GiveRegressionFeedbackRequest, right=True),
    "RegressionService/IgnoreRegression": _answer(pb.IgnoreRegressionRequest),
    "RegressionService/ReopenRegression": _answer(pb.ReopenRegressionRequest),
    "RegressionService/ResolveRegression": _answer(pb.ResolveRegressionRequest),
    "RegressionService/AcceptRegression": _answer(pb.AcceptRegressionRequest),
    "PolicyService/ApplyPolicy": Right("admin", _policy(policy_service_pb2.ApplyPolicyRequest)),
    "PolicyService/GetPolicy": Right(
        "viewer", lambda at: policy_service_pb2.GetPolicyRequest(name=f"projects/{at.project}/policies/current")
    ),
    "PolicyService/ListPolicies": Right(
        "viewer", lambda at: policy_service_pb2.ListPoliciesRequest(project=at.project)
    ),
    "PolicyService/DiffPolicy": Right("viewer", _policy(policy_service_pb2.DiffPolicyRequest)),
    "PolicyService/TestPolicy": Right(
        "viewer",
        lambda at: policy_service_pb2.TestPolicyRequest(project=at.project, text=POLICY, since=at.since),
    ),
    "HistoryService/ListSeries": Right("viewer", lambda at: history_service_pb2.ListSeriesRequest(project=at.project)),
    "HistoryService/GetHistory": Right(
        "viewer", lambda at: history_service_pb2.GetHistoryRequest(name=f"series/{at.series}"), MISSING
    ),
    "HostService/CompareDevices": Right(
        "viewer", lambda _: host_service_pb2.CompareDevicesRequest(), grpc.StatusCode.OK
    ),
    "HostService/RankNoise": Right("viewer", lambda at: host_service_pb2.RankNoiseRequest(project=at.project)),
}
STREAMS = {"PolicyService/TestPolicy"}


def test_no_call_about_findings_policies_and_histories_is_left_out() -> None:
    modules = (regression_service_pb2, policy_service_pb2, history_service_pb2)
    named = {
        f"{service.name}/{method.name}"
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert named == {name for name in CALLS if not name.startswith("HostService/")}


@dataclass(frozen=True, slots=True)
class Said:
    """How a call ended."""

    code: grpc.StatusCode
    reason: str | None
    text: bytes
    """The answers as they came over the wire, or why there are none."""


class Caller:
    """Makes calls with one token."""

    def __init__(self, channel: grpc.aio.Channel, secret: str) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {secret}"),) if secret else ()

    async def __call__(self, name: str, request: Message) -> Said:
        path = f"/tesserabench.v1.{name}"
        kind = self._channel.unary_stream if name in STREAMS else self._channel.unary_unary
        method: Any = kind(path, request_serializer=type(request).SerializeToString)
        call = method(request, metadata=self._metadata, timeout=60)
        try:
            answers = [answer async for answer in call] if name in STREAMS else [await call]
        except grpc.aio.AioRpcError as error:
            return Said(error.code(), reason_of(error), (error.details() or "").encode())
        return Said(grpc.StatusCode.OK, None, b"".join(answers))


@dataclass(frozen=True, slots=True)
class Scene:
    """Two projects, and callers by role and project; empty names are of nobody and of everything."""

    callers: dict[tuple[str, str], Caller]
    here: Place
    elsewhere: Place
    touching: int
    apart: int


@pytest_asyncio.fixture
async def scene(laboratory: Laboratory) -> AsyncIterator[Scene]:
    slow = Conditions(factors={"gemm[n=512]": 1.10})
    await laboratory.run(branch("main"))
    await laboratory.confirm(await laboratory.run(branch("main"), slow), slow)
    await measure(laboratory, [1.0] * 3)
    await take_in(laboratory)
    since = Timestamp()
    since.FromDatetime(laboratory.clock() - timedelta(days=1))
    elsewhere, touching, apart = await _elsewhere(laboratory, since)
    secrets = {("", ""): ""}
    async with laboratory.database.transaction() as session:
        for role in (*ROLES, "agent:node-1"):
            for project in ("", "default", ELSEWHERE):
                name = f"{role} of {project or 'everything'}"
                secrets[role, project] = await tokens.create(
                    session, name=name, role=role, project=project, actor="tester"
                )
    async with served(laboratory, with_tokens=True) as stubs, grpc.aio.insecure_channel(stubs.address) as channel:
        callers = {key: Caller(channel, secret) for key, secret in secrets.items()}
        yield Scene(callers, Place(project="default", since=since), elsewhere, touching, apart)


async def _elsewhere(laboratory: Laboratory, since: Timestamp) -> tuple[Place, int, int]:
    """Another project with a policy, a series, a finding of it, and findings of devices."""
    async with laboratory.database.transaction() as session:
        here = await projects.get_or_create(session, "default")
        project = await projects.get_or_create(session, ELSEWHERE)
        await policies.apply(session, NewPolicy(project=ELSEWHERE, text=POLICY), actor="ann", now=laboratory.clock())
        key = (project.id, "atlantis[n=1]", "cold", "time", "Simulated 1", "")
        facts = SeriesFacts(suite="core", benchmark="atlantis", parameters={}, unit="ns", better="lower", primary=True)
        series = (await series_store.get_or_create(session, {key: facts}))[key]
        row = Regression(
            project_id=project.id, series_id=series.id, state="confirmed", severity="major", change=0.1, evidence={}
        )
        session.add(row)
        await session.flush()
        session.add(
            RegressionMember(regression_id=row.id, series_id=series.id, change=0.1, severity="major", evidence={})
        )
        found = []
        for device, touches in (("GPU-here", [here.id, project.id]), ("GPU-there", [project.id])):
            new = NewFinding(
                subject=Subject(project_id=project.id, kind=FindingKind.SLOW_DEVICE, id=siblings.subject_of(device)),
                summary=f"Device {device} is 8 % slower than its siblings.",
                severity=Severity.MAJOR,
                change=0.08,
                device_key="Simulated 1",
                attribution={"cause": "CAUSE_KIND_HOST", "evidence": ["seen in atlantis[n=1]"]},
                owner="atlantis-team",
                touches=touches,
            )
            found.append((await regressions.open_finding(session, new, now=laboratory.clock())).id)
    return Place(project=ELSEWHERE, finding=row.id, series=series.id, since=since), found[0], found[1]


async def test_each_call_takes_its_role_and_nobody_reaches_into_another_project(scene: Scene) -> None:
    for name, right in CALLS.items():
        request = right.request(scene.here)
        assert (await scene.callers["", ""](name, request)).code is grpc.StatusCode.UNAUTHENTICATED, name
        enough = ROLES[ROLES.index(right.role) :]
        for role in (*ROLES, "agent:node-1"):
            for project in ("", "default"):
                said = await scene.callers[role, project](name, request)
                if role in enough:
                    # What has been answered already cannot be answered once more.
                    assert said.code in {grpc.StatusCode.OK, grpc.StatusCode.FAILED_PRECONDITION}, (name, role, said)
                else:
                    assert (said.code, said.reason) == (DENIED, Reason.ROLE_MISSING), (name, role)
                if project:
                    assert SECRET not in said.text, (name, role)
            said = await scene.callers[role, "default"](name, right.request(scene.elsewhere))
            assert said.code is (right.elsewhere if role in enough else DENIED), (name, role, said)
            if right.elsewhere is not DENIED:
                # What the caller did not say itself is not told.
                assert SECRET not in said.text, (name, role)


async def test_what_is_another_projects_is_told_apart_from_nothing_by_nobody(scene: Scene) -> None:
    viewer, runner = scene.callers["viewer", "default"], scene.callers["runner", "default"]
    get = "RegressionService/GetRegression"
    for number in (scene.elsewhere.finding, scene.apart, 99):
        said = await viewer(get, pb.GetRegressionRequest(name=f"regressions/{number}"))
        expected = f"regressions/{number} does not exist; list the regressions to find its name"
        assert (said.code, said.reason, said.text.decode()) == (MISSING, Reason.REGRESSION_NOT_FOUND, expected)
        duplicate = pb.ResolveRegressionRequest(
            name="regressions/1", resolution=pb.RESOLUTION_DUPLICATE, duplicate_of=f"regressions/{number}"
        )
        said = await runner("RegressionService/ResolveRegression", duplicate)
        assert said.text.decode().endswith("is no finding of this project; list the regressions to find its name")


async def test_a_finding_about_a_device_is_seen_where_it_touches_and_answered_by_operators(scene: Scene) -> None:
    viewer = scene.callers["viewer", "default"]
    listed = pb.ListRegressionsResponse.FromString(
        (await viewer("RegressionService/ListRegressions", pb.ListRegressionsRequest())).text
    )
    assert [item.name for item in listed.regressions] == ["regressions/1", f"regressions/{scene.touching}"]
    name = f"regressions/{scene.touching}"
    said = await viewer("RegressionService/GetRegression", pb.GetRegressionRequest(name=name))
    assert SECRET not in said.text
    found = pb.Regression.FromString(said.text)
    assert (found.summary, found.subject) == ("Device GPU-here is 8 % slower than its siblings.", "devices/GPU-here")
    assert (found.project, list(found.events), list(found.members), found.owner) == ("", [], [], "")
    acknowledge = pb.AcknowledgeRegressionRequest(name=name, comment="mine")
    for project, says in (("default", "token 'admin of default' is for project 'default'"), (ELSEWHERE, "ask whoever")):
        said = await scene.callers["admin", project]("RegressionService/AcknowledgeRegression", acknowledge)
        assert (said.code, said.reason) == (DENIED, Reason.ROLE_MISSING)
        assert says in said.text.decode()
    said = await scene.callers["runner", ""]("RegressionService/AcknowledgeRegression", acknowledge)
    assert said.code is grpc.StatusCode.OK


async def test_a_host_is_taken_out_of_use_by_who_looks_after_all_projects(scene: Scene) -> None:
    cordon = host_service_pb2.CordonHostRequest(name="hosts/node-1", reason="its fan")
    uncordon = host_service_pb2.UncordonHostRequest(name="hosts/node-1")
    for name, request in (("HostService/CordonHost", cordon), ("HostService/UncordonHost", uncordon)):
        for role, project, code in (
            ("admin", "", grpc.StatusCode.OK),
            ("admin", "default", DENIED),
            ("runner", "", DENIED),
            ("viewer", "", DENIED),
        ):
            assert (await scene.callers[role, project](name, request)).code is code, (name, role, project)


async def test_devices_are_compared_by_what_the_callers_project_measured(scene: Scene, laboratory: Laboratory) -> None:
    async with laboratory.database.transaction() as session:
        everything = await siblings.read(session, laboratory.clock())
        here = await siblings.read(session, laboratory.clock(), project="default")
        for project in (ELSEWHERE, "unheard-of"):
            assert (await siblings.read(session, laboratory.clock(), project=project)).readings == ()
    assert here.readings == everything.readings != ()
