"""What each look at a series showed, as a judgement that rests on several of them tells it."""

from dataclasses import dataclass

from tesserabench.analysis.words import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class LookSeen:
    """One look at one series. Fractions: 0.1 is 10 %; absent is unknown, because nothing usable was measured."""

    number: int
    """Counted from 1: the judged run itself."""
    run: str
    """`runs/{run}` that measured it."""
    hosts: tuple[str, ...]
    launches: int
    planned: int = 0
    """Launches that were asked for, where it was cut off before all of them were measured; 0 otherwise."""
    interleaved: bool = False
    """Both sides were measured in turns, in the same processes."""
    verdict: Verdict | None = None
    """Of this look alone; absent when it gave nothing that can be used."""
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    worsening: float | None = None
    why: str = ""
    """Why it gave nothing that can be used."""
    shows: bool = False
    """Whether it shows at least the smallest change that matters, for the worse."""
