"""Two arms measured in turns on the simulated device."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from tesserabench.bench import (
    Benchmark,
    Case,
    Measurement,
    MeasureOptions,
    Mode,
    Outcome,
    SilentObserver,
    TrialResult,
    Workload,
    open_device,
)
from tesserabench.bench.device.simulated import SimulatedDevice
from tesserabench.bench.duet.arms import Arm, plan_duet
from tesserabench.bench.duet.interleave import PAIRS_OF_BLOCKS, measure_duet
from tesserabench.bench.duet.plan import ArmOrder, DuetPlan

COPY = Arm(spec="memory/copy", overrides={"n": "67108864"})
LARGER = Arm(spec="memory/copy", overrides={"n": "134217728"})
OPTIONS = replace(MeasureOptions.for_tier("smoke"), probe_ceilings=False)


def a_plan(a: Arm = COPY, b: Arm = COPY, *, control: bool = False, **options: object) -> DuetPlan:
    chosen = replace(OPTIONS, **options)  # type: ignore[arg-type]
    return plan_duet(a, b, device_kind="simulated", options=chosen, null_control=control).plan


def measure(plan: DuetPlan, scenario: object = "steady") -> TrialResult:
    text = scenario if isinstance(scenario, str) else json.dumps(scenario)
    with open_device(f"simulated:{text}") as device:
        return measure_duet(plan, device, observer=SilentObserver())


def by_arm(result: TrialResult) -> dict[str, Measurement]:
    return {item.arm: item for item in result.measurements}


def ratio(result: TrialResult) -> float:
    arms = by_arm(result)
    assert arms["a"].statistics is not None
    assert arms["b"].statistics is not None
    return arms["b"].statistics.median / arms["a"].statistics.median


@pytest.mark.parametrize("order", list(ArmOrder))
def test_equal_arms_are_equal_whichever_comes_first(order: ArmOrder) -> None:
    result = measure(replace(a_plan(), order=order))
    assert [(item.arm, item.outcome) for item in result.measurements] == [("a", Outcome.OK), ("b", Outcome.OK)]
    assert ratio(result) == pytest.approx(1, abs=0.002)


@pytest.mark.parametrize("order", list(ArmOrder))
def test_a_planted_slow_down_is_seen_in_arm_b_alone(order: ArmOrder) -> None:
    result = measure(replace(a_plan(drill={"memory/copy": 1.05}), order=order))
    assert ratio(result) == pytest.approx(1.05, abs=0.002)
    assert {arm: item.flags for arm, item in by_arm(result).items()} == {"a": (), "b": ("drill",)}


def test_what_drifts_over_the_trial_falls_on_both() -> None:
    drifting = {"rules": [{"spread": 0.003, "drift_per_sample": 0.002}]}
    result = measure(a_plan(b=LARGER), drifting)
    alone = measure(a_plan(b=LARGER))
    assert ratio(result) == pytest.approx(ratio(alone), rel=0.01)


def test_blocks_are_short_and_come_in_pairs() -> None:
    arms = by_arm(measure(a_plan(b=LARGER)))
    blocks = [Counter(arms[arm].block) for arm in "ab"]
    assert blocks[0] == blocks[1]
    assert len(blocks[0]) >= PAIRS_OF_BLOCKS
    assert max(blocks[0].values()) <= len(arms["a"].samples) / 4
    assert len(arms["a"].samples) == len(arms["b"].samples)


def test_the_null_control_has_arms_of_its_own() -> None:
    result = measure(a_plan(b=LARGER, control=True))
    assert sorted(by_arm(result)) == ["a", "b", "null_a", "null_b"]
    assert by_arm(result)["null_b"].case == by_arm(result)["a"].case
    assert result.header is not None
    assert len(result.header.order) == 4


def test_a_wrong_arm_says_so_and_the_other_one_says_why_it_ended() -> None:
    plan = a_plan(b=LARGER)
    scenario = {"rules": [{"match": plan.pairs[0].b.id, "fault": "wrong_result"}]}
    arms = by_arm(measure(plan, scenario))
    assert arms["b"].outcome is Outcome.INCORRECT
    assert arms["a"].outcome is Outcome.INTERRUPTED
    assert "because arm b of the same pair failed" in arms["a"].reason


def test_a_result_that_turns_wrong_while_measuring_is_caught() -> None:
    plan = a_plan(b=LARGER)
    scenario = {"rules": [{"match": plan.pairs[0].b.id, "fault": "wrong_result", "fault_phase": "measure"}]}
    assert by_arm(measure(plan, scenario))["b"].outcome is Outcome.INCORRECT


@pytest.mark.parametrize("phase", ["prepare", "verify", "warmup", "measure"])
def test_a_lost_device_ends_the_trial(phase: str) -> None:
    plan = plan_duet(Arm(spec="memory"), Arm(spec="memory"), device_kind="simulated", options=OPTIONS).plan
    result = measure(plan, {"rules": [{"fault": "device_lost", "fault_phase": phase}]})
    assert result.outcome is Outcome.DEVICE_LOST
    assert len(result.measurements) == 2
    assert {item.outcome for item in result.measurements} == {Outcome.DEVICE_LOST, Outcome.INTERRUPTED}
    assert all(item.reason for item in result.measurements)
    assert result.not_run


def test_throttled_arms_are_throttled() -> None:
    assert {item.outcome for item in measure(a_plan(), "throttled").measurements} == {Outcome.THROTTLED}


def test_mode_sustained_cannot_be_shared() -> None:
    result = measure(replace(a_plan(), mode=Mode.SUSTAINED))
    assert Outcome.UNSUPPORTED in {item.outcome for item in result.measurements}
    assert any("no equilibrium of power" in item.reason for item in result.measurements)
    # Nobody warms it up first: that would take minutes on a GPU.
    assert all(item.warmup is None for item in result.measurements)


def test_ceilings_are_probed_before_and_after() -> None:
    result = measure(a_plan(probe_ceilings=True))
    assert result.header is not None
    assert result.header.ceilings.bandwidth
    assert result.closing is not None


def test_both_arms_are_rehearsed_before_either_is_made_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[str] = []
    original = SimulatedDevice.prepare

    def noted(device: SimulatedDevice, benchmark: Benchmark, case: Case, seed: int) -> Workload:
        prepared.append(case.id)
        return original(device, benchmark, case, seed)

    monkeypatch.setattr(SimulatedDevice, "prepare", noted)
    plan = replace(a_plan(b=LARGER), order=ArmOrder.BA)
    measure(plan)
    a, b = plan.pairs[0].a.id, plan.pairs[0].b.id
    assert prepared == [b, a, b, a]
