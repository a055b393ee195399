"""The schema: brought up to date, asked for, compared with the tables. Blocking; call from a thread.

Several replicas may start at once: each waits for the one that migrates.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, exc, text
from sqlalchemy.pool import NullPool
from tesserabench.collector.errors import DatabaseSetupError
from tesserabench.collector.store import history_tables, look_tables  # noqa: F401 - so that the schema has them
from tesserabench.collector.store.database import connection_parameters, translated_errors
from tesserabench.collector.store.partitions import PARTITIONED, partition_statements
from tesserabench.collector.store.tables import Table

_LOCK_KEY = 7_232_415_001


def upgrade(dsn: str, revision: str = "head") -> str:
    """Bring the schema up to date, partitions of the coming months included, and give the newest revision.

    Args:
        dsn: The database.
        revision: How far to go; an earlier one is for tests of the later ones.

    Raises:
        UnavailableError: the database cannot be reached.
        DatabaseSetupError: the schema is newer than this collector, or the user may not change it.
    """
    with _connected(dsn) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        command.upgrade(_config(connection), revision)
        for statement in partition_statements(datetime.now(UTC).date()):
            connection.execute(text(statement))
    return head()


def current(dsn: str) -> str | None:
    """Revision of the database's schema; None for an empty database.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    with _connected(dsn) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """Revision of the schema that this collector works with."""
    revision = ScriptDirectory.from_config(_config(None)).get_current_head()
    assert revision is not None
    return revision


def check(dsn: str) -> list[str]:
    """Differences between the database and the tables of this collector, for people; empty when there are none.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    options = {"include_object": _is_ours, "compare_type": True, "compare_server_default": True}
    with _connected(dsn) as connection:
        context = MigrationContext.configure(connection, opts=options)
        return [_sentence(difference) for difference in compare_metadata(context, Table.metadata)]


@contextmanager
def _connected(dsn: str) -> Iterator[Connection]:
    parameters = connection_parameters(dsn)
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(**parameters), poolclass=NullPool)
    try:
        with translated_errors(), engine.begin() as connection:
            yield connection
    except CommandError as error:
        message = f"{error}: the database was migrated by a newer collector; run that version, or a newer one"
        raise DatabaseSetupError(message) from error
    except exc.ProgrammingError as error:
        raise DatabaseSetupError(f"the schema cannot be read or changed: {error.orig}") from error
    finally:
        engine.dispose()


def _config(connection: Connection | None) -> Config:
    config = Config()
    # A per cent sign in the path would be taken for a substitution.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _is_ours(_object: object, name: str | None, kind: str, reflected: bool, _other: object) -> bool:  # noqa: FBT001 - Alembic's signature
    if kind != "table" or not reflected or name is None:
        return True
    return not any(name.startswith(f"{table}_") for table in PARTITIONED)


def _sentence(difference: Any) -> str:
    if isinstance(difference, list):
        return "; ".join(_sentence(part) for part in difference)
    return " ".join(str(part) for part in difference)
