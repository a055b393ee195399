"""Sessions, bare connections and notifications against a real server."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from sqlalchemy import select, text
from support.postgres import kill_postgres, private_postgres
from support.waiting import wait_until_async
from tesserabench.collector.errors import UnavailableError
from tesserabench.collector.store.database import EVERYTHING, Database, Notification, notify
from tesserabench.collector.store.tables import Project
from tesserabench.wire.reasons import Reason


async def insert_and_fail(database: Database, name: str) -> None:
    async with database.transaction() as session:
        session.add(Project(name=name))
        await session.flush()
        await notify(session, "tb_run", name)
        raise LookupError


async def test_transaction_commits_at_the_end_and_rolls_back_on_an_exception(database: Database) -> None:
    async with database.transaction() as session:
        session.add(Project(name="kept"))
    with pytest.raises(LookupError):
        await insert_and_fail(database, "dropped")
    async with database.transaction() as session:
        assert list(await session.scalars(select(Project.name))) == ["kept"]


async def test_times_come_back_in_utc(database: Database) -> None:
    async with database.transaction() as session:
        session.add(Project(name="p"))
        await session.flush()
        created = await session.scalar(select(Project.created_at))
    assert created is not None
    assert created.utcoffset() is not None
    assert str(created.tzinfo) == "UTC"


async def test_connection_of_ones_own_copies(database: Database) -> None:
    async with await database.connect() as connection, connection.cursor() as cursor:
        async with cursor.copy("COPY project (name) FROM STDIN") as copy:
            await copy.write("one\ntwo\n")
        await connection.commit()
    async with database.transaction() as session:
        assert await session.scalar(text("SELECT count(*) FROM project")) == 2


async def test_unreachable_server_is_unavailable_and_says_so(tmp_path: Path) -> None:
    database = Database(f"postgresql://nobody@/none?host={tmp_path}")
    with pytest.raises(UnavailableError, match="database is not available") as caught:
        await database.ping()
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    await database.close()


async def test_notification_arrives_after_the_commit_and_not_after_a_rollback(database: Database) -> None:
    listening = asyncio.Event()
    async with aclosing(database.listen("tb_run", connected=listening.set)) as told:
        first = asyncio.ensure_future(anext(told))
        await asyncio.wait_for(listening.wait(), 10)
        with pytest.raises(LookupError):
            await insert_and_fail(database, "rolled back")
        async with database.transaction() as session:
            await notify(session, "tb_run", "42")
        assert await asyncio.wait_for(first, 10) == Notification(channel="tb_run", payload="42")


async def test_database_and_listener_survive_a_server_that_is_killed(tmp_path: Path) -> None:
    with private_postgres(tmp_path / "pg") as launcher:
        database = Database(launcher.folder.dsn())
        listening = asyncio.Event()
        async with aclosing(database.listen("tb_run", connected=listening.set)) as told:
            first = asyncio.ensure_future(anext(told))
            await asyncio.wait_for(listening.wait(), 10)
            await database.ping()
            await asyncio.to_thread(kill_postgres, launcher)

            async def is_down() -> bool:
                try:
                    await database.ping()
                except UnavailableError:
                    return True
                return False

            await wait_until_async(is_down, seconds=10, what="the dead server to be noticed")
            await asyncio.to_thread(launcher.start)
            await database.ping()
            # What was told in between is gone, so the listener hears that anything may have happened.
            assert await asyncio.wait_for(first, 20) == Notification(channel="tb_run", payload=EVERYTHING)
        await database.close()


async def test_pool_state_counts_lent_connections(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(text("SELECT 1"))
        assert database.pool_state().in_use == 1
    assert database.pool_state().in_use == 0
    assert database.pool_state().idle == 1
