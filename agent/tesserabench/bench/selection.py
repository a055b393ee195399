"""From what somebody asked for to the cases that answer it."""

import re
from collections.abc import Mapping

from tesserabench.bench.case import Case, ParamValue
from tesserabench.bench.definition import Benchmark, Suite
from tesserabench.bench.errors import InvalidOverride, InvalidPattern, NothingSelected, UnknownTier
from tesserabench.bench.registry import nearest
from tesserabench.bench.vocabulary import DeviceKind, Tier


def parse_tier(name: str) -> Tier:
    """Return the tier `name`; raise UnknownTier listing the tiers."""
    try:
        return Tier(name)
    except ValueError:
        raise UnknownTier(f"tier {name!r} is unknown; known: {', '.join(Tier)}") from None


def expand(
    suite: Suite,
    *,
    tier: Tier | str,
    device_kind: DeviceKind | str,
    overrides: Mapping[str, str] | None = None,
    include: str | None = None,
    exclude: str | None = None,
) -> tuple[Case, ...]:
    """Return the cases of a suite, in declaration order and without repeats.

    `overrides` maps `param` or `benchmark.param` to a value or a comma-separated list. `include` and `exclude` are
    regular expressions searched in the case id. Raises a SelectionError that names the field, the value and the remedy.
    """
    tier, device_kind = parse_tier(tier), DeviceKind(device_kind)
    keep, drop = _compile("include", include), _compile("exclude", exclude)
    values = _resolve(suite, overrides or {})
    candidates = [
        case
        for benchmark in suite.benchmarks
        if benchmark.in_tier(tier, device_kind)
        for case in benchmark.cases(tier, device_kind, values.get(benchmark.name))
    ]
    if not candidates:
        raise NothingSelected(
            f"suite {suite.name!r} has nothing for device {device_kind.value!r} in tier {tier.value!r}; "
            f"it runs on: {', '.join(suite.devices) or 'no device'}"
        )
    chosen = [
        case
        for case in dict.fromkeys(candidates)
        if (keep is None or keep.search(case.id)) and not (drop and drop.search(case.id))
    ]
    if not chosen:
        raise NothingSelected(
            f"{_said(include, exclude)} none of the {len(candidates)} cases of suite "
            f"{suite.name!r} in tier {tier.value!r}; the first is {candidates[0].id}"
        )
    return tuple(chosen)


def _said(include: str | None, exclude: str | None) -> str:
    asked = {"include": include, "exclude": exclude}
    given = [f"{field} {pattern!r}" for field, pattern in asked.items() if pattern is not None]
    return f"{' and '.join(given)} {'leaves' if len(given) == 1 else 'leave'}"


def _compile(field: str, pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InvalidPattern(f"{field} is {pattern!r}, no regular expression: {error}") from None


def _resolve(suite: Suite, overrides: Mapping[str, str]) -> dict[str, dict[str, tuple[ParamValue, ...]]]:
    """Return the parsed values by benchmark and parameter; a qualified override beats a plain one."""
    resolved: dict[str, dict[str, tuple[ParamValue, ...]]] = {}
    for key in sorted(overrides, key=lambda key: "." in key):
        owner, _, name = key.rpartition(".")
        for benchmark in _targets(suite, owner, name):
            resolved.setdefault(benchmark.name, {})[name] = benchmark.parse_override(name, overrides[key])
    return resolved


def _targets(suite: Suite, owner: str, name: str) -> list[Benchmark]:
    if owner:
        found = [item for item in suite.benchmarks if owner in {item.name, item.short_name}]
        if not found:
            near = nearest(owner, (item.short_name for item in suite.benchmarks))
            raise InvalidOverride(f"suite {suite.name!r} has no benchmark {owner!r}; {near}")
        return found
    found = [item for item in suite.benchmarks if name in item.domain]
    if not found:
        near = nearest(name, {param for item in suite.benchmarks for param in item.domain})
        raise InvalidOverride(f"no benchmark of suite {suite.name!r} has a parameter {name!r}; {near}")
    return found
