"""Columns of values for `unnest`, packed by hand in PostgreSQL's binary form.

psycopg dumps a list value by value and sends what is not a number as text: for thousands of rows that takes longer
than PostgreSQL takes for the statement. These go through a cursor of the driver (`driver_cursor`) as parameters.
"""

import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import AsyncCursor, adapt, pq
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.binary_form import NULL, boolean, float64, int16, int64, length, text

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_header = struct.Struct(">iiIii").pack


class Packed:
    """A column, ready to be sent; each kind of values has a subclass."""

    __slots__ = ("content",)
    element = 0
    """Number of the elements' type in PostgreSQL's catalogue."""

    def __init__(self, parts: Sequence[bytes], *, nulls: bool = False) -> None:
        """Put together what the functions below pack."""
        head = _header(1, nulls, self.element, len(parts), 1) if parts else _header(0, 0, self.element, 0, 0)[:12]
        self.content = head + b"".join(parts)


class _Int2(Packed):
    element = 21


class _Int8(Packed):
    element = 20


class _Float8(Packed):
    element = 701


class _Bool(Packed):
    element = 16


class _Text(Packed):
    element = 25


class _Bytea(Packed):
    element = 17


class _Timestamptz(Packed):
    element = 1184


_ARRAYS = {_Int2: 1005, _Int8: 1016, _Float8: 1022, _Bool: 1000, _Text: 1009, _Bytea: 1001, _Timestamptz: 1185}


class _Dumper(adapt.Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: Packed) -> bytes:
        return obj.content


for _kind, _oid in _ARRAYS.items():
    psycopg.adapters.register_dumper(_kind, type(f"{_kind.__name__}Dumper", (_Dumper,), {"oid": _oid}))


def smallints(values: Sequence[int]) -> Packed:
    """A `smallint[]`."""
    return _Int2([int16(2, value) for value in values])


def bigints(values: Sequence[int | None]) -> Packed:
    """A `bigint[]`."""
    return _Int8([NULL if value is None else int64(8, value) for value in values], nulls=None in values)


def doubles(values: Sequence[float | None]) -> Packed:
    """A `double precision[]`."""
    return _Float8([NULL if value is None else float64(8, value) for value in values], nulls=None in values)


def booleans(values: Sequence[bool]) -> Packed:
    """A `boolean[]`."""
    return _Bool([boolean(1, value) for value in values])


def texts(values: Sequence[str]) -> Packed:
    """A `text[]`."""
    return _Text([text(value) for value in values])


def byteas(values: Sequence[bytes]) -> Packed:
    """A `bytea[]`."""
    return _Bytea([length(len(value)) + value for value in values])


def timestamps(values: Sequence[datetime | None]) -> Packed:
    """A `timestamptz[]`."""
    packed = [NULL if value is None else int64(8, (value - _EPOCH) // _MICROSECOND) for value in values]
    return _Timestamptz(packed, nulls=None in values)


@asynccontextmanager
async def driver_cursor(session: AsyncSession) -> AsyncIterator[AsyncCursor[tuple[Any, ...]]]:
    """A cursor of the driver in a session's transaction; values come in binary form, which is read much faster.

    What the session was given and has not sent yet is not seen: flush it before.
    """
    connection = await (await session.connection()).get_raw_connection()
    driver = connection.driver_connection
    assert isinstance(driver, psycopg.AsyncConnection)
    async with driver.cursor(binary=True) as cursor:
        yield cursor
