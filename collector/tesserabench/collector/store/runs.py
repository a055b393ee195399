"""Runs: reading, listing, ends."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Row, and_, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Attempt, CaseResult, LogLine, Project, Run, Schedule
from tesserabench.collector.store.words import Outcome, RunState, TriggerKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs; what is empty or none does not filter. `commit` may be a prefix."""

    project: str = ""
    suite: str = ""
    branch: str = ""
    commit: str = ""
    state: str = ""
    verdict: str = ""


async def find(session: AsyncSession, run_id: int) -> Row[Run, str] | None:
    """The run and its project's name, as they are now."""
    statement = select(Run, Project.name).join(Project, Project.id == Run.project_id).where(Run.id == run_id)
    return (await session.execute(statement, execution_options={"populate_existing": True})).one_or_none()


async def by_request_id(session: AsyncSession, project_id: int, request_id: str) -> Run | None:
    """The run that was created with this request id."""
    return await session.scalar(select(Run).where(Run.project_id == project_id, Run.request_id == request_id))


async def lock_request_id(session: AsyncSession, project_id: int, request_id: str) -> None:
    """Let only one transaction at a time create a run with this request id."""
    key = func.hashtextextended(f"request_id/{project_id}/{request_id}", 0)
    await session.execute(select(func.pg_advisory_xact_lock(key)))


async def unfinished_confirmations(session: AsyncSession, run_id: int) -> Sequence[int]:
    """Ids of the runs that are to confirm this one and have not ended."""
    statement = select(Run.id).where(
        Run.parent_id == run_id, Run.trigger == TriggerKind.CONFIRMATION.value, Run.state != RunState.FINISHED.value
    )
    return (await session.scalars(statement.order_by(Run.id))).all()


async def page(
    session: AsyncSession, wanted: RunFilter, *, before_id: int | None, size: int
) -> Sequence[Row[Run, str]]:
    """Up to `size` runs with their project's name, newest first, older than `before_id`."""
    statement = select(Run, Project.name).join(Project, Project.id == Run.project_id)
    statement = statement.where(*_conditions(wanted)).order_by(Run.id.desc()).limit(size)
    if before_id is not None:
        statement = statement.where(Run.id < before_id)
    return (await session.execute(statement)).all()


def _conditions(wanted: RunFilter) -> list[ColumnElement[bool]]:
    exact = (
        (Project.name, wanted.project),
        (Run.suite, wanted.suite),
        (Run.branch, wanted.branch),
        (Run.state, wanted.state),
        (Run.verdict, wanted.verdict),
    )
    conditions: list[ColumnElement[bool]] = [column == value for column, value in exact if value]
    if wanted.commit:
        conditions.append(Run.commit.startswith(wanted.commit, autoescape=True))
    return conditions


async def failures(session: AsyncSession, run_ids: Iterable[int]) -> dict[int, dict[str, int]]:
    """By run: cases per outcome other than ok, in the newest epoch of each attempt. A case counts once per outcome."""
    cases = func.count(func.distinct(CaseResult.case_id + literal("\x1f") + CaseResult.mode))
    statement = (
        select(CaseResult.run_id, CaseResult.outcome, cases)
        .join(Attempt, and_(Attempt.id == CaseResult.attempt_id, Attempt.epoch == CaseResult.epoch))
        .where(CaseResult.run_id.in_(list(run_ids)), CaseResult.outcome != Outcome.OK.value)
        .group_by(CaseResult.run_id, CaseResult.outcome)
    )
    counted: dict[int, dict[str, int]] = {}
    for run_id, outcome, count in (await session.execute(statement)).all():
        counted.setdefault(run_id, {})[outcome] = count
    return counted


async def attempt_ends(session: AsyncSession, run_id: int) -> Sequence[Row[str, str | None, str]]:
    """State, outcome and reason of each attempt by ordinal."""
    columns = select(Attempt.state, Attempt.outcome, Attempt.reason)
    return (await session.execute(columns.where(Attempt.run_id == run_id).order_by(Attempt.ordinal))).all()


async def has_results(session: AsyncSession, run_id: int) -> bool:
    """Whether a case result that is not late has been committed for the run."""
    found = select(literal(1)).where(CaseResult.run_id == run_id, CaseResult.late.is_(False)).limit(1)
    return await session.scalar(found) is not None


async def schedule_succeeded(session: AsyncSession, schedule_id: int, now: datetime) -> None:
    """Note that a run of the schedule has ended well."""
    await session.execute(update(Schedule).where(Schedule.id == schedule_id).values(last_success_at=now))


async def project_name(session: AsyncSession, project_id: int) -> str:
    """Name of a project."""
    return (await session.scalars(select(Project.name).where(Project.id == project_id))).one()


async def logs(session: AsyncSession, run_id: int, *, after_id: int, size: int) -> Sequence[LogLine]:
    """Up to `size` lines of a run, oldest first, after the line `after_id`."""
    statement = select(LogLine).where(LogLine.run_id == run_id, LogLine.id > after_id).order_by(LogLine.id).limit(size)
    return (await session.scalars(statement)).all()
