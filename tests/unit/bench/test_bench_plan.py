import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.bench import (
    Case,
    InvalidPlan,
    Measurement,
    MeasureOptions,
    Mode,
    Params,
    Phase,
    Tier,
    TrialHeader,
    TrialPlan,
    TrialResult,
    plan_trial,
    run_locally,
)


def through_json(data: object) -> Any:
    return json.loads(json.dumps(data, allow_nan=False))


def plan_data() -> dict[str, Any]:
    return plan_trial("core", tier="smoke", device_kind="simulated", seed=3).to_dict()


@pytest.mark.parametrize("tier", Tier)
def test_plan_survives_the_way_through_json(tier: Tier) -> None:
    options = replace(MeasureOptions.for_tier(tier), drill={"gemm/matmul": 1.1})
    plan = plan_trial("core", tier=tier, device_kind="cpu", seed=7, mode="cold", options=options)
    assert TrialPlan.from_dict(through_json(plan.to_dict())) == plan


@pytest.mark.parametrize("scenario", ["steady", "device-lost", "wrong-result", "throttled", "drifting"])
def test_everything_a_trial_reports_survives_the_way_through_json(scenario: str) -> None:
    result = run_locally("core", device=f"simulated:{scenario}")
    assert TrialResult.from_dict(through_json(result.to_dict())) == result
    assert result.header is not None
    assert TrialHeader.from_dict(through_json(result.header.to_dict())) == result.header
    for measurement in result.measurements:
        data = through_json(measurement.to_dict())
        assert Measurement.from_dict(data) == measurement
        assert all(type(value) is int for value in data["samples"])
        assert (data["case_id"], data["case_hash"]) == (measurement.case.id, measurement.case.hash)


def test_result_for_a_reader_of_the_stream_carries_no_measurement_twice() -> None:
    result = run_locally("gemm", device="simulated")
    short = result.without_measurements()
    assert (short.measurements, short.header) == ((), None)
    assert (short.outcome, short.duration_seconds) == (result.outcome, result.duration_seconds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"suite": 3}, "plan.suite is 3; it must be of type str"),
        ({"tier": "quick"}, "plan.tier is 'quick'; it must be one of: smoke, regression, full, nightly"),
        ({"mode": "warm"}, "plan.mode is 'warm'; it must be one of: hot, cold, rotating, sustained, host"),
        ({"seed": True}, "plan.seed is True; it must be of type int"),
        ({"cases": []}, "plan.cases is empty; name at least one case"),
        ({"cases": "all"}, "plan.cases is 'all'; it must be a list"),
        ({"extra": 1}, "plan has the unknown field 'extra'; known fields: suite"),
        ({"schema_version": 2}, "plan.schema_version is 2; this engine reads 1"),
        ({"options": {"target": "low"}}, "plan.options.target is 'low'; it must be of type float"),
        ({"options": {"targt": 1}}, "plan.options has the unknown field 'targt'"),
        ({"options": {"drill": {"gemm/matmul": "x"}}}, "plan.options.drill.gemm/matmul is 'x'"),
        ({"options": []}, "plan.options is []; it must be an object"),
    ],
)
def test_malformed_plan_names_field_value_and_remedy(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        TrialPlan.from_dict({**plan_data(), **change})
    assert message in str(caught.value)


def test_plan_without_a_required_field_is_refused() -> None:
    data = plan_data()
    del data["suite"]
    with pytest.raises(InvalidPlan, match="plan lacks the field 'suite'"):
        TrialPlan.from_dict(data)
    with pytest.raises(InvalidPlan, match="plan is 'core'; it must be an object"):
        TrialPlan.from_dict("core")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": 0.0}, "options.target is 0.0; it must be above zero"),
        ({"min_samples": 9}, "options.min_samples is 9; it must be 10 or more"),
        ({"max_samples": 5}, "options.max_samples is 5; it must be at least min_samples (30)"),
        ({"budget_seconds": -1.0}, "options.budget_seconds is -1.0; it must be above zero"),
        ({"warmup_cap_seconds": -1.0}, "options.warmup_cap_seconds is -1.0; it must be zero or more"),
        ({"drill": {"gemm/matmul": 0.9}}, "options.drill.gemm/matmul is 0.9; it must be a finite factor of 1 or more"),
        ({"drill": {"gemm/matmul": float("inf")}}, "options.drill.gemm/matmul is inf"),
    ],
)
def test_option_out_of_range_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        MeasureOptions(**change)
    assert message in str(caught.value)


def test_drill_may_use_the_short_name_and_must_name_a_planned_benchmark() -> None:
    plan = plan_trial("core", tier="smoke", device_kind="cpu", options=MeasureOptions(drill={"copy": 1.5}))
    assert plan.options.drill == {"memory/copy": 1.5}
    with pytest.raises(InvalidPlan, match=r"options.drill names 'memory/cpoy'.*did you mean 'memory/copy'"):
        plan_trial("core", tier="smoke", device_kind="cpu", options=MeasureOptions(drill={"memory/cpoy": 1.5}))


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(
        InvalidPlan, match="mode is 'lukewarm'; it must be one of: hot, cold, rotating, sustained, host"
    ):
        plan_trial("core", tier="smoke", device_kind="cpu", mode="lukewarm")


@given(st.integers(0, 2**63))
def test_order_is_a_permutation_decided_by_the_seed(seed: int) -> None:
    cases = tuple(Case(benchmark=f"s/b{index}", params=Params({"n": index})) for index in range(8))
    plan = TrialPlan(suite="s", tier=Tier.SMOKE, cases=cases, seed=seed)
    assert sorted(case.id for case in plan.order) == sorted(case.id for case in cases)
    assert plan.order == TrialPlan.from_dict(plan.to_dict()).order


def test_seeds_shuffle_differently() -> None:
    cases = tuple(Case(benchmark=f"s/b{index}") for index in range(8))
    orders = {TrialPlan(suite="s", tier=Tier.SMOKE, cases=cases, seed=seed).order for seed in range(20)}
    assert len(orders) > 15


def test_tiers_ask_for_more_as_they_grow() -> None:
    smoke, regression, nightly = (MeasureOptions.for_tier(tier) for tier in ("smoke", "regression", "nightly"))
    assert smoke.min_samples == 10
    assert regression.min_samples == 30
    assert smoke.target > regression.target > nightly.target
    assert smoke.budget_of(Phase.MEASURE) == 3 * smoke.budget_seconds + 30
    assert all(smoke.budget_of(phase) > 0 for phase in Phase)
    assert Mode("hot") is Mode.HOT
