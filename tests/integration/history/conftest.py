"""Fixtures: a laboratory whose runs go into histories."""

import pytest
from support.laboratory import Laboratory
from tesserabench.collector.store.database import Database


@pytest.fixture
def laboratory(database: Database) -> Laboratory:
    """Hosts, runs and results in a fresh database."""
    return Laboratory(database)
