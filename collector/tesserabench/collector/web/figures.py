"""Numbers, times and durations as people read them."""

import math
from collections.abc import Callable
from datetime import datetime

NONE = "\N{EN DASH}"
"""Shown for what is not known."""

_TIMES = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))
_METRIC = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SCALED_UNITS = ("FLOP/s", "B/s", "J", "W", "Hz")
_AGES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))

_LEAST, _MOST = 1e-4, 1e7
"""What lies outside is written with a power of ten: the unit has no smaller or larger one."""

Scale = tuple[float, str]
"""What to divide by, and the unit then."""


def scale_of(value: float, unit: str) -> Scale:
    """The scale in which a value of this unit reads best."""
    size = abs(value)
    if unit == "ns":
        return next((scale for scale in _TIMES if size >= scale[0]), _TIMES[-1])
    if unit in _SCALED_UNITS:
        factor, prefix = next((scale for scale in _METRIC if size >= scale[0]), _METRIC[-1])
        return factor, prefix + unit
    return 1.0, "" if unit == "1" else unit


def number(value: float | None, scale: Scale = (1.0, "")) -> str:
    """A value to four figures, without its unit."""
    if value is None or not math.isfinite(value):
        return NONE
    scaled = value / scale[0]
    if scaled == 0:
        return "0"
    if not _LEAST <= abs(scaled) < _MOST:
        return f"{scaled:.4g}"
    digits = max(0, 3 - math.floor(math.log10(abs(scaled))))
    return f"{scaled:,.{min(digits, 6)}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def value(measured: float | None, unit: str) -> str:
    """A value to four figures with its unit: `1.234 ms`."""
    if measured is None or not math.isfinite(measured):
        return NONE
    scale = scale_of(measured, unit)
    return f"{number(measured, scale)} {scale[1]}".strip()


def percent(fraction: float | None) -> str:
    """A signed percentage: `+12.3 %`."""
    if fraction is None:
        return NONE
    # Adding zero takes the sign off a zero.
    return f"{round(100 * fraction, 1) + 0.0:+.1f} %".replace("-", "\N{MINUS SIGN}")


def seconds(duration: float | None) -> str:
    """A duration in its two largest units: `2 h 5 min`."""
    if duration is None:
        return NONE
    rest = max(0.0, duration)
    parts: list[str] = []
    for size, unit in _AGES:
        if rest >= size and len(parts) < 2:
            parts.append(f"{int(rest // size)} {unit}")
            rest %= size
        elif parts:
            break
    return " ".join(parts) or "0 s"


def ago(now: datetime) -> Callable[[datetime | None], str]:
    """A filter that says how long ago a time was."""

    def filter_(moment: datetime | None) -> str:
        return NONE if moment is None else f"{_roughly((now - moment).total_seconds())} ago"

    return filter_


def _roughly(duration: float) -> str:
    """The largest unit alone: a list of ages is read for its order."""
    size, unit = next((age for age in _AGES if duration >= age[0]), _AGES[-1])
    return f"{int(max(0.0, duration) // size)} {unit}"


def clock(moment: datetime | None) -> str:
    """A time in UTC to the second."""
    return NONE if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def ends(first: datetime, last: datetime) -> tuple[str, str]:
    """What stands under the ends of an axis of times, in UTC: days, or the hours of one day."""
    if first.date() == last.date():
        return f"{first:%Y-%m-%d %H:%M}", f"{last:%H:%M} UTC"
    return f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}"


def word(name: str | None) -> str:
    """A stored word as people read it: `out of memory`."""
    return (name or "").replace("_", " ")


def enum_word(name: str | None, prefix: str) -> str:
    """An enum value's name as people read it."""
    return word((name or "").removeprefix(prefix).lower())
