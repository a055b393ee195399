"""Raw samples of a measurement, from the wire to how they are stored."""

import numpy as np
from tesserabench.collector.api.field_checks import BadFieldError
from tesserabench.collector.store.samples import encode_columns
from tesserabench.v1 import measurement_pb2 as pb

_VALUES_TAG = 0x0A


def split_samples(samples: pb.Samples) -> tuple[bytes, bool]:
    """The values as little-endian float64, and whether there are other columns.

    A packed field of doubles is on the wire what our codec stores, and serialising is five times faster than reading
    the numbers into Python.
    """
    wire = samples.SerializeToString()
    if not wire or wire[0] != _VALUES_TAG:
        return b"", bool(wire)
    length = shift = 0
    position = 1
    while True:
        byte = wire[position]
        length |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            break
        shift += 7
    return wire[position : position + length], len(wire) > position + length


def checked_samples(values: bytes, unit: str, field: str) -> bytes:
    """The values, times as whole nanoseconds."""
    array = np.frombuffer(values, dtype="<f8")
    wrong = np.flatnonzero(~np.isfinite(array))
    if wrong.size:
        position = int(wrong[0])
        raise BadFieldError(f"{field}.values[{position}]", float(array[position]), "not a finite number")
    return np.rint(array).astype("<f8").tobytes() if unit == "ns" else values


def packed_columns(samples: pb.Samples, count: int, field: str) -> bytes | None:
    """The columns beside the values, packed for the database.

    Raises:
        BadFieldError: a column is of another length than the values, or holds a number that is not finite.
    """
    columns = {
        "sm_clock_mhz": np.array(samples.sm_clock_mhz, dtype="<f4"),
        "offset_us": np.array(samples.offset_us, dtype="<f4"),
        "block": np.array(samples.block, dtype="<u4"),
        "flags": np.array(samples.flags, dtype="<u4"),
    }
    for name, values in columns.items():
        if values.size not in {0, count}:
            raise BadFieldError(f"{field}.{name}", values.size, f"{count} values have as many entries in every column")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise BadFieldError(f"{field}.{name}", None, "holds a number that is not finite")
    return encode_columns(columns)
