"""Monthly partitions of what grows: `case_result` and `measurement`.

Each has a default partition too, so that a row from any month finds a place; rows of a month that gets its own
partition later are moved there.
"""

from collections.abc import Iterator
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

PARTITIONED = ("case_result", "measurement")
MONTHS_AHEAD = 2
"""Months after the running one that are prepared."""

_LOCK_KEY = 7_232_415_002


async def ensure_partitions(session: AsyncSession, today: date) -> None:
    """Make the partitions of this month and the next two, where missing; safe to call from several replicas."""
    for statement in partition_statements(today):
        await session.execute(text(statement))


def partition_statements(today: date) -> list[str]:
    """The statements behind `ensure_partitions`, to be run in one transaction."""
    statements = [f"SELECT pg_advisory_xact_lock({_LOCK_KEY})"]
    statements += [
        _create(table, first, after) for table in PARTITIONED for first, after in months(today, MONTHS_AHEAD + 1)
    ]
    return statements


def months(today: date, count: int) -> Iterator[tuple[date, date]]:
    """First day of each of `count` months from the one of `today` on, with the first day after it."""
    first = today.replace(day=1)
    for _ in range(count):
        after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
        yield first, after
        first = after


def _create(table: str, first: date, after: date) -> str:
    """Built apart and attached when full, because the default partition may hold rows of that month."""
    name = f"{table}_{first:%Y_%m}"
    return f"""
        DO $$ BEGIN
            IF to_regclass('{name}') IS NULL THEN
                CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES);
                WITH moved AS (
                    DELETE FROM {table}_default
                    WHERE measured_at >= '{first} 00{_COLON}00+00' AND measured_at < '{after} 00{_COLON}00+00'
                    RETURNING *
                )
                INSERT INTO {name} SELECT * FROM moved;
                ALTER TABLE {table} ATTACH PARTITION {name}
                    FOR VALUES FROM ('{first} 00{_COLON}00+00') TO ('{after} 00{_COLON}00+00');
            END IF;
        END $$"""  # noqa: S608 - names and dates of our own


# SQLAlchemy's text() would take a bare colon for a parameter.
_COLON = "\\:"
