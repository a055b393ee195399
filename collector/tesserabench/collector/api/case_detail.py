"""What a result has beside its numbers, as the JSON that is stored with it."""

import json
import math
from functools import lru_cache
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tesserabench.collector.api.field_checks import LONGEST_NAME, MOST_WORDS, BadFieldError, check_text
from tesserabench.v1 import measurement_pb2 as pb

# A text as JSON. Names of checks and ceilings, and what the timer can do, come again with every case.
_quoted = lru_cache(maxsize=4096)(json.dumps)

_NUMBERS = ("timer_floor_ns", "timer_quantum_ns", "ceiling_ratio", "target_half_width", "half_width")
# Statistics that have no column of their own: they are kept with the result, in a measurement of the same name.
_MORE_STATISTICS = (
    *("p1", "mild_outliers", "severe_outliers", "mode_count", "first_ratio"),
    "minimum_detectable_effect",
)
_MOST_KERNELS = 64


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
    parts += _how_measured(result)
    parts.append(_more_statistics(result.measurements))
    parts.append("}")
    return "".join(parts)


def _how_measured(result: pb.CaseResult) -> list[str]:
    """How it was timed, and what limited the clocks meanwhile."""
    parts = [
        f',"{field}":{_quoted(check_text(getattr(result, field), f"result.{field}", LONGEST_NAME))}'
        for field in ("backend", "inputs")
        if getattr(result, field)
    ]
    if result.HasField("cache"):
        parts.append(f',"cache":{_same_again(pb.CacheUse, result.cache.SerializeToString(), "result.cache")}')
    if result.HasField("warmup"):
        complete = ',"complete":true' if result.warmup.complete else ""
        duration = _duration(result.warmup.duration)
        parts.append(f',"warmup":{{"calls":{result.warmup.calls},"duration":"{duration}"{complete}}}')
    if result.blocks:
        parts.append(f',"blocks":{result.blocks}')
    if result.kernels:
        if len(result.kernels) > _MOST_KERNELS:
            raise BadFieldError("result.kernels", len(result.kernels), f"at most {_MOST_KERNELS} are taken")
        kernels = [
            _same_again(pb.KernelAttributes, item.SerializeToString(), "result.kernels") for item in result.kernels
        ]
        parts.append(f',"kernels":[{",".join(kernels)}]')
    if result.throttle:
        parts.append(f',"throttle":{_throttle_name(result.throttle)}')
    if result.throttle_fractions:
        parts.append(f',"throttle_fractions":{_fractions(result.throttle_fractions)}')
    return parts


@lru_cache(maxsize=4096)
def _same_again(kind: type[Message], wire: bytes, field: str) -> str:
    """A message that comes again with every result of a case, as JSON."""
    found: dict[str, Any] = MessageToDict(kind.FromString(wire), preserving_proto_field_name=True)
    text = json.dumps(found, separators=(",", ":"))
    if "\\u0000" in text:
        raise BadFieldError(field, text, "holds a NUL character")
    return text


@lru_cache(maxsize=64)
def _throttle_name(number: pb.ThrottleClass.ValueType) -> str:
    # A class that this collector does not know keeps its number, as protobuf's JSON mapping has it.
    return _quoted(pb.ThrottleClass.Name(number)) if number in pb.ThrottleClass.values() else str(number)


def _fractions(fractions: Any) -> str:
    if len(fractions) > MOST_WORDS:
        raise BadFieldError("result.throttle_fractions", len(fractions), f"at most {MOST_WORDS} are taken")
    parts = [
        f"{_quoted(check_text(name, 'result.throttle_fractions', LONGEST_NAME))}:{_finite(share, 'throttle_fractions')}"
        for name, share in fractions.items()
    ]
    return f"{{{','.join(parts)}}}"


def _more_statistics(measurements: Any) -> str:
    """What the table of measurements has no column for."""
    found = []
    for metric in measurements:
        statistics = metric.statistics
        told = [name for name in _MORE_STATISTICS if statistics.HasField(name)] if metric.HasField("statistics") else []
        if told:
            numbers = ",".join(f'"{name}":{_finite(getattr(statistics, name), f"statistics.{name}")}' for name in told)
            found.append(f'{{"metric":{_quoted(metric.metric)},"statistics":{{{numbers}}}}}')
    return f',"measurements":[{",".join(found)}]' if found else ""


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
