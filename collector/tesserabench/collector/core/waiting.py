"""What a queued run waits for, as hosts are now."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import hosts, planning
from tesserabench.collector.core.hosts import HostState, HostView
from tesserabench.collector.core.spec import RunSpec
from tesserabench.collector.store.tables import Run
from tesserabench.collector.store.words import RunState
from tesserabench.wire.names import run_name

_MOST_NAMED = 10


async def reasons(session: AsyncSession, runs: Iterable[Run], now: datetime) -> dict[int, str]:
    """By run id, for the queued ones among these runs: what they wait for; empty when a host is about to take it."""
    queued = [run for run in runs if run.state == RunState.QUEUED]
    if not queued:
        return {}
    fleet = await hosts.views(session, now)
    return {run.id: sentence(run.id, RunSpec.from_json(run.spec), fleet) for run in queued}


def sentence(run_id: int, spec: RunSpec, fleet: Sequence[HostView]) -> str:
    """What a run with this spec waits for; empty when a host that matches is ready or has just been given it."""
    if any(view.held is not None and view.held.run_id == run_id for view in fleet):
        return ""
    plan = planning.match(spec, [view.host for view in fleet])
    problem = plan.sentence()
    if problem:
        return problem
    matching = [view for view in fleet if view.host.name in plan.matching]
    if any(view.state is HostState.READY for view in matching):
        return ""
    named = "; ".join(_why(view) for view in matching[:_MOST_NAMED])
    more = f"; and {len(matching) - _MOST_NAMED} more" if len(matching) > _MOST_NAMED else ""
    return f"waits for a host: {named}{more}"


def _why(view: HostView) -> str:
    host = view.host
    match view.state:
        case HostState.UNREACHABLE:
            return f"{host.name} has not been heard of since {host.last_seen_at:%Y-%m-%d %H:%M:%S} UTC"
        case HostState.UNREADY:
            return f"{host.name} takes no work: {host.unready_reason or 'its agent is shutting down'}"
        case _ if view.held is not None:
            return f"{host.name} is busy with {run_name(view.held.run_id)}"
        case _:
            return f"{host.name} is {view.state}"
