"""What a result has beside its numbers, as the JSON that is stored with it."""

import json
import math
from functools import lru_cache
from typing import Any

from tesserabench.collector.api.field_checks import LONGEST_NAME, MOST_WORDS, BadFieldError, check_text
from tesserabench.v1 import measurement_pb2 as pb

# A text as JSON. Names of checks and ceilings, and what the timer can do, come again with every case.
_quoted = lru_cache(maxsize=4096)(json.dumps)

_NUMBERS = ("timer_floor_ns", "timer_quantum_ns", "ceiling_ratio")


def detail_json(result: pb.CaseResult) -> str:
    """The rest of the result in protobuf's JSON mapping, as the continuation of an object.

    Written by hand: protobuf's own mapping takes ten times as long.

    Raises:
        BadFieldError: a text or a number cannot be stored.
    """
    has: Any = result.HasField
    parts = [_correctness(result.correctness)] if has("correctness") else []
    if result.flags:
        parts.append(_flags(result.flags))
    if result.iterations_per_sample:
        parts.append(f',"iterations_per_sample":{result.iterations_per_sample}')
    parts += [f',"{field}":{_finite(getattr(result, field), field)}' for field in _NUMBERS if has(field)]
    if result.ceiling:
        parts.append(f',"ceiling":{_quoted(check_text(result.ceiling, "result.ceiling", LONGEST_NAME))}')
    if result.order:
        parts.append(f',"order":{result.order}')
    if has("wall_time"):
        parts.append(f',"wall_time":"{_duration(result.wall_time)}"')
    if result.seed:
        parts.append(f',"seed":"{result.seed}"')
    if result.arm:
        parts.append(f',"arm":{_quoted(check_text(result.arm, "result.arm", LONGEST_NAME))}')
    parts.append("}")
    return "".join(parts)


def _correctness(found: pb.Correctness) -> str:
    parts = []
    if found.check:
        parts.append(f'"check":{_quoted(check_text(found.check, "result.correctness.check", LONGEST_NAME))}')
    # An error may be infinite or not a number at all: that is what wrong outputs look like.
    parts += [f'"{field}":{_number(getattr(found, field))}' for field in ("error", "limit") if found.HasField(field)]
    if found.passed:
        parts.append('"passed":true')
    if found.poisoned:
        parts.append('"poisoned":true')
    return f',"correctness":{{{",".join(parts)}}}'


@lru_cache(maxsize=4096)
def _number(number: float) -> str:
    """As protobuf's JSON mapping writes it, which has words for what JSON cannot write."""
    if math.isfinite(number):
        return repr(number)
    if math.isnan(number):
        return '"NaN"'
    return '"Infinity"' if number > 0 else '"-Infinity"'


def _flags(flags: Any) -> str:
    if len(flags) > MOST_WORDS:
        raise BadFieldError("result.flags", len(flags), f"at most {MOST_WORDS} are taken")
    return f',"flags":[{",".join([_quoted(check_text(flag, "result.flags", LONGEST_NAME)) for flag in flags])}]'


def _finite(number: float, field: str) -> str:
    if not math.isfinite(number):
        raise BadFieldError(f"result.{field}", number, "not a finite number")
    return _number(number)


def _duration(duration: Any) -> str:
    """As protobuf's JSON mapping writes it: the sign belongs to the whole."""
    seconds, nanos = duration.seconds, duration.nanos
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return f"{sign}{abs(seconds)}.{abs(nanos):09d}s"
