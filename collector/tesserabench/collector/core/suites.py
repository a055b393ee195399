"""Suites as the fleet knows them: what the agents announced, merged by name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from tesserabench.collector.core.spec import RunSpec
from tesserabench.collector.errors import InvalidArgumentError, invalid_field
from tesserabench.collector.store.tables import Host
from tesserabench.wire.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSuite:
    """A suite: its definition (protobuf's JSON mapping) from the host heard of last, and the hosts that have it."""

    name: str
    info: Mapping[str, Any]
    hosts: tuple[str, ...]
    benchmarks: Mapping[str, frozenset[str]]
    """Parameter names by benchmark, over all hosts."""


def catalogue(hosts: Iterable[Host]) -> dict[str, KnownSuite]:
    """The suites of some hosts by name."""
    infos: dict[str, Mapping[str, Any]] = {}
    names: dict[str, list[str]] = {}
    benchmarks: dict[str, dict[str, frozenset[str]]] = {}
    for host in sorted(hosts, key=lambda host: host.last_seen_at):
        for info in host.inventory.get("suites", ()):
            name = info.get("name", "")
            infos[name] = info
            names.setdefault(name, []).append(host.name)
            merged = benchmarks.setdefault(name, {})
            for item in info.get("benchmarks", ()):
                parameters = frozenset(item.get("parameters", {}))
                merged[item.get("name", "")] = merged.get(item.get("name", ""), frozenset()) | parameters
    return {
        name: KnownSuite(name=name, info=infos[name], hosts=tuple(sorted(names[name])), benchmarks=benchmarks[name])
        for name in sorted(infos)
        if name
    }


def check_spec(spec: RunSpec, suites: Mapping[str, KnownSuite]) -> None:
    """Check what a spec names against what the fleet has; nothing when no suite is known yet.

    Raises:
        InvalidArgumentError: UNKNOWN_SUITE or UNKNOWN_PARAMETER with near matches, or a benchmark that is not there.
    """
    if not suites:
        return
    suite = suites.get(spec.suite)
    if suite is None:
        remedy = f"no host of the fleet has it; {near(spec.suite, suites, 'known suites')}"
        raise invalid_field("spec.suite", spec.suite, remedy, reason=Reason.UNKNOWN_SUITE)
    for benchmark in spec.drill:
        if not _meant(suite, benchmark):
            remedy = f"suite {suite.name} has no such benchmark; {near(benchmark, suite.benchmarks, 'it has')}"
            raise invalid_field("spec.drill", benchmark, remedy)
    for index, override in enumerate(spec.overrides):
        _check_parameter(f"spec.overrides[{index}].parameter", override.parameter, suite)
    for index, override in enumerate(spec.duet.overrides if spec.duet is not None else ()):
        _check_parameter(f"spec.duet.overrides[{index}].parameter", override.parameter, suite)


def _check_parameter(field: str, name: str, suite: KnownSuite) -> None:
    benchmark, dot, parameter = name.rpartition(".")
    meant = _meant(suite, benchmark) if dot else list(suite.benchmarks)
    if not meant:
        remedy = f"suite {suite.name} has no benchmark {benchmark!r}; {near(benchmark, suite.benchmarks, 'it has')}"
        raise _unknown(field, name, remedy)
    known = frozenset[str]().union(*(suite.benchmarks[item] for item in meant))
    if parameter not in known:
        owner = f"benchmark {benchmark}" if dot else f"no benchmark of suite {suite.name}"
        has = "has no" if dot else "has a"
        raise _unknown(field, name, f"{owner} {has} parameter {parameter!r}; {near(parameter, known, 'known')}")


def _meant(suite: KnownSuite, name: str) -> list[str]:
    """The benchmarks that a person means: by full name, or by the last part of it, as the agents read it too."""
    return [item for item in suite.benchmarks if name in {item, item.rpartition("/")[2], f"{suite.name}/{item}"}]


def _unknown(field: str, name: str, remedy: str) -> InvalidArgumentError:
    return invalid_field(field, name, remedy, reason=Reason.UNKNOWN_PARAMETER)


def near(word: str, known: Iterable[str], label: str) -> str:
    """What to offer somebody who wrote a word that is not known."""
    names: Sequence[str] = sorted(known)
    close = get_close_matches(word, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"{label}: {', '.join(names[:20]) or 'none'}"
