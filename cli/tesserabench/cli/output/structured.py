"""Messages of the contract as plain values, and documents for programs: versioned, SI inside, unknown is absent.

Rules: enum values are lower-case words; times are RFC 3339; durations are seconds in a key that ends in `_seconds`;
64-bit integers are numbers; an empty text, an unspecified enum value and an absent field are left out.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from tesserabench.cli.output.words import enum_word, iso, moment

API_VERSION = "tesserabench/v1"

# Zero stands for "not known" or "not told" in these, by the contract's own words.
_ZERO_IS_UNKNOWN = frozenset(
    {
        "tesserabench.v1.Progress.cases_total",
        "tesserabench.v1.HostSelector.count",
        "tesserabench.v1.RunSpec.trials",
        "tesserabench.v1.RunSpec.seed",
        "tesserabench.v1.ComparisonSide.launches",
        "tesserabench.v1.ComparisonSide.samples",
        "tesserabench.v1.Inventory.cpu_count",
        "tesserabench.v1.Inventory.memory_bytes",
        "tesserabench.v1.CaseResult.iterations_per_sample",
    }
)


def plain(message: Message) -> dict[str, Any]:
    """A message as a mapping of JSON types, by the rules of this module."""
    values: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        key, value = _field(message, field)
        if value is not None:
            values[key] = value
    return values


def document(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A versioned document around one thing."""
    return {"apiVersion": API_VERSION, "kind": kind, **body}


def list_document(kind: str, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A versioned document around several things of a kind; its own kind ends in `List`."""
    return {"apiVersion": API_VERSION, "kind": f"{kind}List", "items": list(items)}


def as_json(value: Mapping[str, Any]) -> str:
    """JSON text, indented; refuses what JSON cannot say (NaN)."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def as_yaml(value: Mapping[str, Any]) -> str:
    """YAML text in the order of the keys."""
    import yaml  # noqa: PLC0415 - slow to import, and seldom needed

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000).rstrip("\n")


def _field(message: Message, field: Any) -> tuple[str, Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return field.name, _map(message, field)
    value = getattr(message, field.name)
    if field.is_repeated:
        return field.name, [_single(field, item)[1] for item in value]
    if field.has_presence and not message.HasField(field.name):
        return field.name, None
    if field.message_type is not None and field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
        return field.name, iso(moment(message, field.name))
    suffix, single = _single(field, value)
    if value == 0 and field.full_name in _ZERO_IS_UNKNOWN:
        return field.name, None
    return field.name + suffix, single


def _single(field: Any, value: Any) -> tuple[str, Any]:
    """What to add to the key, and the plain value; None for what is not told."""
    if isinstance(value, Duration):
        return "_seconds", value.ToNanoseconds() / 1e9
    if isinstance(value, Message):
        return "", plain(value)
    if field.enum_type is not None:
        return "", enum_word(field.enum_type, value) or None
    if isinstance(value, float) and not math.isfinite(value):
        return "", None
    return "", value if value != "" else None


def _map(message: Message, field: Any) -> dict[str, Any]:
    entry = field.message_type.fields_by_name["value"]
    content = getattr(message, field.name)
    return {str(key): _single(entry, content[key])[1] for key in sorted(content)}
