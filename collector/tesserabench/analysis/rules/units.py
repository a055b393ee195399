"""Limits in the unit in which a metric is measured."""

from dataclasses import replace

from tesserabench.analysis.rules.rule import Quality

_PREFIXES = {
    "": 1.0,
    "n": 1e-9,
    "u": 1e-6,
    "µ": 1e-6,
    "m": 1e-3,
    "k": 1e3,
    "K": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}
_BASES = ("s", "B/s", "FLOP/s", "FLOP/J", "FLOP", "J", "W", "B", "Hz", "1/s", "1")
"""Units that take a prefix. Longer ones are tried first, so that GFLOP/s is no G of anything else."""


def in_unit(limits: Quality, unit: str) -> Quality | None:
    """The limits in another unit; None when the two do not measure the same thing."""
    if not limits.unit or limits.unit == unit:
        return replace(limits, unit=unit)
    ours, theirs = _parts(limits.unit), _parts(unit)
    if ours is None or theirs is None or ours[1] != theirs[1]:
        return None
    factor = ours[0] / theirs[0]
    return replace(
        limits,
        minimum=None if limits.minimum is None else limits.minimum * factor,
        maximum=None if limits.maximum is None else limits.maximum * factor,
        unit=unit,
    )


def _parts(unit: str) -> tuple[float, str] | None:
    """The factor of a unit's prefix, and its base."""
    for base in sorted(_BASES, key=len, reverse=True):
        if unit.endswith(base) and (prefix := unit.removesuffix(base)) in _PREFIXES:
            return _PREFIXES[prefix], base
    return None
