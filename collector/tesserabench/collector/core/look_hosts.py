"""Where a further look is measured, and against what.

Another host of the same device model when one is free and the base is known there: what it shows too is the code's. The
host itself when nothing else is free, or when only it can tell whether a change is its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import baselines, hosts, planning
from tesserabench.collector.core.hosts import HostState, HostView
from tesserabench.collector.core.looked_at import LookedAt
from tesserabench.collector.core.references import branch_names
from tesserabench.collector.core.spec import GateSpec, RunSpec
from tesserabench.collector.store import baselines as baseline_store
from tesserabench.collector.store import references as reference_store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store.tables import Host, Run

_TAKES_WORK = frozenset({HostState.READY, HostState.BUSY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Hosts that measure a look, and the run that it is compared with; none: both sides are measured in turns."""

    hosts: tuple[str, ...]
    base: Run | None


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a look is about."""

    devices: frozenset[str]
    """Models of the devices that were measured."""
    cases: frozenset[str]
    """A host where the base lacks one of them is of no use."""
    in_turns: bool
    """It measures the base itself."""


async def choose(session: AsyncSession, at: LookedAt, about: About, now: datetime) -> Place:
    """Where the next look is taken."""
    base = None if at.base_run_id is None else await session.get_one(Run, at.base_run_id)
    here = Place(hosts=at.hosts, base=None if about.in_turns else base)
    fleet = await hosts.views(session, now)
    stays = not may_move(at.hosts, at.looks, points_at_host=at.points_at_host)
    if stays and _can_measure(at.hosts, fleet):
        return here
    for host in _free(at, about.devices, fleet):
        if about.in_turns:
            return Place(hosts=(host.name,), base=None)
        found = await _base_on(session, at, base, host)
        if found is not None and about.cases <= await result_store.cases_of(session, found.id):
            return Place(hosts=(host.name,), base=found)
    return here


def may_move(first: Sequence[str], looks: Sequence[Sequence[str]], *, points_at_host: bool) -> bool:
    """Whether the next look may be taken elsewhere than the first one was.

    Args:
        first: Hosts of the judged run.
        looks: Hosts of each look so far.
        points_at_host: Something is seen on the first hosts and not elsewhere: only they can tell.
    """
    taken = [bool(set(names) & set(first)) for names in looks if names]
    # Turn about: as many looks here as elsewhere, the judged run counted.
    return len(first) == 1 and not points_at_host and taken.count(False) <= taken.count(True)


def _can_measure(names: Sequence[str], fleet: Sequence[HostView]) -> bool:
    """Whether these hosts take work, now or when they have done what they do."""
    taking = {view.host.name for view in fleet if view.state in _TAKES_WORK and not view.host.cordoned}
    return set(names) <= taking


def _free(at: LookedAt, devices: frozenset[str], fleet: Sequence[HostView]) -> list[Host]:
    """Hosts that the run could have been given to and that have nothing to do, those not looked at yet first."""
    used = [name for names in at.looks for name in names]
    ready = [view.host for view in fleet if view.state is HostState.READY]
    matching = planning.match(RunSpec.from_json(at.run.spec), ready).matching
    free = [host for host in ready if host.name in matching and host.name not in at.hosts and devices <= _models(host)]
    return sorted(free, key=lambda host: (used.count(host.name), host.name))


def _models(host: Host) -> frozenset[str]:
    return frozenset(device.get("model", "") for device in host.inventory.get("devices", ()))


async def _base_on(session: AsyncSession, at: LookedAt, base: Run | None, host: Host) -> Run | None:
    """The base's run if it was measured there too; else, for a branch, the newest good run of it there."""
    if base is None:
        return None
    if await baseline_store.measured_on(session, base.id, [host.id]):
        return await reference_store.by_id(session, base.project_id, base.id)
    if GateSpec.from_json(at.run.gate).baseline:
        return None
    branches = branch_names(baselines.base_branch(at.run, at.project), at.project.default_branch)
    return await baseline_store.newest_comparable(session, at.run, branches, [host.id])
