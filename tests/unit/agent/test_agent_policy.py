"""What a host lets itself be asked to do, and what a run becomes here."""

from collections.abc import Sequence

import pytest
from tesserabench.agent.errors import AttemptRefused
from tesserabench.agent.policy import allowed_kinds, check_policy, choose_device
from tesserabench.agent.runner.catalogue import installed_suites
from tesserabench.agent.runner.planning import plan_attempt
from tesserabench.agent.settings import Policy
from tesserabench.bench import suites
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1 import run_pb2
from tesserabench.v1.host_pb2 import Device
from tesserabench.v1.run_pb2 import ParameterOverride, RunSpec

CPU = Device(uuid="cpu-1", kind="cpu", index=0)
GPU0, GPU1 = (Device(uuid=f"GPU-{index}", kind="cuda", index=index) for index in range(2))
SIMULATED = Device(uuid="simulated-1", kind="simulated", index=0)
NAME = "runs/1/attempts/1"


@pytest.mark.parametrize(
    ("wanted", "devices", "expected"),
    [
        ("", [CPU, GPU0], GPU0),
        ("auto", [SIMULATED, CPU], CPU),
        ("auto", [SIMULATED], SIMULATED),
        ("cpu", [GPU0, CPU], CPU),
        ("cuda", [CPU, GPU0, GPU1], GPU0),
        ("cuda:1", [CPU, GPU0, GPU1], GPU1),
        ("simulated", [CPU, SIMULATED], SIMULATED),
        ("simulated:noisy", [CPU, SIMULATED], SIMULATED),
    ],
)
def test_device_is_chosen(wanted: str, devices: Sequence[Device], expected: Device) -> None:
    assert choose_device(wanted, devices)[0].uuid == expected.uuid


@pytest.mark.parametrize(
    "wanted", ["cuda", "cuda:7", "simulated", "tpu", "cpu:1", "simulated:/etc/passwd", "simulated:{}"]
)
def test_device_that_is_not_there_is_refused_with_what_there_is(wanted: str) -> None:
    devices = [CPU] if "/" not in wanted and "{" not in wanted else [CPU, SIMULATED]
    with pytest.raises(AttemptRefused) as caught:
        choose_device(wanted, devices)
    assert repr(wanted) in str(caught.value)


def test_host_without_devices_refuses() -> None:
    with pytest.raises(AttemptRefused, match="setting devices"):
        choose_device("auto", [])


def test_scenario_is_read_from_the_device() -> None:
    assert choose_device("simulated:noisy", [SIMULATED])[1] == "noisy"


def test_auto_never_means_a_simulated_device() -> None:
    assert allowed_kinds(["auto"]) == {"cpu", "cuda"}
    assert allowed_kinds(["auto", "simulated"]) == {"cpu", "cuda", "simulated"}
    assert allowed_kinds(["simulated"]) == {"simulated"}


def test_suite_outside_the_policy_is_refused_naming_the_key() -> None:
    check_policy(Policy(suites=("gemm",)), RunSpec(suite="gemm"))
    check_policy(Policy(), RunSpec(suite="anything"))
    with pytest.raises(AttemptRefused, match=r"'core'.*policy.suites"):
        check_policy(Policy(suites=("gemm",)), RunSpec(suite="core"))


def test_drill_against_the_policy_is_refused_naming_the_key() -> None:
    with pytest.raises(AttemptRefused, match=r"policy.allow_drill"):
        check_policy(Policy(allow_drill=False), RunSpec(suite="core", drill={"matmul": 1.1}))


def test_trials_of_a_plan_differ_in_their_seed_alone() -> None:
    plan = plan_attempt(
        NAME, RunSpec(suite="core", tier=run_pb2.TIER_SMOKE, trials=3, seed=7), "cpu", require_idle=True
    )
    assert [trial.seed for trial in plan.trials] == [7, 8, 9]
    assert len({trial.cases for trial in plan.trials}) == 1
    assert plan.case_count == 3 * len(plan.trials[0].cases)


def test_without_a_seed_the_attempt_gives_one() -> None:
    spec = RunSpec(suite="core", tier=run_pb2.TIER_SMOKE)
    first, again = (plan_attempt(NAME, spec, "cpu", require_idle=True).trials[0].seed for _ in range(2))
    other = plan_attempt("runs/2/attempts/1", spec, "cpu", require_idle=True).trials[0].seed
    assert first == again != other


@pytest.mark.parametrize(
    ("tier", "trials"), [(run_pb2.TIER_SMOKE, 1), (run_pb2.TIER_REGRESSION, 5), (run_pb2.TIER_NIGHTLY, 10)]
)
def test_tier_sets_the_number_of_trials(tier: run_pb2.Tier.ValueType, trials: int) -> None:
    assert len(plan_attempt(NAME, RunSpec(suite="core", tier=tier), "cpu", require_idle=True).trials) == trials


