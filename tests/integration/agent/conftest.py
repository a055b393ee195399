"""A collector in memory, and settings for agents that speak with it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_collector import FakeCollector, running_collector
from tesserabench.agent.settings import Budgets, Link, Settings

MakeSettings = Callable[..., Settings]


@pytest.fixture
async def collector() -> AsyncIterator[FakeCollector]:
    async with running_collector() as running:
        yield running


@pytest.fixture
def make_settings(tmp_path: Path, collector: FakeCollector) -> MakeSettings:
    """Settings of a quick agent with a simulated device; any of them can be overridden."""

    def make(**changes: Any) -> Settings:
        given: dict[str, Any] = {
            "collector": collector.address,
            "host": "bench-1",
            "state_dir": tmp_path / "state",
            "lock_dir": tmp_path / "locks",
            "devices": ("simulated",),
            "metrics_listen": "",
            "link": Link(retry_min=0.05, retry_max=0.3, retry_slow=0.3, linger=0.2),
            "budgets": Budgets(kill_grace=1),
            "min_free_bytes": 0,
        }
        return Settings(**(given | changes))

    return make


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[[str], str]:
    """Writes a simulated device's script and gives its path."""

    def write(text: str) -> str:
        path = tmp_path / "scenario.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write
