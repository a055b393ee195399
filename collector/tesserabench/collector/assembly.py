"""Which parts a collector is made of: the services on its gRPC port and the work that it does by itself."""

import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tesserabench.analysis.policy import Policy
from tesserabench.collector import systemd
from tesserabench.collector.api.agent_service import AgentService
from tesserabench.collector.api.baseline_service import BaselineService
from tesserabench.collector.api.history_service import HistoryService
from tesserabench.collector.api.host_service import HostService
from tesserabench.collector.api.ingest_service import IngestService
from tesserabench.collector.api.policy_service import PolicyService
from tesserabench.collector.api.regression_service import RegressionService
from tesserabench.collector.api.rendezvous_service import RendezvousService
from tesserabench.collector.api.result_service import ResultService
from tesserabench.collector.api.run_service import RunService
from tesserabench.collector.api.schedule_service import ScheduleService
from tesserabench.collector.api.server import Service
from tesserabench.collector.api.system_service import About, SystemService
from tesserabench.collector.core import fleet, missing_data, regression_gauges, score_gauges
from tesserabench.collector.core.attempts import Patience
from tesserabench.collector.core.finding_causes import Asking
from tesserabench.collector.core.ingest import Ingest
from tesserabench.collector.core.judging import Judging
from tesserabench.collector.core.looks import Patience as LookPatience
from tesserabench.collector.core.pace import Pacer
from tesserabench.collector.core.wakeups import Wakeups
from tesserabench.collector.core.watching import Watching
from tesserabench.collector.settings import Settings
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.partitions import ensure_partitions
from tesserabench.collector.web.health import Pulse
from tesserabench.collector.work.analysis_pool import AnalysisPool, analysis_processes
from tesserabench.collector.work.causes import CauseFinder
from tesserabench.collector.work.detection import Detector
from tesserabench.collector.work.detection import Pace as DetectorPace
from tesserabench.collector.work.gauges import Gauges
from tesserabench.collector.work.history import Historian
from tesserabench.collector.work.leases import LeaseKeeper
from tesserabench.collector.work.rounds import repeat
from tesserabench.collector.work.schedules import Scheduler
from tesserabench.collector.work.siblings import SiblingCheck
from tesserabench.collector.work.woken import Rhythm
from tesserabench.v1 import (
    agent_service_pb2_grpc,
    baseline_service_pb2_grpc,
    history_service_pb2_grpc,
    host_service_pb2_grpc,
    ingest_service_pb2_grpc,
    policy_service_pb2_grpc,
    regression_service_pb2_grpc,
    rendezvous_service_pb2_grpc,
    result_service_pb2_grpc,
    run_service_pb2_grpc,
    schedule_service_pb2_grpc,
    system_service_pb2_grpc,
)

_SCHEDULE_CHECK_SECONDS = 1.0
_PARTITION_CHECK_SECONDS = 6 * 3600.0
_MISSING_CHECK_SECONDS = 60.0

