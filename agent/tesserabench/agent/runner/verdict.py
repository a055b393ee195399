"""What a case's result is worth, given what limited the clocks while it was measured: pure but for the count of tries.

clean          valid
power_limited  valid; flagged in every mode but sustained, where the limit is what is measured
thermal        thrown away and measured again after a pause; when that does not help, throttled, and a finding
brake          throttled, and a finding: power or hardware, no pause helps
locked         valid; part of the environment
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tesserabench.agent.runner.energy_metrics import disagrees, energy_metrics
from tesserabench.agent.runner.watch import Throttling, Window
from tesserabench.bench import Flag, Measurement, MetricValue, Mode, Outcome
from tesserabench.v1 import measurement_pb2 as pb

HEAT = frozenset({"sw_thermal", "hw_thermal"})
"""Limits that a pause helps against."""
POWER_LIMITED = "power_limited"
ENERGY_DISAGREES = "energy_disagrees"
_THROTTLED = 0.01
_LONGEST_PAUSE = 10.0
_USABLE = frozenset({Outcome.OK, Outcome.THROTTLED, Outcome.IMPLAUSIBLE})
_NOTHING = Throttling(kind=pb.THROTTLE_CLASS_UNSPECIFIED, fractions={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A result as it is to be written, or `again`: to be measured once more. `finding` is a word and a sentence."""

    measurement: Measurement
    throttling: Throttling
    flags: tuple[str, ...] = ()
    metrics: tuple[MetricValue, ...] = ()
    again: bool = False
    retried: bool = False
    finding: tuple[str, str] | None = None


class Judge:
    """Judges the results of one trial; counts how often each case was measured again."""

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._tries: Counter[str] = Counter()

    def judge(self, measurement: Measurement, window: Window | None, idle_watts: float | None) -> Judged:
        """A result in the light of what the device did while it was measured."""
        throttling = _NOTHING if window is None else window.throttling
        retried = self._tries[measurement.case.id] > 0
        judged = Judged(measurement=measurement, throttling=throttling, retried=retried)
        if measurement.outcome not in _USABLE:
            return judged
        if throttling.void:
            reason = f"{throttling.remark}; measure again"
            return replace(judged, measurement=_ended(measurement, Outcome.DEVICE_ERROR, reason))
        if throttling.kind == pb.THROTTLE_CLASS_BRAKE:
            return self._braked(judged)
        if throttling.kind == pb.THROTTLE_CLASS_THERMAL or measurement.outcome is Outcome.THROTTLED:
            return self._heated(judged)
        flags = [Flag.RETRIED.value] if retried else []
        if throttling.kind == pb.THROTTLE_CLASS_POWER_LIMITED and measurement.mode is not Mode.SUSTAINED:
            flags.append(POWER_LIMITED)
        power = None if window is None else window.power
        metrics = tuple(energy_metrics(measurement, power, idle_watts))
        if metrics and disagrees(power):
            flags.append(ENERGY_DISAGREES)
        return replace(judged, flags=tuple(flags), metrics=metrics)

    def _braked(self, judged: Judged) -> Judged:
        share = max(judged.throttling.fractions.get(name, 0.0) for name in ("hw_power_brake", "hw_slowdown"))
        what = f"the hardware braked the device for {share:.1%} of the measured time (limit 0.1 %)"
        reason = f"{what}; check its power supply, cabling and the rack's power limit"
        throttled = _ended(judged.measurement, Outcome.THROTTLED, reason)
        return replace(judged, measurement=throttled, finding=("brake", reason))

    def _heated(self, judged: Judged) -> Judged:
        case = judged.measurement.case.id
        if self._tries[case] < self._retries:
            self._tries[case] += 1
            return replace(judged, again=True)
        share = max((judged.throttling.fractions.get(name, 0.0) for name in HEAT), default=0.0)
        tries = self._tries[case]
        what = (
            f"heat held the clocks down for {share:.1%} of the measured time (limit {_THROTTLED:.0%}), "
            f"also after {tries} further tries"
        )
        reason = f"{what}; check the cooling, or measure when the device is cooler"
        throttled = _ended(judged.measurement, Outcome.THROTTLED, judged.measurement.reason or reason)
        return replace(judged, measurement=throttled, finding=("thermal", reason))


def own_window(measurement: Measurement) -> Window | None:
    """What a simulated device says itself: it lives in a time of its own, which only its samples know."""
    before, after, sampling = measurement.state_before, measurement.state_after, measurement.sampling
    if before is None or after is None or sampling is None or sampling.elapsed_seconds <= 0:
        return None
    if before.throttled_ns is None or after.throttled_ns is None:
        return None
    share = min(1.0, max(0.0, (after.throttled_ns - before.throttled_ns) / 1e9 / sampling.elapsed_seconds))
    kind = pb.THROTTLE_CLASS_THERMAL if share >= _THROTTLED else pb.THROTTLE_CLASS_CLEAN
    return Window(throttling=Throttling(kind=kind, fractions={"hw_thermal": share}))


class Pauses:
    """How long to wait after each try: twice as long as after the one before, at most ten seconds at a time."""

    def __init__(self, first_seconds: float) -> None:
        self._seconds = first_seconds

    def next(self) -> Iterator[float]:
        """The pauses after one try, in seconds, to be taken one by one until the device has recovered."""
        seconds, spent = self._seconds, 0.0
        self._seconds *= 2
        while spent < _LONGEST_PAUSE:
            pause = min(seconds, _LONGEST_PAUSE - spent)
            spent, seconds = spent + pause, seconds * 2
            yield pause


def _ended(measurement: Measurement, outcome: Outcome, reason: str) -> Measurement:
    return replace(measurement, outcome=outcome, reason=reason)
