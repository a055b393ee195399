"""PolicyService: what counts as a change, as files that people review."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC

from tesserabench.analysis.rules import RuleSet
from tesserabench.collector.api import pages
from tesserabench.collector.api.actor import require_project
from tesserabench.collector.api.calls import Context
from tesserabench.collector.api.policy_translation import (
    change_message,
    policy_message,
    progress_message,
    report_message,
)
from tesserabench.collector.core import policies, policy_trials
from tesserabench.collector.core.judging import Judging
from tesserabench.collector.core.remarks import one_line
from tesserabench.collector.errors import invalid_field
from tesserabench.collector.store import policies as store
from tesserabench.collector.store import projects
from tesserabench.collector.store.projects import DEFAULT_PROJECT
from tesserabench.v1 import policy_service_pb2, policy_service_pb2_grpc
from tesserabench.wire.names import parse_policy


class PolicyService(policy_service_pb2_grpc.PolicyServiceServicer):
    """Serves people who decide what counts."""

    def __init__(self, judging: Judging) -> None:
        self._judging = judging
        self._database = judging.database
        self._clock = judging.clock

    async def ApplyPolicy(  # noqa: N802 - named by the contract
        self,
        request: policy_service_pb2.ApplyPolicyRequest,
        context: Context,  # noqa: ARG002
    ) -> policy_service_pb2.ApplyPolicyResponse:
        """Make a file the policy of its project."""
        project = request.project or DEFAULT_PROJECT
        actor = require_project(project)
        new = policies.NewPolicy(
            project=project,
            text=request.text,
            source=request.source,
            comment=one_line(request.comment),
            expected_revision=request.expected_revision if request.HasField("expected_revision") else None,
            dry_run=request.dry_run,
        )
        async with self._database.transaction() as session:
            applied = await policies.apply(session, new, actor=actor.name, now=self._clock())
            numbered = applied.unchanged or not request.dry_run
            message = policy_message(
                project, applied.row, current=applied.row.revision if numbered else None, text=False, number=numbered
            )
        return policy_service_pb2.ApplyPolicyResponse(
            policy=message,
            changes=map(change_message, applied.changes),
            unchanged=applied.unchanged,
            warnings=applied.warnings,
        )

    async def GetPolicy(  # noqa: N802 - named by the contract
        self,
        request: policy_service_pb2.GetPolicyRequest,
        context: Context,  # noqa: ARG002
    ) -> policy_service_pb2.Policy:
        """One revision."""
        name = parse_policy(request.name)
        require_project(name.project)
        async with self._database.transaction() as session:
            row, current = await policies.get(session, name.project, name.id)
            return policy_message(name.project, row, current=current)

    async def ListPolicies(  # noqa: N802 - named by the contract
        self,
        request: policy_service_pb2.ListPoliciesRequest,
        context: Context,  # noqa: ARG002
    ) -> policy_service_pb2.ListPoliciesResponse:
        """A project's revisions, newest first."""
        name = request.project or DEFAULT_PROJECT
        require_project(name)
        position = pages.position(request, [int])
        size = pages.size_of(request)
        before = int(position[0]) if position else None
        async with self._database.transaction() as session:
            project = await projects.find(session, name)
            found = await store.page(session, project.id, before=before, size=size + 1) if project else []
            newest = await store.current(session, project.id) if project else None
            rows, more = pages.cut(found, size)
            current = newest.revision if newest else None
            messages = [policy_message(name, row, current=current, text=False) for row in rows]
        token = pages.next_token(request, [rows[-1].revision]) if more else ""
        return policy_service_pb2.ListPoliciesResponse(policies=messages, next_page_token=token)

    async def DiffPolicy(  # noqa: N802 - named by the contract
        self,
        request: policy_service_pb2.DiffPolicyRequest,
        context: Context,  # noqa: ARG002
    ) -> policy_service_pb2.DiffPolicyResponse:
        """What changes from one revision to another, or to a file."""
        project = request.project or DEFAULT_PROJECT
        require_project(project)
        if bool(request.text) == request.HasField("to_revision"):
            raise invalid_field("text", request.text, "give either a file or to_revision")
        to = await _read(request, project) if request.text else None
        async with self._database.transaction() as session:
            found = await policies.difference(
                session,
                project,
                from_revision=request.from_revision if request.HasField("from_revision") else None,
                to=request.to_revision if to is None else to,
                source=request.source,
                now=self._clock(),
            )
            _, current = await policies.get(session, project, policies.CURRENT)
            message = policy_message(project, found.row, current=current)
        return policy_service_pb2.DiffPolicyResponse(
            changes=map(change_message, found.changes), warnings=found.warnings, **{"from": message}
        )

    async def TestPolicy(  # noqa: N802 - named by the contract
        self,
        request: policy_service_pb2.TestPolicyRequest,
        context: Context,  # noqa: ARG002
    ) -> AsyncIterator[policy_service_pb2.TestPolicyResponse]:
        """What a file would have said of the past: how far it is, then the report."""
        project = request.project or DEFAULT_PROJECT
        require_project(project)
        asked = policy_trials.Request(
            project=project,
            rules=await _read(request, project),
            since=request.since.ToDatetime(tzinfo=UTC),
            suite=request.suite,
        )
        async for step in policy_trials.try_out(self._judging, asked):
            if isinstance(step, policy_trials.Progress):
                yield policy_service_pb2.TestPolicyResponse(progress=progress_message(step))
            else:
                yield policy_service_pb2.TestPolicyResponse(report=report_message(step, asked.since))


async def _read(
    request: policy_service_pb2.DiffPolicyRequest | policy_service_pb2.TestPolicyRequest, project: str
) -> RuleSet:
    """The rules of a file in a request. In a thread: the largest files take more than a second."""
    return await asyncio.to_thread(policies.read, request.text, project=project, source=request.source)
