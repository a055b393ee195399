"""Who hears what a trial does, and who may cancel it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tesserabench.bench.case import Case
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.measurement import Measurement, TrialHeader
from tesserabench.bench.vocabulary import Outcome, Phase


class Observer(Protocol):
    """Hears what a trial does, in order and from the measuring thread.

    `progress(0, total)`, a `phase` of no case for the ceiling probe, `header`; then for each case its phases, its
    `measurement` and `progress`. Between a phase and the next call at most its budget should pass.
    """

    def header(self, header: TrialHeader) -> None:
        """Where and under which conditions the trial runs; once, before the first case."""

    def phase(self, case: Case | None, phase: Phase, budget_seconds: float) -> None:
        """A phase begins and should be over within its budget."""

    def measurement(self, measurement: Measurement) -> None:
        """A case is done, whatever its outcome."""

    def progress(self, done: int, total: int) -> None:
        """So many cases of all are done."""


class SilentObserver:
    """Hears and forgets; a base for observers that care about some of the calls."""

    def header(self, header: TrialHeader) -> None:
        """Ignore the header."""

    def phase(self, case: Case | None, phase: Phase, budget_seconds: float) -> None:
        """Ignore the phase."""

    def measurement(self, measurement: Measurement) -> None:
        """Ignore the measurement."""

    def progress(self, done: int, total: int) -> None:
        """Ignore the progress."""


def never() -> bool:
    """Return False: nobody cancels this trial."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who hears of phases, and who may cancel."""

    observer: Observer
    cancelled: Callable[[], bool]

    def keep_going(self) -> None:
        """Raise a fatal CaseFailure when the trial was cancelled."""
        if self.cancelled():
            raise CaseFailure(
                Outcome.CANCELLED, "the trial was cancelled; trigger it again if it is needed", fatal=True
            )
