"""Series: found by what identifies them, made when they are new."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Series

SeriesKey = tuple[int, str, str, str, str, str]
"""Project id, case id, mode, metric, device key, arm of an interleaved comparison (empty outside of one)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFacts:
    """What is told about a series with every measurement of it."""

    suite: str
    benchmark: str
    parameters: Mapping[str, str]
    unit: str
    better: str
    primary: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSeries:
    """A series as it stands in the database."""

    id: int
    unit: str
    better: str
    primary: bool


_IDENTITY = (Series.project_id, Series.case_id, Series.mode, Series.metric, Series.device_key, Series.arm)


async def get_or_create(session: AsyncSession, wanted: Mapping[SeriesKey, SeriesFacts]) -> dict[SeriesKey, KnownSeries]:
    """Each of the series; safe against other replicas that make the same ones."""
    found = await find(session, list(wanted))
    # In one order everywhere, so that two replicas do not wait for each other.
    missing = sorted(key for key in wanted if key not in found)
    if missing:
        rows = [_row(key, wanted[key]) for key in missing]
        await session.execute(insert(Series).on_conflict_do_nothing(), rows)
        found |= await find(session, missing)
    return found


async def find(session: AsyncSession, keys: Sequence[SeriesKey]) -> dict[SeriesKey, KnownSeries]:
    """Those of the series that there are."""
    statement = select(*_IDENTITY, Series.id, Series.unit, Series.better, Series.primary)
    rows = await session.execute(statement.where(tuple_(*_IDENTITY).in_(keys)))
    return {
        (row[0], row[1], row[2], row[3], row[4], row[5]): KnownSeries(
            id=row[6], unit=row[7], better=row[8], primary=row[9]
        )
        for row in rows
    }


async def redefine(session: AsyncSession, series_id: int, facts: SeriesFacts) -> None:
    """Take over a new definition of direction and importance."""
    values = {"better": facts.better, "primary": facts.primary}
    await session.execute(update(Series).where(Series.id == series_id).values(values))


def _row(key: SeriesKey, facts: SeriesFacts) -> dict[str, Any]:
    project_id, case_id, mode, metric, device_key, arm = key
    return {
        "project_id": project_id,
        "case_id": case_id,
        "mode": mode,
        "metric": metric,
        "device_key": device_key,
        "arm": arm,
        "suite": facts.suite,
        "benchmark": facts.benchmark,
        "parameters": dict(facts.parameters),
        "unit": facts.unit,
        "better": facts.better,
        "primary": facts.primary,
    }
