import math
import random
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.bench import StopReason
from tesserabench.bench.timing.interval import median_interval
from tesserabench.bench.timing.stopping import (
    Progress,
    StopRule,
    decide,
    next_checkpoint,
    out_of_budget,
    precision,
    sample_until_stopped,
)

RULE = StopRule(target=0.0025, min_samples=30, max_samples=10_000, budget_seconds=10.0)
EARLY = Progress(elapsed_seconds=1.0, device_seconds=1.0)
HALFWAY = Progress(elapsed_seconds=5.0, device_seconds=5.0)
SPENT = Progress(elapsed_seconds=10.0, device_seconds=9.0)

SAMPLES = st.lists(st.integers(1, 10**9), min_size=1, max_size=120)


def gaussian(count: int, spread: float, seed: int = 1) -> list[int]:
    rng = random.Random(seed)
    return [round(1_000_000 * rng.gauss(1, spread)) for _ in range(count)]


@pytest.mark.parametrize(
    ("samples", "progress", "rule", "expected"),
    [
        pytest.param(gaussian(29, 0.0001), EARLY, RULE, None, id="too-few-samples"),
        pytest.param(gaussian(30, 0.0001), EARLY, RULE, StopReason.CONVERGED, id="quiet"),
        pytest.param(
            gaussian(30, 0.0001),
            replace(EARLY, device_seconds=0.05),
            replace(RULE, min_device_seconds=0.1),
            None,
            id="too-little-device-time",
        ),
        pytest.param(gaussian(30, 0.03), EARLY, RULE, None, id="noisy-goes-on"),
        pytest.param(gaussian(100, 0.03), HALFWAY, RULE, StopReason.NOISE_FLOOR, id="hopeless"),
        pytest.param(gaussian(3000, 0.03), HALFWAY, RULE, StopReason.CONVERGED, id="noisy-but-many"),
        pytest.param(gaussian(60, 0.03), SPENT, RULE, StopReason.BUDGET_EXHAUSTED, id="out-of-time"),
        pytest.param(
            gaussian(60, 0.03), EARLY, replace(RULE, max_samples=60), StopReason.MAX_SAMPLES, id="out-of-samples"
        ),
        pytest.param([1000 + 3 * i for i in range(60)], EARLY, RULE, None, id="drift-goes-on"),
        pytest.param([1000 + 3 * i for i in range(60)], SPENT, RULE, StopReason.DRIFTING, id="drift-at-the-end"),
        pytest.param([1000] * 40 + [1080] * 40, SPENT, RULE, StopReason.DRIFTING, id="step"),
        pytest.param(
            [5000] * 60, EARLY, replace(RULE, quantum_ns=500.0), StopReason.RESOLUTION_LIMITED, id="coarse-timer"
        ),
        pytest.param([5000] * 60, EARLY, replace(RULE, quantum_ns=1.0), StopReason.CONVERGED, id="fine-timer"),
        pytest.param(gaussian(12, 0.03), SPENT, RULE, None, id="budget-spent-before-the-least-samples"),
        pytest.param(
            gaussian(12, 0.03),
            replace(SPENT, elapsed_seconds=30.0),
            RULE,
            StopReason.BUDGET_EXHAUSTED,
            id="three-budgets-spent",
        ),
        pytest.param([10**9], replace(SPENT, elapsed_seconds=31.0), RULE, StopReason.BUDGET_EXHAUSTED, id="one-sample"),
    ],
)
def test_decision(samples: list[int], progress: Progress, rule: StopRule, expected: StopReason | None) -> None:
    assert decide(samples, progress, rule) is expected


def test_target_that_no_float_holds_the_square_of_is_beyond_reach() -> None:
    later = replace(EARLY, elapsed_seconds=RULE.budget_seconds / 2)
    assert decide(gaussian(400, 0.03), later, replace(RULE, target=1e-300)) is StopReason.NOISE_FLOOR


@given(SAMPLES, st.floats(0, 9.9), st.floats(0.0001, 0.1))
def test_never_stops_before_the_least_samples_within_budget(samples: list[int], elapsed: float, target: float) -> None:
    rule = replace(RULE, min_samples=len(samples) + 1, target=target)
    assert decide(samples, Progress(elapsed_seconds=elapsed, device_seconds=elapsed), rule) is None


@given(SAMPLES, st.floats(30, 100))
def test_always_stops_after_three_budgets(samples: list[int], elapsed: float) -> None:
    progress = Progress(elapsed_seconds=elapsed, device_seconds=elapsed)
    assert out_of_budget(len(samples), progress, RULE)
    assert decide(samples, progress, RULE) is not None


@given(SAMPLES.filter(lambda samples: len(samples) >= 10), st.floats(0, 100))
def test_always_stops_at_the_most_samples(samples: list[int], elapsed: float) -> None:
    rule = replace(RULE, min_samples=10, max_samples=len(samples))
    assert decide(samples, Progress(elapsed_seconds=elapsed, device_seconds=0.0), rule) is not None


@given(SAMPLES, st.floats(0, 40), st.integers(1, 10))
def test_decision_does_not_depend_on_the_unit_of_time(samples: list[int], elapsed: float, power: int) -> None:
    progress = Progress(elapsed_seconds=elapsed, device_seconds=elapsed)
    scaled = [value << power for value in samples]
    assert decide(samples, progress, RULE) is decide(scaled, progress, RULE)