def test_patterns_parameters_mode_and_drill_reach_the_plan() -> None:
    spec = RunSpec(
        suite="core",
        tier=run_pb2.TIER_SMOKE,
        include=["matmul", "triad"],
        exclude=["triad"],
        overrides=[ParameterOverride(parameter="matmul.m", value="64")],
        mode=pb.TIMING_MODE_COLD,
        drill={"matmul": 1.5},
    )
    plan = plan_attempt(NAME, spec, "cpu", require_idle=False).trials[0]
    assert {case.benchmark for case in plan.cases} == {"gemm/matmul"}
    assert plan.cases[0].params["m"] == 64
    assert plan.mode == "cold"
    assert plan.options.drill == {"gemm/matmul": 1.5}
    assert plan.options.require_idle is False


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (RunSpec(suite="gem"), "did you mean 'gemm'"),
        (RunSpec(suite="gemm", overrides=[ParameterOverride(parameter="z", value="1")]), "no benchmark.*'z'"),
        (RunSpec(suite="gemm", overrides=[ParameterOverride(parameter="m", value="x")]), "whole number"),
        (RunSpec(suite="gemm", include=["("]), "no regular expression"),
        (RunSpec(suite="gemm", include=["nothing"]), "leaves none"),
        (RunSpec(suite="gemm", mode=pb.TIMING_MODE_OPEN_LOOP), "TIMING_MODE_OPEN_LOOP"),
        (RunSpec(suite="gemm", drill={"matmul": 0.5}), "drill"),
        (RunSpec(suite="gemm", drill={"copy": 1.5}), "'copy'"),
    ],
)
def test_run_that_cannot_be_measured_is_refused_with_field_and_value(spec: RunSpec, words: str) -> None:
    with pytest.raises(AttemptRefused, match=words):
        plan_attempt(NAME, spec, "cpu", require_idle=True)


def test_catalogue_tells_what_runs_on_the_devices_of_this_host() -> None:
    found = {suite.name: suite for suite in installed_suites({"cpu"})}
    assert set(found) == {suite.name for suite in suites() if "cpu" in suite.devices}
    matmul = next(item for item in found["gemm"].benchmarks if item.name == "matmul")
    assert matmul.parameters["dtype"].values
    assert "cpu" in matmul.devices
    assert installed_suites(set()) == ()


def a_duet(tier: run_pb2.Tier.ValueType = run_pb2.TIER_SMOKE, **overrides: str) -> RunSpec:
    told = [run_pb2.ParameterOverride(parameter=name, value=value) for name, value in overrides.items()]
    spec = RunSpec(suite="memory", tier=tier, seed=7, include=["memory/copy"], duet=run_pb2.Duet(overrides=told))
    spec.drill["memory/copy"] = 1.05
    return spec


def test_a_comparison_of_arms_has_pairs_a_null_control_and_five_workers_at_least() -> None:
    plan = plan_attempt(NAME, a_duet(n="65536"), "simulated", require_idle=True)
    assert [duet.order.value for duet in plan.duets] == ["ab", "ba", "ba", "ab", "ab"]
    assert [duet.seed for duet in plan.duets] == [7, 8, 9, 10, 11]
    *compared, control = plan.duets[0].pairs
    assert {pair.b.params["n"] for pair in compared} == {65536}
    assert control.control
    assert plan.case_count == 5 * 2 * len(plan.duets[0].pairs)
    assert plan.programmes[1].arm_order == "ba"
    assert "duet" in plan.programmes[1].order(plan.programmes[1].wanted)


def test_a_comparison_without_parameters_is_a_null_control_as_a_whole() -> None:
    plan = plan_attempt(NAME, a_duet(run_pb2.TIER_NIGHTLY), "simulated", require_idle=True)
    assert len(plan.duets) == 10
    assert all(pair.a == pair.b and not pair.control for pair in plan.duets[0].pairs)


def test_parameters_that_change_nothing_are_refused() -> None:
    with pytest.raises(AttemptRefused, match="no case of arm A has a parameter 'tile'"):
        plan_attempt(NAME, a_duet(tile="8"), "simulated", require_idle=True)


def test_what_a_lost_worker_leaves_of_a_pair_is_given_up_with_it() -> None:
    programme = plan_attempt(NAME, a_duet(n="65536"), "simulated", require_idle=True).programmes[0]
    pair = programme.plan.cases[0].id
    first = [key for key in programme.wanted if key[1] == pair]
    struck = programme.struck(pair, programme.wanted)
    # The control is arm A's case too.
    assert set(first) < set(struck)
    assert programme.orphans(struck) == ()
    assert len(programme.orphans(struck[1:])) == 1
    rest = [key for key in programme.wanted if key not in struck]
    assert len(rest) + len(struck) == len(programme.wanted)


def test_the_determinism_check_reaches_the_plan() -> None:
    spec = RunSpec(suite="memory", tier=run_pb2.TIER_SMOKE, determinism_launches=20)
    plan = plan_attempt(NAME, spec, "simulated", require_idle=True).trials[0]
    assert plan.options.determinism_launches == 20
