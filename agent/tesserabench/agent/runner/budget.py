"""How long a worker may take for what it is doing: a state machine on values, no clock inside."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

STARTUP = "startup"
SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrun:
    """What took too long."""

    case: str | None
    phase: str
    limit_seconds: float

    @property
    def sentence(self) -> str:
        """What happened and which limit it was."""
        where = f" of {self.case}" if self.case else ""
        return f"phase {self.phase}{where} took longer than its {self.limit_seconds:g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseClock:
    """Where a worker is and until when it may be there. Times are seconds of a monotonic clock.

    `limits` gives the budget of each phase by name; a phase that is not in it (`measure`) gets what the plan says.
    `case_limit` bounds all phases of a case together.
    """

    limits: Mapping[str, float]
    case_limit: float | None = None
    phase: str = STARTUP
    case: str | None = None
    phase_limit: float = 0.0
    phase_ends: float = 0.0
    case_ends: float | None = None

    @classmethod
    def started(cls, limits: Mapping[str, float], case_limit: float | None, now: float) -> "PhaseClock":
        """The clock of a process that starts now."""
        limit = limits[STARTUP]
        return cls(limits=limits, case_limit=case_limit, phase_limit=limit, phase_ends=now + limit)

    @property
    def deadline(self) -> float:
        """When the current phase, or its case, must be over."""
        return self.phase_ends if self.case_ends is None else min(self.phase_ends, self.case_ends)

    def enter(self, phase: str, case: str | None, planned_seconds: float, now: float) -> "PhaseClock":
        """The clock after the worker has announced a phase."""
        return self._in_phase(phase, case, self.limits.get(phase, planned_seconds), now)

    def leave_case(self, now: float) -> "PhaseClock":
        """The clock after a case has ended: the next phase must begin within the budget of `prepare`."""
        return self._in_phase("next case", None, self.limits["prepare"], now)

    def shut_down(self, now: float) -> "PhaseClock":
        """The clock after the last message."""
        return self._in_phase(SHUTDOWN, None, self.limits[SHUTDOWN], now)

    def overrun(self, now: float) -> Overrun | None:
        """What took too long, when something did."""
        if now < self.deadline:
            return None
        if self.case_ends is not None and self.case_limit is not None and self.case_ends <= self.phase_ends:
            phase = f"{self.phase} (within case_timeout)"
            return Overrun(case=self.case, phase=phase, limit_seconds=self.case_limit)
        return Overrun(case=self.case, phase=self.phase, limit_seconds=self.phase_limit)

    def _in_phase(self, phase: str, case: str | None, limit: float, now: float) -> "PhaseClock":
        case_ends = self.case_ends if case is not None and case == self.case else None
        if case is not None and case_ends is None and self.case_limit is not None:
            case_ends = now + self.case_limit
        return replace(self, phase=phase, case=case, phase_limit=limit, phase_ends=now + limit, case_ends=case_ends)
