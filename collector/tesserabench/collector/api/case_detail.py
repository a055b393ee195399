"""What a result has beside its numbers, as the JSON that is stored with it."""

import json
import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tesserabench.collector.api.field_checks import LONGEST_NAME, MOST_WORDS, BadFieldError, check_text
from tesserabench.v1 import measurement_pb2 as pb

# A text as JSON. Names of checks and ceilings, and what the timer can do, come again with every case.
_quoted = lru_cache(maxsize=4096)(json.dumps)

_NUMBERS = ("timer_floor_ns", "timer_quantum_ns", "ceiling_ratio", "target_half_width", "half_width")
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
    parts = []
    # Spelled out, like the rest of this module: it is run for every result that comes in.
    backend, inputs = result.backend, result.inputs
    if backend:
        parts.append(_worded("backend", backend))
    if inputs:
        parts.append(_worded("inputs", inputs))
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
    shares = dict(fractions)
    if not math.isfinite(sum(shares.values())):
        raise BadFieldError("result.throttle_fractions", shares, "holds a number that is not finite")
    parts = [f"{_known('result.throttle_fractions', name)}:{share!r}" for name, share in shares.items()]
    return f"{{{','.join(parts)}}}"


def _more_of(found: pb.Statistics) -> Iterable[tuple[str, float | None]]:
    has = found.HasField
    return (
        ("p1", found.p1 if has("p1") else None),
        ("mild_outliers", found.mild_outliers if has("mild_outliers") else None),
        ("severe_outliers", found.severe_outliers if has("severe_outliers") else None),
        ("mode_count", found.mode_count if has("mode_count") else None),
        ("first_ratio", found.first_ratio if has("first_ratio") else None),
        (
            "minimum_detectable_effect",
            found.minimum_detectable_effect if has("minimum_detectable_effect") else None,
        ),
    )


@lru_cache(maxsize=4096)
def _known(field: str, name: str) -> str:
    """A checked text as JSON; the same ones come again and again."""
    return json.dumps(check_text(name, field, LONGEST_NAME))


@lru_cache(maxsize=4096)
def _worded(field: str, text: str) -> str:
    """A text field as a member of the object."""
    return f',"{field}":{_known(f"result.{field}", text)}'


def _more_statistics(measurements: Any) -> str:
    """What the table of measurements has no column for, in a measurement of the same name."""
    found = []
    for metric in measurements:
        if not metric.HasField("statistics"):
            continue
        told = [(name, value) for name, value in _more_of(metric.statistics) if value is not None]
        if told:
            if not math.isfinite(sum(value for _, value in told)):
                raise BadFieldError("result.measurements.statistics", dict(told), "holds a number that is not finite")
            numbers = ",".join([f'"{name}":{value!r}' for name, value in told])
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
