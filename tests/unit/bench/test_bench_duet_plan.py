"""Which cases of two arms belong together, and in which order workers take them."""

from dataclasses import replace

import pytest
from tesserabench.bench import (
    ArrayDevice,
    Case,
    InvalidOverride,
    InvalidPlan,
    MeasureOptions,
    NothingSelected,
    Params,
    Registry,
    Tier,
    UnknownBenchmark,
    Workload,
    benchmark,
)
from tesserabench.bench.duet.arms import Arm, plan_duet
from tesserabench.bench.duet.plan import (
    ArmName,
    ArmOrder,
    DuetPlan,
    Pair,
    arm_order,
    of_worker,
    pairs_of_arms,
    pairs_of_overrides,
    with_control,
)


def case(name: str = "gemm/matmul", **params: int | str) -> Case:
    return Case(benchmark=name, params=Params(params))


def registry() -> Registry:
    found = Registry()
    found.suite("own", summary="two benchmarks")

    @benchmark(name="tiled", suite="own", summary="s", parameters={"n": [64], "tile": [16]}, registry=found)
    @benchmark(name="plain", suite="own", summary="s", parameters={"n": [64]}, registry=found)
    def prepare(device: ArrayDevice, params: Params, seed: int) -> Workload:
        raise AssertionError("planning prepares nothing")

    return found


OWN = {item.name: item for item in registry().find_suite("own").benchmarks}
CASES = (case("own/tiled", n=64, tile=16), case("own/plain", n=64))


def test_overrides_change_the_cases_that_have_the_parameter_and_leave_the_others_out() -> None:
    (pair,) = pairs_of_overrides(CASES, {"tile": "32"}, OWN)
    assert pair == Pair(a=CASES[0], b=case("own/tiled", n=64, tile=32))


def test_a_qualified_override_beats_a_plain_one() -> None:
    pairs = pairs_of_overrides(CASES, {"own/plain.n": "256", "n": "128"}, OWN)
    assert [pair.b.params["n"] for pair in pairs] == [128, 256]


def test_no_override_pairs_every_case_with_itself() -> None:
    assert pairs_of_overrides(CASES, {}, OWN) == tuple(Pair(a=item, b=item) for item in CASES)


