"""From readings of an energy counter that moves in steps to the power that work drew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.agent.host.energy import idle_watts, power_within
from tesserabench.agent.host.reading import Reading
from tesserabench.agent.host.telemetry import Telemetry, median_of

SECOND = 10**9


def readings(
    watts: float, seconds: float, *, every_ms: float = 50, counter_ms: float = 20, polled: float | None = None
) -> list[Reading]:
    """What a sampler sees of a constant power through a counter that moves every `counter_ms`."""
    count = int(seconds * 1000 / every_ms)
    found = []
    for number in range(count + 1):
        ms = number * every_ms
        joules = watts * (ms // counter_ms * counter_ms) / 1000
        found.append(Reading(monotonic_ns=int(ms * 1e6), energy_joules=joules, power_watts=polled))
    return found


@pytest.mark.parametrize("watts", [60.0, 300.0, 700.0])
@pytest.mark.parametrize("counter_ms", [10, 20, 100])
def test_power_is_found_through_the_steps_of_the_counter(watts: float, counter_ms: float) -> None:
    found = power_within(readings(watts, 12, counter_ms=counter_ms, polled=watts), SECOND, 11 * SECOND)
    assert found is not None
    assert found.watts == pytest.approx(watts, rel=0.012)
    assert found.low_watts <= watts <= found.high_watts
    assert found.updates > 50
    assert found.polled_watts == watts


@given(st.floats(10, 1000), st.floats(20, 90), st.floats(5, 100), st.floats(0, 0.5))
def test_bounds_hold_whatever_the_rhythms(watts: float, every_ms: float, counter_ms: float, begin: float) -> None:
    found = power_within(
        readings(watts, 15, every_ms=every_ms, counter_ms=counter_ms), int(begin * SECOND), int(14 * SECOND)
    )
    if found is not None:
        # A step of the counter is late by up to its period at both ends, beside what the readings leave open.
        slack = 2 * counter_ms / 1000 / found.seconds
        assert found.low_watts * (1 - slack) <= watts <= found.high_watts * (1 + slack)


def test_too_short_too_few_or_no_counter_is_absent() -> None:
    assert power_within(readings(300, 10), SECOND, 2 * SECOND) is None
    assert power_within(readings(300, 10, counter_ms=400), 0, 10 * SECOND) is None
    without = [Reading(monotonic_ns=item.monotonic_ns, power_watts=300.0) for item in readings(300, 10)]
    assert power_within(without, 0, 10 * SECOND) is None
    back = [*readings(300, 5), *(Reading(monotonic_ns=6 * SECOND + n * 50_000_000, energy_joules=n) for n in range(90))]
    assert power_within(back, 0, 10 * SECOND) is None


def test_idle_power_is_the_counters_or_else_the_polled() -> None:
    assert idle_watts(readings(80, 1, polled=100.0)) == pytest.approx(80, rel=0.1)
    slow = readings(80, 1, counter_ms=500, polled=100.0)
    assert idle_watts(slow) == 100
    assert idle_watts([]) is None
    assert idle_watts([Reading(monotonic_ns=0)]) is None


def test_telemetry_sums_up_what_was_told() -> None:
    telemetry = Telemetry({"pcie_replay": 2, "gone": 1})
    for number, clock in enumerate((1980.0, 1755.0, 1980.0, 345.0)):
        telemetry.take(
            Reading(
                monotonic_ns=number,
                sm_clock_mhz=clock,
                temperature_celsius=40.0 + number,
                power_watts=100.0 * (number + 1),
                energy_joules=5.0 * number,
            )
        )
    telemetry.xids.append(31)
    found = telemetry.summary({"pcie_replay": 5, "new": 1})
    assert found is not None
    clocks = (found.sm_clock_min_mhz, found.sm_clock_median_mhz, found.sm_clock_max_mhz)
    assert clocks == (345, 1755, 1980)
    assert (found.power_mean_watts, found.power_max_watts, found.temperature_max_celsius) == (250, 400, 43)
    assert (found.energy_joules, found.readings) == (15, 4)
    assert not found.HasField("memory_clock_median_mhz")
    assert dict(found.fault_counts) == {"pcie_replay": 3, "xid": 1}
    assert Telemetry({}).summary({}) is None


@given(st.lists(st.integers(0, 5), min_size=1))
def test_median_of_counted_values_is_one_of_them_in_the_middle(values: list[int]) -> None:
    counts = {float(value): values.count(value) for value in values}
    assert median_of(counts) == sorted(values)[(len(values) - 1) // 2]
