"""Changes in series, references of releases and accepted levels, as they are written down."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.history import SeriesLine, among
from tesserabench.collector.store.history_tables import AcceptedLevel, ChangePoint, FrozenReference, HistoryPoint
from tesserabench.collector.store.tables import Baseline, Regression


async def changes_of(session: AsyncSession, keys: Collection[SeriesLine]) -> dict[SeriesLine, list[ChangePoint]]:
    """Every change of these series, in the order of their runs."""
    found: dict[SeriesLine, list[ChangePoint]] = {key: [] for key in keys}
    wanted = among(keys)
    statement = (
        select(ChangePoint)
        .join(wanted, and_(ChangePoint.series_id == wanted.c.series_id, ChangePoint.line == wanted.c.line))
        .order_by(ChangePoint.series_id, ChangePoint.line, ChangePoint.run_id)
    )
    for row in await session.scalars(statement):
        found[row.series_id, row.line].append(row)
    return found


async def regressions_of(session: AsyncSession, ids: Collection[int]) -> dict[int, Regression]:
    """Findings by id."""
    statement = select(Regression).where(Regression.id.in_(ids))
    return {row.id: row for row in await session.scalars(statement)}


async def accept(session: AsyncSession, series_ids: Collection[int], line: str, run_id: int, now: datetime) -> None:
    """From this run on these series count as having the level that they have then."""
    rows = [{"series_id": series_id, "line": line, "run_id": run_id, "at": now} for series_id in sorted(series_ids)]
    if rows:
        await session.execute(insert(AcceptedLevel).values(rows).on_conflict_do_nothing())


async def refuse(session: AsyncSession, series_ids: Collection[int], line: str, run_id: int) -> None:
    """Let the level that these series have from a run on be accepted no longer."""
    here = (AcceptedLevel.series_id.in_(series_ids), AcceptedLevel.line == line, AcceptedLevel.run_id == run_id)
    await session.execute(delete(AcceptedLevel).where(*here))


async def accepted(session: AsyncSession, line: str, series_ids: Collection[int]) -> dict[int, int]:
    """By series the newest run whose level was accepted."""
    statement = (
        select(AcceptedLevel.series_id, func.max(AcceptedLevel.run_id))
        .where(AcceptedLevel.line == line, AcceptedLevel.series_id.in_(series_ids))
        .group_by(AcceptedLevel.series_id)
    )
    return {row[0]: row[1] for row in await session.execute(statement)}


async def values_since(
    session: AsyncSession, line: str, wanted: Mapping[int, int], *, before: int
) -> dict[int, list[float]]:
    """By series the values from a run of its own on and before one run, oldest first; flagged ones left out."""
    if not wanted:
        return {}
    statement = (
        select(HistoryPoint.series_id, HistoryPoint.run_id, HistoryPoint.value)
        .where(
            HistoryPoint.line == line,
            HistoryPoint.series_id.in_(list(wanted)),
            HistoryPoint.run_id >= min(wanted.values()),
            HistoryPoint.run_id < before,
            HistoryPoint.flagged.is_(False),
        )
        .order_by(HistoryPoint.series_id, HistoryPoint.run_id)
    )
    found: dict[int, list[float]] = {}
    for series_id, run_id, value in await session.execute(statement):
        if run_id >= wanted[series_id]:
            found.setdefault(series_id, []).append(value)
    return found


async def flagged_since(session: AsyncSession, line: str, starts: Mapping[int, int]) -> set[int]:
    """Series with a flagged point from a run of its own on."""
    if not starts:
        return set()
    statement = (
        select(HistoryPoint.series_id, func.max(HistoryPoint.run_id))
        .where(
            HistoryPoint.line == line,
            HistoryPoint.series_id.in_(list(starts)),
            HistoryPoint.run_id >= min(starts.values()),
            HistoryPoint.flagged.is_(True),
        )
        .group_by(HistoryPoint.series_id)
    )
    return {row[0] for row in await session.execute(statement) if row[1] >= starts[row[0]]}


async def unfrozen_baselines(session: AsyncSession, *, limit: int) -> Sequence[Baseline]:
    """Baselines that people set or pinned and whose run has no frozen levels yet, locked until the commit."""
    frozen = select(FrozenReference.id).where(
        FrozenReference.baseline_id == Baseline.id, FrozenReference.run_id == Baseline.run_id
    )
    recorded = select(HistoryPoint.run_id).where(HistoryPoint.run_id == Baseline.run_id)
    by_hand = Baseline.pinned.is_(True) | Baseline.automatic.is_(False)
    statement = (
        select(Baseline)
        .where(by_hand, ~frozen.exists(), recorded.exists())
        .order_by(Baseline.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return (await session.scalars(statement)).all()


async def lines_of_run(session: AsyncSession, run_id: int) -> list[SeriesLine]:
    """The series and lines that a run gave points for."""
    statement = select(HistoryPoint.series_id, HistoryPoint.line).where(HistoryPoint.run_id == run_id)
    return [(row[0], row[1]) for row in await session.execute(statement)]


async def freeze(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write levels of references, in place of those that a baseline had before."""
    if not rows:
        return
    statement = insert(FrozenReference).values(list(rows))
    new = {name: statement.excluded[name] for name in ("run_id", "level", "spread", "points")}
    await session.execute(
        statement.on_conflict_do_update(index_elements=["baseline_id", "series_id", "line"], set_=new)
    )


ReferenceRow = Row[FrozenReference, Baseline]


async def references_of(
    session: AsyncSession, keys: Collection[SeriesLine]
) -> dict[SeriesLine, list[tuple[FrozenReference, Baseline]]]:
    """The references of these series with their baselines, oldest first; those of moved baselines left out."""
    found: dict[SeriesLine, list[tuple[FrozenReference, Baseline]]] = {}
    wanted = among(keys)
    here = and_(FrozenReference.series_id == wanted.c.series_id, FrozenReference.line == wanted.c.line)
    statement = (
        select(FrozenReference, Baseline)
        .join(wanted, here)
        .join(Baseline, and_(Baseline.id == FrozenReference.baseline_id, Baseline.run_id == FrozenReference.run_id))
        .order_by(FrozenReference.run_id)
    )
    for row in await session.execute(statement):
        found.setdefault((row[0].series_id, row[0].line), []).append((row[0], row[1]))
    return found
