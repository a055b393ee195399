"""What happens with a commit: notices to every replica, and callbacks in this process."""

from collections.abc import Callable, Collection

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from tesserabench.collector.store.database import EVERYTHING, notify

SYNC_CHANNEL = "tb_sync"
"""Payload: a host's name, or `database.EVERYTHING`. Wakes held Syncs."""

RUN_CHANNEL = "tb_run"
"""Payload: a run's id. Wakes watchers and judging."""


_MOST_NAMED_HOSTS = 50


async def wake_hosts(session: AsyncSession, hosts: Collection[str]) -> None:
    """Let held Syncs of these hosts look again once the transaction commits; many are woken as everybody."""
    for host in hosts if len(hosts) <= _MOST_NAMED_HOSTS else (EVERYTHING,):
        await notify(session, SYNC_CHANNEL, host)


async def notify_run(session: AsyncSession, run_id: int) -> None:
    """Tell watchers and judging that a run changed, once the transaction commits."""
    await notify(session, RUN_CHANNEL, str(run_id))


def after_commit(session: AsyncSession, callback: Callable[[], None]) -> None:
    """Call back once the session's transaction has committed; never when it is rolled back."""

    def run(_session: Session) -> None:
        callback()

    event.listen(session.sync_session, "after_commit", run, once=True)
