"""Statistics that an agent did not send, against NumPy and SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tesserabench.collector.core.statistics import interval_rank, summarise

FINITE = st.floats(min_value=-1e12, max_value=1e12)


@given(st.lists(FINITE, min_size=1, max_size=60))
def test_summary_agrees_with_numpy(samples: list[float]) -> None:
    block = np.array(samples)
    summary = summarise([block])[0]
    found = summary.statistics
    scale = max(1.0, float(np.abs(block).max()))
    expected = np.quantile(block, [0.05, 0.25, 0.5, 0.75, 0.95])
    told = (found.p5, found.q1, summary.median, found.q3, found.p95)
    assert told == pytest.approx(tuple(expected), abs=1e-9 * scale)
    assert (found.count, found.minimum, found.maximum) == (len(samples), block.min(), block.max())
    assert found.mean == pytest.approx(block.mean(), abs=1e-9 * scale)
    assert found.mad == pytest.approx(np.median(np.abs(block - np.median(block))), abs=1e-9 * scale)
    if len(samples) == 1:
        assert found.stdev is None
    else:
        assert found.stdev == pytest.approx(block.std(ddof=1), abs=1e-6 * scale)


def test_blocks_of_different_lengths_keep_their_order() -> None:
    blocks = [np.array([3.0]), np.array([1.0, 2.0]), np.array([5.0]), np.array([4.0, 8.0])]
    assert [summary.median for summary in summarise(blocks)] == [3.0, 1.5, 5.0, 6.0]


def test_p99_needs_three_hundred_samples() -> None:
    assert summarise([np.arange(299.0)])[0].statistics.p99 is None
    assert summarise([np.arange(300.0)])[0].statistics.p99 == pytest.approx(296.01)


@pytest.mark.parametrize("count", [1, 5])
def test_no_interval_of_the_median_exists_below_six_samples(count: int) -> None:
    assert interval_rank(count) is None
    summary = summarise([np.arange(float(count))])[0]
    assert (summary.ci_low, summary.ci_high) == (None, None)


@pytest.mark.parametrize("count", [6, 7, 10, 30, 31, 101, 1000, 1001, 5000])
def test_interval_of_the_median_covers_95_percent_and_no_narrower_one_does(count: int) -> None:
    rank = interval_rank(count)
    assert rank is not None

    def coverage(lower: int) -> float:
        return float(1 - 2 * stats.binom.cdf(lower, count, 0.5))

    assert coverage(rank) >= 0.95 - (0.002 if count > 1000 else 0)
    assert coverage(rank + (1 if count <= 1000 else 3)) < 0.95
