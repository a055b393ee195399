"""Patterns of a policy file: texts with `*` and `?`, alternatives, exceptions, and conditions on numbers.

There are no regular expressions on purpose: a policy is applied to every series of a server by whoever may change it,
and a pattern must neither take for ever nor match by accident, as the dots and brackets of case names would.
"""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_BOUND = re.compile(rf"(<=|>=|<|>)\s*({_NUMBER})")
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patterns:
    """Alternatives of which one must match, and exceptions (`!`) of which none may."""

    wanted: tuple[str, ...] = ()
    """Empty: everything but the exceptions."""
    refused: tuple[str, ...] = ()
    exact_case: bool = True

    def matches(self, text: str, *others: str) -> bool:
        """Whether a text, or another name of the same thing, matches; an empty one, which is not known, never does."""
        names = (text, *others)
        if not text or self._any(self.refused, names):
            return False
        return not self.wanted or self._any(self.wanted, names)

    def _any(self, texts: tuple[str, ...], names: tuple[str, ...]) -> bool:
        return any(_matches(pattern, name, self.exact_case) for pattern in texts for name in names)

    def texts(self) -> tuple[str, ...]:
        """The patterns as they are written."""
        return (*self.wanted, *(f"!{pattern}" for pattern in self.refused))


def patterns(texts: Sequence[str], *, exact_case: bool = True) -> Patterns:
    """The patterns in texts, of which those that begin with `!` are exceptions."""
    return Patterns(
        wanted=tuple(text for text in texts if not text.startswith("!")),
        refused=tuple(text[1:] for text in texts if text.startswith("!")),
        exact_case=exact_case,
    )


def _matches(pattern: str, text: str, exact_case: bool) -> bool:  # noqa: FBT001 - cached by position
    if condition := _condition(pattern):
        try:
            value = float(text)
        except ValueError:
            return False
        low, low_open, high, high_open = condition
        return (value > low if low_open else value >= low) and (value < high if high_open else value <= high)
    return _compiled(pattern, exact_case).fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _condition(pattern: str) -> tuple[float, bool, float, bool] | None:
    """Low end, whether it is left out, high end, whether it is left out: `>=4096`, `<1`, `1024..4096`."""
    if match := _RANGE.fullmatch(pattern):
        return float(match[1]), False, float(match[2]), False
    match = _BOUND.fullmatch(pattern)
    if match is None:
        return None
    bound, open_end = float(match[2]), "=" not in match[1]
    if match[1].startswith(">"):
        return bound, open_end, float("inf"), False
    return float("-inf"), False, bound, open_end


@lru_cache(maxsize=4096)
def _compiled(pattern: str, exact_case: bool) -> re.Pattern[str]:  # noqa: FBT001 - cached by position
    # A bracket means itself: names of cases are full of them.
    translated = fnmatch.translate(pattern.replace("[", "[[]"))
    return re.compile(translated, 0 if exact_case else re.IGNORECASE)
