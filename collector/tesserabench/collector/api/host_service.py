"""HostService: the fleet and the suites that it can run."""

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.attribution.siblings import standings
from tesserabench.collector.api import pages
from tesserabench.collector.api.actor import current_actor, require_all_projects, require_project
from tesserabench.collector.api.calls import Context
from tesserabench.collector.api.device_translation import device_comparison, noise_entry
from tesserabench.collector.api.enums import number, word
from tesserabench.collector.api.translation import from_json, timestamp
from tesserabench.collector.core import hosts, noise_ranking, siblings, suites
from tesserabench.collector.core.hosts import HostView
from tesserabench.collector.core.judging import Offload
from tesserabench.collector.core.selectors import mismatches, parse_conditions
from tesserabench.collector.core.suites import KnownSuite
from tesserabench.collector.errors import NotFoundError
from tesserabench.collector.store import hosts as store
from tesserabench.collector.store import regressions as finding_store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.tables import Regression
from tesserabench.v1 import host_pb2, host_service_pb2, host_service_pb2_grpc, measurement_pb2
from tesserabench.wire.names import AttemptName, host_name, parse_host, parse_suite, regression_name, suite_name
from tesserabench.wire.reasons import Reason

_USUAL_LIMIT = 50


class HostService(host_service_pb2_grpc.HostServiceServicer):
    """Serves people who look after machines."""

    def __init__(self, database: Database, clock: Callable[[], datetime], offload: Offload) -> None:
        self._database = database
        self._clock = clock
        self._offload = offload

    async def ListHosts(  # noqa: N802 - named by the contract
        self,
        request: host_service_pb2.ListHostsRequest,
        context: Context,  # noqa: ARG002
    ) -> host_service_pb2.ListHostsResponse:
        """Hosts by name."""
        conditions = parse_conditions(request.conditions, field="conditions")
        state = word(host_pb2.HostState, request.state)
        position = pages.position(request, [str])
        after = str(position[0]) if position else ""
        async with self._database.transaction() as session:
            views = await hosts.views(session, self._clock())
        matching = [
            view
            for view in views
            if view.host.name > after
            and state in {"", view.state}
            and not mismatches(conditions, hosts.attributes(view.host))
        ]
        rows, more = pages.cut(matching, pages.size_of(request))
        token = pages.next_token(request, [rows[-1].host.name]) if more else ""
        return host_service_pb2.ListHostsResponse(hosts=map(_message, rows), next_page_token=token)

    async def GetHost(  # noqa: N802 - named by the contract
        self,
        request: host_service_pb2.GetHostRequest,
        context: Context,  # noqa: ARG002
    ) -> host_pb2.Host:
        """One host."""
        async with self._database.transaction() as session:
            view = await hosts.view(session, parse_host(request.name), self._clock())
            found = await _seen(session, await siblings.known_slow(session, hosts.device_indices([view.host])))
        message = _message(view)
        message.findings.extend(
            host_pb2.HostFinding(name=regression_name(row.id), summary=row.summary) for row in found.values()
        )
        return message

    async def CordonHost(  # noqa: N802 - named by the contract
        self,
        request: host_service_pb2.CordonHostRequest,
        context: Context,  # noqa: ARG002
    ) -> host_pb2.Host:
        """Keep a host out of use."""
        return await self._cordon(parse_host(request.name), cordoned=True, reason=request.reason)

    async def UncordonHost(  # noqa: N802 - named by the contract
        self,
        request: host_service_pb2.UncordonHostRequest,
        context: Context,  # noqa: ARG002
    ) -> host_pb2.Host:
        """Put a host back into use."""
        return await self._cordon(parse_host(request.name), cordoned=False, reason="")

    async def _cordon(self, name: str, *, cordoned: bool, reason: str) -> host_pb2.Host:
        actor = require_all_projects(f"every project may use host {name!r}")
        async with self._database.transaction() as session:
            await hosts.cordon(session, name, cordoned=cordoned, reason=reason, actor=actor.name)
            return _message(await hosts.view(session, name, self._clock()))

    async def ListSuites(  # noqa: N802 - named by the contract
        self,
        request: host_service_pb2.ListSuitesRequest,  # noqa: ARG002
        context: Context,  # noqa: ARG002
    ) -> host_service_pb2.ListSuitesResponse:
        """Suites that the hosts of the fleet can run."""
        known = await self._suites()
        return host_service_pb2.ListSuitesResponse(suites=map(_suite, known.values()))

    async def GetSuite(  # noqa: N802 - named by the contract
        self,
        request: host_service_pb2.GetSuiteRequest,
        context: Context,  # noqa: ARG002
    ) -> host_service_pb2.Suite:
        """One suite."""
        name = parse_suite(request.name)
        known = await self._suites()
        if name not in known:
            message = f"{suite_name(name)} is on no host of the fleet; {suites.near(name, known, 'known suites')}"
            raise NotFoundError(message, reason=Reason.SUITE_NOT_FOUND)
        return _suite(known[name])

    async def CompareDevices(  # noqa: N802 - named by the contract
        self,
        request: host_service_pb2.CompareDevicesRequest,
        context: Context,  # noqa: ARG002
    ) -> host_service_pb2.CompareDevicesResponse:
        """Devices against others of their model, by all that was measured, or what the caller's project measured."""
        project = current_actor().project
        async with self._database.transaction() as session:
            read = await siblings.read(
                session, self._clock(), model=request.model, suite=request.suite, project=project
            )
            findings = await _seen(session, await siblings.known_slow(session, {one.device for one in read.readings}))
            known = await store.all_hosts(session)
        cordoned = {host.name for host in known if host.cordoned}
        indices = hosts.device_indices(known)
        found = await self._offload(standings, read.readings)
        return host_service_pb2.CompareDevicesResponse(
            comparisons=[device_comparison(one, cordoned=cordoned, findings=findings, indices=indices) for one in found]
        )

    async def RankNoise(  # noqa: N802 - named by the contract
        self,
        request: host_service_pb2.RankNoiseRequest,
        context: Context,  # noqa: ARG002
    ) -> host_service_pb2.RankNoiseResponse:
        """Where noise comes from."""
        host = parse_host(request.host) if request.host else ""
        project = request.project or current_actor().project
        require_project(project)
        wanted = noise_ranking.Wanted(project=project, suite=request.suite, host=host)
        async with self._database.transaction() as session:
            noisy = await noise_ranking.read(session, wanted, self._clock())
        shares = await self._offload(noise_ranking.all_shares, [one.samples for one in noisy])
        ranked = sorted(zip(noisy, shares, strict=True), key=lambda pair: -pair[1].relative_deviation)
        entries = [noise_entry(one, share) for one, share in ranked[: request.limit or _USUAL_LIMIT]]
        return host_service_pb2.RankNoiseResponse(entries=entries)

    async def _suites(self) -> dict[str, KnownSuite]:
        async with self._database.transaction() as session:
            return suites.catalogue(await store.all_hosts(session))


