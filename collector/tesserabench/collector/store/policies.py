"""Revisions of policies."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
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
