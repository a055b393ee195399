"""Fixtures: a laboratory, and the services that show what it measured."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from support.judging_services import Stubs, served
from support.laboratory import Laboratory
from tesserabench.collector.store.database import Database


@pytest.fixture
def laboratory(database: Database) -> Laboratory:
    """Hosts, runs and results in a fresh database."""
    return Laboratory(database)


@pytest_asyncio.fixture
async def stubs(laboratory: Laboratory) -> AsyncIterator[Stubs]:
    """Clients of the services over the laboratory's database; everybody may do everything."""
    async with served(laboratory) as stubs:
        yield stubs
