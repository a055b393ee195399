"""What moved beside a change: cycles or clocks, registers, shared memory, occupancy.

A time is cycles over a clock. When the time grew and the cycles did not, the clock fell: that is the machine. When the
compiler's facts of a kernel changed, it is another kernel: that is the code.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.wording import percent
from tesserabench.analysis.words import CauseHint, Verdict

_TIME = "time"
_CYCLES = "cycles"
_EXPLAINED = 0.35
"""Cycles that moved by less than this share of what the time did leave the change to the clock."""
_FOLLOWED = 0.65
"""Cycles that moved by more than this share of it moved with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Another metric of the same case, on both sides."""

    base: float
    head: float

    @property
    def change(self) -> float | None:
        """Head over base minus one; None when the base is zero or less."""
        return self.head / self.base - 1 if self.base > 0 else None

    @property
    def differs(self) -> bool:
        """Whether the two are different numbers, to a millionth."""
        return abs(self.head - self.base) > 1e-6 * max(abs(self.base), abs(self.head))


_FACTS = {
    "registers": "registers a thread",
    "shared_memory": "bytes of shared memory",
    "local_memory": "bytes of local memory (what the registers could not hold)",
    "occupancy": "occupancy",
}


def advised(judgement: Judgement, metric: str, beside: Mapping[str, Beside]) -> Judgement:
    """The judgement with what its case's other metrics say of it; the verdict stays.

    Args:
        judgement: Of the metric that decides.
        metric: Its name.
        beside: The other metrics of the same case, timing mode and device, by name.
    """
    if judgement.change is None or judgement.verdict is Verdict.PASS:
        return judgement
    facts = list(_changed_facts(beside))
    hint: CauseHint | None = CauseHint.CODE if facts else None
    notes = [f"Beside it changed: {'; '.join(facts)}: the compiler made another kernel."] if facts else []
    recommendation = judgement.recommendation
    cycles = beside[_CYCLES].change if metric == _TIME and _CYCLES in beside else None
    if cycles is not None and abs(judgement.change) >= judgement.minimum_effect:
        share = cycles / judgement.change
        clock = (1 + cycles) / (1 + judgement.change) - 1
        if share < _EXPLAINED:
            notes.append(
                f"Time {percent(judgement.change)}, cycles {percent(cycles)}, so the clock {percent(clock)}: the "
                "machine, not the kernel."
            )
            hint = CauseHint.ENVIRONMENT
            recommendation = "Lock the clocks, or look at power limit and temperature; then measure both sides again."
        elif share > _FOLLOWED:
            notes.append(f"The cycles moved with the time ({percent(cycles)}): it is not the clock.")
        else:
            notes.append(f"Cycles {percent(cycles)} and the clock {percent(clock)}: both have a part in it.")
    if not notes:
        return judgement
    # An open question keeps its advice: it is not known yet that there is a change to explain.
    decided = judgement.verdict is Verdict.REGRESSED
    return replace(
        judgement,
        notes=(*judgement.notes, *notes),
        cause_hint=hint if decided else None,
        recommendation=recommendation if decided else judgement.recommendation,
    )


def _changed_facts(beside: Mapping[str, Beside]) -> Iterator[str]:
    for metric, words in _FACTS.items():
        fact = beside.get(metric)
        if fact is not None and fact.differs:
            yield f"{words} {_number(metric, fact.base)} to {_number(metric, fact.head)}"


def _number(metric: str, value: float) -> str:
    return f"{100 * value:.0f} %" if metric == "occupancy" else f"{value:.0f}"
