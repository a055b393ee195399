"""What may have done it: every candidate says for each track at which of its points the level would have moved."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from tesserabench.analysis.attribution.evidence import Cause, Change, Evidence, SiblingScore, Track
from tesserabench.analysis.attribution.observations import Ints

PRIORS: Mapping[str, float] = {"code": 0.4, "fact": 0.3, "host": 0.12, "device": 0.12, "throttle": 0.04, "fleet": 0.02}
"""Belief in a kind of cause before looking, shared among the candidates of the kind: code is what is changed most
often, a recorded change of the environment at just this place is rarely chance, and the whole fleet moving without any
record is rare."""

VOLATILE = frozenset(
    {"host.boot_id", "gpu.performance_state", "gpu.pcie_generation", "host.machine_hash", "gpu.serial"}
)
"""Facts that change by themselves or name a machine, and explain nothing."""

_CODE_FACTS = ("bundle.", "work.", "suite.")
"""Facts that tell which code was measured."""

_MOST_CHANGES_OF_A_FACT = 2
_NOTABLE_DEVIATION, _NOTABLE_Z = 0.03, 3.0
_SUSPECT = 5.0
"""How much sooner a device that is known to be slow is believed to have done it."""
_SUSTAINED = 0.6
_SMALLEST_FLEET = 2
NEVER = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A candidate."""

    kind: str
    """A key of `PRIORS`."""
    cause: Cause
    what: str
    onsets: Ints
    """[tracks]: index of the first point that it would have moved; `NEVER` for a track that it cannot move."""
    belief: float = 1.0
    """Belief before looking."""
    commit: str = ""
    facts: tuple[tuple[str, str, str], ...] = ()
    """Fact, value before and value after."""
    where: frozenset[str] = frozenset()
    """The devices that it is about; empty for all."""


def candidates(evidence: Evidence) -> list[Explanation]:
    """Every explanation that is possible for at least one of the changes."""
    timelines = _timelines(evidence)
    times = _times(evidence, timelines)
    kinds = (
        _code(evidence),
        _facts(evidence, timelines),
        _throttles(evidence, timelines),
        _places(evidence, timelines, times, whole_hosts=True),
        _places(evidence, timelines, times, whole_hosts=False),
        _fleet(evidence, times),
    )
    slow = {device for device, score in evidence.siblings.items() if is_notable(score)}
    return [one for kind in kinds for one in _share(kind, slow)]


def is_notable(score: SiblingScore) -> bool:
    """Whether a device is slower than its siblings by enough to speak of."""
    return score.deviation >= _NOTABLE_DEVIATION and (score.z is None or score.z >= _NOTABLE_Z)


def _share(found: Iterable[Explanation], slow: Collection[str]) -> list[Explanation]:
    """The candidates of one kind that can be told from nothing, each with its share of the belief in the kind.

    A host with a device that is known to be slow is believed sooner to be at fault.
    """
    rows = [one for one in found if (one.onsets != NEVER).any()]
    weights = [_SUSPECT if one.kind in {"host", "device"} and one.where & set(slow) else 1.0 for one in rows]
    return [
        replace(one, belief=PRIORS[one.kind] * weight / len(rows)) for one, weight in zip(rows, weights, strict=True)
    ]


Timeline = tuple[int, ...]
"""Indices of the visits of a device, oldest first."""


def _timelines(evidence: Evidence) -> dict[str, Timeline]:
    seen: defaultdict[str, list[int]] = defaultdict(list)
    for index, visit in enumerate(evidence.visits):
        seen[visit.device].append(index)
    return {device: tuple(indices) for device, indices in sorted(seen.items())}


