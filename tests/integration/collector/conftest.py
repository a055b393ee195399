"""Fixtures: a running collector on a fresh database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from support.embedded_collector import Running, running_collector


@pytest_asyncio.fixture
async def running(database_dsn: str, tmp_path: Path) -> AsyncIterator[Running]:
    """A collector on a fresh database, its clients and its clock."""
    async with running_collector(database_dsn, tmp_path / "state") as running:
        yield running
