"""The fleet's dialogue: a host registers, and says again and again what is true on it; we answer what we want.

Level-triggered: an assignment is repeated until it is listed or withdrawn, so that a lost answer loses nothing; an
attempt that is absent from an answer goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import attempts, selectors
from tesserabench.collector.core.claims import Assigned, assignment, claim
from tesserabench.collector.core.pace import Pace, Pacer
from tesserabench.collector.errors import FailedPreconditionError, NotFoundError
from tesserabench.collector.store import attempts as attempt_store
from tesserabench.collector.store import hosts as host_store
from tesserabench.collector.store.database import notify
from tesserabench.collector.store.notices import SYNC_CHANNEL, notify_run
from tesserabench.collector.store.tables import Attempt, Host, Run
from tesserabench.collector.store.words import AttemptState
from tesserabench.wire import SCHEMA_VERSION
from tesserabench.wire.reasons import Reason

SCHEMA_VERSIONS = (SCHEMA_VERSION,)
"""Record schema versions that this release takes, ascending."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A new agent process; `inventory` in protobuf's JSON mapping."""

    host: str
    process_id: str
    agent_version: str
    schema_version: int
    inventory: Mapping[str, Any]
    agent_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An attempt that a host says it holds."""

    run_id: int
    attempt_id: int
    epoch: int
    closing: bool = False
    cases_done: int = 0
    cases_total: int = 0
    current_case: str = ""
    phase: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What is true on a host now; `devices` in protobuf's JSON mapping."""

    host: str
    process_id: str
    held: Sequence[Listed] = ()
    draining: bool = False
    unready_reason: str = ""
    spool_full: bool = False
    spool_pending_bytes: int = 0
    devices: Mapping[str, Any] = field(default_factory=dict)
    agent_time: datetime | None = None

    @property
    def takes_work(self) -> bool:
        """Whether the host would start something new."""
        working = any(not item.closing for item in self.held)
        return not (working or self.draining or self.unready_reason or self.spool_full)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """An attempt that a host must stop."""

    run_id: int
    attempt_id: int
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the collector wants of a host."""

    pace: Pace
    assignments: tuple[Assigned, ...] = ()
    cancellations: tuple[Cancelled, ...] = ()
    superseded: bool = False
    cordoned: bool = False

    @property
    def urgent(self) -> bool:
        """Whether the host should hear of it now rather than at the end of its poll."""
        return bool(self.assignments or self.cancellations or self.superseded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the dialogue goes by."""

    pacer: Pacer
    offer_seconds: float


async def register(session: AsyncSession, request: Registration, terms: Terms, now: datetime) -> Pace:
    """Take in a new agent process; the newest one of a host wins, so that a host never fights its own ghost.

    Raises:
        FailedPreconditionError: it writes records that this release cannot read.
    """
    if request.schema_version not in SCHEMA_VERSIONS:
        versions = ", ".join(map(str, SCHEMA_VERSIONS))
        newer = "the collector" if request.schema_version > SCHEMA_VERSIONS[-1] else "the agent"
        message = (
            f"schema_version: {request.schema_version}: this collector takes {versions}; "
            f"upgrade {newer} (agent version {request.agent_version or 'unknown'})"
        )
        raise FailedPreconditionError(message, reason=Reason.SCHEMA_VERSION_UNSUPPORTED)
    before = await host_store.find(session, request.host, lock=True)
    pace = await terms.pacer.pace(session, now)
    inventory = dict(request.inventory)
    devices = inventory.get("devices", [])
    values: dict[str, Any] = {
        "process_id": request.process_id,
        "agent_version": request.agent_version,
        "schema_version": request.schema_version,
        "inventory": inventory,
        "attributes": selectors.attributes_of(request.host, inventory, agent_version=request.agent_version),
        "suites": sorted(suite["name"] for suite in inventory.get("suites", []) if suite.get("name")),
        "device_kinds": sorted({device["kind"] for device in devices if device.get("kind")}),
        "last_seen_at": now,
        "lease_expires_at": now + timedelta(seconds=pace.lease_seconds),
        "draining": False,
        "unready_reason": "",
        "clock_offset_seconds": _offset(request.agent_time, now),
    }
    if before is None or before.process_id != request.process_id:
        values["registered_at"] = now
        _log.info("host.registered", host=request.host, process=request.process_id, version=request.agent_version)
    await host_store.register(session, request.host, values)
    # A held poll of the process before is to hear that it is superseded.
    await notify(session, SYNC_CHANNEL, request.host)
    return pace