Clock = Callable[[], datetime]
Work = Coroutine[Any, Any, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What services and work share."""

    settings: Settings
    clock: Clock
    database: Database
    wakeups: Wakeups
    ingest: Ingest
    judging: Judging
    watching: Watching
    pool: AnalysisPool
    pulse: Pulse


def parts(settings: Settings, clock: Clock, database: Database) -> Parts:
    """The shared parts around a database; nothing runs yet."""
    pool = AnalysisPool(settings.detection.processes or analysis_processes(os.cpu_count() or 1))
    return Parts(
        settings=settings,
        clock=clock,
        database=database,
        wakeups=Wakeups(database),
        ingest=Ingest(database, clock),
        judging=_judging(settings, clock, database, pool),
        watching=Watching(database=database, offload=pool, clock=clock, policy=_usual_policy(settings)),
        pool=pool,
        pulse=Pulse(),
    )


def _judging(settings: Settings, clock: Clock, database: Database, pool: AnalysisPool) -> Judging:
    told = settings.detection
    return Judging(
        database=database,
        offload=pool,
        clock=clock,
        policy=_usual_policy(settings),
        patience=LookPatience(deadline_seconds=told.confirm_start_seconds, limit_seconds=told.confirm_limit_seconds),
    )


def _usual_policy(settings: Settings) -> Policy:
    told = settings.detection
    return Policy(minor=told.minor, major=told.major, critical=told.critical)


def services(of: Parts, about: About) -> list[Service]:
    """Every service of the gRPC port."""
    pace = of.settings.fleet
    terms = fleet.Terms(pacer=Pacer(pace.heartbeat_seconds, pace.lease_seconds), offer_seconds=pace.offer_seconds)
    return [
        Service(
            name="tesserabench.v1.AgentService",
            servicer=AgentService(of.database, of.wakeups, terms, of.clock),
            add=agent_service_pb2_grpc.add_AgentServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.IngestService",
            servicer=IngestService(of.ingest),
            add=ingest_service_pb2_grpc.add_IngestServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.RendezvousService",
            servicer=RendezvousService(of.database, of.wakeups, of.clock),
            add=rendezvous_service_pb2_grpc.add_RendezvousServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.RunService",
            servicer=RunService(of.database, of.wakeups, of.clock),
            add=run_service_pb2_grpc.add_RunServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.ResultService",
            servicer=ResultService(of.judging),
            add=result_service_pb2_grpc.add_ResultServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.RegressionService",
            servicer=RegressionService(of.database, of.clock),
            add=regression_service_pb2_grpc.add_RegressionServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.BaselineService",
            servicer=BaselineService(of.database, of.clock),
            add=baseline_service_pb2_grpc.add_BaselineServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.HistoryService",
            servicer=HistoryService(of.database),
            add=history_service_pb2_grpc.add_HistoryServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.HostService",
            servicer=HostService(of.database, of.clock, of.pool),
            add=host_service_pb2_grpc.add_HostServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.PolicyService",
            servicer=PolicyService(of.judging),
            add=policy_service_pb2_grpc.add_PolicyServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.ScheduleService",
            servicer=ScheduleService(of.database, of.clock),
            add=schedule_service_pb2_grpc.add_ScheduleServiceServicer_to_server,
        ),
        Service(
            name="tesserabench.v1.SystemService",
            servicer=SystemService(about, of.clock),
            add=system_service_pb2_grpc.add_SystemServiceServicer_to_server,
        ),
    ]


def gauges(of: Parts) -> Gauges:
    """What keeps the gauges that stand in the database up to date."""
    return Gauges(of.database, of.clock, [regression_gauges.refresh, score_gauges.refresh, missing_data.refresh])


def jobs(of: Parts) -> dict[str, Work]:
    """What runs as long as the collector does, by name."""
    settings = of.settings
    patience = Patience(
        lost_after_seconds=settings.fleet.lost_after_seconds,
        orphan_grace_seconds=settings.fleet.orphan_grace_seconds,
    )
    keeper = LeaseKeeper(of.database, patience, of.clock)
    scheduler = Scheduler(of.database, of.clock)
    finder = CauseFinder(Asking(database=of.database, offload=of.pool, clock=of.clock))
    check = SiblingCheck(of.database, of.pool, of.clock, of.judging.policy)
    return {
        "wakeups": of.wakeups.run(),
        "ingest": of.ingest.run(),
        "detector": Detector(of.judging, DetectorPace(check_seconds=settings.detection.check_seconds)).run(),
        "missing data": repeat("missing data", _MISSING_CHECK_SECONDS, _missing_step(of)),
        "historian": Historian(of.watching, Rhythm(check_seconds=settings.detection.check_seconds)).run(),
        "pulse": of.pulse.run(),
        "watchdog": systemd.watchdog(),
        "leases": repeat("leases", settings.fleet.check_seconds, keeper.step),
        "schedules": repeat("schedules", _SCHEDULE_CHECK_SECONDS, scheduler.step),
        "gauges": repeat("gauges", settings.metrics_refresh_seconds, gauges(of).step),
        "siblings": repeat("siblings", settings.fleet.siblings_seconds, check.step),
        "causes": repeat("causes", settings.detection.check_seconds, finder.step),
        "partitions": repeat("partitions", _PARTITION_CHECK_SECONDS, _partitions_step(of.database, of.clock)),
    }


def _missing_step(of: Parts) -> Callable[[], Work]:
    async def step() -> None:
        await missing_data.look(of.database, _usual_policy(of.settings), of.clock())

    return step


def _partitions_step(database: Database, clock: Clock) -> Callable[[], Work]:
    async def step() -> None:
        async with database.transaction() as session:
            await ensure_partitions(session, clock().date())

    return step
