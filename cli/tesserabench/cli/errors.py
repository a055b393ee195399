"""The exceptions of tbctl, one tree.

CliError                an exit code, a sentence, and lines of detail
├── UsageProblem        2   a value that cannot be right
│   └── SettingsError   2   a settings file or environment variable that cannot be right
├── CallError           ?   the collector refused, or did not answer; the code follows its status and reason
├── EmptyResult         5   nothing to show where something was expected
├── StillPending        8   the run has not finished
├── WaitTimedOut        6   the run did not finish within --timeout
└── WaitInterrupted     130 somebody stopped the waiting, not the run
"""

from tesserabench.cli.exit_codes import ExitCode, code_of_status


class CliError(Exception):
    """Anything that ends a command on purpose. `details` are printed above the last line."""

    code = ExitCode.FAILURE

    def __init__(self, sentence: str, *, details: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.details = details


class UsageProblem(CliError):  # noqa: N818 - reads better where it is raised; the tree says it is an error
    """A value on the command line that cannot be right; names field, value and remedy."""

    code = ExitCode.USAGE


class SettingsError(UsageProblem):
    """A setting that cannot be right; names where it stands, key, value and remedy."""


class CallError(CliError):
    """A call that failed after its retries.

    `status` is the gRPC status by name, `reason` the stable word of the collector ("" when it gave none).
    """

    def __init__(self, sentence: str, *, status: str, reason: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(sentence, details=details)
        self.status = status
        self.reason = reason
        self.code = code_of_status(status, reason)


class EmptyResult(CliError):  # noqa: N818 - see UsageProblem
    """Nothing was found where a pipeline must notice it."""

    code = ExitCode.NOT_FOUND


class StillPending(CliError):  # noqa: N818 - see UsageProblem
    """The run has not finished."""

    code = ExitCode.PENDING


class WaitTimedOut(CliError):  # noqa: N818 - see UsageProblem
    """The run did not finish in time."""

    code = ExitCode.WAIT_TIMEOUT


class WaitInterrupted(CliError):  # noqa: N818 - see UsageProblem
    """Somebody stopped the waiting."""

    code = ExitCode.INTERRUPTED
