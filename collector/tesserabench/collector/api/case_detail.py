"""What a result has beside its numbers, as the JSON that is stored with it."""

import json
import math
from typing import Any

from tesserabench.collector.api.field_checks import LONGEST_NAME, MOST_WORDS, BadFieldError, check_text, optional
from tesserabench.v1 import measurement_pb2 as pb


def detail_json(result: pb.CaseResult) -> str:
    """The rest of the result in protobuf's JSON mapping, as the continuation of an object.

    Written by hand: protobuf's own mapping takes ten times as long.
    """
    parts: list[str] = []
    if result.HasField("correctness"):
        parts.append(f',"correctness":{_correctness(result.correctness)}')
    if result.flags:
        parts.append(f',"flags":{_flags(result.flags)}')
    if result.iterations_per_sample:
        parts.append(f',"iterations_per_sample":{result.iterations_per_sample}')
    for field in ("timer_floor_ns", "timer_quantum_ns", "ceiling_ratio"):
        number = optional(result, field)
        if number is not None:
            parts.append(f',"{field}":{_number(number, field)}')
    if result.ceiling:
        parts.append(f',"ceiling":{json.dumps(check_text(result.ceiling, "result.ceiling", LONGEST_NAME))}')
    if result.order:
        parts.append(f',"order":{result.order}')
    if result.HasField("wall_time"):
        parts.append(f',"wall_time":"{_duration(result.wall_time)}"')
    if result.seed:
        parts.append(f',"seed":"{result.seed}"')
    parts.append("}")
    return "".join(parts)


def _correctness(found: pb.Correctness) -> str:
    document: dict[str, object] = {}
    if found.check:
        document["check"] = check_text(found.check, "result.correctness.check", LONGEST_NAME)
    for field in ("error", "limit"):
        number = optional(found, field)
        if number is not None:
            # An error may be infinite or not a number at all: that is what wrong outputs look like.
            document[field] = number if math.isfinite(number) else _word(number)
    if found.passed:
        document["passed"] = True
    if found.poisoned:
        document["poisoned"] = True
    return json.dumps(document, separators=(",", ":"))


def _word(number: float) -> str:
    """How protobuf's JSON mapping writes what JSON cannot."""
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def _flags(flags: Any) -> str:
    if len(flags) > MOST_WORDS:
        raise BadFieldError("result.flags", len(flags), f"at most {MOST_WORDS} are taken")
    return json.dumps([check_text(flag, "result.flags", LONGEST_NAME) for flag in flags], separators=(",", ":"))


def _number(number: float, field: str) -> str:
    if not math.isfinite(number):
        raise BadFieldError(f"result.{field}", number, "not a finite number")
    return repr(number)


def _duration(duration: Any) -> str:
    """As protobuf's JSON mapping writes it: the sign belongs to the whole."""
    sign = "-" if duration.seconds < 0 or duration.nanos < 0 else ""
    return f"{sign}{abs(duration.seconds)}.{abs(duration.nanos):09d}s"
