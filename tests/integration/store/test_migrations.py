"""The schema: from nothing, twice, by several at once, and equal to the tables."""

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text
from support.postgres import PostgresForTests
from tesserabench.collector.errors import DatabaseSetupError, UnavailableError
from tesserabench.collector.store import migrate
from tesserabench.collector.store.binaries import find_binaries
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.partitions import ensure_partitions, months, partition_statements
from tesserabench.collector.store.tables import Table

PARTITION = re.compile(r"\b(case_result|measurement)_(default|\d{4}_\d\d)")


@pytest.fixture
def empty_dsn(postgres: PostgresForTests) -> Iterator[str]:
    with postgres.empty_database() as dsn:
        yield dsn


def schema(dsn: str) -> list[str]:
    """Every statement that would rebuild the schema, partitions and Alembic's own table aside."""
    dump = subprocess.run(
        [find_binaries().program("pg_dump"), "--schema-only", "--no-owner", dsn],
        capture_output=True,
        text=True,
        check=True,
    )
    statements = re.split(r"\n--\n-- Name: [^\n]*\n--\n", dump.stdout)[1:]
    kept = [s.strip() for s in statements if not PARTITION.search(s) and "alembic_version" not in s]
    # The last statement drags the end of the dump behind it.
    return sorted(statement.split("\n--\n-- PostgreSQL database dump complete")[0].strip() for statement in kept)


def query(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_upgrade_from_nothing_gives_the_schema_of_the_tables(postgres: PostgresForTests, empty_dsn: str) -> None:
    assert migrate.current(empty_dsn) is None
    assert migrate.upgrade(empty_dsn) == migrate.head()
    assert migrate.current(empty_dsn) == migrate.head()
    assert migrate.check(empty_dsn) == []
    with postgres.empty_database() as direct:
        engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(direct))
        Table.metadata.create_all(engine)
        engine.dispose()
        # Alembic's comparison is blind for much (conditions of indexes, included columns); the dump is not.
        assert schema(empty_dsn) == schema(direct)


def test_what_an_older_collector_found_is_found_after_the_upgrade(empty_dsn: str) -> None:
    states = ["suspected", "confirmed", "acknowledged", "ignored", "resolved", "resolved"]
    migrate.upgrade(empty_dsn, "0003")
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("INSERT INTO project (name, default_branch) VALUES ('default', 'main')")
        for state in ("finished", "judging", "running"):
            connection.execute(
                "INSERT INTO run (project_id, suite, tier, spec, gate, trigger, requested_by, state)"
                " VALUES (1, 'kernels', 'full', '{}', '{}', 'manual', 'me', %s)",
                [state],
            )
        for run in (1, 2):
            connection.execute("INSERT INTO comparison (run_id, content) VALUES (%s, '{}')", [run])
        for number, state in enumerate(states):
            # The last one is of the same series as the one before it, on which nothing else is open.
            series = min(number, 4) + 1
            connection.execute(
                "INSERT INTO series (project_id, suite, benchmark, case_id, parameters, mode, metric, unit, better,"
                " \"primary\", device_key) VALUES (1, %s, 'b', %s, '{}', 'hot', 'time', 's', 'lower',"
                " true, 'gpu') ON CONFLICT DO NOTHING",
                [f"suite {series}", f"case {series}"],
            )
            connection.execute(
                "INSERT INTO regression (project_id, series_id, state, severity, change, evidence, run_id)"
                " SELECT 1, id, %s, 'major', 0.07, '{\"a\": 1}', 1 FROM series WHERE case_id = %s",
                [state, f"case {series}"],
            )
    assert migrate.upgrade(empty_dsn) == migrate.head()
    found = query(
        empty_dsn,
        "SELECT r.state, r.kind, r.suite, r.device_key, m.series_id = r.series_id, m.change, m.evidence, m.returned_at"
        " FROM regression r JOIN regression_member m ON m.regression_id = r.id ORDER BY r.id",
    )
    assert found == [
        (state, "regression", f"suite {min(number, 4) + 1}", "gpu", True, 0.07, {"a": 1}, None)
        for number, state in enumerate(states)
    ]
    assert query(empty_dsn, "SELECT run_id, tries, error FROM history_due") == [(1, 0, "")]
    # Nobody remembers what was being measured again: such a run takes its first look once more.
    assert query(empty_dsn, "SELECT run_id FROM comparison") == [(1,)]


def test_upgrade_twice_changes_nothing(database_dsn: str) -> None:
    before = schema(database_dsn)
    assert migrate.upgrade(database_dsn) == migrate.head()
    assert schema(database_dsn) == before


def test_replicas_that_start_together_migrate_once(empty_dsn: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        revisions = list(threads.map(migrate.upgrade, [empty_dsn] * 4))
    assert revisions == [migrate.head()] * 4
    assert migrate.check(empty_dsn) == []


def test_check_names_a_difference(database_dsn: str) -> None:
    with psycopg.connect(database_dsn) as connection:
        connection.execute("ALTER TABLE project ADD COLUMN surprise int")
    assert any("surprise" in difference for difference in migrate.check(database_dsn))


def test_schema_of_a_newer_collector_is_refused_with_the_remedy(database_dsn: str) -> None:
    with psycopg.connect(database_dsn) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseSetupError, match=r"9999.*newer collector"):
        migrate.upgrade(database_dsn)


def test_unreachable_server_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="not available"):
        migrate.upgrade("postgresql://nobody@127.0.0.1:1/none")


def test_a_month_that_arrived_early_moves_out_of_the_default_partition(database_dsn: str) -> None:
    row = (
        "INSERT INTO case_result (attempt_id, epoch, sequence, measured_at, run_id, trial, case_id, benchmark, mode, "
        "outcome, reason, late, detail) VALUES (1, 1, 1, %s, 1, 0, 'c', 'b', 'hot', 'ok', '', false, '{}')"
    )
    with psycopg.connect(database_dsn) as connection:
        for when in ("2031-03-31 23:59:59+00", "2031-04-01 00:00:00+00"):
            connection.execute(row, [when])
    where = "SELECT tableoid::regclass::text, count(*) FROM case_result GROUP BY 1 ORDER BY 1"
    assert query(database_dsn, where) == [("case_result_default", 2)]
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database_dsn))
    with engine.begin() as transaction:
        for statement in partition_statements(date(2031, 4, 30)):
            transaction.execute(text(statement))
    engine.dispose()
    assert query(database_dsn, where) == [("case_result_2031_04", 1), ("case_result_default", 1)]


async def test_partitions_of_this_month_and_the_next_two_stand_ready(database: Database, database_dsn: str) -> None:
    today = datetime.now(UTC).date()
    async with database.transaction() as session:
        await ensure_partitions(session, today)
    names = {name for (name,) in query(database_dsn, "SELECT relname FROM pg_class WHERE relispartition")}
    for first, _ in months(today, 3):
        assert {f"case_result_{first:%Y_%m}", f"measurement_{first:%Y_%m}"} <= names


def test_months_run_over_the_end_of_a_year() -> None:
    assert list(months(date(2026, 11, 22), 3)) == [
        (date(2026, 11, 1), date(2026, 12, 1)),
        (date(2026, 12, 1), date(2027, 1, 1)),
        (date(2027, 1, 1), date(2027, 2, 1)),
    ]
