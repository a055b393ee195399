"""What a result is worth when heat, a brake or a power limit held the clocks down; and its energy."""

import pytest
from tesserabench.agent.runner.energy_metrics import disagrees, energy_metrics
from tesserabench.agent.runner.verdict import Judge, Pauses
from tesserabench.agent.runner.watch import PowerUse, Throttling, Window
from tesserabench.bench import (
    Backend,
    CacheKind,
    CacheUse,
    Case,
    Measurement,
    Mode,
    Outcome,
    Params,
    Sampling,
    StopReason,
    Timer,
)
from tesserabench.v1 import measurement_pb2 as pb

CASE = Case(benchmark="gemm/matmul", params=Params({"m": 4}))
SECOND = 10**9
POWER = PowerUse(watts=400.0, low_watts=396.0, high_watts=404.0, polled_watts=410.0, seconds=10.0, updates=200)


def measured(outcome: Outcome = Outcome.OK, mode: Mode = Mode.HOT, launches: int = 1000) -> Measurement:
    return Measurement(
        case=CASE,
        mode=mode,
        outcome=outcome,
        flops=2_000,
        sampling=Sampling(
            iterations=1,
            backend=Backend.GRAPH,
            timer=Timer(name="event", quantum_ns=1.0, floor_ns=1.0),
            cache=CacheUse(kind=CacheKind.WARM),
            stop_reason=StopReason.CONVERGED,
            target=0.01,
            half_width=0.01,
            elapsed_seconds=10.0,
            device_seconds=10.0,
            launches=launches,
        ),
        measuring_monotonic_ns=5 * SECOND,
        measured_monotonic_ns=15 * SECOND,
    )


def window(kind: pb.ThrottleClass.ValueType, power: PowerUse | None = None, **fractions: float) -> Window:
    return Window(throttling=Throttling(kind=kind, fractions=fractions), power=power)


@pytest.mark.parametrize("kind", [pb.THROTTLE_CLASS_CLEAN, pb.THROTTLE_CLASS_LOCKED, pb.THROTTLE_CLASS_UNSPECIFIED])
def test_undisturbed_result_stays_as_it_is(kind: pb.ThrottleClass.ValueType) -> None:
    judged = Judge(2).judge(measured(), window(kind), None)
    assert (judged.measurement, judged.flags, judged.again, judged.finding) == (measured(), (), False, None)


@pytest.mark.parametrize(
    ("mode", "flags"), [(Mode.HOT, ("power_limited",)), (Mode.COLD, ("power_limited",)), (Mode.SUSTAINED, ())]
)
def test_power_limit_is_flagged_where_it_is_not_what_is_measured(mode: Mode, flags: tuple[str, ...]) -> None:
    judged = Judge(2).judge(measured(mode=mode), window(pb.THROTTLE_CLASS_POWER_LIMITED), None)
    assert (judged.measurement.outcome, judged.flags) == (Outcome.OK, flags)


def test_heat_is_tried_again_and_then_throttled_and_a_finding() -> None:
    judge, hot = Judge(2), window(pb.THROTTLE_CLASS_THERMAL, hw_thermal=0.5)
    assert [judge.judge(measured(), hot, None).again for _ in range(2)] == [True, True]
    last = judge.judge(measured(), hot, None)
    assert not last.again
    assert last.retried
    assert last.measurement.outcome is Outcome.THROTTLED
    assert "50.0%" in last.measurement.reason
    assert last.finding is not None
    assert last.finding[0] == "thermal"


def test_success_after_heat_says_so() -> None:
    judge = Judge(2)
    judge.judge(measured(), window(pb.THROTTLE_CLASS_THERMAL, sw_thermal=0.02), None)
    judged = judge.judge(measured(), window(pb.THROTTLE_CLASS_CLEAN), None)
    assert (judged.measurement.outcome, judged.flags, judged.retried) == (Outcome.OK, ("retried",), True)


