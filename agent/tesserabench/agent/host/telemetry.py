"""The readings of a trial, summed up as they come."""

from collections import Counter, deque
from collections.abc import Mapping

from tesserabench.agent.host import faults
from tesserabench.agent.host.reading import Reading
from tesserabench.v1.ingest_service_pb2 import DeviceTelemetry

# At twenty a second half an hour: more than the longest window that is asked about.
_MOST_READINGS = 36_000


class Telemetry:
    """Takes readings. `recent` keeps the newest ones whole; of the rest only sums remain."""

    def __init__(self, fault_counts: Mapping[str, int]) -> None:
        self.recent: deque[Reading] = deque(maxlen=_MOST_READINGS)
        self.xids: list[int] = []
        self._faults_before = fault_counts
        self._count = 0
        self._sm_clocks: Counter[float] = Counter()
        self._memory_clocks: Counter[float] = Counter()
        self._temperature_max: float | None = None
        self._power_sum, self._power_count = 0.0, 0
        self._power_max: float | None = None
        self._energy_first: float | None = None
        self._energy_last: float | None = None

    def take(self, reading: Reading) -> None:
        """Take one more reading."""
        self.recent.append(reading)
        self._count += 1
        if reading.sm_clock_mhz is not None:
            self._sm_clocks[reading.sm_clock_mhz] += 1
        if reading.memory_clock_mhz is not None:
            self._memory_clocks[reading.memory_clock_mhz] += 1
        if reading.temperature_celsius is not None:
            self._temperature_max = max(
                self._temperature_max or reading.temperature_celsius, reading.temperature_celsius
            )
        if reading.power_watts is not None:
            self._power_sum, self._power_count = self._power_sum + reading.power_watts, self._power_count + 1
            self._power_max = max(self._power_max or reading.power_watts, reading.power_watts)
        if reading.energy_joules is not None:
            if self._energy_first is None:
                self._energy_first = reading.energy_joules
            self._energy_last = reading.energy_joules

    def summary(self, fault_counts: Mapping[str, int]) -> DeviceTelemetry | None:
        """Everything so far as the wire has it; None when nothing was read."""
        if not self._count:
            return None
        found = DeviceTelemetry(readings=self._count)
        values = {
            "sm_clock_min_mhz": min(self._sm_clocks, default=None),
            "sm_clock_median_mhz": median_of(self._sm_clocks),
            "sm_clock_max_mhz": max(self._sm_clocks, default=None),
            "memory_clock_median_mhz": median_of(self._memory_clocks),
            "temperature_max_celsius": self._temperature_max,
            "power_mean_watts": self._power_sum / self._power_count if self._power_count else None,
            "power_max_watts": self._power_max,
            "energy_joules": self._energy(),
        }
        for name, value in values.items():
            if value is not None:
                setattr(found, name, value)
        found.fault_counts.update(faults.changes(self._faults_before, fault_counts))
        if self.xids:
            found.fault_counts["xid"] = len(self.xids)
        return found

    def _energy(self) -> float | None:
        if self._energy_first is None or self._energy_last is None or self._energy_last < self._energy_first:
            return None
        return self._energy_last - self._energy_first


def median_of(counts: Mapping[float, int]) -> float | None:
    """The lower median of values that are counted rather than listed."""
    rest = (sum(counts.values()) + 1) // 2
    for value in sorted(counts):
        rest -= counts[value]
        if rest <= 0:
            return value
    return None
