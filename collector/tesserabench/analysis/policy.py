"""What counts as a change, and how much noise to expect of a device that nothing is known about yet."""

import math
from dataclasses import dataclass, replace

from tesserabench.analysis.words import Severity

_DECISION_SHARE = 0.2
"""One false finding in a hundred looks, not in twenty: a gate is asked hundreds of times a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Limits of the gate. Sizes of changes are fractions: 0.02 is 2 % worse."""

    minor: float = 0.02
    major: float = 0.05
    critical: float = 0.10
    secondary_factor: float = 1.5
    """A secondary metric must change by this many times as much."""
    confidence: float = 0.95
    """Of the interval that is shown."""
    power: float = 0.80
    """With which probability the smallest visible change is seen."""
    minimum_samples: int = 5
    minimum_launches: int = 3
    """From here on the spread between launches is measured; below, it is assumed."""
    expected_noise: float | None = None
    """Relative standard deviation between launches to assume; None takes what is usual on such a device."""

    @property
    def false_alarm(self) -> float:
        """How often one look at identical code may call it different: a fifth of what the interval shown may miss."""
        return _DECISION_SHARE * (1 - self.confidence)

    def minimum_effect(self, *, primary: bool) -> float:
        """The smallest change that matters."""
        return self._scaled(self.minor, primary=primary)

    def excluded_effect(self, *, primary: bool) -> float:
        """The change that a pass must rule out: a major one."""
        return self._scaled(self.major, primary=primary)

    def hidden_effect(self, *, primary: bool) -> float:
        """Noise that would hide a change of this size, a critical one, is too much for any but the clearest finding."""
        return self._scaled(self.critical, primary=primary)

    def severity(self, worse_by: float, *, primary: bool) -> Severity | None:
        """How bad it is to be worse by this fraction, to a tenth of a per cent; None when it is less than matters.

        Rounded as people are shown it, so that nobody reads "+10.0 %, major".
        """
        shown = round(worse_by, 3)
        for severity, limit in (
            (Severity.CRITICAL, self.critical),
            (Severity.MAJOR, self.major),
            (Severity.MINOR, self.minor),
        ):
            if shown >= self._scaled(limit, primary=primary) * (1 - 1e-9):
                return severity
        return None

    def _scaled(self, limit: float, *, primary: bool) -> float:
        return limit if primary else limit * self.secondary_factor


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """Noise to assume on one kind of device, as relative standard deviations."""

    launch: float
    """Between launches, where too few were made to measure it."""
    run: float
    """Between runs, beyond what the launches of one run show: another hour, another neighbour."""


_FLOORS = {
    "cuda": NoiseFloor(launch=0.01, run=0.0025),
    "simulated": NoiseFloor(launch=0.01, run=0.0025),
    "cpu": NoiseFloor(launch=0.05, run=0.01),
}

LAUNCH_RESOLUTION = 0.0005
"""Launches are never taken to agree better than this: 0.05 %, about the best seen on a controlled GPU."""

RUN_TO_LAUNCH_NOISE = 0.5
"""Runs are taken to differ, beyond their launches, by at least this share of what launches differ by: a machine that is
restless within a run is restless between runs. Measured shares are 0.1 to 0.25 on quiet machines and more on busy ones;
the larger share costs little power where launches agree, and keeps false alarms below 3 % where they do not."""

SIBLING_NOISE = 0.025
"""Standard deviation between devices of one model: siblings in one node differ by 5 % and more."""


def expected_floor(policy: Policy, device_kind: str) -> NoiseFloor:
    """The noise to assume under a policy on this kind of device."""
    usual = noise_floor(device_kind)
    return usual if policy.expected_noise is None else replace(usual, launch=policy.expected_noise)


def noise_floor(device_kind: str) -> NoiseFloor:
    """The noise to assume on this kind of device; the widest for a kind that is not known."""
    return _FLOORS.get(device_kind, _FLOORS["cpu"])


_LARGEST_LOG = 700.0
"""Ratios beyond e^700 are no numbers of any machine, and no double could hold much more."""


def fraction(log_ratio: float) -> float:
    """The change that a log ratio stands for: log 1.1 is 0.1."""
    return math.expm1(min(log_ratio, _LARGEST_LOG))
