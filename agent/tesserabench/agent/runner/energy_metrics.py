"""From the power within a window to the metrics of a case: pure. Mode sustained only, where power is at equilibrium."""

from collections.abc import Iterator

from tesserabench.agent.runner.watch import PowerUse
from tesserabench.bench import Measurement, MetricValue, Mode
from tesserabench.bench.metric import EFFICIENCY, ENERGY, ENERGY_ABOVE_IDLE, POWER

DISAGREEMENT = 0.05
"""Polled power may be off the counter by so much before somebody should know."""


def energy_metrics(measurement: Measurement, power: PowerUse | None, idle_watts: float | None) -> Iterator[MetricValue]:
    """Power, energy of a launch, the same above idle, and operations for a joule; nothing where that is not known.

    The energy of a launch is the mean power times the time from the first launch to the last, over their number. Its
    bounds are what the steps of the counter leave open, no statistical interval.
    """
    sampling = measurement.sampling
    begin, end = measurement.measuring_monotonic_ns, measurement.measured_monotonic_ns
    if measurement.mode is not Mode.SUSTAINED or power is None or sampling is None or begin is None or end is None:
        return
    yield MetricValue.of(POWER, power.watts, power.low_watts, power.high_watts)
    if not sampling.launches:
        return
    seconds = (end - begin) / 1e9 / sampling.launches
    joules = tuple(watts * seconds for watts in (power.watts, power.low_watts, power.high_watts))
    yield MetricValue.of(ENERGY, *joules)
    if idle_watts is not None and idle_watts < power.low_watts:
        above = tuple(joule - idle_watts * seconds for joule in joules)
        yield MetricValue.of(ENERGY_ABOVE_IDLE, *above)
    if measurement.flops:
        efficiency = tuple(measurement.flops / joule for joule in joules)
        yield MetricValue.of(EFFICIENCY, *efficiency)


def disagrees(power: PowerUse | None) -> bool:
    """Whether the counter and the polled power tell different stories."""
    if power is None or power.polled_watts is None:
        return False
    return abs(power.polled_watts - power.watts) > DISAGREEMENT * power.watts
