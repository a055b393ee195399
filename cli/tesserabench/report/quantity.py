"""Quantities as people read them: four digits, a fitting SI prefix, an interval beside the value.

Everything inside the product stays in plain SI numbers; only this module makes them pretty, for tables and pages.
"""

import math
from dataclasses import dataclass

UNKNOWN = "-"
"""Stands where a value is not known; never a zero."""

_TIME_STEPS = ((1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s"))
_DECIMAL_STEPS = ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"), (1e15, "P"))
_BINARY_STEPS = ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB"), (2.0**30, "GiB"), (2.0**40, "TiB"))
_DECIMAL_UNITS = frozenset({"FLOP/s", "B/s", "Hz", "op/s"})
_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How values of one unit are written: divided by `factor`, followed by `label`."""

    factor: float
    label: str


def scale_for(value: float, unit: str) -> Scale:
    """The scale in which `value` (in `unit`) has between one and three digits before the point, where there is one."""
    if unit == "ns":
        return _pick(value, _TIME_STEPS)
    if unit == "B":
        return _pick(value, _BINARY_STEPS)
    if unit in _DECIMAL_UNITS:
        step = _pick(value, _DECIMAL_STEPS)
        return Scale(factor=step.factor, label=f"{step.label}{unit}")
    return Scale(factor=1.0, label="" if unit == "1" else unit)


def quantity(value: float | None, unit: str) -> str:
    """`1.234 ms` for 1234000 with unit `ns`; `-` when the value is not known."""
    if value is None:
        return UNKNOWN
    scale = scale_for(value, unit)
    return f"{digits(value / scale.factor)} {scale.label}".rstrip()


def interval(low: float | None, high: float | None, *, value: float, unit: str) -> str:
    """`[1.230, 1.240]`, both ends in the scale that `quantity(value, unit)` uses; `-` when an end is not known."""
    if low is None or high is None:
        return UNKNOWN
    scale = scale_for(value, unit)
    return f"[{digits(low / scale.factor)}, {digits(high / scale.factor)}]"


def digits(value: float, count: int = _DIGITS) -> str:
    """`value` with `count` significant digits and without an exponent between 1e-4 and 1e15."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    exponent = math.floor(math.log10(abs(value)))
    if not -count <= exponent < 15:
        return f"{value:.{count - 1}e}"
    # Rounding may carry over (9.9996 -> 10.00), which moves the point by one digit.
    rounded = round(value, count - 1 - exponent)
    exponent = math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(0, count - 1 - exponent)}f}"


def percent(ratio: float | None) -> str:
    """`83 %` for 0.83; `-` when not known."""
    return UNKNOWN if ratio is None else f"{ratio * 100:.0f} %"


def change(ratio: float | None) -> str:
    """`+4.2 %` for 0.042, always with a sign; `-` when not known."""
    return UNKNOWN if ratio is None else f"{ratio * 100:+.1f} %"


def change_interval(low: float | None, high: float | None) -> str:
    """`[+3.9, +4.6]` in per cent; `-` when an end is not known."""
    if low is None or high is None:
        return UNKNOWN
    return f"[{low * 100:+.1f}, {high * 100:+.1f}]"


def duration(seconds: float | None) -> str:
    """`1h02m`, `3m05s`, `12s` or `0.45s`; `-` when not known."""
    if seconds is None:
        return UNKNOWN
    if abs(seconds) < 10:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + "s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def _pick(value: float, steps: tuple[tuple[float, str], ...]) -> Scale:
    fitting = [step for step in steps if abs(value) >= step[0]]
    factor, label = fitting[-1] if fitting else steps[0]
    return Scale(factor=factor, label=label)
