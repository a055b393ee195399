"""Page tokens: where the next page starts, bound to the question that the first page answered."""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import TypeVar

from google.protobuf.message import Message
from tesserabench.collector.errors import invalid_field
from tesserabench.wire.reasons import Reason

Key = int | str
_Row = TypeVar("_Row")

DEFAULT_PAGE = 50


def next_token(request: Message, last: Sequence[Key]) -> str:
    """The token for what follows the row with these keys."""
    text = json.dumps([_question(request), *last], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def position(request: Message, kinds: Sequence[type[Key]]) -> list[Key] | None:
    """The keys in a request's page token; none for the first page.

    Raises:
        InvalidArgumentError: the token is not ours, or belongs to a request with other filters.
    """
    token: str = getattr(request, "page_token")  # noqa: B009 - a field of every list request, which has no common type
    if not token:
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        keys: list[Key]
        question, *keys = json.loads(base64.urlsafe_b64decode(padded.encode()))
    except (ValueError, TypeError, binascii.Error):
        raise _wrong(token, "is not one that this service gave; start from the first page") from None
    if question != _question(request):
        raise _wrong(token, "belongs to a list with other filters; keep them, or start from the first page")
    if len(keys) != len(kinds) or not all(map(_fits, keys, kinds)):
        raise _wrong(token, "is not one that this service gave; start from the first page")
    return keys


def _fits(key: Key, kind: type[Key]) -> bool:
    """Whether a key is of its kind and can be compared by PostgreSQL: of 64 bits, without NUL."""
    if type(key) is not kind:
        return False
    return "\x00" not in key if isinstance(key, str) else -(2**63) <= key < 2**63


def size_of(request: Message, default: int = DEFAULT_PAGE) -> int:
    """How many rows a page should have."""
    size: int = getattr(request, "page_size")  # noqa: B009 - a field of every list request, which has no common type
    return size or default


def cut(rows: Sequence[_Row], size: int) -> tuple[Sequence[_Row], bool]:
    """Up to `size` rows, and whether there are more; ask the database for one more than the size."""
    return rows[:size], len(rows) > size


def _question(request: Message) -> str:
    """A short hash of the request without its page."""
    bare = type(request)()
    bare.CopyFrom(request)
    for field in ("page_token", "page_size"):
        bare.ClearField(field)
    name = request.DESCRIPTOR.full_name.encode()
    return hashlib.sha256(name + b"\0" + bare.SerializeToString(deterministic=True)).hexdigest()[:12]


def _wrong(token: str, remedy: str) -> Exception:
    return invalid_field("page_token", token, remedy, reason=Reason.INVALID_PAGE_TOKEN)
