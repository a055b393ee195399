"""When silence is too long, and when what is gone was taken away."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.collector.core.rhythms import Rhythm, due_by, patience_seconds, still_offered

LAST = datetime(2030, 1, 31, 3, tzinfo=UTC)
HOUR, DAY = 3600.0, 86_400.0


@pytest.mark.parametrize(
    ("rhythm", "hours"),
    [
        pytest.param(Rhythm(last_at=LAST, schedule_seconds=DAY), 50.4, id="two periods of its schedule, and some"),
        pytest.param(Rhythm(last_at=LAST, spacings=[DAY] * 6), 50.4, id="a steady rhythm is like a schedule"),
        pytest.param(Rhythm(last_at=LAST, spacings=[600.0] * 9 + [62 * HOUR]), 124, id="weekends are not missed"),
        pytest.param(Rhythm(last_at=LAST, spacings=[60.0, 600.0, 60.0, 60.0, 60.0]), 72, id="bursts wait three days"),
        pytest.param(Rhythm(last_at=LAST, spacings=[DAY] * 6, allowed_seconds=6 * HOUR), 6, id="the policy decides"),
        pytest.param(Rhythm(last_at=LAST, spacings=[DAY] * 4), None, id="too little is known"),
        pytest.param(Rhythm(last_at=LAST, schedule_seconds=DAY, allowed_seconds=math.inf), None, id="never"),
    ],
)
def test_how_long_a_series_may_be_silent(rhythm: Rhythm, hours: float | None) -> None:
    assert due_by(rhythm) == (None if hours is None else LAST + timedelta(hours=hours))


@given(st.lists(st.floats(1.0, 1e6), min_size=5, max_size=20))
def test_nothing_is_missed_before_its_longest_silence_has_passed_again(spacings: list[float]) -> None:
    patience = patience_seconds(Rhythm(last_at=LAST, spacings=spacings))
    assert patience is not None
    assert patience > max(spacings)


def test_a_case_is_removed_when_its_benchmark_or_its_value_is_no_longer_declared() -> None:
    suite = {
        "benchmarks": [{"name": "gemm/square", "parameters": {"n": {"values": ["512", "1024"]}}}, {"name": "copy"}]
    }
    assert still_offered(suite, "gemm/square", {"n": 512})
    assert not still_offered(suite, "gemm/square", {"n": 4096})
    assert still_offered(suite, "copy", {"n": 4096}), "what is not declared is not known"
    assert not still_offered(suite, "gemm/tall", {})
    assert still_offered(None, "gemm/tall", {}), "a suite that no host has says nothing"
