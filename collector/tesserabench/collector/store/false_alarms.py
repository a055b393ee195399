"""Comparisons of identical code, and the runs that are made for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from tesserabench.collector.store.tables import IdenticalComparison, Project, Run
from tesserabench.collector.store.words import IdenticalRun, Outcome, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """All comparisons of identical code on one class of hosts."""

    host_class: str
    comparisons: int
    false_alarms: int
    inconclusive: int
    excesses: tuple[float, ...]
    last_at: datetime


async def totals(
    session: AsyncSession, project: str, *, since: datetime, host_classes: Sequence[str] = ()
) -> list[Totals]:
    """By class of hosts what was counted since then; an empty project or list of classes stands for all."""
    table = IdenticalComparison
    statement = select(table).where(table.at >= since, table.comparisons > 0).order_by(table.host_class, table.at)
    if project:
        statement = statement.join(Project, Project.id == table.project_id).where(Project.name == project)
    if host_classes:
        statement = statement.where(table.host_class.in_(host_classes))
    by_class: dict[str, list[IdenticalComparison]] = {}
    for row in await session.scalars(statement):
        by_class.setdefault(row.host_class, []).append(row)
    return [
        Totals(
            host_class=host_class,
            comparisons=sum(row.comparisons for row in rows),
            false_alarms=sum(row.false_alarms for row in rows),
            inconclusive=sum(row.inconclusive for row in rows),
            excesses=tuple(excess for row in rows for excess in row.excesses),
            last_at=rows[-1].at,
        )
        for host_class, rows in by_class.items()
    ]


async def put(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep what comparisons of identical code gave; what is there already stays."""
    if rows:
        await session.execute(insert(IdenticalComparison).values(list(rows)).on_conflict_do_nothing())


async def first_without_second(session: AsyncSession, *, since: datetime) -> Row[Run, str] | None:
    """A measured first run of a pair whose second one has not been asked for, locked, with its project's name."""
    second = aliased(Run)
    asked = select(literal(1)).where(second.parent_id == Run.id, second.identical == IdenticalRun.SECOND.value)
    statement = (
        select(Run, Project.name)
        .join(Project, Project.id == Run.project_id)
        .where(
            Run.identical == IdenticalRun.FIRST.value,
            Run.state == RunState.FINISHED.value,
            Run.outcome == Outcome.OK.value,
            Run.ended_at >= since,
            ~asked.exists(),
        )
        .order_by(Run.id)
        .limit(1)
        .with_for_update(of=Run, skip_locked=True)
    )
    return (await session.execute(statement)).one_or_none()


async def projects(session: AsyncSession, *, since: datetime) -> Sequence[str]:
    """Names of the projects that compared identical code since then."""
    table = IdenticalComparison
    compared = select(literal(1)).where(table.project_id == Project.id, table.at >= since)
    return (await session.scalars(select(Project.name).where(compared.exists()).order_by(Project.name))).all()
