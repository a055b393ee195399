"""Which environment facts differ between two sides."""

from collections.abc import Mapping
from dataclasses import dataclass

_OF_A_HOST = frozenset({"env.CUDA_CACHE_PATH", "env.CUPY_CACHE_DIR"})
"""Folders of a host that older agents told: no fact about what was measured."""
_VOLATILE = frozenset({"host.boot_id"})
"""Facts that differ after every restart and explain nothing by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An environment fact with different values on the two sides; empty when unknown."""

    fact: str
    base: str
    head: str
    decisive: bool
    """The two sides share no comparability class, and this may be why."""


Facts = Mapping[str, tuple[Mapping[str, str], ...]]


def differences(base: Facts, head: Facts) -> tuple[Difference, ...]:
    """The facts that differ, decisive ones first.

    A fact that takes different values within one comparability class is none of those that the class is made of.

    Args:
        base: Facts of each trial of the base by comparability class.
        head: Likewise of the head.
    """
    ours, theirs = _values(base), _values(head)
    apart = bool(base and head) and not (base.keys() & head.keys())
    harmless = _VOLATILE | _varying(base) | _varying(head)
    found = [
        Difference(
            fact=fact,
            base=", ".join(sorted(ours.get(fact, ()))),
            head=", ".join(sorted(theirs.get(fact, ()))),
            decisive=apart and fact not in harmless,
        )
        for fact in sorted(ours.keys() | theirs.keys())
        if ours.get(fact) != theirs.get(fact) and fact not in _OF_A_HOST and not (fact in _VOLATILE and not apart)
    ]
    return tuple(sorted(found, key=lambda difference: not difference.decisive))


def _values(facts: Facts) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {}
    for trials in facts.values():
        for trial in trials:
            for fact, value in trial.items():
                values.setdefault(fact, set()).add(value)
    return values


def _varying(facts: Facts) -> set[str]:
    varying: set[str] = set()
    for trials in facts.values():
        values = _values({"": trials})
        varying |= {fact for fact, seen in values.items() if len(seen) > 1}
    return varying
