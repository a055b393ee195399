"""Handing queued attempts to hosts: highest priority first, then the oldest that the host can take."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import attempts, eligibility
from tesserabench.collector.core.spec import RunSpec
from tesserabench.collector.store import attempts as store
from tesserabench.collector.store.notices import notify_run
from tesserabench.collector.store.tables import Attempt, Host, Run
from tesserabench.collector.store.words import AttemptState

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """Work for a host; `spec` and `revision` in protobuf's JSON mapping."""

    run_id: int
    attempt_id: int
    epoch: int
    project_id: int
    spec: dict[str, Any]
    revision: dict[str, str]
    accept_deadline: datetime


async def claim(session: AsyncSession, host: Host, offer_seconds: float, now: datetime) -> list[Attempt]:
    """The first queued attempt that this host can take, offered to it; empty when there is none."""
    can = eligibility.capability(host.name, host.inventory, host.attributes)
    kinds = eligibility.claimable_kinds(can.kinds)
    last: Attempt | None = None
    while page := await store.candidates(session, host, kinds, now, after=last):
        for row, spec in page:
            if eligibility.why_not(eligibility.Wanted.by(RunSpec.from_json(spec)), can):
                continue
            attempt = await store.claim(session, row.id)
            if attempt is None:
                continue
            attempt.state = attempts.next_state(AttemptState(attempt.state), attempts.Event.OFFERED)
            attempt.host_id = host.id
            attempt.offered_until = now + timedelta(seconds=offer_seconds)
            await session.flush()
            await notify_run(session, attempt.run_id)
            _log.info("attempt.offered", run=attempt.run_id, attempt=attempt.id, epoch=attempt.epoch, host=host.name)
            return [attempt]
        last = page[-1][0]
    return []


async def assignment(session: AsyncSession, host: Host, attempt: Attempt) -> Assigned:
    """What the host needs to know to carry the offered attempt out."""
    run = await session.get_one(Run, attempt.run_id)
    can = eligibility.capability(host.name, host.inventory, host.attributes)
    device = eligibility.device_for(eligibility.Wanted.by(RunSpec.from_json(run.spec)), can)
    assert attempt.offered_until is not None
    return Assigned(
        run_id=run.id,
        attempt_id=attempt.id,
        epoch=attempt.epoch,
        project_id=run.project_id,
        # `auto` is settled here, so that a rerun of the record measures the same device.
        spec=run.spec | ({"device": device} if device else {}),
        revision={
            "commit": run.commit,
            "branch": run.branch,
            "base_branch": run.base_branch,
            "pull_request": run.pull_request,
            "build_url": run.build_url,
            "repository": run.repository,
        },
        accept_deadline=attempt.offered_until,
    )
