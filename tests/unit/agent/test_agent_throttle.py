"""From cumulative counters to what limited the clocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.agent.host.health import health
from tesserabench.agent.host.throttle import classify, fractions
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


def test_shares_are_differences_over_time() -> None:
    before = {"sw_power_cap": 5 * SECOND, "hw_thermal": 7}
    after = {"sw_power_cap": 6 * SECOND, "hw_thermal": 7}
    assert fractions(before, after, 4 * SECOND) == {"sw_power_cap": 0.25, "hw_thermal": 0.0}


def test_counter_that_went_back_says_nothing() -> None:
    assert fractions({"hw_thermal": 10}, {"hw_thermal": 9}, SECOND) is None


def test_no_time_says_nothing() -> None:
    assert fractions({"hw_thermal": 10}, {"hw_thermal": 10}, 0) is None


def test_reason_known_to_one_reading_only_is_left_out() -> None:
    assert fractions({"hw_thermal": 0}, {"sw_thermal": 5}, SECOND) == {}


@given(st.dictionaries(st.sampled_from("abc"), st.integers(0, 10**12)), st.integers(1, 10**12), st.integers(0, 10**12))
def test_shares_lie_between_zero_and_one(before: dict[str, int], elapsed: int, growth: int) -> None:
    shares = fractions(before, {name: value + growth for name, value in before.items()}, elapsed)
    assert shares is not None
    assert all(0.0 <= share <= 1.0 for share in shares.values())


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