def _times(evidence: Evidence, timelines: Mapping[str, Timeline]) -> dict[str, list[float]]:
    """By device when the changes that concern it may have happened: their first runs and the ends of their ranges.

    Times of one round of measurements are one, the earliest: a round takes less than half of the time between two
    visits of a device.
    """
    at = {visit.run: visit.at for visit in reversed(evidence.visits)}
    gaps = [
        evidence.visits[later].at - evidence.visits[earlier].at
        for timeline in timelines.values()
        for earlier, later in pairwise(timeline)
    ]
    round_seconds = float(np.median(gaps)) / 2 if gaps else 0.0
    every = sorted({at[run] for change in evidence.changes for run in _runs(change) if run in at})
    begins: dict[float, float] = {}
    for moment in every:
        last = max(begins.values(), default=-np.inf)
        begins[moment] = last if moment - last < round_seconds else moment
    found: defaultdict[str, set[float]] = defaultdict(set)
    for change in evidence.changes:
        moments = {begins[at[run]] for run in _runs(change) if run in at}
        for device in change.devices or timelines:
            found[device] |= moments
    return {device: sorted(moments) for device, moments in found.items()}


def _runs(change: Change) -> tuple[int, int, int]:
    return change.run, change.earliest_run, change.latest_run


def _onsets(evidence: Evidence, first: Mapping[str, int], keep: Sequence[bool] | None = None) -> Ints:
    """[tracks]: first point at or after the visit `first[device]`."""
    return np.array(
        [
            _position(track, first[track.device]) if track.device in first and (keep is None or keep[i]) else NEVER
            for i, track in enumerate(evidence.tracks)
        ],
        dtype=np.int64,
    )


def _position(track: Track, visit: int) -> int:
    found = bisect_left(track.visits, visit)
    return found if 0 < found < len(track.visits) else NEVER


def commit_order(evidence: Evidence) -> dict[str, int]:
    """Place of every known commit, oldest first."""
    known = evidence.commits or tuple(visit.commit for visit in evidence.visits)
    return {commit: i for i, commit in enumerate(dict.fromkeys(commit for commit in known if commit))}


def _code(evidence: Evidence) -> Iterable[Explanation]:
    order = commit_order(evidence)
    measured = {visit.commit for visit in evidence.visits}
    places = sorted(order[commit] for commit in measured if commit in order)
    names = {place: commit for commit, place in order.items()}
    of_run = {visit.run: order[visit.commit] for visit in evidence.visits if visit.commit in order}
    wanted: set[int] = set()
    for change in evidence.changes:
        ends = [of_run[run] for run in (change.earliest_run, change.run, change.latest_run) if run in of_run]
        if ends:
            low, high = bisect_left(places, min(ends)), bisect_left(places, max(ends))
            wanted |= set(places[max(low - 1, 0) : high + 2])
    keep = [not track.canary for track in evidence.tracks]
    for place in sorted(wanted):
        first: dict[str, int] = {}
        for index, visit in enumerate(evidence.visits):
            if order.get(visit.commit, -1) >= place:
                first.setdefault(visit.device, index)
        commit = names[place]
        yield Explanation(
            kind="code",
            cause=Cause.CODE,
            what=f"commit {commit[:12]}",
            onsets=_onsets(evidence, first, keep),
            commit=commit,
        )


def _facts(evidence: Evidence, timelines: Mapping[str, Timeline]) -> Iterable[Explanation]:
    """Recorded changes of the environment; facts that always changed together are one candidate."""
    changed: defaultdict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
    restless: set[str] = set()
    for device, timeline in timelines.items():
        last: dict[str, str] = {}
        times: defaultdict[str, int] = defaultdict(int)
        for index in timeline:
            for fact, value in evidence.visits[index].facts.items():
                if fact in VOLATILE or fact.startswith(_CODE_FACTS):
                    continue
                if last.get(fact, value) != value:
                    changed[fact, last[fact], value].setdefault(device, index)
                    times[fact] += 1
                last[fact] = value
        restless |= {fact for fact, count in times.items() if count > _MOST_CHANGES_OF_A_FACT}
    together: defaultdict[tuple[tuple[str, int], ...], list[tuple[str, str, str]]] = defaultdict(list)
    for key, first in sorted(changed.items()):
        if key[0] not in restless:
            together[tuple(sorted(first.items()))].append(key)
    for places, facts in together.items():
        yield Explanation(
            kind="fact",
            cause=Cause.ENVIRONMENT,
            what=", ".join(f"{fact} {before} -> {after}" for fact, before, after in facts),
            onsets=_onsets(evidence, dict(places)),
            facts=tuple(facts),
            where=frozenset(device for device, _ in places),
        )


