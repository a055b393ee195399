"""What happens with a commit: notices to every replica, and callbacks in this process."""

from collections.abc import Callable

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from tesserabench.collector.store.database import notify

SYNC_CHANNEL = "tb_sync"
"""Payload: a host's name, or `database.EVERYTHING`. Wakes held Syncs."""

RUN_CHANNEL = "tb_run"
"""Payload: a run's id. Wakes watchers and judging."""


async def notify_run(session: AsyncSession, run_id: int) -> None:
    """Tell watchers and judging that a run changed, once the transaction commits."""
    await notify(session, RUN_CHANNEL, str(run_id))


def after_commit(session: AsyncSession, callback: Callable[[], None]) -> None:
    """Call back once the session's transaction has committed; never when it is rolled back."""

    def run(_session: Session) -> None:
        callback()

    event.listen(session.sync_session, "after_commit", run, once=True)
