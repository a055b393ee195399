"""The sentences about looks that follow the first one."""

from collections.abc import Iterable, Sequence

from tesserabench.analysis import wording
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.looks import LookSeen
from tesserabench.analysis.wording import Sentences, percent


def told(looks: Sequence[LookSeen]) -> str:
    """What each look showed, as in "Look 1 +3.1 % (node-7), look 2 +2.9 % (node-11, other order)."."""
    if not looks:
        return ""
    listed = ", ".join(f"look {look.number} {_shown(look)}" for look in looks)
    return f"{listed[0].upper()}{listed[1:]}."


def _shown(look: LookSeen) -> str:
    change = percent(look.change) if look.change is not None else "gave nothing"
    notes = [*look.hosts]
    if look.number > 1 and look.change is not None:
        notes.append("in turns with the base" if look.interleaved else "other order")
    if look.change is not None and look.launches < look.planned:
        notes.append(f"cut off after {look.launches} of {look.planned} launches")
    return f"{change} ({', '.join(notes)})" if notes else change


def sentence(text: str) -> str:
    """A text that ends like a sentence; nothing stays nothing."""
    stripped = text.strip()
    return stripped if not stripped or stripped[-1] in ".!?" else f"{stripped}."


def not_seen_again(first: Judgement, last: LookSeen, host: str) -> Sentences:
    """A further look did not show it; `host` tells what that says about machines."""
    again = Judgement(
        verdict=first.verdict,
        explanation="",
        minimum_effect=first.minimum_effect,
        change=last.change,
        change_low=last.change_low,
        change_high=last.change_high,
    )
    explanation, recommendation = wording.not_reproduced(first, again)
    if not host:
        return explanation, recommendation
    return f"{explanation} {host}", "Look at the host first: clocks, temperature, driver, neighbours."


def bound_to(hosts: Iterable[str], elsewhere: Sequence[LookSeen]) -> str:
    """One host shows it every time, and another never."""
    return f"It is seen again on {_names(hosts)} and not on {_others(elsewhere)}: it points at the host, not the code."


def only_at_first(hosts: Iterable[str], elsewhere: Sequence[LookSeen]) -> str:
    """Another host does not show it, and the first one was not asked again."""
    return f"It is not seen on {_others(elsewhere)}: it points at {_names(hosts)} rather than the code."


def shown_once(judgement: Judgement) -> Sentences:
    """All looks together say worse, and only one of them does."""
    assert judgement.change is not None
    return (
        f"All looks together say {percent(judgement.change)}, but only one of them shows it.",
        "Measure it once more; a regression counts when two looks show it.",
    )


def _others(looks: Sequence[LookSeen]) -> str:
    return _names(host for look in looks for host in look.hosts)


def _names(hosts: Iterable[str]) -> str:
    return ", ".join(sorted(set(hosts))) or "the same host"
