"""Hosts as people see them: their state, and keeping them out of use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import audit
from tesserabench.collector.errors import NotFoundError
from tesserabench.collector.store import hosts as store
from tesserabench.collector.store.database import notify
from tesserabench.collector.store.notices import SYNC_CHANNEL
from tesserabench.collector.store.tables import Host
from tesserabench.collector.store.tracks import device_id
from tesserabench.wire.names import host_name
from tesserabench.wire.reasons import Reason

_log = structlog.get_logger(__name__)


class HostState(StrEnum):
    """Whether a host can be given work."""

    READY = "ready"
    BUSY = "busy"
    UNREADY = "unready"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldByHost:
    """The attempt that a host has to itself."""

    run_id: int
    attempt_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A host with what is derived."""

    host: Host
    state: HostState
    held: HeldByHost | None


def state_of(*, lease_alive: bool, takes_no_work: bool, busy: bool) -> HostState:
    """The state of a host; what is worst for somebody who looks for a machine goes first."""
    if not lease_alive:
        return HostState.UNREACHABLE
    if takes_no_work:
        return HostState.UNREADY
    return HostState.BUSY if busy else HostState.READY


def attributes(host: Host) -> Mapping[str, Any]:
    """What conditions match on, now."""
    return host.attributes | {"cordoned": host.cordoned}


def device_indices(hosts: Iterable[Host]) -> dict[str, int]:
    """By device (`store.tracks.device_id`) its index on the host that lists it now."""
    return {
        device_id(host.name, str(device.get("uuid", ""))): int(device.get("index", 0))
        for host in hosts
        for device in host.inventory.get("devices", [])
    }


async def views(session: AsyncSession, now: datetime) -> list[HostView]:
    """Every host by name."""
    holders = await store.holders(session)
    return [_view(host, holders.get(host.id), now) for host in await store.all_hosts(session)]


async def view(session: AsyncSession, name: str, now: datetime) -> HostView:
    """One host.

    Raises:
        NotFoundError: no such host has ever registered.
    """
    host = await _found(session, name)
    return _view(host, (await store.holders(session)).get(host.id), now)


def _view(host: Host, held: tuple[int, int] | None, now: datetime) -> HostView:
    state = state_of(
        lease_alive=host.lease_expires_at > now,
        takes_no_work=host.draining or bool(host.unready_reason),
        busy=held is not None,
    )
    return HostView(
        host=host, state=state, held=HeldByHost(attempt_id=held[0], run_id=held[1]) if held is not None else None
    )


async def cordon(session: AsyncSession, name: str, *, cordoned: bool, reason: str, actor: str) -> None:
    """Keep a host out of use, or put it back; what it runs goes on.

    Raises:
        NotFoundError: no such host has ever registered.
    """
    host = await _found(session, name, lock=True)
    if (host.cordoned, host.cordon_reason) == (cordoned, reason):
        return
    host.cordoned, host.cordon_reason = cordoned, reason
    action = "host.cordoned" if cordoned else "host.uncordoned"
    await audit.record(session, actor, action, host_name(name), {"reason": reason} if reason else {})
    await session.flush()
    await notify(session, SYNC_CHANNEL, name)
    _log.info(action, host=name, actor=actor, reason=reason)


async def _found(session: AsyncSession, name: str, *, lock: bool = False) -> Host:
    host = await store.find(session, name, lock=lock)
    if host is None:
        message = f"{host_name(name)} has never registered with this collector; list the hosts to find its name"
        raise NotFoundError(message, reason=Reason.HOST_NOT_FOUND)
    return host
