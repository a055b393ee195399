"""Shares of false alarms, and what they do to limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.analysis.policy import Policy
from tesserabench.collector.core.false_alarms import LARGEST_FACTOR, TOLERATED, limit_factor, raised
from tesserabench.collector.core.proportions import surely_above, wilson

EXCESS = st.floats(min_value=1.0, max_value=4.0)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (1, 10, 0.0179, 0.4042), (3, 1204, 0.0008, 0.0073), (10, 10, 0.7225, 1.0)],
)
def test_intervals_of_shares_are_wilsons(hits: int, trials: int, low: float, high: float) -> None:
    assert wilson(hits, trials) == pytest.approx((low, high), abs=5e-5)


def test_of_no_trials_nothing_is_known() -> None:
    with pytest.raises(ValueError, match="no trials"):
        wilson(0, 0)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share(counts: tuple[int, int]) -> None:
    low, high = wilson(*counts)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1


def test_limits_stay_as_long_as_the_share_may_be_chance() -> None:
    assert limit_factor([], 0) == 1
    assert limit_factor([3.0] * 4, 400) == 1, "4 of 400 is 1 %"
    assert limit_factor([1.5] * 8, 400) == 1, "8 of 400 may be 1 %"


def test_what_may_be_chance_is_told_exactly() -> None:
    assert not surely_above(2, 50, 0.01), "8.9 %"
    assert surely_above(3, 50, 0.01), "1.4 %"
    assert not surely_above(0, 50, 0.01)


def test_an_afternoon_moves_no_limit() -> None:
    assert limit_factor([3.0] * 20, 49) == 1
    assert limit_factor([3.0] * 20, 50) > 1


def test_limits_rise_as_far_as_it_takes() -> None:
    excesses = [1.1, 1.2, 1.3, 1.4, 1.5, 1.61, 1.7, 1.8, 1.9, 2.0, 2.1, 2.2]
    assert limit_factor(excesses, 400) == 1.9, "four of 400 are tolerated: all but the largest four have to go"
    assert limit_factor([100.0] * 30, 400) == LARGEST_FACTOR


@given(st.lists(EXCESS, max_size=60), st.integers(60, 2000))
def test_with_raised_limits_no_more_than_tolerated_would_have_been_false(excesses: list[float], trials: int) -> None:
    factor = limit_factor(excesses, trials)
    assert factor >= 1
    if factor > 1:
        left = [excess for excess in excesses if excess >= factor]
        assert len(left) <= TOLERATED * trials


def test_severities_are_never_below_the_smallest_change_that_matters() -> None:
    policy = raised(Policy(), 3.0)
    assert (policy.minor, policy.major, policy.critical) == pytest.approx((0.06, 0.06, 0.10))
    assert raised(Policy(), 1.0) == Policy()
