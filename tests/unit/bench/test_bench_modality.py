"""How many levels samples cluster at: found where they are, and hardly ever where they are not."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.bench.timing.modality import LEAST_SAMPLES, count_levels

Draw = Callable[[np.random.Generator, int], npt.NDArray[np.float64]]
SETS = 100
ONE_LEVEL: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(1e6, 5e3, n),
    "lognormal": lambda rng, n: 1e6 * np.exp(rng.normal(0, 0.3, n)),
    "exponential": lambda rng, n: 1e6 * (1 + 0.01 * rng.exponential(1, n)),
    "uniform": lambda rng, n: rng.uniform(1e6, 1.1e6, n),
    "laplace": lambda rng, n: rng.laplace(1e6, 3e3, n),
    "cauchy": lambda rng, n: 1e6 + 1e3 * rng.standard_cauchy(n),
    "timer steps": lambda rng, n: np.round(rng.normal(5000, 600, n) / 500) * 500,
    "timer steps over seven launches": lambda rng, n: np.round(np.round(rng.normal(5000, 900, n) / 500) * 500 / 7),
    "2 % of spikes": lambda rng, n: np.where(rng.random(n) < 0.02, 2e6, 1e6) * rng.normal(1, 0.005, n),
    "slow walk": lambda rng, n: 1e6 + np.cumsum(rng.normal(0, 10, n)) + rng.normal(0, 1e3, n),
}


def levels(draw: Draw, count: int, seed: int) -> int | None:
    return count_levels(sorted(np.round(draw(np.random.default_rng(seed), count)).tolist()))


@pytest.mark.parametrize("shape", ONE_LEVEL)
@pytest.mark.parametrize("count", [30, 100, 500])
def test_one_level_is_hardly_ever_taken_for_two(shape: str, count: int) -> None:
    wolves = sum(levels(ONE_LEVEL[shape], count, seed) != 1 for seed in range(SETS))
    assert wolves <= 0.03 * SETS


@pytest.mark.parametrize(("share", "count", "found"), [(0.4, 60, 0.95), (0.4, 200, 1.0), (0.2, 200, 0.98)])
def test_two_levels_four_per_cent_apart_are_found(share: float, count: int, found: float) -> None:
    def draw(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
        return np.where(rng.random(n) < share, 1.04e6, 1e6) * rng.normal(1, 0.005, n)

    assert sum(levels(draw, count, seed) == 2 for seed in range(SETS)) >= found * SETS


def test_three_levels_are_not_taken_for_one() -> None:
    def draw(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
        return rng.choice([1e6, 1.05e6, 1.1e6], n) * rng.normal(1, 0.004, n)

    assert (levels(draw, 600, 1) or 0) >= 2


def test_too_few_samples_tell_nothing() -> None:
    assert count_levels([1.0] * (LEAST_SAMPLES - 1)) is None
    assert count_levels([1.0] * LEAST_SAMPLES) == 1


def test_clumps_of_dependent_samples_are_no_levels() -> None:
    ordered = sorted([100.0 + index / 10 for index in range(15)] + [200.0 + index / 10 for index in range(15)])
    assert count_levels(ordered) == 2
    assert count_levels(ordered, independent=4.0) == 1


@given(st.lists(st.integers(1, 10**6), min_size=20, max_size=120), st.integers(2, 1000))
def test_levels_do_not_depend_on_the_unit_of_time(samples: list[int], factor: int) -> None:
    ordered = sorted(samples)
    assert count_levels(ordered) == count_levels([value * factor for value in ordered])
