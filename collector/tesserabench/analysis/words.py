"""The words in which a comparison answers, each the lower-case tail of its enum value on the wire."""

from enum import StrEnum


class Better(StrEnum):
    """Which direction of a metric is good."""

    LOWER = "lower"
    HIGHER = "higher"


class Verdict(StrEnum):
    """The answer to "did it get slower"."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    IMPROVED = "improved"
    REGRESSED = "regressed"
    INCONCLUSIVE = "inconclusive"


class Severity(StrEnum):
    """How bad a regression is, by its size."""

    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """1 for minor to 3 for critical."""
        return tuple(Severity).index(self) + 1


class Reason(StrEnum):
    """Why a comparison came out as it did, as a stable word."""

    TOO_FEW_SAMPLES = "too_few_samples"
    TOO_NOISY = "too_noisy"
    NO_BASELINE = "no_baseline"
    ENVIRONMENT_MISMATCH = "environment_mismatch"
    CASE_FAILED = "case_failed"
    THROTTLED = "throttled"
    NOT_REPRODUCED = "not_reproduced"
    NOT_CONFIRMED = "not_confirmed"
    MISSING = "missing"
    NULL_CONTROL_FAILED = "null_control_failed"
    MODE_MIX_CHANGED = "mode_mix_changed"
    QUALITY_LIMIT = "quality_limit"
    BASE_MEASURED_ONCE = "base_measured_once"


class CauseHint(StrEnum):
    """What drives a change, as far as the evidence of the two sides alone tells."""

    CODE = "code"
    ENVIRONMENT = "environment"


def worst(severities: list[Severity]) -> Severity | None:
    """The worst of these severities; None when there are none."""
    return max(severities, key=lambda severity: severity.rank, default=None)