async def _seen(session: AsyncSession, found: Mapping[str, Regression]) -> dict[str, Regression]:
    """Those of some findings, by device, that the caller may see."""
    project = current_actor().project
    if not project or not found:
        return dict(found)
    seen = await finding_store.may_see(session, [row.id for row in found.values()], project)
    return {device: row for device, row in found.items() if row.id in seen}


def _message(view: HostView) -> host_pb2.Host:
    host, held = view.host, view.held
    devices = {uuid: from_json(state, measurement_pb2.DeviceState()) for uuid, state in host.devices.items()}
    return host_pb2.Host(
        name=host_name(host.name),
        state=number(host_pb2.HostState, view.state),
        cordoned=host.cordoned,
        cordon_reason=host.cordon_reason,
        unready_reason=host.unready_reason or ("the agent is shutting down" if host.draining else ""),
        inventory=from_json(host.inventory, host_pb2.Inventory()),
        agent_version=host.agent_version,
        last_seen_time=timestamp(host.last_seen_at),
        current_attempt=str(AttemptName(run=held.run_id, attempt=held.attempt_id)) if held else "",
        clock_offset_seconds=host.clock_offset_seconds,
        devices=devices,
        spool_pending_bytes=host.spool_pending_bytes,
    )


def _suite(suite: KnownSuite) -> host_service_pb2.Suite:
    return host_service_pb2.Suite(
        name=suite_name(suite.name), info=from_json(suite.info, host_pb2.SuiteInfo()), hosts=suite.hosts
    )
