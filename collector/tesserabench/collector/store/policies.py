"""Revisions of policies."""

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.history_tables import HistoryPoint
from tesserabench.collector.store.policy_tables import PolicyRevision
from tesserabench.collector.store.tables import Project


async def lock_project(session: AsyncSession, project_id: int) -> None:
    """Let nobody else apply a policy to this project until the commit."""
    await session.execute(select(Project.id).where(Project.id == project_id).with_for_update())


async def current(session: AsyncSession, project_id: int) -> PolicyRevision | None:
    """The revision in force; none when nothing was ever applied."""
    statement = select(PolicyRevision).where(PolicyRevision.project_id == project_id)
    return await session.scalar(statement.order_by(PolicyRevision.revision.desc()).limit(1))


async def find(session: AsyncSession, project_id: int, revision: int) -> PolicyRevision | None:
    """One revision of a project's policy."""
    wanted = (PolicyRevision.project_id == project_id, PolicyRevision.revision == revision)
    return await session.scalar(select(PolicyRevision).where(*wanted))


async def page(session: AsyncSession, project_id: int, *, before: int | None, size: int) -> Sequence[PolicyRevision]:
    """Up to `size` revisions, newest first, before a number."""
    statement = select(PolicyRevision).where(PolicyRevision.project_id == project_id)
    if before is not None:
        statement = statement.where(PolicyRevision.revision < before)
    return (await session.scalars(statement.order_by(PolicyRevision.revision.desc()).limit(size))).all()


async def newest_hosts(session: AsyncSession, line: str, series_ids: Collection[int]) -> dict[int, tuple[str, ...]]:
    """By series the hosts that measured it last on a line; those without a point are left out."""
    newest = (HistoryPoint.series_id, HistoryPoint.run_id.desc())
    statement = (
        select(HistoryPoint.series_id, HistoryPoint.hosts)
        .where(HistoryPoint.line == line, HistoryPoint.series_id.in_(series_ids))
        .ext(distinct_on(HistoryPoint.series_id))
        .order_by(*newest)
    )
    return {row[0]: tuple(row[1]) for row in await session.execute(statement)}
