"""Projects."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Project

DEFAULT_PROJECT = "default"


async def find(session: AsyncSession, name: str) -> Project | None:
    """The project of this name."""
    return await session.scalar(select(Project).where(Project.name == name))


async def get_or_create(session: AsyncSession, name: str) -> Project:
    """The project of this name, created when it is new; safe against another replica doing the same."""
    project = await find(session, name)
    if project is not None:
        return project
    await session.execute(insert(Project).values(name=name).on_conflict_do_nothing(index_elements=["name"]))
    return await session.scalar(select(Project).where(Project.name == name)) or _vanished(name)


async def names(session: AsyncSession, ids: set[int]) -> dict[int, str]:
    """Names of projects by id."""
    if not ids:
        return {}
    rows = await session.execute(select(Project.id, Project.name).where(Project.id.in_(ids)))
    return {row.id: row.name for row in rows}


def _vanished(name: str) -> Project:
    raise LookupError(f"project {name!r} was removed while it was being used")
