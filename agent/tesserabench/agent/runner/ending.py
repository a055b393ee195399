"""What the end of a worker means: pure, from how it ended to an outcome and a sentence for people."""

import signal
from dataclasses import dataclass

from tesserabench.agent.runner.budget import Overrun
from tesserabench.bench import Outcome

_TIMEOUT_STATUS = 124
_SHELL_SIGNAL_BASE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a worker ended. `case` is the one that it was at when it failed; absent when it was between cases."""

    outcome: Outcome
    reason: str = ""
    case: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the worker got through."""
        return self.outcome is Outcome.OK


def of_overrun(overrun: Overrun) -> Ending:
    """A worker that was stopped because it took too long."""
    return Ending(
        outcome=Outcome.TIMEOUT,
        reason=f"{overrun.sentence}; the worker was stopped: raise the limit if the work is meant to be that long",
        case=overrun.case,
    )


def of_memory(complaint: str, case: str | None) -> Ending:
    """A worker that was stopped because it took too much memory."""
    return Ending(outcome=Outcome.OUT_OF_MEMORY, reason=complaint, case=case)


def of_exit(status: int, case: str | None, *, ran_out: bool = False) -> Ending:
    """A worker that ended by itself without having said how it went; `ran_out` when the kernel had no memory left."""
    during = f" while it measured {case}" if case else " before its first case"
    if status == _TIMEOUT_STATUS:
        return Ending(
            outcome=Outcome.TIMEOUT, reason=f"the worker gave up for time (exit status 124){during}", case=case
        )
    number = -status if status < 0 else status - _SHELL_SIGNAL_BASE
    if number in {item.value for item in signal.Signals}:
        name = signal.Signals(number).name
        if number == signal.SIGKILL and ran_out:
            reason = (
                f"the kernel ended the worker{during} because the host ran out of memory; choose smaller parameters"
            )
            return Ending(outcome=Outcome.OUT_OF_MEMORY, reason=reason, case=case)
        hint = (
            "; nobody here sent it: most often the kernel does when memory runs out"
            if number == signal.SIGKILL
            else "; the trial's log says where"
        )
        return Ending(outcome=Outcome.DEVICE_ERROR, reason=f"the worker died of {name}{during}{hint}", case=case)
    reason = f"the worker ended with exit status {status}{during} and did not say why; see the trial's log"
    return Ending(outcome=Outcome.HARNESS_ERROR, reason=reason, case=case)


def of_protocol_error(error: Exception, case: str | None) -> Ending:
    """A worker that wrote something that cannot be understood."""
    return Ending(outcome=Outcome.HARNESS_ERROR, reason=f"the worker cannot be understood: {error}", case=case)
