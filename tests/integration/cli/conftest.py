"""A collector that pretends, and tbctl pointed at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_services import FakeCollector
from support.tbctl import Tbctl, clean_environment


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with clean_environment(tmp_path):
        yield tmp_path


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    fake = FakeCollector().start()
    yield fake
    fake.stop()


@pytest.fixture
def tbctl(home: Path, collector: FakeCollector, capsys: pytest.CaptureFixture[str]) -> Tbctl:
    return Tbctl(capture=capsys, always=("--server", collector.address))
