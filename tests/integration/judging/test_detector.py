import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from support.laboratory import FINISHED, JUDGING, Conditions, Laboratory, at_once, branch
from support.waiting import wait_until, wait_until_async
from tesserabench.collector.core import metrics, regression_gauges, regressions, triage
from tesserabench.collector.core.regressions import QUIET_BRANCH_DAYS, Act
from tesserabench.collector.errors import UnavailableError
from tesserabench.collector.store import comparisons
from tesserabench.collector.store.database import Database
from tesserabench.collector.work.analysis_pool import AnalysisPool
from tesserabench.collector.work.detection import Detector, Pace
from tesserabench.wire.reasons import Reason

SLOW = Conditions(factors={"gemm[n=512]": 1.10})
QUICK = Pace(check_seconds=30, pause_seconds=0.01)


@asynccontextmanager
async def running(detector: Detector) -> AsyncIterator[None]:
    """The detector at work during the block."""
    task = asyncio.create_task(detector.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def finished(laboratory: Laboratory, run_id: int, seconds: float = 30) -> None:
    """Return once the run is."""

    async def done() -> bool:
        return (await laboratory.get(run_id)).state == FINISHED

    await wait_until_async(done, seconds=seconds, what=f"run {run_id} to be judged")


async def test_a_measured_run_is_judged_in_another_process_without_being_asked(laboratory: Laboratory) -> None:
    pool = AnalysisPool()
    try:
        async with running(Detector(replace(laboratory.judging, offload=pool), QUICK)):
            first = await laboratory.ask()
            await laboratory.measure(first)
            await finished(laboratory, first)
            second = await laboratory.ask()
            await laboratory.measure(second, SLOW)

            async def asked() -> bool:
                return await laboratory.confirmation(second) is not None

            await wait_until_async(asked, seconds=20, what="the confirming run")
            child = await laboratory.confirmation(second)
            assert child is not None
            await laboratory.measure(child.id, SLOW)
            await finished(laboratory, second)
        assert (await laboratory.get(second)).verdict == "regressed"
        assert await pool(os.getpid) != os.getpid()
    finally:
        await pool.close()


async def test_a_worker_that_is_killed_costs_nothing(laboratory: Laboratory) -> None:
    pool = AnalysisPool()
    try:
        worker = await pool(os.getpid)
        os.kill(worker, signal.SIGKILL)
        detector = Detector(replace(laboratory.judging, offload=pool), QUICK)
        run_id = await laboratory.ask()
        await laboratory.measure(run_id)
        await detector.check()
        assert (await laboratory.get(run_id)).state == FINISHED
        assert await pool(os.getpid) != worker
    finally:
        await pool.close()


def test_workers_end_with_a_collector_that_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(
        "import asyncio, os, time\n"
        "from tesserabench.collector.work.analysis_pool import AnalysisPool\n"
        "async def main():\n"
        "    print(await AnalysisPool()(os.getpid), flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert Path(f"/proc/{worker}").exists()
        parent.kill()
    wait_until(lambda: not alive(worker), seconds=10, what="the worker to end with its parent")


def test_a_program_that_has_ended_leaves_nothing_that_workers_are_forked_from(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio, os\n"
        "from tesserabench.collector.work.analysis_pool import AnalysisPool\n"
        "async def main():\n"
        "    pool = AnalysisPool()\n"
        "    assert await pool(os.getpid) != os.getpid()\n"
        "    await pool.close()\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, str(program)], start_new_session=True) as process:
        assert process.wait(60) == 0
        left = [command for command in commands(process.pid) if "forkserver" in command]
    assert left == []


def commands(session: int) -> list[str]:
    """The command lines of a session's processes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(folder.name)) == session:
                found.append((folder / "cmdline").read_text())
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped by init does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_run_that_cannot_be_judged_ends_and_holds_nothing_up(laboratory: Laboratory) -> None:
    async def broken(function: Callable[..., object], /, *args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError("a fault of ours")

    failures = metrics.DETECTOR_FAILURES._value.get()
    detector = Detector(replace(laboratory.judging, offload=broken), QUICK)
    run_id = await laboratory.ask()
    await laboratory.measure(run_id)
    for tries in range(1, 6):
        assert (await laboratory.get(run_id)).state == JUDGING, tries
        await detector.check()
        assert await detector.check() == 0, "left alone for a while"
        laboratory.clock.advance(QUICK.retry_seconds + 1)
    run = await laboratory.get(run_id)
    assert (run.state, run.outcome, run.verdict) == (FINISHED, "ok", "inconclusive")
    assert "Could not be judged" in run.verdict_reason
    assert metrics.DETECTOR_FAILURES._value.get() - failures == 5


async def test_a_replica_that_died_loses_its_runs_to_another(laboratory: Laboratory) -> None:
    run_id = await laboratory.ask()
    await laboratory.measure(run_id)
    now = laboratory.clock()
    async with laboratory.database.transaction() as session:
        taken = await comparisons.claim(session, now=now, until=now + timedelta(seconds=120), limit=8)
    assert taken == [run_id]
    detector = Detector(laboratory.judging, QUICK)
    assert await detector.check() == 0
    laboratory.clock.advance(121)
    assert await detector.check() == 1
    assert (await laboratory.get(run_id)).state == FINISHED


async def test_replicas_share_the_waiting_runs(laboratory: Laboratory) -> None:
    ids = []
    for _ in range(3):
        run_id = await laboratory.ask()
        await laboratory.measure(run_id)
        ids.append(run_id)
    now = laboratory.clock()

    async def claim(session: AsyncSession) -> list[int]:
        return await comparisons.claim(session, now=now, until=now, limit=2)

    async with laboratory.database.transaction() as one, laboratory.database.transaction() as other:
        assert await claim(one) == ids[:2]
        assert await claim(other) == ids[2:]


async def test_a_run_whose_confirmation_is_being_measured_is_left_alone(laboratory: Laboratory) -> None:
    await laboratory.run()
    second = await laboratory.run(conditions=SLOW)
    detector = Detector(laboratory.judging, QUICK)
    assert await detector.check() == 0
    laboratory.clock.advance(601)
    assert await detector.check() == 1
    assert (await laboratory.get(second)).verdict == "inconclusive"


async def test_the_detector_outlives_an_absent_database(laboratory: Laboratory) -> None:
    class Away(Database):
        absences = 3

        def transaction(self):  # type: ignore[no-untyped-def]  # noqa: ANN202
            if self.absences:
                self.absences -= 1
                raise UnavailableError("away", reason=Reason.DATABASE_UNAVAILABLE)
            return laboratory.database.transaction()

        def listen(self, *channels: str, connected: Callable[[], None] | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN202
            return laboratory.database.listen(*channels, connected=connected)

    run_id = await laboratory.ask()
    await laboratory.measure(run_id)
    away = Away("host=127.0.0.1")
    pace = Pace(check_seconds=0.05, pause_seconds=0.01)
    async with running(Detector(replace(laboratory.judging, database=away, offload=at_once), pace)):
        await finished(laboratory, run_id)
    assert away.absences == 0


async def test_gauges_show_what_wakes_somebody(laboratory: Laboratory) -> None:
    async def gauges() -> tuple[dict[tuple[str, ...], float], ...]:
        async with laboratory.database.transaction() as session:
            await regression_gauges.refresh(session, laboratory.clock())
        found = []
        for gauge in (
            metrics.REGRESSIONS_OPEN,
            metrics.REGRESSION_RATIO,
            metrics.REGRESSION_OLDEST_UNTRIAGED_AGE_SECONDS,
        ):
            (family,) = gauge.collect()
            found.append({tuple(sample.labels.values()): sample.value for sample in family.samples})
        return tuple(found)

    await laboratory.run(branch("main"))
    second = await laboratory.run(branch("main"), SLOW)
    opened, ratios, ages = await gauges()
    assert opened == {("default", "core", "critical", "Simulated 1", "suspected", "regression", ""): 1}
    assert ratios == ages == {}
    await laboratory.confirm(second, SLOW)
    opened, ratios, ages = await gauges()
    assert opened == {("default", "core", "critical", "Simulated 1", "confirmed", "regression", ""): 1}
    ((labels, ratio),) = ratios.items()
    assert labels == ("default", "core", "gemm", "time", "Simulated 1", "1", "critical")
    assert ratio == pytest.approx(0.10, abs=0.001)
    assert list(ages) == [("default", "critical", "regression")]

    worse = Conditions(factors={"gemm[n=512]": 1.25})
    await laboratory.confirm(await laboratory.run(branch("change"), worse), worse)
    opened, ratios, _ = await gauges()
    assert sum(opened.values()) == 2
    assert len(ratios) == 1, "a change under review wakes nobody"

    async with laboratory.database.transaction() as session:
        act = Act(actor="ada", comment="", now=laboratory.clock())
        await triage.acknowledge(session, 1, owner="", act=act)
    opened, ratios, ages = await gauges()
    assert ("default", "core", "critical", "Simulated 1", "acknowledged", "regression", "") in opened
    assert ratios == ages == {}


async def test_findings_of_a_branch_that_went_quiet_are_closed(laboratory: Laboratory) -> None:
    await laboratory.run(branch("main"))
    for name, slow in (("main", SLOW), ("change", Conditions(factors={"gemm[n=512]": 1.25}))):
        await laboratory.confirm(await laboratory.run(branch(name), slow), slow)
    laboratory.clock.advance(QUIET_BRANCH_DAYS * 86400 - 3600)
    async with laboratory.database.transaction() as session:
        assert await regressions.close_abandoned(session, laboratory.clock()) == 0
    laboratory.clock.advance(7200)
    async with laboratory.database.transaction() as session:
        assert await regressions.close_abandoned(session, laboratory.clock()) == 1
    assert [(row.branch, row.state) for row in await laboratory.regressions()] == [
        ("", "confirmed"),
        ("change", "resolved"),
    ]
