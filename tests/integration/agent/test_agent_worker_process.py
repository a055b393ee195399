"""Worker processes as the agent sees them: stubborn ones, foreign users, processes that they leave behind."""

import asyncio
import contextlib
import os
import pwd
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from support.waiting import wait_until_async
from tesserabench.agent.errors import DeviceBusy, RunnerError
from tesserabench.agent.host.machine import Machine
from tesserabench.agent.locks import device_lock, lock_path
from tesserabench.agent.runner.process import Launch, Worker, start_worker
from tesserabench.agent.runner.station import Station
from tesserabench.agent.settings import Settings
from tesserabench.bench.worker.frames import WorkerProtocolError
from tesserabench.v1.host_pb2 import Device

PYTHON = sys.executable


@pytest.fixture
def as_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that is started in place of the Python interpreter; the test writes what it does."""
    program = tmp_path / "interpreter"
    monkeypatch.setattr(sys, "executable", str(program))
    return program


def write(program: Path, body: str, interpreter: str = "/bin/sh") -> None:
    program.write_text(f"#!{interpreter}\n{body}\n", encoding="utf-8")
    program.chmod(0o755)


@contextlib.asynccontextmanager
async def worker(folder: Path, **changes: object) -> AsyncIterator[Worker]:
    given: dict[str, object] = {"order": {}, "folder": folder, "environment": {"PATH": os.environ["PATH"]}}
    started = await start_worker(Launch(**(given | changes)))  # type: ignore[arg-type]
    try:
        yield started
    finally:
        await started.kill(0.1)


async def all_lines(running: Worker, count: int = 1) -> list[str]:
    """What the worker prints until it ends: at least `count` lines."""
    await running.exit_status()
    found: list[str] = []

    async def collect() -> bool:
        found.extend(line for lines in running.lines() for line in lines.lines)
        return len(found) >= count

    await wait_until_async(collect, seconds=10, what="the worker's lines")
    return found


async def test_worker_becomes_the_user_of_the_settings(as_worker: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user; run as root to see this")
    write(as_worker, "id -u; id -g")
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and folder.stat().st_uid == 0 and folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o755)
    async with worker(tmp_path, user="nobody") as running:
        nobody = pwd.getpwnam("nobody")
        assert await all_lines(running, 2) == [str(nobody.pw_uid), str(nobody.pw_gid)]


async def test_working_folder_and_cache_are_the_workers_own(as_worker: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user; run as root to see this")
    state_dir = tmp_path / "state"
    state_dir.mkdir(mode=0o750)
    (state_dir / "spool.db").write_text("not for workers", encoding="utf-8")
    (state_dir / "spool.db").chmod(0o640)
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and folder.stat().st_uid == 0 and folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o755)
    machine = Machine({"cpu"}, None)
    settings = Settings(state_dir=state_dir, runner_user="nobody", devices=("cpu",))
    station = Station(settings=settings, devices=machine.devices, watch=machine)
    folder = station.make_folder()
    environment = station.environment(folder, machine.devices[0])
    write(as_worker, 'touch $HOME/a && mkdir -p "$CUPY_CACHE_DIR" && cat $HOME/../spool.db; ls $HOME/..; echo done')
    async with worker(folder, user="nobody", environment=environment) as running:
        printed = await all_lines(running, 3)
    assert "done" in printed
    assert sum("ermission denied" in line for line in printed) == 2, printed
    assert not any("not for workers" in line for line in printed)
    assert (folder / "a").exists()


def test_code_that_was_compiled_under_one_driver_is_not_given_to_another(tmp_path: Path) -> None:
    machine = Machine({"cpu"}, None)
    station = Station(settings=Settings(state_dir=tmp_path), devices=machine.devices, watch=machine)
    folder = station.make_folder()
    for version in ("550.54.15", "580.65.06"):
        device = Device(uuid="GPU-1", kind="cuda", driver_version=version)
        environment = station.environment(folder, device)
        assert f"driver-{version}" in environment["CUPY_CACHE_DIR"]
        assert f"driver-{version}" in environment["CUDA_CACHE_PATH"]


async def test_worker_without_a_user_keeps_the_agents(as_worker: Path, tmp_path: Path) -> None:
    write(as_worker, "id -u")
    async with worker(tmp_path) as running:
        assert await all_lines(running) == [str(os.geteuid())]


async def test_worker_that_ignores_sigterm_is_killed_with_everything_it_started(
    as_worker: Path, tmp_path: Path
) -> None:
    write(as_worker, "trap '' TERM; sleep 1000 & echo $!; while :; do sleep 1000; done")
    async with worker(tmp_path) as running:
        seen: list[str] = []

        async def started() -> bool:
            seen.extend(line for lines in running.lines() for line in lines.lines)
            return bool(seen)

        await wait_until_async(started, seconds=10, what="the worker to start its own process")
        child = int(seen[0])
        assert await running.kill(0.2) == -signal.SIGKILL

    async def gone() -> bool:
        return not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE

    await wait_until_async(gone, seconds=10, what="the worker's own process to be gone")


async def test_worker_that_ends_by_itself_leaves_no_process_behind(as_worker: Path, tmp_path: Path) -> None:
    write(as_worker, "sleep 1000 & echo $!")
    async with worker(tmp_path) as running:
        child = int((await all_lines(running))[0])
        assert await running.kill(1) == 0

    async def gone() -> bool:
        return not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE

    await wait_until_async(gone, seconds=10, what="what the worker left behind to be gone")


async def test_worker_that_writes_nonsense_is_told_from_one_that_writes_messages(
    as_worker: Path, tmp_path: Path
) -> None:
    write(as_worker, "import os, sys\nos.write(int(sys.argv[4]), b'nonsense' * 100)", interpreter=PYTHON)
    async with worker(tmp_path) as running:
        with pytest.raises(WorkerProtocolError, match="claims"):
            await running.message()


async def test_worker_that_says_nothing_ends_its_messages(as_worker: Path, tmp_path: Path) -> None:
    write(as_worker, "exit 7")
    async with worker(tmp_path) as running:
        assert await running.message() is None
        assert await running.exit_status() == 7


async def test_interpreter_that_is_not_there_is_an_error_of_ours(as_worker: Path, tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="cannot be started"):
        await start_worker(Launch(order={}, folder=tmp_path, environment={}))


async def test_worker_sees_only_the_environment_that_it_was_given(
    as_worker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERABENCH_AGENT_TOKEN", "secret")
    write(as_worker, "env")
    async with worker(tmp_path) as running:
        assert not any("secret" in line for line in await all_lines(running))


async def test_device_is_locked_against_others_and_freed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "device.lock"
    async with device_lock(path, 1):
        with pytest.raises(DeviceBusy, match="device_wait_seconds"):
            async with device_lock(path, 0.05):
                pass
    async with device_lock(path, 0):
        pass


async def test_device_lock_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "device.lock"
    held = asyncio.Event()

    async def first() -> None:
        async with device_lock(path, 1):
            held.set()
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        group.create_task(first())
        await held.wait()
        async with device_lock(path, 20):
            pass


def test_lock_lies_in_the_folder_of_the_settings(tmp_path: Path) -> None:
    assert lock_path("GPU-1/2", tmp_path, tmp_path / "state") == tmp_path / "tesserabench-GPU-1_2.lock"
    assert lock_path("GPU-1", None, tmp_path).name == "tesserabench-GPU-1.lock"
