"""How the values of a policy file are read. Each reader names the value and what to write instead when it is wrong."""

import math
import re
from collections.abc import Callable
from datetime import date
from enum import StrEnum
from typing import Any, TypeVar

from tesserabench.analysis.rules.nodes import Value, near
from tesserabench.analysis.rules.patterns import Patterns, patterns
from tesserabench.analysis.rules.rule import NEVER, Confirmation, Cordon, Ignored, Quality
from tesserabench.analysis.rules.words import Confirming

_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")
_DURATION = re.compile(r"(?:([0-9]+(?:\.[0-9]+)?)([smhdw]))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_LONGEST_TEXT = 200
_LONGEST_SECONDS = 520 * 604_800.0
"""Beyond, sums of times are no times any more."""
_MOST_PATTERNS = 200

Reader = Callable[[Value], Any]
_Word = TypeVar("_Word", bound=StrEnum)


def share(*, least: float = 0.0, most: float = 10.0) -> Reader:
    """A reader of sizes such as `2 %` or 0.02, above `least` and up to `most`."""

    def read(value: Value) -> float:
        form = f"write a size above {100 * least:g} % and up to {100 * most:g} %, such as 2 % or 0.02"
        if isinstance(value.content, str) and (match := _PERCENT.fullmatch(value.content.strip())):
            size = float(match[1]) / 100
        elif isinstance(value.content, int | float) and not isinstance(value.content, bool):
            size = float(value.content)
            if 1 < size <= 100:
                raise value.mistake(f"a plain number is a fraction, so this is {100 * size:g} %; {form}")
        else:
            raise value.mistake(form)
        if not least < size <= most:
            raise value.mistake(form)
        return size

    return read


def whole(least: int, most: int) -> Reader:
    """A reader of whole numbers."""

    def read(value: Value) -> int:
        if isinstance(value.content, bool) or not isinstance(value.content, int) or not least <= value.content <= most:
            raise value.mistake(f"write a whole number from {least} to {most}")
        return value.content

    return read


def number(least: float, most: float) -> Reader:
    """A reader of finite numbers."""

    def read(value: Value) -> float:
        content = value.content
        if isinstance(content, str):
            # YAML 1.1 takes 1e9 for a text.
            content = _float(content)
        finite = isinstance(content, int | float) and not isinstance(content, bool) and math.isfinite(content)
        if not finite or not least <= content <= most:
            bounds = "" if math.isinf(least) and math.isinf(most) else f" from {least:g} to {most:g}"
            raise value.mistake(f"write a number{bounds}")
        return float(content)

    return read


def _float(text: str) -> float | None:
    try:
        read = float(text)
    except ValueError:
        return None
    return read if math.isfinite(read) else None


def truth(value: Value) -> bool:
    """Yes or no."""
    if not isinstance(value.content, bool):
        raise value.mistake("write true or false")
    return value.content


def text(value: Value) -> str:
    """A text of one line."""
    content = value.content
    if not isinstance(content, str) or not content.strip() or "\n" in content.strip():
        raise value.mistake("write a text of one line")
    if len(content) > _LONGEST_TEXT:
        raise value.mistake(f"write at most {_LONGEST_TEXT} characters")
    return content.strip()


def duration(value: Value) -> float:
    """Seconds in `90s`, `20m`, `1h30m`, `3d` or `2w`."""
    content = value.content
    if not isinstance(content, str) or not _DURATION.fullmatch(content.strip()):
        raise value.mistake("write a duration such as 90s, 20m, 1h30m, 3d or 2w")
    seconds = sum(float(amount) * _SECONDS[unit] for amount, unit in _DURATION_PART.findall(content))
    if seconds <= 0:
        raise value.mistake("write a duration above zero, such as 20m or 3d")
    if seconds > _LONGEST_SECONDS:
        raise value.mistake("write a duration of at most 520w, ten years")
    return seconds


def duration_or_never(value: Value) -> float:
    """Seconds, or infinity for `never`."""
    return NEVER if value.content == "never" else duration(value)


def day(value: Value) -> date:
    """A day such as 2030-01-31."""
    try:
        return date.fromisoformat(value.content if isinstance(value.content, str) else "")
    except ValueError:
        raise value.mistake("write a day such as 2030-01-31") from None


def word(words: type[_Word]) -> Reader:
    """A reader of one of some words."""

    def read(value: Value) -> _Word:
        known = [str(one) for one in words]
        if value.content not in known:
            hint = near(value.content, known) if isinstance(value.content, str) else f"known here: {', '.join(known)}"
            raise value.mistake(hint)
        return words(value.content)

    return read


def pattern_list(*, exact_case: bool = True) -> Callable[[Value], Patterns]:
    """A reader of one pattern or a list of them."""

    def read(value: Value) -> Patterns:
        return patterns([_pattern(item) for item in _some(value)], exact_case=exact_case)

    return read


def globs(value: Value) -> tuple[str, ...]:
    """One pattern or a list of them, as they are written."""
    return tuple(_pattern(item) for item in _some(value))


def _some(value: Value) -> tuple[Value, ...]:
    items = value.items()
    if not 0 < len(items) <= _MOST_PATTERNS:
        raise value.mistake(f"give 1 to {_MOST_PATTERNS} patterns, or leave the key out")
    return items


def _pattern(value: Value) -> str:
    if isinstance(value.content, bool):
        # `dtype: yes` and `causal: true` are what people write; values of parameters are spelt so on the wire.
        return "true" if value.content else "false"
    if isinstance(value.content, int | float):
        return f"{value.content:g}" if isinstance(value.content, float) else str(value.content)
    if not isinstance(value.content, str) or not value.content.strip("! "):
        raise value.mistake("write a text; * stands for any characters and ? for one, and a ! in front refuses")
    if len(value.content) > _LONGEST_TEXT:
        raise value.mistake(f"write at most {_LONGEST_TEXT} characters")
    return value.content.strip()


def quality(value: Value) -> Quality:
    """Limits of a value: `{minimum: 2000, unit: GB/s, weight: 2}`."""
    any_number = number(-math.inf, math.inf)
    fields = _fields(value, {"minimum": any_number, "maximum": any_number, "weight": number(1e-6, 1e6), "unit": text})
    limits = Quality(**fields)
    if limits.minimum is None and limits.maximum is None:
        raise value.mistake("give a minimum, a maximum or both")
    if limits.minimum is not None and limits.maximum is not None and limits.minimum > limits.maximum:
        raise value.mistake(f"the minimum {limits.minimum:g} is above the maximum {limits.maximum:g}; exchange them")
    return limits


def confirmation(value: Value) -> Confirmation:
    """How a suspicion is settled: `rerun`, or `{by: duet, budget: 30m, looks: 2}`."""
    if not isinstance(value.content, dict):
        return Confirmation(by=word(Confirming)(value))
    fields = _fields(value, {"by": word(Confirming), "budget": duration, "looks": whole(1, 20)})
    if "budget" in fields:
        fields["budget_seconds"] = fields.pop("budget")
    return Confirmation(**fields)


def cordon(value: Value) -> Cordon | None:
    """When to take a device out of service: `never`, or `{slower-than: 8 %, runs: 3}`."""
    if value.content == "never":
        return None
    fields = _fields(value, {"slower-than": share(least=0.0, most=1.0), "runs": whole(2, 100)})
    if "slower-than" not in fields:
        raise value.mistake("give slower-than, such as 8 %")
    return Cordon(slower_than=fields["slower-than"], **{key: fields[key] for key in ("runs",) if key in fields})


def ignored(value: Value) -> Ignored | None:
    """Why and until when something is ignored: a text, or `{reason: ..., until: 2030-01-31}`; false takes it back."""
    if value.content is False:
        return None
    if isinstance(value.content, str):
        return Ignored(reason=text(value))
    if not isinstance(value.content, dict):
        raise value.mistake("say why: a text, or reason and until; false counts it again")
    fields = _fields(value, {"reason": text, "until": day})
    if "reason" not in fields:
        raise value.mistake("give a reason; whoever reads the next report will ask")
    return Ignored(**fields)


def _fields(value: Value, readers: dict[str, Reader]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, item in value.mapping().items():
        if key not in readers:
            raise item.mistake(f"{key!r} is no key here; {near(key, readers)}")
        values[key] = readers[key](item)
    return values
