"""The program `tesserabench-collector`: settings, exit status, signals, its own PostgreSQL."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.postgres import prepare_folder
from support.waiting import wait_until
from tesserabench.collector.store.folder import Folder

PROGRAM = Path(sys.executable).parent / "tesserabench-collector"
ON_FREE_PORTS = {"GRPC_LISTEN": "127.0.0.1:0", "WEB_LISTEN": "127.0.0.1:0"}
START_SECONDS = 60
STOP_SECONDS = 30


def environment(tmp_path: Path, settings: Mapping[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH"}}
    named = {f"TESSERABENCH_COLLECTOR_{key}": value for key, value in settings.items()}
    state = {"TESSERABENCH_COLLECTOR_STATE_DIR": str(tmp_path / "state"), "HOME": str(tmp_path)}
    return {**kept, **state, **named}


@pytest.fixture
def started_before(tmp_path: Path) -> None:
    """A state folder that a collector has used already: the database need not be made."""
    prepare_folder(tmp_path / "state" / "postgres")


def call(
    tmp_path: Path, *arguments: str, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments],
        env=environment(tmp_path, settings or {}),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


@contextmanager
def serving(tmp_path: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    log = tmp_path / "log"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [PROGRAM, "serve"],
            env=environment(tmp_path, ON_FREE_PORTS | settings),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    addresses = tmp_path / "state" / "addresses.json"

    def told() -> dict[str, str] | None:
        assert process.poll() is None, log.read_text()
        try:
            found: dict[str, str] = json.loads(addresses.read_text())
        except (OSError, json.JSONDecodeError):
            return None
        return found if int(found["pid"]) == process.pid else None

    try:
        found = wait_until(told, seconds=START_SECONDS, what="the collector's addresses")
        assert found is not None
        yield process, found
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"did not end within {STOP_SECONDS} s of SIGTERM:\n{log.read_text()}") from None


def test_it_ends_in_order_on_sigterm_and_leaves_nothing_running(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, _):
        postmaster = int((tmp_path / "state" / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
    assert not (tmp_path / "state" / "addresses.json").exists()
    assert not Path(f"/proc/{postmaster}").exists()
    assert "collector.stopped" in (tmp_path / "log").read_text()


def test_a_collector_that_is_stopped_while_it_starts_leaves_no_postgresql_behind(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [PROGRAM, "serve"], env=environment(tmp_path, ON_FREE_PORTS), stdout=sink, stderr=sink
        )
    try:
        what = "PostgreSQL's folder"
        wait_until(lambda: b"postgres.initialised" in log.read_bytes(), seconds=START_SECONDS, what=what, every=0.01)
        process.terminate()
        assert process.wait(STOP_SECONDS) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert Folder(root=tmp_path / "state" / "postgres").processes() == []


@pytest.mark.usefixtures("started_before")
def test_a_killed_collector_starts_again_at_once(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, first):
        process.kill()
        process.wait()
    with serving(tmp_path, GRPC_LISTEN=first["grpc"]) as (_, second):
        assert second["grpc"] == first["grpc"]
        assert call(tmp_path, "check", "--health").returncode == 0


def test_the_health_check_fails_when_nothing_runs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free_port = taken.getsockname()[1]
    done = call(tmp_path, "check", "--health", settings={"WEB_LISTEN": f"127.0.0.1:{free_port}"})
    assert done.returncode == 1
    assert f"127.0.0.1:{free_port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "check", "migrate"])
def test_a_broken_settings_file_is_one_line_and_exit_status_2(tmp_path: Path, command: str) -> None:
    path = tmp_path / "collector.toml"
    path.write_text('grpc_lissen = "127.0.0.1:1"\n')
    done = call(tmp_path, command, "--config", str(path))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(path) in line
    assert "grpc_lissen" in line
    assert "did you mean grpc_listen?" in line


def test_it_refuses_to_be_open_to_everybody_unless_told_so(tmp_path: Path) -> None:
    done = call(tmp_path, "serve", settings={"GRPC_LISTEN": "0.0.0.0:0"})
    assert done.returncode == 2
    assert "--insecure" in done.stderr


@pytest.mark.usefixtures("started_before")
def test_a_taken_port_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for key, setting in (("grpc_listen", "GRPC_LISTEN"), ("web_listen", "WEB_LISTEN")):
            done = call(tmp_path, "serve", settings=ON_FREE_PORTS | {setting: address})
            assert done.returncode == 1
            assert f"{key} = {address}" in done.stderr.splitlines()[-1]
            assert "Traceback" not in done.stderr
        checked = call(tmp_path, "check", settings=ON_FREE_PORTS | {"GRPC_LISTEN": address})
        assert checked.returncode == 1
        assert f"grpc_listen = {address}" in checked.stderr


def test_a_database_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    settings = ON_FREE_PORTS | {"DATABASE_DSN": "postgresql://nobody:hunter2@127.0.0.1:1/x"}
    for command in ("serve", "check", "migrate"):
        done = call(tmp_path, command, settings=settings)
        assert done.returncode == 1, command
        assert "database" in done.stderr
        assert "Traceback" not in done.stderr
        assert "hunter2" not in done.stderr + done.stdout


def test_check_prints_settings_with_their_origins(tmp_path: Path) -> None:
    done = call(tmp_path, "check", settings=ON_FREE_PORTS)
    assert done.returncode == 0, done.stderr
    assert "grpc_listen = 127.0.0.1:0  (variable TESSERABENCH_COLLECTOR_GRPC_LISTEN)" in done.stdout
    assert done.stdout.splitlines()[-1] == "ok: settings, database, schema and ports"
    assert "the first start makes a PostgreSQL" in done.stdout
    assert not (tmp_path / "state").exists(), "a check makes nothing"


def test_migrate_may_be_repeated_and_serve_without_migrating_wants_it(tmp_path: Path) -> None:
    refused = call(tmp_path, "serve", settings=ON_FREE_PORTS | {"MIGRATE_ON_START": "false"})
    assert refused.returncode == 1
    assert "tesserabench-collector migrate" in refused.stderr
    for _ in range(2):
        done = call(tmp_path, "migrate")
        assert done.returncode == 0, done.stderr
        assert "the schema is at" in done.stdout
    with serving(tmp_path, MIGRATE_ON_START="false"):
        pass


@pytest.mark.usefixtures("started_before")
def test_tokens_are_made_listed_and_revoked_on_the_console(tmp_path: Path) -> None:
    made = call(tmp_path, "token", "create", "--name", "ci", "--role", "runner", "--project", "kernels")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    assert secret.startswith("tb_")
    assert len(secret) > 40
    again = call(tmp_path, "token", "create", "--name", "ci", "--role", "viewer")
    assert again.returncode == 1
    assert "is taken" in again.stderr
    wrong = call(tmp_path, "token", "create", "--name", "x", "--role", "owner")
    assert wrong.returncode == 1
    assert "agent:HOST" in wrong.stderr
    listing = call(tmp_path, "token", "list")
    assert listing.stdout.split() == ["ci", "runner", "kernels", "good"]
    assert secret not in listing.stdout
    assert call(tmp_path, "token", "revoke", "ci").returncode == 0
    assert "revoked" in call(tmp_path, "token", "list").stdout
    assert call(tmp_path, "token", "revoke", "ci").returncode == 1


@pytest.mark.usefixtures("started_before")
def test_a_token_can_be_made_beside_a_running_collector(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, _):
        made = call(tmp_path, "token", "create", "--name", "ci", "--role", "admin")
        assert made.returncode == 0, made.stderr
        assert process.poll() is None
        assert call(tmp_path, "check", "--health").returncode == 0
        assert "ci" in call(tmp_path, "token", "list").stdout


@pytest.mark.usefixtures("started_before")
def test_readiness_is_told_to_the_service_manager(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(START_SECONDS)
        state = environment(tmp_path, ON_FREE_PORTS) | {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        process = subprocess.Popen([PROGRAM, "serve"], env=state, stderr=subprocess.DEVNULL)
        try:
            told = ""
            while not {"READY=1", "WATCHDOG=1"} <= set(told.split()):
                told += manager.recv(4096).decode() + "\n"
            process.terminate()
            while "STOPPING=1" not in told:
                told += manager.recv(4096).decode() + "\n"
            assert process.wait(STOP_SECONDS) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def test_help_and_version_need_no_settings(tmp_path: Path) -> None:
    assert "serve" in call(tmp_path, "--help").stdout
    assert call(tmp_path, "version").stdout.strip() == call(tmp_path, "--version").stdout.split()[-1]
