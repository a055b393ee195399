import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.bench import StopReason
from tesserabench.bench.timing.stopping import Progress, StopRule, decide, next_checkpoint, out_of_budget, precision

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


def test_coverage_survives_looking_repeatedly() -> None:
    covered = 0
    for seed in range(200):
        stream = gaussian(4000, 0.005, seed)
        count = next_checkpoint(0, RULE)
        while decide(stream[:count], EARLY, RULE) is None:
            count = next_checkpoint(count, RULE)
        ordered = sorted(stream[:count])
        half_width = precision(stream[:count]).half_width
        assert half_width is not None
        middle = ordered[len(ordered) // 2]
        covered += abs(middle - 1_000_000) <= 2 * half_width * middle
        assert count <= 200
    assert covered >= 190