@pytest.mark.parametrize(
    ("overrides", "error", "text"),
    [
        ({"tiles": "32"}, InvalidOverride, "no case of arm A has a parameter 'tiles'; did you mean 'tile'"),
        ({"plain.tile": "32"}, InvalidOverride, "'plain.tile'"),
        ({"tile": "16,32"}, InvalidOverride, "give a single one"),
        ({"tile": "zero"}, InvalidOverride, "must be a whole number"),
        ({"tile": "16"}, NothingSelected, "tile=16 changes none of the 2 cases"),
    ],
)
def test_an_override_that_says_nothing_is_refused(overrides: dict[str, str], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        pairs_of_overrides(CASES, overrides, OWN)


def test_cases_that_become_the_same_are_refused() -> None:
    cases = (case("own/plain", n=64), case("own/plain", n=128))
    with pytest.raises(InvalidOverride, match=r"plain\[n=64\] and own/plain\[n=128\] both become own/plain\[n=256\]"):
        pairs_of_overrides(cases, {"n": "256"}, OWN)


def test_cases_belong_together_by_benchmark_and_parameters_even_in_suites_of_other_names() -> None:
    old = [case("old/sum", n=1), case("old/sum", n=2), case("old/max", n=1)]
    new = [case("new/max", n=1), case("new/sum", n=2), case("new/sum", n=3)]
    pairs, alone = pairs_of_arms(old, new)
    assert pairs == (Pair(a=old[1], b=new[1]), Pair(a=old[2], b=new[0]))
    assert alone == (old[0], new[2])


def test_two_benchmarks_belong_together_by_their_parameters_alone() -> None:
    pairs, alone = pairs_of_arms([case("s/v1", n=1), case("s/v1", n=2)], [case("s/v2", n=2), case("s/v2", n=1)])
    assert [(pair.a.params["n"], pair.b.params["n"]) for pair in pairs] == [(1, 1), (2, 2)]
    assert alone == ()


def test_a_single_case_on_either_side_is_one_pair() -> None:
    assert pairs_of_arms([case("s/a", n=1)], [case("t/b", m="x")])[0] == (
        Pair(a=case("s/a", n=1), b=case("t/b", m="x")),
    )


def test_the_null_control_is_arm_a_of_the_first_pair_against_itself() -> None:
    pairs = with_control((Pair(a=case(n=1), b=case(n=2)), Pair(a=case(n=3), b=case(n=4))))
    assert pairs[-1] == Pair(a=case(n=1), b=case(n=1), control=True)
    assert pairs[-1].arms == (ArmName.NULL_A, ArmName.NULL_B)
    assert pairs[0].arms == (ArmName.A, ArmName.B)


def test_orders_alternate_so_that_what_grows_steadily_cancels() -> None:
    orders = [arm_order(worker) for worker in range(8)]
    assert orders[:4] == [ArmOrder.AB, ArmOrder.BA, ArmOrder.BA, ArmOrder.AB]
    assert orders[4:] == orders[:4]


def a_plan(drill: dict[str, float] | None = None) -> DuetPlan:
    pairs = with_control((Pair(a=case(n=1), b=case(n=2)), Pair(a=case(n=3), b=case(n=4))))
    return DuetPlan(suite="gemm", tier=Tier.SMOKE, pairs=pairs, seed=5, options=MeasureOptions(drill=drill or {}))


def test_a_plan_travels_as_json() -> None:
    plan = replace(a_plan(drill={"gemm/matmul": 1.05}), bundle_b="/somewhere/new")
    assert DuetPlan.from_dict(plan.to_dict()) == plan


def test_workers_differ_in_seed_and_order_alone() -> None:
    first, second = of_worker(a_plan(), 0), of_worker(a_plan(), 1)
    assert (first.seed, first.order, second.seed, second.order) == (5, ArmOrder.AB, 6, ArmOrder.BA)
    assert replace(second, seed=5, order=ArmOrder.AB) == first
    assert set(first.sequence) == set(first.pairs)


def test_a_drill_slows_arm_b_alone_and_the_null_control_never() -> None:
    plan = a_plan(drill={"gemm/matmul": 1.05})
    assert plan.trial_plan(ArmName.B).options.drill == {"gemm/matmul": 1.05}
    for arm in (ArmName.A, ArmName.NULL_A, ArmName.NULL_B):
        assert plan.trial_plan(arm).options.drill == {}


def test_plans_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(InvalidPlan, match="pairs is empty"):
        DuetPlan(suite="gemm", tier=Tier.SMOKE, pairs=())
    with pytest.raises(InvalidPlan, match="in arm b 2 times"):
        replace(a_plan(), pairs=(Pair(a=case(n=1), b=case(n=2)), Pair(a=case(n=3), b=case(n=2))))
    with pytest.raises(InvalidPlan, match="drill names 'gemm/matmull'"):
        a_plan(drill={"gemm/matmull": 1.05})
    with pytest.raises(InvalidPlan, match="schema_version is 2"):
        replace(a_plan(), schema_version=2)


def test_arms_are_found_by_suite_and_by_benchmark() -> None:
    planned = plan_duet(Arm(spec="memory"), Arm(spec="memory/copy"), device_kind="simulated")
    assert {pair.a.benchmark for pair in planned.plan.pairs} == {"memory/copy"}
    assert planned.plan.pairs[-1].control
    assert planned.alone


def test_what_cannot_be_paired_is_refused_with_what_there_is() -> None:
    one = Arm(spec="memory/copy", overrides={"n": "1024,2048"})
    other = Arm(spec="memory/copy", overrides={"n": "4096,8192"})
    with pytest.raises(NothingSelected, match="no case in common: A has memory/copy"):
        plan_duet(one, other, device_kind="simulated")
    with pytest.raises(UnknownBenchmark, match="did you mean 'memory/copy'"):
        plan_duet(Arm(spec="memory/coppy"), one, device_kind="simulated")