@given(SAMPLES, st.floats(0.1, 1000))
def test_half_width_is_never_below_half_a_timer_step(samples: list[int], quantum: float) -> None:
    known = precision(samples, quantum)
    assert known.half_width is None or known.half_width >= known.floor > 0


@given(st.integers(0, 20_000))
def test_checkpoints_grow_and_end_at_the_most_samples(count: int) -> None:
    following = next_checkpoint(count, RULE)
    assert following <= RULE.max_samples
    assert following >= min(count + 1, RULE.max_samples)


def test_blocks_are_part_of_enough() -> None:
    samples = gaussian(40, 0.0001)
    rule = replace(RULE, min_blocks=3)
    assert decide(samples, replace(EARLY, blocks=2), rule) is None
    assert decide(samples, replace(EARLY, blocks=3), rule) is StopReason.CONVERGED


def test_device_time_is_not_asked_for_beyond_the_most_samples() -> None:
    rule = replace(RULE, min_device_seconds=0.1, max_samples=60)
    short = Progress(elapsed_seconds=1.0, device_seconds=0.001)
    assert decide(gaussian(59, 0.0001), short, rule) is None
    assert decide(gaussian(60, 0.0001), short, rule) is StopReason.CONVERGED


def test_steady_drift_does_not_excuse_itself() -> None:
    rising = [round(value * (1 + index / 10_000)) for index, value in enumerate(gaussian(800, 0.003))]
    known = precision(rising)
    assert known.half_width is not None
    assert known.noise is not None
    assert known.drift is not None
    assert known.drift < 2 * known.half_width, "neighbours are alike, so the interval is wide"
    assert known.noise < known.half_width / 5
    assert known.drifting
    assert decide(rising, SPENT, RULE) is StopReason.DRIFTING


def test_noise_is_rarely_accused_of_drifting() -> None:
    accused = sum(precision(gaussian(300, 0.03, seed)).drifting for seed in range(300))
    assert accused <= 0.04 * 300


class Stream:
    """Samples that are there already."""

    def __init__(self, values: list[int], sample_seconds: float = 1e-3) -> None:
        self.values, self.sample_seconds = values, sample_seconds
        self.count = 0
        self.asked: list[tuple[int, bool]] = []

    @property
    def samples(self) -> list[int]:
        return self.values[: self.count]

    @property
    def progress(self) -> Progress:
        spent = self.count * self.sample_seconds
        return Progress(elapsed_seconds=spent, device_seconds=spent, blocks=self.count // 10 + 1)

    def more(self, until: int, *, closing: bool) -> None:
        assert until > self.count
        self.asked.append((until, closing))
        while self.count < until and not (self.count and out_of_budget(self.count, self.progress, RULE)):
            self.count += 1


def test_second_look_with_a_quarter_more_samples_confirms_the_first() -> None:
    stream = Stream(gaussian(100, 0.0001))
    assert sample_until_stopped(stream, RULE) is StopReason.CONVERGED
    assert stream.asked == [(30, False), (38, True)]


def test_level_that_moves_after_the_first_look_goes_on() -> None:
    stream = Stream(gaussian(30, 0.0001) + [1_080_000] * 12_000)
    sample_until_stopped(stream, replace(RULE, budget_seconds=1e9))
    assert stream.asked[:2] == [(30, False), (38, True)]
    assert stream.asked[2] == (48, False), "the second look did not confirm the first"
    assert median(stream.samples) == 1_080_000


def test_everything_ends_with_a_closing_block() -> None:
    for values, rule in (
        (gaussian(12_000, 0.3), replace(RULE, budget_seconds=1e9)),
        (gaussian(12_000, 0.3), RULE),
        (gaussian(12_000, 0.3), replace(RULE, max_samples=30)),
    ):
        stream = Stream(values)
        sample_until_stopped(stream, rule)
        assert stream.asked[-1][1]
        assert stream.count <= rule.max_samples + 1


SHAPES: dict[str, tuple[Callable[[random.Random], float], float]] = {
    "quiet": (lambda rng: rng.gauss(1, 0.005), 1.0),
    "skewed": (lambda rng: math.exp(rng.gauss(0, 0.01)) * (2 if rng.random() < 0.02 else 1), 1.0002548),
    "bimodal": (lambda rng: rng.gauss(1, 0.005) * (1.04 if rng.random() < 0.4 else 1), 1.0048371),
}
"""Draws in units of a millisecond, and their true medians."""


@pytest.mark.parametrize("shape", SHAPES)
def test_coverage_survives_looking_repeatedly(shape: str) -> None:
    draw, middle = SHAPES[shape]
    covered = 0
    for seed in range(300):
        rng = random.Random(f"{shape}:{seed}")
        stream = Stream([round(1e6 * draw(rng)) for _ in range(4000)])
        assert sample_until_stopped(stream, RULE) is StopReason.CONVERGED
        low, high = median_interval(sorted(stream.samples)) or (0, 0)
        covered += low <= 1e6 * middle <= high
    # 95 % less two standard errors of 300 runs.
    assert covered >= 277
