"""Values in PostgreSQL's binary form, each after its length in bytes: what rows of COPY and columns are packed from."""

import struct

NULL = b"\xff\xff\xff\xff"
EPOCH_US = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000-01-01; this is it, from 1970."""

length = struct.Struct(">i").pack
int16 = struct.Struct(">ih").pack
int64 = struct.Struct(">iq").pack
float64 = struct.Struct(">id").pack
boolean = struct.Struct(">i?").pack


def text(value: str) -> bytes:
    """A text."""
    content = value.encode()
    return length(len(content)) + content