def _throttles(evidence: Evidence, timelines: Mapping[str, Timeline]) -> Iterable[Explanation]:
    for device, timeline in timelines.items():
        throttled = [bool(evidence.visits[index].throttle) for index in timeline]
        if not any(throttled) or throttled[0]:
            continue
        start = throttled.index(True)
        if np.mean(throttled[start:]) < _SUSTAINED:
            continue
        visit = evidence.visits[timeline[start]]
        yield Explanation(
            kind="throttle",
            cause=Cause.HOST,
            what=f"device {device} on {visit.host} throttled ({visit.throttle})",
            onsets=_onsets(evidence, {device: timeline[start]}),
            where=frozenset({device}),
        )


def _places(
    evidence: Evidence, timelines: Mapping[str, Timeline], times: Mapping[str, Sequence[float]], *, whole_hosts: bool
) -> Iterable[Explanation]:
    """One host or one device that moved at a time, whatever happened to it."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for device, timeline in timelines.items():
        groups[evidence.visits[timeline[0]].host if whole_hosts else device].append(device)
    for name, devices in groups.items():
        if whole_hosts and len(devices) == 1:
            continue
        host = evidence.visits[timelines[devices[0]][0]].host
        what = f"host {name}" if whole_hosts else f"device {name} on {host}"
        seen: set[tuple[int, ...]] = set()
        moments = sorted({moment for device in devices for moment in times.get(device, ())})
        for moment in _moments(evidence, timelines, devices, moments):
            first = _first_at(evidence, {device: timelines[device] for device in devices}, moment)
            if tuple(first.values()) in seen:
                continue
            seen.add(tuple(first.values()))
            yield Explanation(
                kind="host" if whole_hosts else "device",
                cause=Cause.HOST,
                what=what,
                onsets=_onsets(evidence, first),
                where=frozenset(devices),
            )


def _moments(
    evidence: Evidence, timelines: Mapping[str, Timeline], devices: Sequence[str], times: Sequence[float]
) -> list[float]:
    """The visits of these devices at the times, and the ones just before and after each."""
    own = sorted({evidence.visits[index].at for device in devices for index in timelines[device]})
    found: set[float] = set()
    for moment in times:
        place = bisect_left(own, moment)
        found |= set(own[max(place - 1, 0) : place + 2])
    return sorted(found)


def _first_at(evidence: Evidence, timelines: Mapping[str, Timeline], moment: float) -> dict[str, int]:
    return {
        device: next((index for index in timeline if evidence.visits[index].at >= moment), timeline[-1] + 1)
        for device, timeline in timelines.items()
    }


def _fleet(evidence: Evidence, times: Mapping[str, Sequence[float]]) -> Iterable[Explanation]:
    """Everything at once, with nothing recorded; on a single host that is the host."""
    timelines = _timelines(evidence)
    if len({visit.host for visit in evidence.visits}) < _SMALLEST_FLEET:
        return
    seen: set[tuple[int, ...]] = set()
    for moment in sorted({moment for own in times.values() for moment in own}):
        first = _first_at(evidence, timelines, moment)
        if tuple(first.values()) in seen:
            continue
        seen.add(tuple(first.values()))
        yield Explanation(
            kind="fleet",
            cause=Cause.ENVIRONMENT,
            what="all hosts at once, with no recorded change",
            onsets=_onsets(evidence, first),
        )