def test_heat_that_the_device_tells_itself_is_tried_again_too() -> None:
    judge = Judge(1)
    assert judge.judge(measured(Outcome.THROTTLED), None, None).again
    assert judge.judge(measured(Outcome.THROTTLED), None, None).measurement.outcome is Outcome.THROTTLED


def test_brake_is_no_matter_of_waiting() -> None:
    judged = Judge(2).judge(measured(), window(pb.THROTTLE_CLASS_BRAKE, hw_power_brake=0.002), None)
    assert (judged.again, judged.measurement.outcome) == (False, Outcome.THROTTLED)
    assert judged.finding is not None
    assert judged.finding[0] == "brake"


@pytest.mark.parametrize("outcome", [Outcome.INCORRECT, Outcome.OUT_OF_MEMORY, Outcome.DEVICE_ERROR])
def test_failure_is_no_matter_of_heat(outcome: Outcome) -> None:
    judged = Judge(2).judge(measured(outcome), window(pb.THROTTLE_CLASS_THERMAL, hw_thermal=1.0), None)
    assert (judged.again, judged.measurement.outcome) == (False, outcome)


def test_counter_that_went_back_voids_the_result() -> None:
    throttling = Throttling(kind=pb.THROTTLE_CLASS_UNSPECIFIED, fractions={}, remark="loaded anew", void=True)
    judged = Judge(2).judge(measured(), Window(throttling=throttling), None)
    assert judged.measurement.outcome is Outcome.DEVICE_ERROR
    assert judged.measurement.reason == "loaded anew; measure again"


def test_energy_of_a_launch_is_power_times_time_over_launches() -> None:
    found = {item.name: item for item in energy_metrics(measured(mode=Mode.SUSTAINED), POWER, 100.0)}
    assert found["power"].value == 400
    assert found["energy"].value == pytest.approx(400 * 10 / 1000)
    assert found["energy"].ci_low == pytest.approx(3.96)
    assert found["energy"].ci_high == pytest.approx(4.04)
    assert found["energy_above_idle"].value == pytest.approx(300 * 10 / 1000)
    assert found["efficiency"].value == pytest.approx(2_000 / 4)
    assert found["efficiency"].ci_low is not None
    assert found["efficiency"].ci_low < 500
    assert not any(item.primary for item in found.values())


@pytest.mark.parametrize(
    ("measurement", "power", "idle", "names"),
    [
        (measured(mode=Mode.HOT), POWER, 100.0, set()),
        (measured(mode=Mode.SUSTAINED), None, 100.0, set()),
        (measured(mode=Mode.SUSTAINED, launches=0), POWER, 100.0, {"power"}),
        (measured(mode=Mode.SUSTAINED), POWER, None, {"power", "energy", "efficiency"}),
        (measured(mode=Mode.SUSTAINED), POWER, 500.0, {"power", "energy", "efficiency"}),
    ],
    ids=["not sustained", "no counter", "launches unknown", "idle unknown", "idle above"],
)
def test_unknown_energy_is_absent(
    measurement: Measurement, power: PowerUse | None, idle: float | None, names: set[str]
) -> None:
    assert {item.name for item in energy_metrics(measurement, power, idle)} == names


@pytest.mark.parametrize(("polled", "expected"), [(None, False), (419.0, False), (421.0, True), (379.0, True)])
def test_counter_and_polled_power_are_compared(polled: float | None, expected: bool) -> None:
    power = PowerUse(watts=400, low_watts=400, high_watts=400, polled_watts=polled, seconds=3, updates=60)
    assert disagrees(power) is expected
    judged = Judge(0).judge(measured(mode=Mode.SUSTAINED), window(pb.THROTTLE_CLASS_CLEAN, power), None)
    assert ("energy_disagrees" in judged.flags) is expected


def test_pauses_double_and_end_after_ten_seconds() -> None:
    pauses = Pauses(0.5)
    first = list(pauses.next())
    assert first[:4] == [0.5, 1.0, 2.0, 4.0]
    assert sum(first) == 10
    assert next(pauses.next()) == 1.0
    assert next(pauses.next()) == 2.0
