"""Inputs from a counter-based generator of our own: the same seed gives the same numbers in every library version.

SplitMix64 (Steele, Lea, Flood 2014) of the element's index. Zeros would flatter a power-limited device, so they are
never used as inputs.
"""

from typing import Any

CHUNK = 1 << 22
"""Elements generated at a time, so that 64-bit temporaries stay small beside the arrays."""
HOST_CHUNK = 1 << 15
"""The same in NumPy: its temporaries then stay in the cache of one core, which is three times as fast."""
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def uniform(xp: Any, count: int, dtype: str, *, seed: int, stream: int = 0) -> Any:
    """Return `count` values in [0, 1) as a one-dimensional array of module `xp`; streams of a seed are independent."""
    values, step = xp.empty(count, dtype=dtype), _step(xp)
    for start in range(0, count, step):
        stop = min(count, start + step)
        values[start:stop] = _unit(xp, start, stop, _key(seed, stream))
    return values


def normal(xp: Any, count: int, dtype: str, *, seed: int, stream: int = 0) -> Any:
    """Return `count` standard normal values (Box and Muller 1958) as a one-dimensional array of module `xp`."""
    values, step = xp.empty(count, dtype=dtype), _step(xp)
    for start in range(0, count, step):
        stop = min(count, start + step)
        radius = xp.sqrt(-2.0 * xp.log1p(-_unit(xp, start, stop, _key(seed, 2 * stream))))
        angle = _unit(xp, start, stop, _key(seed, 2 * stream + 1))
        values[start:stop] = radius * xp.cos(6.283185307179586 * angle)
    return values


def integers(xp: Any, count: int, dtype: str, *, below: int, seed: int, stream: int = 0) -> Any:
    """Return `count` evenly distributed whole numbers from 0 to below `below`, at most 2**53."""
    values, step = xp.empty(count, dtype=dtype), _step(xp)
    for start in range(0, count, step):
        stop = min(count, start + step)
        values[start:stop] = xp.floor(_unit(xp, start, stop, _key(seed, stream)) * below)
    return values


def checksum(xp: Any, *arrays: Any) -> str:
    """Return a digest of contiguous arrays, computed where they are: what a `CheckedInputs.checksum` returns.

    The sum of all 32-bit words, each times its odd position, modulo 2**64: any word that changes, and any two that
    change places, change it. It guards against accidents, not against intent.
    """
    total = 0
    for array in arrays:
        octets = array.reshape(-1).view("uint8")
        total = (total * _GOLDEN + int(octets.size)) & _MASK
        for start in range(0, octets.size, 4 * CHUNK):
            total = (total * _GOLDEN + _weighted(xp, octets[start : start + 4 * CHUNK])) & _MASK
    return f"{total:016x}"


def _weighted(xp: Any, octets: Any) -> int:
    whole = octets.size // 4 * 4
    found = 0
    for part, kind in ((octets[:whole], "uint32"), (octets[whole:], "uint8")):
        words = part.view(kind).astype(xp.uint64)
        words += xp.uint64(1)
        words *= 2 * xp.arange(words.size, dtype=xp.uint64) + xp.uint64(1)
        found = (found * 3 + int(words.sum())) & _MASK
    return found


def _step(xp: Any) -> int:
    return HOST_CHUNK if xp.__name__ == "numpy" else CHUNK


def _key(seed: int, stream: int) -> int:
    return ((seed * 0xD1342543DE82EF95) ^ (stream * 0x2545F4914F6CDD1D) ^ _GOLDEN) & _MASK


def _unit(xp: Any, start: int, stop: int, key: int) -> Any:
    z = xp.arange(start + 1, stop + 1, dtype=xp.uint64)
    z *= xp.uint64(_GOLDEN)
    z ^= xp.uint64(key)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z ^= z >> xp.uint64(shift)
        z *= xp.uint64(factor)
    z ^= z >> xp.uint64(31)
    return (z >> xp.uint64(11)) * 2.0**-53
