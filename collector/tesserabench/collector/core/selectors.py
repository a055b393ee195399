"""Conditions on hosts: `gpu=h100`, `driver>=570`, `gpu_count>=8`, `rack=a1`, `!label`; a comma means and.

A key is one of `KEYS` or a label of the host; a label may not hide a key. Text compares without regard to case. A host
that does not know a key never matches a condition on it, `!key` apart.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tesserabench.collector.errors import invalid_field

_CONDITION = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_./-]*)\s*(!=|>=|<=|=|>|<)\s*([^\s=<>!].*?)\s*")
_FLAG = re.compile(r"\s*(!?)\s*([A-Za-z_][A-Za-z0-9_./-]*)\s*")
_VERSION_PARTS = re.compile(r"[0-9]+")


class Comparison(StrEnum):
    """How the values of a key are compared."""

    CONTAINS = "contains"
    TEXT = "text"
    NUMBER = "number"
    VERSION = "version"
    TRUTH = "truth"


KEYS: Mapping[str, Comparison] = {
    "host": Comparison.TEXT,
    "gpu": Comparison.CONTAINS,
    "gpu_count": Comparison.NUMBER,
    "gpu_memory_gib": Comparison.NUMBER,
    "compute_capability": Comparison.VERSION,
    "driver": Comparison.VERSION,
    "mig": Comparison.TRUTH,
    "cpu": Comparison.CONTAINS,
    "cpu_count": Comparison.NUMBER,
    "memory_gib": Comparison.NUMBER,
    "os": Comparison.CONTAINS,
    "device": Comparison.TEXT,
    "agent_version": Comparison.VERSION,
    "cordoned": Comparison.TRUTH,
}
"""Keys that every host knows as far as it has such a thing, with the way they are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition. `operator` is empty for a bare key and `!` for its negation."""

    key: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.operator}{self.key}" if self.operator in {"", "!"} else f"{self.key}{self.operator}{self.value}"


def parse_conditions(texts: Iterable[str], *, field: str = "spec.selector.conditions") -> tuple[Condition, ...]:
    """The conditions in some texts, commas split.

    Raises:
        InvalidArgumentError: one is not a condition; names it and the forms that are.
    """
    return tuple(
        _parse(part, f"{field}[{index}]")
        for index, text in enumerate(texts)
        for part in text.split(",")
        if part.strip()
    )


def _parse(text: str, field: str) -> Condition:
    if match := _CONDITION.fullmatch(text):
        condition = Condition(key=match[1], operator=match[2], value=match[3])
        _check_value(condition, field)
        return condition
    if match := _FLAG.fullmatch(text):
        return Condition(key=match[2], operator=match[1], value="")
    remedy = "write key=value, key!=value, key>=value, key or !key, for example gpu=h100 or driver>=570"
    raise invalid_field(field, text, remedy)


def _check_value(condition: Condition, field: str) -> None:
    comparison = KEYS.get(condition.key)
    ordered = condition.operator not in {"=", "!="}
    if comparison is Comparison.NUMBER and _number(condition.value) is None:
        raise invalid_field(field, str(condition), f"{condition.key} is a number; give one, for example 8")
    if comparison is Comparison.VERSION and not _VERSION_PARTS.match(condition.value):
        raise invalid_field(field, str(condition), f"{condition.key} is a version; give one, for example 570.86")
    if comparison is Comparison.TRUTH and condition.value.lower() not in {"true", "false"}:
        raise invalid_field(field, str(condition), f"{condition.key} is true or false")
    if ordered and comparison in {Comparison.CONTAINS, Comparison.TEXT, Comparison.TRUTH}:
        raise invalid_field(field, str(condition), f"{condition.key} has no order; use = or !=")


def attributes_of(host: str, inventory: Mapping[str, Any], *, agent_version: str) -> dict[str, Any]:
    """What conditions match on, from an inventory in protobuf's JSON mapping; what is unknown is absent.

    Labels stand under their own names; a label named like a key of `KEYS` is left out.
    """
    devices = inventory.get("devices", [])
    gpus = [device for device in devices if device.get("kind") == "cuda"]
    memory = [int(gpu["memory_bytes"]) for gpu in gpus if gpu.get("memory_bytes")]
    values: dict[str, Any] = {
        "host": [host],
        "gpu": sorted({gpu["model"] for gpu in gpus if gpu.get("model")}),
        "gpu_count": len(gpus),
        "gpu_memory_gib": round(min(memory) / 2**30, 3) if memory else None,
        "compute_capability": sorted({gpu["compute_capability"] for gpu in gpus if gpu.get("compute_capability")}),
        "driver": sorted({gpu["driver_version"] for gpu in gpus if gpu.get("driver_version")}),
        "mig": any(gpu.get("uuid", "").startswith("MIG-") for gpu in gpus) if gpus else None,
        "cpu": [inventory["cpu_model"]] if inventory.get("cpu_model") else [],
        "cpu_count": inventory.get("cpu_count"),
        "memory_gib": round(int(inventory["memory_bytes"]) / 2**30, 3) if inventory.get("memory_bytes") else None,
        "os": [inventory["os"]] if inventory.get("os") else [],
        "device": sorted({device["kind"] for device in devices if device.get("kind")}),
        "agent_version": [agent_version] if agent_version else [],
    }
    labels = {key: [value] for key, value in inventory.get("labels", {}).items() if key not in KEYS}
    return labels | {key: value for key, value in values.items() if value not in (None, [])}


def mismatches(conditions: Iterable[Condition], attributes: Mapping[str, Any]) -> list[str]:
    """Why a host does not match, one sentence per condition that does not hold; empty when it matches."""
    return [sentence for condition in conditions if (sentence := _mismatch(condition, attributes)) is not None]


def unknown_keys(conditions: Iterable[Condition], fleet: Iterable[Mapping[str, Any]]) -> list[str]:
    """Keys that neither we nor any host knows: such a condition can match nowhere."""
    known = set(KEYS).union(*fleet)
    return sorted({condition.key for condition in conditions if condition.operator != "!"} - known)


def _mismatch(condition: Condition, attributes: Mapping[str, Any]) -> str | None:
    values = _values(attributes.get(condition.key))
    truth = any(value.lower() not in {"false", "0", "no", ""} for value in values)
    if condition.operator == "":
        return None if truth else f"{condition}: the host has no {condition.key}"
    if condition.operator == "!":
        return f"{condition}: {condition.key} is {', '.join(values)}" if truth else None
    if not values:
        return f"{condition}: the host has no {condition.key}"
    if _holds(condition, values):
        return None
    return f"{condition}: {condition.key} is {', '.join(values)}"


def _values(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, list):
        return [str(item) for item in value]
    return [f"{value:g}" if isinstance(value, float) else str(value)]


def _holds(condition: Condition, values: list[str]) -> bool:
    if condition.operator == "!=":
        return not any(_equal(condition, value) for value in values)
    if condition.operator == "=":
        return any(_equal(condition, value) for value in values)
    compare = _ORDER[condition.operator]
    # Every device must satisfy an order: `driver>=570` on a mixed host is not satisfied by one of them.
    return all(_ordered(condition, value, compare) for value in values)


def _equal(condition: Condition, value: str) -> bool:
    wanted, found = condition.value.lower(), value.lower()
    match KEYS.get(condition.key):
        case Comparison.CONTAINS:
            return wanted in found
        case Comparison.NUMBER:
            return _number(wanted) == _number(found)
        case Comparison.VERSION:
            parts = _version(wanted)
            return _version(found)[: len(parts)] == parts
        case _:
            return wanted == found


def _ordered(condition: Condition, value: str, compare: Callable[[int], bool]) -> bool:
    wanted, found = _number(condition.value), _number(value)
    if wanted is not None and found is not None and KEYS.get(condition.key) is not Comparison.VERSION:
        return compare((found > wanted) - (found < wanted))
    left, right = _version(value), _version(condition.value)
    if not left or not right:
        return False
    width = max(len(left), len(right))
    padded_left, padded_right = (parts + (0,) * (width - len(parts)) for parts in (left, right))
    return compare((padded_left > padded_right) - (padded_left < padded_right))


_ORDER: Mapping[str, Callable[[int], bool]] = {
    ">=": lambda sign: sign >= 0,
    "<=": lambda sign: sign <= 0,
    ">": lambda sign: sign > 0,
    "<": lambda sign: sign < 0,
}


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,9})?", text) else None


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _VERSION_PARTS.findall(text)[:8])
