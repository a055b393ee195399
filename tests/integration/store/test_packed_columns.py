"""Columns that are packed by hand arrive in PostgreSQL as what they were."""

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from tesserabench.collector.store import packed
from tesserabench.collector.store.database import Database

TIMES = [datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), None, datetime(2031, 7, 1, tzinfo=UTC)]


async def arrived(database: Database, *columns: packed.Packed) -> list[tuple[Any, ...]]:
    told = ", ".join(["%s"] * len(columns))
    async with database.transaction() as session, packed.driver_cursor(session) as cursor:
        await cursor.execute(f"SELECT * FROM unnest({told})", columns)
        return await cursor.fetchall()


async def test_values_and_gaps_arrive(database: Database) -> None:
    numbers, doubles = [-1, None, 2**62], [0.1 + 0.2, None, -math.inf]
    words, pieces = ["", 'gr\u00fc\u00df \U0001f600 {,}"\\', "NULL"], [b"", b"\x00\xff\\", b"x" * 9000]
    found = await arrived(
        database,
        packed.bigints(numbers),
        packed.doubles(doubles),
        packed.texts(words),
        packed.byteas(pieces),
        packed.timestamps(TIMES),
        packed.booleans([True, False, True]),
        packed.smallints([-32768, 0, 32767]),
    )
    whole = [TIMES, [True, False, True], [-32768, 0, 32767]]
    assert found == list(zip(numbers, doubles, words, pieces, *whole, strict=True))


async def test_nothing_arrives_as_nothing(database: Database) -> None:
    assert await arrived(database, packed.bigints([]), packed.texts([])) == []


async def test_a_time_of_another_zone_is_the_same_moment(database: Database) -> None:
    there = datetime(2026, 11, 22, 3, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert await arrived(database, packed.timestamps([there])) == [(datetime(2026, 11, 21, 21, 30, tzinfo=UTC),)]
