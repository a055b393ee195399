"""Work that has metrics of its own: a quantity of things or bytes in each launch, as a rate or as a cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tesserabench.bench.metric import Metric, MetricValue
from tesserabench.bench.timing.statistics import Statistics

NANO = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One metric to be told: `amount` for each launch, as a rate per second or, inverted, as nanoseconds for one."""

    metric: Metric
    amount: float
    per_item: bool = False

    def at(self, statistics: Statistics) -> MetricValue:
        """Return the metric at the median time, with the interval of the median carried over."""
        value = self._value(statistics.median)
        assert value is not None, "a time of zero is refused when it is sampled"
        return MetricValue.of(self.metric, value, self._value(statistics.ci_low), self._value(statistics.ci_high))

    def _value(self, time_ns: float | None) -> float | None:
        if not time_ns:
            return None
        return time_ns / self.amount if self.per_item else self.amount / (time_ns / NANO)


def tell(told: Sequence[Told], statistics: Statistics) -> Iterable[MetricValue]:
    """Return every metric of `told` for the times of one launch."""
    return [item.at(statistics) for item in told]
