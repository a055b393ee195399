"""What holds for one series: every setting of the policy, resolved."""

import math
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Self

from tesserabench.analysis.policy import Policy
from tesserabench.analysis.rules.patterns import patterns
from tesserabench.analysis.rules.words import Alert, Confirming
from tesserabench.analysis.words import Severity

NEVER = float("inf")
"""Seconds after which something that is never said is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Absolute limits of a metric's value, in the unit in which it is measured."""

    minimum: float | None = None
    maximum: float | None = None
    weight: float = 1.0
    """Its share of the quality score, against the weights of the other limits."""
    unit: str = ""
    """Unit that the limits are meant in; empty takes the measured one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """How a suspicion is settled."""

    by: Confirming = Confirming.RERUN
    budget_seconds: float | None = None
    """Most time that measuring again may take; None leaves it to the run."""
    looks: int | None = None
    """Most times that it is measured again; None leaves it to the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cordon:
    """When a device that lags behind its siblings is taken out of service."""

    slower_than: float
    """As a fraction: 0.08 is 8 % slower than its siblings."""
    runs: int = 3
    """In so many runs one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Why a series decides nothing, and until when."""

    reason: str
    until: date | None = None
    """The first day on which it counts again (UTC); None is for good."""

    def holds(self, today: date) -> bool:
        """Whether it is still ignored."""
        return self.until is None or today < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the value of one setting comes from."""

    setting: str
    """The key in the file."""
    rule: str
    """Name of the rule, `defaults`, or `built in`."""
    line: int = 0
    """Where it stands in the file; 0 when it does not."""


BUILT_IN = "built in"

_ALERTING = {
    Alert.BY_SEVERITY: "",
    Alert.CRITICAL: Severity.CRITICAL.value,
    Alert.WARNING: Severity.MAJOR.value,
    Alert.INFO: Severity.MINOR.value,
    Alert.NONE: "none",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Everything that a policy says about one series. Sizes of changes are fractions: 0.02 is 2 %."""

    usual: Policy = field(default_factory=Policy)
    """What holds where the file says nothing."""
    minimum_effect: float = Policy().minor
    """The smallest worsening that matters; a minor one begins here."""
    major: float = Policy().major
    critical: float = Policy().critical
    secondary_factor: float = Policy().secondary_factor
    confidence: float = Policy().confidence
    power: float = Policy().power
    minimum_samples: int = Policy().minimum_samples
    minimum_launches: int = Policy().minimum_launches
    expected_noise: float | None = None
    """Relative standard deviation between launches to assume where too few were made to measure it."""
    smallest_change: float | None = None
    """The smallest step of a history that is reported; None leaves it to what the series' noise lets see."""
    quality: Quality | None = None
    confirmation: Confirmation = field(default_factory=Confirmation)
    hosts: tuple[str, ...] = ()
    """Patterns of the hosts that may measure; empty allows all."""
    owner: str = ""
    alert: Alert = Alert.BY_SEVERITY
    canary: bool = False
    """Its code never changes, so that its changes are the machine's."""
    ignore: Ignored | None = None
    missing_after_seconds: float | None = None
    """A series without a new value for so long is missing; None learns it from its own rhythm, infinity is never."""
    cordon: Cordon | None = None
    origins: tuple[Origin, ...] = ()
    """Where each setting that a file says comes from."""

    @classmethod
    def of(cls, usual: Policy, **values: Any) -> Self:
        """The rule where `values` are said and everything else is as usual."""
        limits = {
            "minimum_effect": usual.minor,
            "major": usual.major,
            "critical": usual.critical,
            "secondary_factor": usual.secondary_factor,
            "confidence": usual.confidence,
            "power": usual.power,
            "minimum_samples": usual.minimum_samples,
            "minimum_launches": usual.minimum_launches,
        }
        return cls(usual=usual, **(limits | values))

    @property
    def name(self) -> str:
        """The rule of the file that decides the smallest change that matters."""
        return self.origin("minimum-effect").rule

    def origin(self, setting: str) -> Origin:
        """Where a setting comes from."""
        built_in = Origin(setting=setting, rule=BUILT_IN)
        return next((origin for origin in self.origins if origin.setting == setting), built_in)

    def allows_host(self, host: str) -> bool:
        """Whether a host may measure."""
        return not self.hosts or patterns(self.hosts, exact_case=False).matches(host)

    @property
    def alerting(self) -> str:
        """Which alert a finding fires: the word of a severity, `none`, or empty for that of its size."""
        return _ALERTING[self.alert]

    def policy_on(self, today: date) -> Policy:
        """The limits on a day (UTC): while it is ignored nothing is large enough to matter."""
        limits = self.policy()
        if self.ignore is None or not self.ignore.holds(today):
            return limits
        return replace(limits, minor=math.inf, major=math.inf, critical=math.inf)

    def policy(self) -> Policy:
        """The limits of the gate.

        Severities speak of harm and the smallest effect of what can be told, so that a smallest effect beyond the limit
        of a major change makes every finding at least a major one.
        """
        return replace(
            self.usual,
            minor=self.minimum_effect,
            major=max(self.minimum_effect, self.major),
            critical=max(self.minimum_effect, self.major, self.critical),
            secondary_factor=self.secondary_factor,
            confidence=self.confidence,
            power=self.power,
            minimum_samples=self.minimum_samples,
            minimum_launches=self.minimum_launches,
            expected_noise=self.usual.expected_noise if self.expected_noise is None else self.expected_noise,
        )
