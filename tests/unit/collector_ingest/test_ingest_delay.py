"""When it is told that PostgreSQL takes no results, and when that is over."""

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs
from tesserabench.collector.core import metrics
from tesserabench.collector.core.ingest_delay import IngestDelay
from tesserabench.collector.errors import UnavailableError
from tesserabench.wire.reasons import Reason

FULL = UnavailableError("no space left on the device", reason=Reason.DATABASE_UNAVAILABLE)


class Clock:
    """A clock that a test moves."""

    now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


def shown() -> float:
    """The metric as it is scraped."""
    value = metrics.REGISTRY.get_sample_value("tesserabench_ingest_delayed")
    assert value is not None
    return value


async def test_a_delay_is_told_once_it_lasts_and_until_a_commit_goes_well() -> None:
    clock = Clock()
    delay = IngestDelay(clock)
    with capture_logs() as logs:
        for _ in range(20):
            delay.failed(FULL)
            clock.advance(0.4)
        await delay.check()
        assert shown() == 0, "a restart of the server is over by then"
        clock.advance(3)
        with pytest.raises(UnavailableError, match="no space left"):
            await delay.check()
        assert shown() == 1
        clock.advance(60)
        delay.failed(FULL)
        delay.succeeded()
    await delay.check()
    assert shown() == 0
    told = [(line["event"], line["seconds"]) for line in logs]
    assert told == [("ingest.commit_delayed", 0), ("ingest.commit_delayed", 71), ("ingest.commits_again", 71)]


async def test_a_delay_that_nobody_has_seen_for_long_is_not_known_any_more() -> None:
    clock = Clock()
    delay = IngestDelay(clock)
    delay.failed(FULL)
    clock.advance(20)
    assert shown() == 1
    clock.advance(200)
    await delay.check()
    assert shown() == 0
