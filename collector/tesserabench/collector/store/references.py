"""Runs by what people call them: commit, branch."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Run
from tesserabench.collector.store.words import Outcome, RunState, TriggerKind

_SUGGESTED = 200


def _ended(project_id: int, suite: str) -> list[ColumnElement[bool]]:
    conditions = [
        Run.project_id == project_id,
        Run.state == RunState.FINISHED.value,
        Run.started_at.is_not(None),
        Run.trigger != TriggerKind.CONFIRMATION.value,
        # It has two arms and no value of its own.
        ~Run.spec.has_key("duet"),
    ]
    return [*conditions, Run.suite == suite] if suite else conditions


# Those that measured well come first, then the undisturbed ones, then the newest.
_BEST_FIRST = ((Run.outcome == Outcome.OK.value).desc(), Run.drill, Run.id.desc())


async def by_commit(session: AsyncSession, project_id: int, prefix: str, suite: str) -> Run | None:
    """The best run of a commit that begins like this."""
    matches = Run.commit.startswith(prefix.lower(), autoescape=True)
    statement = select(Run).where(*_ended(project_id, suite), matches).order_by(*_BEST_FIRST).limit(1)
    return await session.scalar(statement)


async def commits(session: AsyncSession, project_id: int, prefix: str) -> Sequence[str]:
    """Up to two different commits that begin like this and have been measured."""
    matches = Run.commit.startswith(prefix.lower(), autoescape=True)
    statement = select(Run.commit).where(Run.project_id == project_id, matches).distinct().limit(2)
    return (await session.scalars(statement)).all()


async def by_branch(session: AsyncSession, project_id: int, branches: Sequence[str], suite: str) -> Run | None:
    """The newest run of some branches that measured well, else the newest of any outcome."""
    statement = select(Run).where(*_ended(project_id, suite), Run.branch.in_(branches))
    return await session.scalar(statement.order_by(*_BEST_FIRST).limit(1))


async def by_id(session: AsyncSession, project_id: int, run_id: int) -> Run | None:
    """The run, if it belongs to the project."""
    return await session.scalar(select(Run).where(Run.id == run_id, Run.project_id == project_id))


async def branches(session: AsyncSession, project_id: int) -> Sequence[str]:
    """The branches measured last."""
    newest = func.max(Run.id)
    statement = select(Run.branch).where(Run.project_id == project_id, Run.branch != "").group_by(Run.branch)
    return (await session.scalars(statement.order_by(newest.desc()).limit(_SUGGESTED))).all()


async def measured_commits(session: AsyncSession, project_id: int) -> Sequence[str]:
    """The commits measured last."""
    newest = func.max(Run.id)
    statement = select(Run.commit).where(Run.project_id == project_id, Run.commit != "").group_by(Run.commit)
    return (await session.scalars(statement.order_by(newest.desc()).limit(_SUGGESTED))).all()
