"""The collector as one thing that starts and stops: database, services, web side, and what it does by itself."""

import asyncio
import json
import os
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import text
from tesserabench.collector import systemd
from tesserabench.collector.api.interceptor import CallInterceptor
from tesserabench.collector.api.server import GrpcServer, TlsFiles
from tesserabench.collector.api.system_service import About
from tesserabench.collector.assembly import Clock, Parts, gauges, jobs, parts, services
from tesserabench.collector.core import metrics
from tesserabench.collector.core.tokens import Authenticator
from tesserabench.collector.core.version import VERSION
from tesserabench.collector.errors import DatabaseSetupError, UnavailableError
from tesserabench.collector.settings import Address, Settings
from tesserabench.collector.store import migrate
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.server import PgProvider
from tesserabench.collector.web import app as web
from tesserabench.collector.web import health, pages
from tesserabench.wire.reasons import Reason

ADDRESSES = "addresses.json"

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a running collector listens, as HOST:PORT."""

    grpc: str
    web: str


class Collector:
    """One replica. `start`, then `stop`; `failed` tells when something in it has broken for good."""

    def __init__(self, settings: Settings, *, clock: Clock = utc_now) -> None:
        self._settings = settings
        self._clock = clock
        dsn = settings.database_dsn.get_secret_value()
        self._provider = PgProvider(dsn=dsn, folder=settings.state_dir / "postgres")
        self._addresses: Addresses | None = None
        self._running: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def addresses(self) -> Addresses:
        """Where it listens; known once `start` has returned."""
        assert self._addresses is not None, "start it first"
        return self._addresses

    async def start(self) -> None:
        """Return once every service answers.

        Raises:
            DatabaseSetupError: there is no database to work with; the message says what to do.
            UnavailableError: the database does not answer.
            OSError: a port is taken or the state folder cannot be written.
        """
        ready = asyncio.Event()
        self._running = asyncio.create_task(self._run(ready), name="collector")
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait({self._running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self.stop()
            raise
        finally:
            waiting.cancel()
        if not ready.is_set():
            await self._running

    async def failed(self) -> None:
        """Return, or raise what broke it, when the collector has ended without being asked to."""
        assert self._running is not None, "start it first"
        await asyncio.wait({self._running})
        if not self._stopping.is_set():
            await self._running

    async def stop(self) -> None:
        """End in order: tell probes, let running calls end, stop the work, then the database if it is ours."""
        self._stopping.set()
        if self._running is not None:
            with suppress(asyncio.CancelledError):
                await self._running

    async def _run(self, ready: asyncio.Event) -> None:
        settings = self._settings
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        metrics.LIMIT.maximum = settings.max_series
        metrics.BUILD_INFO.labels(VERSION).set(1)
        dsn = await _unless(self._stopping, self._provider.start())
        if dsn is None:
            await self._provider.stop()
            return
        try:
            # Not before the database is ours: until then the file may be that of a collector that runs.
            (settings.state_dir / ADDRESSES).unlink(missing_ok=True)
            revision = await asyncio.to_thread(_migrated, dsn, migrating=settings.migrate_on_start)
            database = Database(dsn, pool_size=settings.database_pool_size)
            try:
                await self._serve(parts(settings, self._clock, database), revision, ready)
            finally:
                await database.close()
        finally:
            await self._provider.stop()
            _log.info("collector.stopped")

    async def _serve(self, of: Parts, revision: str, ready: asyncio.Event) -> None:
        settings = self._settings
        checks: dict[str, health.Check] = {"database": of.database.ping}
        web_server = web.WebServer(
            web.build([*health.routes(of.pulse, checks), *pages.routes(of.database, of.clock)]), settings.web_address
        )
        web_address = str(Address(settings.web_address.host, web_server.bind()))
        about = About(web_url=settings.web_url or f"http://{web_address}", database_revision=revision)
        grpc_server = self._grpc_server(of, about)
        grpc_port = await grpc_server.start()
        checks["schema"] = _schema_check(of.database, revision)
        checks["grpc"] = _serving_check(grpc_server)
        checks["ingest"] = of.ingest.delay.check
        self._addresses = Addresses(grpc=str(Address(settings.grpc_address.host, grpc_port)), web=web_address)
        # A first scrape without the open regressions would end their alerts.
        with suppress(UnavailableError):
            await gauges(of).step()
        try:
            async with asyncio.TaskGroup() as group:
                supervising = group.create_task(self._provider.supervise(), name="postgres")
                tasks = [supervising, *(group.create_task(job, name=name) for name, job in jobs(of).items())]
                serving = group.create_task(web_server.run(), name="web")
                self._announce(self._addresses)
                ready.set()
                await self._stopping.wait()
                await self._wind_down(grpc_server, of)
                web_server.stop()
                await serving
                for task in tasks:
                    task.cancel()
        finally:
            await grpc_server.stop(0)
            await of.pool.close()
            (settings.state_dir / ADDRESSES).unlink(missing_ok=True)

    def _announce(self, addresses: Addresses) -> None:
        _write_addresses(self._settings.state_dir / ADDRESSES, addresses)
        systemd.notify("READY=1", f"STATUS=gRPC on {addresses.grpc}, pages on http://{addresses.web}/")
        _log.info("collector.started", grpc=addresses.grpc, web=addresses.web, version=VERSION)

    async def _wind_down(self, grpc_server: GrpcServer, of: Parts) -> None:
        systemd.notify("STOPPING=1")
        _log.info("collector.stopping")
        await grpc_server.drain()
        of.wakeups.close()
        await grpc_server.stop(self._settings.stop_seconds)

    def _grpc_server(self, of: Parts, about: About) -> GrpcServer:
        settings = self._settings
        authenticator = Authenticator(of.database, required=settings.auth.mode == "token")
        tls = None
        if settings.tls.cert is not None and settings.tls.key is not None:
            tls = TlsFiles(cert=settings.tls.cert, key=settings.tls.key)
        interceptor = CallInterceptor(authenticator)
        return GrpcServer(services(of, about), interceptor, listen=str(settings.grpc_address), tls=tls)


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, _T]) -> _T | None:
    """What the work gives; none, and the work is cancelled, when the event comes first."""
    doing = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        return None
    finally:
        for task in (doing, waiting):
            task.cancel()
        await asyncio.gather(doing, waiting, return_exceptions=True)


def _migrated(dsn: str, *, migrating: bool) -> str:
    """The schema's revision, which is the one that this release works with."""
    if migrating:
        return migrate.upgrade(dsn)
    revision = migrate.current(dsn)
    if revision != migrate.head():
        raise DatabaseSetupError(
            f"the database's schema is at {revision or 'nothing'}, and this release needs {migrate.head()}; "
            "run `tesserabench-collector migrate`, or set migrate_on_start = true"
        )
    return migrate.head()


def _schema_check(database: Database, revision: str) -> health.Check:
    async def check() -> None:
        async with database.transaction() as session:
            found = await session.scalar(text("SELECT version_num FROM alembic_version"))
        if found != revision:
            message = f"the schema is at {found}, and this replica works with {revision}; run the newer release"
            raise UnavailableError(message, reason=Reason.DATABASE_UNAVAILABLE)

    return check


def _serving_check(server: GrpcServer) -> health.Check:
    async def check() -> None:
        if not server.serving:
            raise UnavailableError("the gRPC services are stopping", reason=Reason.DATABASE_UNAVAILABLE)

    return check


def _write_addresses(path: Path, addresses: Addresses) -> None:
    """Write the file in one step, so that nobody reads half of it."""
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps({"grpc": addresses.grpc, "web": addresses.web, "pid": os.getpid()}) + "\n")
    beside.replace(path)
