"""The tests that need a GPU, told as lines: most of them by several processes at once, then those that time something.

The suites' smoke tiers are left to the section that runs them all.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
from support.gpu_section import Line, run_section

SECTION = "tests"
PARTS = 6
TOGETHER_SECONDS, ALONE_SECONDS = 70.0, 75.0
"""Tests that have not begun by then are told as not run; what ran counts."""
ENDING_SECONDS = 10.0
"""What a test that has begun gets beyond that."""
LEFT_OUT = "smoke_tier"
"""Tests with this in their names do what another section does."""
ALONE = ("test_cuda_device",)
"""Modules whose tests time something, so that nothing else may run on the device."""
ALSO_ALONE = {
    "test_flash_attention_keeps_its_sums_in_registers_and_beats_the_naive_form",
    "test_latency_grows_from_cache_to_memory",
    "test_copies_both_ways_move_no_less_than_one_way",
}


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of tests."""

    chosen: int = 0
    begun: int = 0
    passed: int = 0
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add what became of other tests."""
        self.chosen, self.begun, self.passed = (
            self.chosen + other.chosen,
            self.begun + other.begun,
            self.passed + other.passed,
        )
        self.skipped += other.skipped
        self.failed += other.failed


def is_alone(item: pytest.Item) -> bool:
    """Tell whether a test needs the device to itself."""
    return Path(item.path).stem in ALONE or item.name.partition("[")[0] in ALSO_ALONE


def in_turns(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return the tests with the first case of every benchmark before all others: those matter most."""
    seen: Counter[tuple[str, str]] = Counter()
    first: list[pytest.Item] = []
    later: list[pytest.Item] = []
    for item in items:
        name, _, case = item.name.partition("[")
        kind = (name, case.partition("-")[0] if "/" in case else case)
        (later if seen[kind] else first).append(item)
        seen[kind] += 1
    return first + later


class Run:
    """Chooses tests, counts what becomes of them, and ends between two of them when the time is up."""

    def __init__(self, part: int | None, seconds: float, kept: Path | None) -> None:
        self.tally = Tally()
        self._part, self._until, self._kept = part, time.monotonic() + seconds, kept

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests that need the device alone, or one part of all others."""
        wanted = [item for item in items if LEFT_OUT not in item.name and is_alone(item) == (self._part is None)]
        items[:] = wanted if self._part is None else in_turns(wanted)[self._part :: PARTS]
        if self._part is None:
            # The profiler takes longest.
            items.sort(key=lambda item: "occupancy" in item.name)
        self.tally.chosen = len(items)

    def pytest_runtest_logstart(self) -> None:
        """Note that one began."""
        self.tally.begun += 1

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """End the session between two tests when the time is up."""
        if time.monotonic() > self._until:
            item.session.shouldstop = "the time is up"

    def pytest_runtest_logfinish(self) -> None:
        """Write down what there is: a process that hangs in a later test is killed."""
        if self._kept is not None:
            self._kept.write_text(json.dumps(asdict(self.tally)), encoding="utf-8")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test once: when its body ran, or when it never came to that."""
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.tally.skipped.append(reason.removeprefix("Skipped: "))
        elif report.failed:
            self.tally.failed.append(report.nodeid.rpartition("::")[2])
        elif report.when == "call":
            self.tally.passed += 1


def run_tests(part: int | None, seconds: float, kept: Path | None = None) -> Tally:
    """Run the tests of a part, or those that need the device alone; `kept` is where to write what became of them."""
    run = Run(part, seconds, kept)
    # The project's own fixtures need packages that a GPU host may lack, and no test here uses them.
    arguments = [str(Path(__file__).parent), "-m", "gpu", "-q", "-p", "no:cacheprovider", "--noconftest"]
    # The device's own Python has neither pytest-asyncio nor xdist, whose settings the project's configuration names.
    arguments += ["-o", "addopts=--import-mode=importlib", "-o", "filterwarnings=default", "--durations=8"]
    status = pytest.ExitCode(pytest.main(arguments, plugins=[run]))
    if status in {pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR}:
        run.tally.failed.append(f"pytest itself: {status.name}")
    return run.tally


def run_parts(folder: Path) -> Tally:
    """Run every part in a process of its own and return what became of all tests."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    started = time.monotonic()
    children = [
        subprocess.Popen([sys.executable, __file__, "--part", str(part), str(folder / str(part))], env=environment)
        for part in range(PARTS)
    ]
    total = Tally()
    for part, child in enumerate(children):
        # One that hangs in a test is not waited for.
        with suppress(subprocess.TimeoutExpired):
            child.wait(max(0.1, started + TOGETHER_SECONDS + ENDING_SECONDS - time.monotonic()))
        if child.poll() is None:
            child.kill()
            child.wait()
        if child.returncode:
            total.failed.append(f"part {part} ended with status {child.returncode}: see its last test in the log")
        try:
            total.add(Tally(**json.loads((folder / str(part)).read_text(encoding="utf-8"))))
        except (OSError, ValueError):
            total.failed.append(f"part {part} left no word")
    return total


def told(name: str, tally: Tally) -> Iterator[Line]:
    """Return lines about tests; none passed is a failure."""
    yield Line(
        section=SECTION,
        name=f"{name}: passed",
        value=tally.passed,
        unit=f"of {tally.passed + len(tally.failed)}",
        goal="all",
        holds=tally.passed > 0 and not tally.failed,
        remark=" ".join(tally.failed)[:600],
    )
    if left := tally.chosen - tally.begun:
        text = f"of {tally.chosen}"
        yield Line(section=SECTION, name=f"{name}: not run", value=left, unit=text, goal="none", holds=False)
    if tally.skipped:
        reasons = "; ".join(dict.fromkeys(tally.skipped))
        yield Line(section=SECTION, name=f"{name}: skipped", value=len(tally.skipped), unit="", remark=reasons[:300])


def measure() -> Iterator[Line]:
    """Run them all."""
    with tempfile.TemporaryDirectory() as folder:
        yield from told("at once", run_parts(Path(folder)))
    yield from told("alone", run_tests(None, ALONE_SECONDS))


if __name__ == "__main__":
    if sys.argv[1] == "--part":
        place = Path(sys.argv[3])
        place.write_text(json.dumps(asdict(run_tests(int(sys.argv[2]), TOGETHER_SECONDS, place))), encoding="utf-8")
    else:
        run_section(measure)
