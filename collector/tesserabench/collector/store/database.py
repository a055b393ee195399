"""The way to PostgreSQL: sessions for queries, connections for bulk writes, notifications that survive."""

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from psycopg import conninfo, sql
from sqlalchemy import exc, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from tesserabench.collector.errors import UnavailableError
from tesserabench.wire.reasons import Reason

DriverConnection = psycopg.AsyncConnection[tuple[Any, ...]]

EVERYTHING = "*"
"""Payload of a notification that stands for any number of missed ones."""

_CONNECT_TIMEOUT_SECONDS = 5
_POOL_TIMEOUT_SECONDS = 10
_PING_TIMEOUT_SECONDS = 3
_LISTEN_CHECK_SECONDS = 30
_FIRST_RETRY_SECONDS = 0.1
_LAST_RETRY_SECONDS = 5.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """Something that another session told. `payload` is `EVERYTHING` after a lost connection came back."""

    channel: str
    payload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """How many connections of the pool are lent out and how many wait."""

    in_use: int
    idle: int


class Database:
    """One PostgreSQL database. Belongs to the event loop that it is first used in."""

    def __init__(self, dsn: str, *, pool_size: int = 10) -> None:
        """Connect to nothing yet.

        Args:
            dsn: a libpq connection string or URL.
            pool_size: connections that are kept open; half as many again are opened under load.
        """
        self._parameters = connection_parameters(dsn)
        self._engine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=self._connect,
            pool_size=pool_size,
            max_overflow=(pool_size + 1) // 2,
            pool_timeout=_POOL_TIMEOUT_SECONDS,
            # One round trip a checkout, so that a restart of the server costs nobody a failed request.
            pool_pre_ping=True,
        )
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)

    async def _connect(self) -> DriverConnection:
        return await psycopg.AsyncConnection.connect(**self._parameters)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session whose transaction is committed at the end of the block, and rolled back by an exception.

        Raises:
            UnavailableError: the server cannot be reached, or broke off.
        """
        with translated_errors():
            async with self._sessions() as session, session.begin():
                yield session

    async def connect(self) -> DriverConnection:
        """A connection outside the pool, for somebody who keeps it, and closes it in the end.

        Raises:
            UnavailableError: the server cannot be reached.
        """
        with translated_errors():
            return await self._connect()

    async def notify(self, channel: str, payload: str) -> None:
        """Tell every listener, in a transaction of its own. Inside a transaction use the function `notify`."""
        async with self.transaction() as session:
            await notify(session, channel, payload)

    async def listen(
        self, *channels: str, connected: Callable[[], None] | None = None
    ) -> AsyncGenerator[Notification, None]:
        """What others tell on these channels, for ever, across lost connections.

        After each reconnection one notification with the payload `EVERYTHING` comes on every channel, because what was
        told in between is gone. Close the iterator (`contextlib.aclosing`) to give the connection back.

        Args:
            channels: names of channels.
            connected: called whenever listening has begun.
        """
        delay_seconds = _FIRST_RETRY_SECONDS
        first = True
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**self._parameters, autocommit=True) as connection:
                    for channel in channels:
                        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                    delay_seconds = _FIRST_RETRY_SECONDS
                    if connected is not None:
                        connected()
                    if not first:
                        for channel in channels:
                            yield Notification(channel=channel, payload=EVERYTHING)
                    first = False
                    async for notification in _notifications(connection):
                        yield notification
            except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
                _log.warning("database.listen_interrupted", error=_sentence(error), retry_seconds=delay_seconds)
                await asyncio.sleep(delay_seconds)
                delay_seconds = min(delay_seconds * 2, _LAST_RETRY_SECONDS)
                first = False

    async def ping(self) -> None:
        """Return when the server answers.

        Raises:
            UnavailableError: it does not, or not in time.
        """
        try:
            async with asyncio.timeout(_PING_TIMEOUT_SECONDS), self.transaction() as session:
                await session.execute(text("SELECT 1"))
        except TimeoutError as error:
            message = f"the database did not answer within {_PING_TIMEOUT_SECONDS} s"
            raise UnavailableError(message, reason=Reason.DATABASE_UNAVAILABLE) from error

    def pool_state(self) -> PoolState:
        """The pool at this moment."""
        pool = self._engine.pool
        assert isinstance(pool, AsyncAdaptedQueuePool)
        return PoolState(in_use=pool.checkedout(), idle=pool.checkedin())

    async def close(self) -> None:
        """Close every idle connection."""
        await self._engine.dispose()


def connection_parameters(dsn: str) -> dict[str, Any]:
    """Arguments for `psycopg.connect`: those of the DSN, completed by what the collector relies on."""
    parameters = dict(conninfo.conninfo_to_dict(dsn.replace("postgresql+psycopg://", "postgresql://", 1)))
    # Times come back in the zone of the session; ours are UTC.
    parameters["options"] = f"{parameters.get('options') or ''} -c timezone=UTC".strip()
    parameters.setdefault("connect_timeout", _CONNECT_TIMEOUT_SECONDS)
    parameters.setdefault("application_name", "tesserabench-collector")
    # A server that vanished without a word is noticed in half a minute, not in two hours.
    parameters.setdefault("keepalives_idle", 10)
    parameters.setdefault("tcp_user_timeout", 30_000)
    return parameters


async def notify(session: AsyncSession, channel: str, payload: str) -> None:
    """Tell every listener when this transaction commits; equal notifications of one transaction are told once."""
    await session.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": channel, "payload": payload})


@contextmanager
def translated_errors() -> Iterator[None]:
    """Within the block, connection trouble becomes `UnavailableError`.

    Raises:
        UnavailableError: the server cannot be reached, broke off, or gave way to another transaction (deadlock).
    """
    try:
        yield
    except exc.TimeoutError as error:
        message = f"every database connection was busy for {_POOL_TIMEOUT_SECONDS} s; try again"
        raise UnavailableError(message, reason=Reason.DATABASE_UNAVAILABLE) from error
    except exc.DBAPIError as error:
        if isinstance(error, exc.OperationalError | exc.InterfaceError) or error.connection_invalidated:
            raise _unavailable(error.orig or error) from error
        raise
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise _unavailable(error) from error


def _unavailable(error: BaseException) -> UnavailableError:
    # Whatever statement or connection runs into a full disk, libpq quotes what the system said.
    remedy = "make room on its disk" if os.strerror(errno.ENOSPC) in str(error) else "try again in a moment"
    message = f"the database is not available: {_sentence(error)}; {remedy}"
    return UnavailableError(message, reason=Reason.DATABASE_UNAVAILABLE)


def _sentence(error: BaseException) -> str:
    """First line of what libpq says; the rest repeats addresses and hints."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


async def _notifications(connection: DriverConnection) -> AsyncIterator[Notification]:
    while True:
        async for told in connection.notifies(timeout=_LISTEN_CHECK_SECONDS):
            yield Notification(channel=told.channel, payload=told.payload)
        # Nothing for a while: a connection that died in silence is found out here.
        await connection.execute("SELECT 1")