async def answer(session: AsyncSession, beat: Heartbeat, terms: Terms, now: datetime, *, fresh: bool = True) -> Answer:
    """Take in what a host says and decide what it should do.

    Args:
        session: A transaction of its own.
        beat: What the host says.
        terms: Settings.
        now: The time.
        fresh: The host has just said it; when a held poll looks again it has not, and its lease is not renewed.

    Raises:
        NotFoundError: no such host has registered.
    """
    host = await host_store.find(session, beat.host, lock=True)
    if host is None:
        message = f"host: {beat.host!r}: has not registered with this collector; call Register first"
        raise NotFoundError(message, reason=Reason.HOST_NOT_REGISTERED)
    pace = await terms.pacer.pace(session, now)
    if host.process_id != beat.process_id:
        return Answer(pace=pace, superseded=True)
    if fresh:
        _take_in(host, beat, now, pace)
        await session.flush()
    held = {row.id: row for row in await host_store.held_attempts(session, host.id)}
    cancellations = await _compare(session, host, beat, held, now)
    offered = [row for row in held.values() if row.state == AttemptState.OFFERED]
    if not held and beat.takes_work and not host.cordoned:
        offered = await claim(session, host, terms.offer_seconds, now)
    return Answer(
        pace=pace,
        assignments=tuple([await assignment(session, host, row) for row in offered if row.cancel_reason is None]),
        cancellations=tuple(cancellations),
        cordoned=host.cordoned,
    )


def _take_in(host: Host, beat: Heartbeat, now: datetime, pace: Pace) -> None:
    host.last_seen_at = now
    host.lease_expires_at = now + timedelta(seconds=pace.lease_seconds)
    host.draining = beat.draining
    host.unready_reason = beat.unready_reason or ("its disk log is full" if beat.spool_full else "")
    host.spool_pending_bytes = beat.spool_pending_bytes
    host.devices = dict(beat.devices)
    host.clock_offset_seconds = _offset(beat.agent_time, now)


def _offset(agent_time: datetime | None, now: datetime) -> float | None:
    return None if agent_time is None else round((agent_time - now).total_seconds(), 6)


async def _compare(
    session: AsyncSession, host: Host, beat: Heartbeat, held: dict[int, Attempt], now: datetime
) -> list[Cancelled]:
    """Bring rows in line with what the host lists. Rows are looked at first and locked only to be changed."""
    listed = {item.attempt_id: item for item in beat.held}
    known = held | await attempt_store.by_ids(session, set(listed) - set(held))
    cancellations = []
    for item in beat.held:
        row = known.get(item.attempt_id)
        complaint = _complaint(host, item, row)
        if complaint is None:
            assert row is not None
            await _listed(session, row, item, now)
            complaint = row.cancel_reason
        if complaint is not None and not item.closing:
            names = {"run_id": item.run_id, "attempt_id": item.attempt_id, "epoch": item.epoch}
            cancellations.append(Cancelled(**names, reason=complaint))
    for row in held.values():
        if row.id not in listed and row.state in {AttemptState.RUNNING, AttemptState.UNREACHABLE}:
            await _not_listed(session, row, now)
    return cancellations


def _complaint(host: Host, item: Listed, row: Attempt | None) -> str | None:
    """Why the host should not hold what it lists; none when it should."""
    if row is None or row.run_id != item.run_id:
        return "the collector knows no such attempt"
    if row.epoch != item.epoch:
        return f"it was handed out again; epoch {row.epoch} decides"
    if row.state == AttemptState.FINISHED:
        return row.reason or "it has already ended"
    if row.host_id != host.id:
        return "it belongs to another host"
    return None


async def _listed(session: AsyncSession, row: Attempt, item: Listed, now: datetime) -> None:
    progress = {
        "cases_done": max(row.cases_done, item.cases_done),
        "cases_total": max(row.cases_total, item.cases_total),
        "current_case": item.current_case,
        "phase": item.phase,
    }
    moved = any(getattr(row, name) != value for name, value in progress.items())
    begins = row.state != AttemptState.RUNNING or row.orphaned_at is not None
    if not moved and not begins:
        return

    def change(run: Run, attempt: Attempt) -> None:
        for name, value in progress.items():
            setattr(attempt, name, value)
        run.revision_number += 1

    run = await _locked(session, row, change)
    if run is not None and begins:
        await attempts.list_as_held(session, run, row, now)


async def _not_listed(session: AsyncSession, row: Attempt, now: datetime) -> None:
    """The host is there and does not list it: its closing record may still be on the way; the lease keeper waits."""
    if row.orphaned_at is not None and row.state == AttemptState.RUNNING:
        return

    def change(run: Run, attempt: Attempt) -> None:
        attempt.orphaned_at = attempt.orphaned_at or now
        # It is no longer the host that is out of reach.
        attempt.state = AttemptState.RUNNING
        attempt.unreachable_at = None
        run.revision_number += 1

    await _locked(session, row, change)


async def _locked(session: AsyncSession, row: Attempt, change: Callable[[Run, Attempt], None]) -> Run | None:
    """Change an attempt with its run locked first; nothing happens when the epoch has moved on meanwhile."""
    epoch, host_id = row.epoch, row.host_id
    run = await attempt_store.lock_run(session, row.run_id)
    await attempt_store.lock_attempts(session, row.run_id)
    if run is None or row.epoch != epoch or row.host_id != host_id or row.state == AttemptState.FINISHED:
        return None
    change(run, row)
    await notify_run(session, run.id)
    return run
