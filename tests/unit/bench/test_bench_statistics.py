import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tesserabench.bench.timing.interval import median_interval, median_rank
from tesserabench.bench.timing.statistics import (
    autocorrelation,
    block_effect,
    drift,
    effective_count,
    quantile,
    summarise,
)

SAMPLES = st.lists(st.integers(1, 10**12), min_size=1, max_size=200)


@pytest.mark.parametrize("count", [*range(1, 60), 100, 101, 999, 1000, 1001, 5000, 10_000])
def test_rank_is_the_largest_that_keeps_the_coverage(count: int) -> None:
    rank = median_rank(count)
    if rank is None:
        assert 2 * stats.binom.cdf(0, count, 0.5) > 0.05
        return
    assert 2 * stats.binom.cdf(rank - 1, count, 0.5) <= 0.05
    assert 2 * stats.binom.cdf(rank, count, 0.5) > 0.05


def test_no_interval_below_six_samples() -> None:
    assert median_interval([1, 2, 3, 4, 5]) is None
    assert median_interval([1, 2, 3, 4, 5, 6]) == (1, 6)
    assert summarise([5, 5, 5, 5, 5]).ci_low is None


@pytest.mark.parametrize("count", [10, 30, 101])
def test_interval_covers_the_true_median_of_a_skewed_distribution(count: int) -> None:
    rng = random.Random(count)
    hits = 0
    for _ in range(1000):
        low, high = median_interval(sorted(rng.lognormvariate(0.0, 0.5) for _ in range(count))) or (math.inf, 0.0)
        hits += low <= 1.0 <= high
    assert hits >= 940


@given(SAMPLES, st.floats(1, 200))
def test_fewer_effective_samples_never_narrow_the_interval(samples: list[int], independent: float) -> None:
    ordered = sorted(samples)
    full, reduced = median_interval(ordered), median_interval(ordered, min(independent, len(samples)))
    if reduced is not None:
        assert full is not None
        assert reduced[0] <= full[0] <= full[1] <= reduced[1]


@given(SAMPLES, st.floats(0, 1))
def test_quantile_agrees_with_numpy(samples: list[int], fraction: float) -> None:
    assert quantile(sorted(samples), fraction) == pytest.approx(np.quantile(samples, fraction), rel=1e-9)


@given(SAMPLES)
def test_summary_agrees_with_numpy_and_scipy(samples: list[int]) -> None:
    found = summarise(samples)
    assert found.n == len(samples)
    assert found.median == pytest.approx(np.median(samples))
    assert found.mean == pytest.approx(np.mean(samples))
    assert found.mad == pytest.approx(stats.median_abs_deviation(samples))
    assert (found.min, found.max) == (min(samples), max(samples))
    if len(samples) > 1:
        assert found.stdev == pytest.approx(np.std(samples, ddof=1), rel=1e-6, abs=1e-6)
    else:
        assert found.stdev is None
        assert found.cv is None
    assert found.min <= found.p5 <= found.q1 <= found.median <= found.q3 <= found.p95 <= found.max
    if found.ci_low is not None and found.ci_high is not None:
        assert found.ci_low <= found.median <= found.ci_high


@given(st.lists(st.integers(1, 10**6), min_size=3, max_size=200).filter(lambda values: len(set(values)) > 1))
def test_autocorrelation_agrees_with_its_definition(samples: list[int]) -> None:
    values = np.array(samples, dtype=np.float64) - np.mean(samples)
    assert autocorrelation(samples) == pytest.approx(float(values[:-1] @ values[1:] / (values @ values)), abs=1e-9)


def test_unknown_is_absent_never_zero() -> None:
    assert autocorrelation([1, 2]) is None
    assert autocorrelation([7, 7, 7, 7]) is None
    assert drift([1] * 8) is None
    assert summarise([3]).stdev is None


def test_drift_compares_the_thirds() -> None:
    assert drift([100, 100, 100, 1, 1, 1, 110, 110, 110]) == pytest.approx(0.1)


def test_slow_process_counts_for_fewer_samples() -> None:
    rng = random.Random(5)
    level, samples = 0.0, []
    for _ in range(2000):
        level = 0.8 * level + rng.gauss(0, 1)
        samples.append(1000 + level)
    found = summarise(samples)
    assert found.n_eff == pytest.approx(2000 * (1 - 0.8) / (1 + 0.8), rel=0.25)
    independent = summarise([rng.gauss(1000, 1) for _ in range(2000)])
    assert independent.n_eff == 2000


def test_correlation_within_chance_changes_nothing() -> None:
    assert effective_count(100, 0.19) == 100
    assert effective_count(100, -0.9) == 100
    assert effective_count(100, None) == 100
    assert effective_count(100, 0.5) == pytest.approx(100 / 3)


def test_tails_need_three_hundred_samples() -> None:
    few, enough = summarise(list(range(1, 300))), summarise(list(range(1, 301)))
    assert (few.p1, few.p99) == (None, None)
    assert enough.p1 == pytest.approx(np.quantile(range(1, 301), 0.01))
    assert enough.p99 == pytest.approx(np.quantile(range(1, 301), 0.99))


@given(SAMPLES)
def test_outliers_are_counted_by_the_fences(samples: list[int]) -> None:
    found = summarise(samples)
    q1, q3 = np.quantile(samples, [0.25, 0.75])
    distance = np.maximum(q1 - np.array(samples), np.array(samples) - q3)
    assert found.severe_outliers == np.count_nonzero(distance > 3 * found.iqr)
    assert found.mild_outliers + found.severe_outliers == np.count_nonzero(distance > 1.5 * found.iqr)


def test_first_sample_is_told_beside_the_median() -> None:
    assert summarise([300, 100, 100, 100]).first_ratio == 3.0


def test_detectable_effect_is_found_in_four_cases_of_five() -> None:
    rng = random.Random(2)
    spread, count = 0.01, 200
    effects = [summarise([rng.gauss(1, spread) for _ in range(count)]).minimum_detectable_effect for _ in range(50)]
    effect = float(np.median([known for known in effects if known is not None]))
    error = math.sqrt(math.pi / 2) * spread / math.sqrt(count)
    apart = stats.norm.sf(1.96 - effect / (math.sqrt(2) * error))
    assert apart == pytest.approx(0.8, abs=0.1)
    assert summarise([1, 2, 3]).minimum_detectable_effect is None


def test_samples_that_go_by_the_block_count_for_fewer() -> None:
    rng = random.Random(3)
    block = [index // 16 for index in range(480)]
    offsets = [rng.gauss(0, 5) for _ in range(30)]
    lifted = [1000 + offsets[number] + rng.gauss(0, 5) for number in block]
    found = summarise(lifted, block)
    # 1 + 15 x the share of the variance that lies between blocks, of half: about 8.
    assert 480 / found.n_eff == pytest.approx(8, rel=0.5)
    plain = summarise(lifted)
    assert found.ci_low is not None
    assert plain.ci_low is not None
    assert found.ci_low < plain.ci_low


def test_independent_samples_lose_little_by_being_in_blocks() -> None:
    block = [index // 16 for index in range(160)]
    effects = []
    for seed in range(200):
        rng = random.Random(seed)
        effects.append(block_effect([rng.gauss(1000, 5) for _ in block], block))
    assert min(effects) == 1.0
    assert np.mean(effects) < 1.3
    assert (
        block_effect([1.0] * 160, block) == block_effect([1.0, 2.0, 3.0], [0, 1, 1]) == block_effect([1.0], []) == 1.0
    )
