"""Fixtures for every test."""

import gc
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from support.postgres import PostgresForTests, running_postgres
from tesserabench.collector.store.database import Database

# A run in the background of a shell begins with SIGINT ignored, and so would every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# To collect tests is to import everything, and nothing of it is garbage: looking for some takes seconds.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Look for garbage from here on, and only among what tests make."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresForTests]:
    """The PostgreSQL server of this test run."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def database_dsn(postgres: PostgresForTests) -> Iterator[str]:
    """A fresh, migrated database, dropped after the test."""
    with postgres.database() as dsn:
        yield dsn


@pytest_asyncio.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    """A `Database` on a fresh, migrated database."""
    database = Database(database_dsn, pool_size=5)
    try:
        yield database
    finally:
        await database.close()
