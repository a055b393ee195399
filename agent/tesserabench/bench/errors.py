"""The exceptions of the measuring library, one tree.

BenchError                     reason: a stable word for programs; the text names the field, the value and the remedy
├── SelectionError             the request cannot be understood; nothing was measured
│   ├── UnknownSuite
│   ├── UnknownBenchmark
│   ├── UnknownTier
│   ├── InvalidOverride
│   ├── InvalidPattern
│   ├── InvalidPlan
│   └── NothingSelected
├── RegistrationError          a benchmark's declaration contradicts itself
├── BundleError                a bundle of somebody's benchmarks cannot be loaded
├── DeviceUnavailable          the device cannot be opened on this machine
│   └── UnknownDevice
├── ProfileFailed              a case cannot be profiled here
├── ScenarioError              a simulated device's script is wrong
└── CaseFailure                one case ended without a result; carries its Outcome
"""

from tesserabench.bench.vocabulary import Outcome


class BenchError(Exception):
    """Anything this library raises on purpose; `reason` is stable and meant for programs."""

    reason = "bench_error"


class SelectionError(BenchError):
    """What was asked for cannot be turned into cases."""

    reason = "invalid_selection"


class UnknownSuite(SelectionError):  # noqa: N818 - callers read `except UnknownSuite`; the tree says they are errors
    """No suite has this name."""

    reason = "unknown_suite"


class UnknownBenchmark(SelectionError):  # noqa: N818 - see UnknownSuite
    """No benchmark has this name."""

    reason = "unknown_benchmark"


class UnknownTier(SelectionError):  # noqa: N818 - see UnknownSuite
    """No tier has this name."""

    reason = "unknown_tier"


class InvalidOverride(SelectionError):  # noqa: N818 - see UnknownSuite
    """A parameter override names an unknown parameter or carries a value of the wrong type."""

    reason = "invalid_override"


class InvalidPattern(SelectionError):  # noqa: N818 - see UnknownSuite
    """An include or exclude pattern is no regular expression."""

    reason = "invalid_pattern"


class InvalidPlan(SelectionError):  # noqa: N818 - see UnknownSuite
    """A plan, or its serialised form, is malformed."""

    reason = "invalid_plan"


class NothingSelected(SelectionError):  # noqa: N818 - see UnknownSuite
    """Every case was filtered away."""

    reason = "nothing_selected"


class RegistrationError(BenchError):
    """A benchmark or suite was declared in a way that cannot work."""

    reason = "invalid_registration"


class BundleError(BenchError):
    """A bundle cannot be loaded; `place` is the file, with the line where it is known."""

    reason = "invalid_bundle"

    def __init__(self, message: str, *, place: str = "") -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.place = place
        self.message = message


class DeviceUnavailable(BenchError):  # noqa: N818 - see UnknownSuite
    """The device exists in name, but cannot be opened here."""

    reason = "device_unavailable"


class UnknownDevice(DeviceUnavailable):
    """No kind of device has this name."""

    reason = "unknown_device"


class ProfileFailed(BenchError):  # noqa: N818 - see UnknownSuite
    """A case could not be profiled; its times are not touched by that."""

    reason = "profile_failed"


class ScenarioError(BenchError):
    """A simulated device's script has an unknown field or a value out of range."""

    reason = "invalid_scenario"


class CaseFailure(BenchError):  # noqa: N818 - see UnknownSuite
    """One case ended with `outcome`; `fatal` when the device or process cannot measure any further case."""

    reason = "case_failed"

    def __init__(self, outcome: Outcome, message: str, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.fatal = fatal
