"""From cumulative counters to what limited the clocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.agent.host.health import health
from tesserabench.agent.host.reading import Reading
from tesserabench.agent.host.throttle import Limited, classify, unit_of, within
from tesserabench.v1 import measurement_pb2 as pb

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("shares", "locked", "expected"),
    [
        ({}, False, pb.THROTTLE_CLASS_UNSPECIFIED),
        ({}, True, pb.THROTTLE_CLASS_LOCKED),
        ({"sw_power_cap": 0.0, "hw_thermal": 0.0}, False, pb.THROTTLE_CLASS_CLEAN),
        ({"sw_power_cap": 0.009}, False, pb.THROTTLE_CLASS_CLEAN),
        ({"sw_power_cap": 0.01}, False, pb.THROTTLE_CLASS_POWER_LIMITED),
        ({"sw_power_cap": 1.0, "sw_thermal": 0.01}, False, pb.THROTTLE_CLASS_THERMAL),
        ({"hw_thermal": 0.5}, True, pb.THROTTLE_CLASS_THERMAL),
        ({"hw_thermal": 0.0099}, False, pb.THROTTLE_CLASS_CLEAN),
        ({"hw_power_brake": 0.001, "hw_thermal": 0.9}, False, pb.THROTTLE_CLASS_BRAKE),
        ({"hw_power_brake": 0.0009}, False, pb.THROTTLE_CLASS_CLEAN),
        ({"hw_slowdown": 0.002}, False, pb.THROTTLE_CLASS_BRAKE),
        ({"sync_boost": 0.9}, False, pb.THROTTLE_CLASS_CLEAN),
        ({"sw_power_cap": 0.0}, True, pb.THROTTLE_CLASS_LOCKED),
        ({"sw_power_cap": 0.5}, True, pb.THROTTLE_CLASS_POWER_LIMITED),
    ],
)
def test_classes_follow_the_thresholds(
    shares: dict[str, float], locked: bool, expected: pb.ThrottleClass.ValueType
) -> None:
    assert classify(shares, locked=locked) == expected


def reading(seconds: float, reasons: frozenset[str] = frozenset(), **counters: float) -> Reading:
    """A reading at some second with counters in seconds."""
    return Reading(
        monotonic_ns=int(seconds * SECOND),
        throttle_ns={name: int(value * SECOND) for name, value in counters.items()},
        reasons=reasons,
    )


def shares_of(readings: list[Reading], begin: float, end: float) -> dict[str, float]:
    found = within(readings, int(begin * SECOND), int(end * SECOND))
    assert found is not None
    return found.shares()


def test_only_the_window_counts_with_counters_interpolated_at_its_ends() -> None:
    """Throttled from second 1 to second 3; what lies before and after the window says nothing of the case."""
    readings = [reading(0, hw=0.0), reading(1, hw=0.0), reading(3, hw=2.0), reading(4, hw=2.0)]
    assert shares_of(readings, 0, 4) == {"hw": 0.5}
    assert shares_of(readings, 1.5, 2.5) == {"hw": 1.0}
    assert shares_of(readings, 2, 4) == {"hw": 0.5}
    assert shares_of(readings, 3.2, 3.9) == {"hw": 0.0}


def test_window_is_cut_to_what_the_readings_embrace() -> None:
    assert shares_of([reading(1, hw=0.0), reading(2, hw=1.0)], 0, 10) == {"hw": 1.0}
    assert shares_of([reading(1, hw=0.0)], 0, 10) == {}


def test_counter_that_went_back_says_nothing() -> None:
    readings = [reading(0, hw=5.0), reading(1, hw=6.0), reading(2, hw=0.0), reading(3, hw=1.0)]
    assert within(readings, int(0.5 * SECOND), int(2.5 * SECOND)) is None
    assert within(readings, 0, SECOND // 2) is not None


def test_reason_that_not_every_reading_has_is_left_out() -> None:
    assert shares_of([reading(0, hw=0.0), reading(1, sw=5.0)], 0, 1) == {}


def test_device_without_counters_is_judged_by_its_readings() -> None:
    held = frozenset({"hw_slowdown", "sw_power_cap"})
    readings = [reading(number, held if number < 4 else frozenset()) for number in range(8)]
    assert shares_of(readings, 0, 7) == {"hw_slowdown": 0.5, "sw_power_cap": 0.5}
    single = [reading(number, held if number == 3 else frozenset()) for number in range(8)]
    assert shares_of(single, 0, 7) == {}


def test_slowdown_is_what_heat_and_brake_are_already_counted_as() -> None:
    held = frozenset({"hw_slowdown"})
    readings = [reading(number, held, hw_thermal=number / 2, hw_power_brake=0.0) for number in range(9)]
    assert shares_of(readings, 0, 8) == {"hw_thermal": 0.5, "hw_power_brake": 0.0}


def test_two_windows_add_up() -> None:
    readings = [reading(number, hw=max(0, number - 5)) for number in range(11)]
    first, second = within(readings, 0, 2 * SECOND), within(readings, 8 * SECOND, 10 * SECOND)
    assert first is not None
    assert second is not None
    assert first.plus(second).shares() == {"hw": 0.5}


@pytest.mark.parametrize(
    ("counted_seconds", "seen", "unit", "share"),
    [
        (5.0, 50, 1, 0.5),
        (0.005, 50, 1000, 0.5),
        (0.0, 50, 1, 0.0),
        (0.005, 10, 1, 0.0005),
        (50.0, 50, 0, 0.5),
        (10.5, 100, 1, 1.0),
    ],
    ids=["nanoseconds", "microseconds", "a still counter", "seldom seen", "faster than the clock", "a hair too much"],
)
def test_unit_of_the_counters_is_found_out(counted_seconds: float, seen: int, unit: int, share: float) -> None:
    limited = Limited(
        elapsed_ns=10 * SECOND, spent_ns={"hw": counted_seconds * SECOND}, readings=100, seen={"hw": seen}
    )
    assert unit_of(limited) == unit
    assert limited.shares(unit)["hw"] == pytest.approx(share)


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 10**9)), min_size=1, max_size=8),
    st.integers(0, 10**10),
    st.integers(0, 10**10),
)
def test_shares_lie_between_zero_and_one(steps: list[tuple[int, int]], begin: int, length: int) -> None:
    moment, count, readings = 0, 0, []
    for wait, growth in steps:
        moment, count = moment + wait, count + growth
        readings.append(Reading(monotonic_ns=moment, throttle_ns={"hw": count}))
    limited = within(readings, begin, begin + length)
    assert limited is not None
    assert all(0.0 <= share <= 1.0 for share in limited.shares().values())


@pytest.mark.parametrize(
    ("state", "measuring", "expected"),
    [
        (pb.DeviceState(sm_clock_mhz=1000), False, "healthy"),
        (pb.DeviceState(), False, "unhealthy"),
        (pb.DeviceState(sm_clock_mhz=1000, ecc_uncorrected=1), False, "degraded"),
        (pb.DeviceState(sm_clock_mhz=1000, ecc_uncorrected=0), False, "healthy"),
        (pb.DeviceState(sm_clock_mhz=1000, foreign_pids=[1]), False, "busy"),
        (pb.DeviceState(sm_clock_mhz=1000, foreign_pids=[1]), True, "healthy"),
    ],
)
def test_health_is_one_word(state: pb.DeviceState, measuring: bool, expected: str) -> None:
    assert health(state, measuring=measuring) == expected
