"""The tests that need a GPU, told as lines."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.gpu_section import Line, run_section

SECTION = "tests"
LIMIT_SECONDS = 105.0
"""Tests that have not begun by then are told as not run; what ran counts."""


class Count:
    """Counts what became of the tests."""

    def __init__(self) -> None:
        self.passed = 0
        self.skipped: list[str] = []
        self.failed: list[str] = []
        self.begun = 0
        self.chosen = 0
        self._until = time.monotonic() + LIMIT_SECONDS

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note how many there are."""
        self.chosen = len(session.items)

    def pytest_runtest_logstart(self) -> None:
        """Note that one began."""
        self.begun += 1

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """End the session between two tests when the time is up."""
        if time.monotonic() > self._until:
            item.session.shouldstop = "the time is up"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test once: when its body ran, or when it never came to that."""
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.skipped.append(reason.removeprefix("Skipped: "))
        elif report.failed:
            self.failed.append(report.nodeid.rpartition("::")[2])
        elif report.when == "call":
            self.passed += 1


def measure() -> Iterator[Line]:
    """Run them all; a run without a single passed test is a failure."""
    count = Count()
    arguments = [str(Path(__file__).parent), "-m", "gpu", "-q", "-p", "no:cacheprovider", "--noconftest"]
    # The device's own Python has neither pytest-asyncio nor xdist, whose settings the project's configuration names.
    arguments += ["-o", "addopts=--import-mode=importlib", "-o", "filterwarnings=default"]
    pytest.main(arguments, plugins=[count])
    yield Line(
        section=SECTION,
        name="passed",
        value=count.passed,
        unit=f"of {count.passed + len(count.failed)}",
        goal="all",
        holds=count.passed > 0 and not count.failed,
        remark=" ".join(count.failed)[:300],
    )
    if left := count.chosen - count.begun:
        yield Line(section=SECTION, name="not run", value=left, unit=f"of {count.chosen}", goal="none", holds=False)
    if count.skipped:
        reasons = "; ".join(dict.fromkeys(count.skipped))
        yield Line(section=SECTION, name="skipped", value=len(count.skipped), unit="", remark=reasons[:300])


if __name__ == "__main__":
    run_section(measure)
