"""Fleets whose story is known: what happened, where, and the histories that a collector would have of it."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from tesserabench.analysis.attribution import Attribution, Cause, Change, Evidence, Track, Visit, attribute
from tesserabench.analysis.changepoints import Status, analyse

BENCHMARKS = ("gemm", "attention", "copy", "reduce", "norm", "transfer")
CASES_EACH = 2
CANARIES = ("canary_gemm", "canary_copy")
ROUNDS = 24
HAPPENS = 12
"""The round in which the story happens."""
_ROUND_SECONDS = 6 * 3600.0
_MOST_COMMITS = 3
"""A range of more commits than this names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A fleet without a story."""

    hosts: int = 8
    devices: int = 4
    noise: float = 0.01
    """Standard deviation of a launch median between runs, in logarithms."""
    canaries: bool = True
    missing: float = 0.0
    """Share of the runs on each device that never came."""
    staggered: bool = False
    """Every host measures only every other commit, half of them the even ones."""
    benchmarks: Sequence[str] = BENCHMARKS
    correlation: float = 0.0
    """Lag-1 correlation of a track's noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A step: for these benchmarks on these devices from a round on."""

    size: float
    begins: Mapping[str, int]
    """By device; a device that is absent is left alone."""
    benchmarks: frozenset[str]
    code: bool = False
    """It comes with the commit: canaries are spared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What an answer must say: a cause, and the devices or fact that it must name."""

    cause: Cause
    devices: frozenset[str] = frozenset()
    fact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A story."""

    name: str
    truths: tuple[Truth, ...]
    """One for each cause; none when nothing happened."""
    effects: tuple[Effect, ...] = ()
    facts: Mapping[str, Mapping[str, tuple[int, str, str]]] = field(default_factory=dict)
    """Fact -> device -> round of its change, value before and value after."""
    throttled: Mapping[str, int] = field(default_factory=dict)
    """By device: since which round."""
    shape: Shape = field(default_factory=Shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A scenario played with one seed."""

    visits: tuple[Visit, ...]
    tracks: tuple[Track, ...]
    """Of which each series is measured on every device."""


def device_names(shape: Shape) -> list[str]:
    """`h3.g1` is the second GPU of the fourth host."""
    return [f"h{host}.g{gpu}" for host in range(shape.hosts) for gpu in range(shape.devices)]


def commit_name(number: int) -> str:
    """The name of the commit of a round."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:40]


def play(scenario: Scenario, seed: int) -> Fleet:
    """The fleet's visits and tracks."""
    rng = np.random.default_rng(seed)
    visits = _visits(scenario, rng)
    of_device: dict[str, list[int]] = {device: [] for device in device_names(scenario.shape)}
    for index, (_, visit) in enumerate(visits):
        of_device[visit.device].append(index)
    rounds = np.array([number for number, _ in visits])
    tracks = [
        _track(scenario, series, device, (indices, rounds[indices]), rng)
        for series in _series(scenario.shape)
        for device, indices in of_device.items()
        if len(indices) > 1
    ]
    return Fleet(visits=tuple(visit for _, visit in visits), tracks=tuple(tracks))


def _series(shape: Shape) -> list[tuple[str, str, bool]]:
    """Series, benchmark, and whether it is a canary."""
    usual = [(f"{name}[{case}]", name, False) for name in shape.benchmarks for case in range(CASES_EACH)]
    return usual + [(name, name, True) for name in CANARIES if shape.canaries]


def _visits(scenario: Scenario, rng: np.random.Generator) -> list[tuple[int, Visit]]:
    shape = scenario.shape
    found = []
    for number in range(ROUNDS):
        for place, device in enumerate(device_names(shape)):
            host = device.partition(".")[0]
            skipped = shape.staggered and (int(host[1:]) + number) % 2
            if skipped or rng.random() < shape.missing:
                continue
            since = scenario.throttled.get(device)
            visit = Visit(
                run=1 + number * 1000 + place,
                at=_ROUND_SECONDS * number + place,
                commit=commit_name(number),
                host=host,
                device=device,
                facts=_facts(scenario, device, number),
                throttle="thermal" if since is not None and number >= since else "",
            )
            found.append((number, visit))
    return found


def _facts(scenario: Scenario, device: str, number: int) -> dict[str, str]:
    facts = {"driver.version": "550.54", "gpu.power_limit_watts": "700", "host.kernel": "6.8.0"}
    for fact, changes in scenario.facts.items():
        if device in changes:
            begins, before, after = changes[device]
            facts[fact] = after if number >= begins else before
    return facts


def _track(
    scenario: Scenario,
    series: tuple[str, str, bool],
    device: str,
    measured: tuple[list[int], np.ndarray],
    rng: np.random.Generator,
) -> Track:
    name, benchmark, canary = series
    indices, rounds = measured
    shape = scenario.shape
    values = 10 + rng.normal(0, 0.005) + _noise(len(indices), shape, rng)
    for effect in scenario.effects:
        if device in effect.begins and benchmark in effect.benchmarks and not (effect.code and canary):
            # Devices of a model answer alike, not equally.
            values += effect.size * (1 + rng.normal(0, 0.05)) * (rounds >= effect.begins[device])
    return Track(
        series=name,
        benchmark=benchmark,
        host=device.partition(".")[0],
        device=device,
        visits=tuple(indices),
        values=tuple(values.tolist()),
        canary=canary,
        model="GPU",
    )


def _noise(count: int, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    white = rng.normal(0, shape.noise, count)
    if shape.correlation:
        for i in range(1, count):
            white[i] = shape.correlation * white[i - 1] + np.sqrt(1 - shape.correlation**2) * white[i]
    # A launch in fifty is disturbed.
    return np.asarray(white + np.where(rng.random(count) < 0.02, np.abs(rng.normal(0, 5 * shape.noise, count)), 0.0))


def _all(benchmarks: Sequence[str] = BENCHMARKS) -> frozenset[str]:
    return frozenset((*benchmarks, *CANARIES))


def _at(devices: Sequence[str], begins: int = HAPPENS) -> dict[str, int]:
    return dict.fromkeys(devices, begins)


def _fact(devices: Sequence[str], before: str, after: str, begins: int = HAPPENS) -> dict[str, tuple[int, str, str]]:
    return dict.fromkeys(devices, (begins, before, after))


def scenarios(noise: float, size: float = 0.08) -> list[Scenario]:
    """Every story at one level of noise.

    Args:
        noise: Between runs, in logarithms.
        size: Of every step, in logarithms.
    """
    shape = Shape(noise=noise)
    everywhere = device_names(shape)
    half = [device for device in everywhere if int(device[1]) < shape.hosts // 2]
    host = [device for device in everywhere if device.startswith("h6.")]
    slow = ["h6.g2"]
    code = Truth(cause=Cause.CODE)
    driver = Truth(cause=Cause.ENVIRONMENT, fact="driver.version")
    few = frozenset({"gemm", "attention"})
    step = Effect(size=size, begins=_at(everywhere), benchmarks=frozenset(BENCHMARKS), code=True)
    family = replace(step, benchmarks=few)
    new_driver = {"driver.version": _fact(half, "550.54", "560.28")}
    rollout = {device: HAPPENS - 4 + int(device[1]) for device in everywhere}
    one_slow = Effect(size=size, begins=_at(slow), benchmarks=_all())
    return [
        Scenario(name="code step on all hosts", truths=(code,), effects=(step,), shape=shape),
        Scenario(name="code step in one family", truths=(code,), effects=(family,), shape=shape),
        Scenario(
            name="code step, no canaries", truths=(code,), effects=(family,), shape=replace(shape, canaries=False)
        ),
        Scenario(
            name="one slow device",
            truths=(Truth(cause=Cause.HOST, devices=frozenset(slow)),),
            effects=(one_slow,),
            shape=shape,
        ),
        Scenario(
            name="a slow host",
            truths=(Truth(cause=Cause.HOST, devices=frozenset(host)),),
            effects=(Effect(size=size, begins=_at(host), benchmarks=_all()),),
            shape=shape,
        ),
        Scenario(
            name="driver change on half",
            truths=(driver,),
            effects=(Effect(size=size, begins=_at(half), benchmarks=_all()),),
            facts=new_driver,
            shape=shape,
        ),
        Scenario(
            name="driver rollout, staggered",
            truths=(driver,),
            effects=(Effect(size=size, begins=rollout, benchmarks=_all()),),
            facts={"driver.version": {device: (at, "550.54", "560.28") for device, at in rollout.items()}},
            shape=shape,
        ),
        Scenario(
            name="power limit on one host",
            truths=(Truth(cause=Cause.ENVIRONMENT, fact="gpu.power_limit_watts"),),
            effects=(Effect(size=size, begins=_at(host), benchmarks=_all(("gemm", "attention"))),),
            facts={"gpu.power_limit_watts": _fact(host, "700", "500")},
            shape=shape,
        ),
        Scenario(
            name="canaries moving",
            truths=(Truth(cause=Cause.ENVIRONMENT),),
            effects=(Effect(size=size, begins=_at(everywhere), benchmarks=_all()),),
            shape=shape,
        ),
        Scenario(
            name="one device throttling",
            truths=(Truth(cause=Cause.HOST, devices=frozenset(slow)),),
            effects=(replace(one_slow, benchmarks=_all(("gemm", "attention", "norm"))),),
            throttled=_at(slow),
            shape=shape,
        ),
        Scenario(
            name="mixed: code and driver on half",
            truths=(code, driver),
            effects=(step, Effect(size=size, begins=_at(half), benchmarks=_all())),
            facts=new_driver,
            shape=shape,
        ),
        Scenario(
            name="mixed: code and a slow device",
            truths=(code, Truth(cause=Cause.HOST, devices=frozenset(slow))),
            effects=(family, one_slow),
            shape=shape,
        ),
        Scenario(
            name="code step, points missing",
            truths=(code,),
            effects=(family,),
            shape=replace(shape, missing=0.3),
        ),
        Scenario(
            name="one slow device, points missing",
            truths=(Truth(cause=Cause.HOST, devices=frozenset(slow)),),
            effects=(one_slow,),
            shape=replace(shape, missing=0.3),
        ),
        Scenario(
            name="code step, staggered schedules",
            truths=(code,),
            effects=(family,),
            shape=replace(shape, staggered=True),
        ),
        Scenario(
            name="code step, correlated noise",
            truths=(code,),
            effects=(family,),
            shape=replace(shape, correlation=0.4),
        ),
        Scenario(
            name="one host only: code in one family",
            truths=(code,),
            effects=(replace(family, begins=_at(["h0.g0"])),),
            shape=replace(shape, hosts=1, devices=1),
        ),
        Scenario(
            name="one host only: all of it slow",
            truths=(Truth(cause=Cause.HOST, devices=frozenset({"h0.g0"})),),
            effects=(Effect(size=size, begins=_at(["h0.g0"]), benchmarks=_all()),),
            shape=replace(shape, hosts=1, devices=1),
        ),
        Scenario(name="nothing but noise", truths=(), shape=shape),
    ]


Detect = Callable[[Sequence[float]], Sequence[tuple[int, int, int, float]]]
"""Gives for the values of a history (index, earliest, latest, shift) of every confirmed change."""


def told_changes(scenario: Scenario, fleet: Fleet) -> list[Change]:
    """The changes as a perfect detector would give them: one for every track that a step touches."""
    changes: list[Change] = []
    for track in fleet.tracks:
        for effect in scenario.effects:
            spared = (effect.code and track.canary) or track.benchmark not in effect.benchmarks
            begins = effect.begins.get(track.device)
            if spared or begins is None:
                continue
            runs = [fleet.visits[visit].run for visit in track.visits]
            index = next((i for i, run in enumerate(runs) if run > begins * 1000), None)
            if index:
                changes.append(_change(track, runs, (index, index - 1, index + 1, effect.size), len(changes)))
    return changes


def detected_changes(fleet: Fleet, detect: Detect) -> list[Change]:
    """The changes that a detector finds on every device's own history."""
    changes: list[Change] = []
    for track in fleet.tracks:
        runs = [fleet.visits[visit].run for visit in track.visits]
        for found in detect(track.values):
            changes.append(_change(track, runs, found, len(changes)))
    return changes


def _change(track: Track, runs: Sequence[int], found: tuple[int, int, int, float], key: int) -> Change:
    index, earliest, latest, shift = found
    return Change(
        key=key,
        series=track.series,
        shift=shift,
        run=runs[index],
        earliest_run=runs[max(earliest, 0)],
        latest_run=runs[min(latest, len(runs) - 1)],
        before_run=runs[index - 1],
        devices=frozenset({track.device}),
    )


def ask(fleet: Fleet, changes: Sequence[Change]) -> tuple[Attribution, ...]:
    """The causes of the changes."""
    return attribute(Evidence(visits=fleet.visits, tracks=fleet.tracks, changes=tuple(changes)))


def is_right(scenario: Scenario, found: Sequence[Attribution]) -> bool:
    """Whether every cause is named as it was, and no other one is."""
    named = [one for one in found if one.cause is not Cause.UNKNOWN]
    left = list(scenario.truths)
    for one in named:
        match = next((truth for truth in left if _fits(truth, one)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def _fits(truth: Truth, one: Attribution) -> bool:
    if truth.cause is not one.cause:
        return False
    if truth.cause is Cause.CODE:
        commits = one.commit_range.commits if one.commit_range is not None else ()
        return commit_name(HAPPENS) in commits and len(commits) <= _MOST_COMMITS
    if truth.devices:
        return set(one.devices) == truth.devices
    return not truth.fact or any(field.fact == truth.fact for field in one.fields)


def verdict_words(found: Sequence[Attribution]) -> str:
    """The causes that were named, for a confusion table."""
    return "+".join(sorted({one.cause.value for one in found})) or "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scenario of the table."""

    name: str
    noise: float
    right: int
    fleets: int
    answers: Mapping[str, int]
    """How often which causes were named."""
    blamed_code: int
    """Fleets in which the code was blamed though it did nothing."""
    seconds: float
    """Mean processor time of an attribution."""


def confusion_table(
    *, noises: Sequence[float], seeds: Sequence[int], detect: Detect | None = None, only: Collection[str] = ()
) -> list[Row]:
    """How often the causes are named right, scenario by scenario.

    Args:
        noises: Standard deviations between runs, in logarithms.
        seeds: One fleet each.
        detect: Finds the changes in every history, so that its errors count; left out, they are told.
        only: Names of scenarios; empty for all.
    """
    rows = []
    for noise in noises:
        for scenario in scenarios(noise):
            if only and scenario.name not in only:
                continue
            answers: Counter[str] = Counter()
            right = blamed = 0
            spent = 0.0
            for seed in seeds:
                fleet = play(scenario, seed)
                changes = told_changes(scenario, fleet) if detect is None else detected_changes(fleet, detect)
                begun = time.process_time()
                found = ask(fleet, changes)
                spent += time.process_time() - begun
                right += is_right(scenario, found)
                answers[verdict_words(found)] += 1
                innocent = all(truth.cause is not Cause.CODE for truth in scenario.truths)
                blamed += innocent and any(one.cause is Cause.CODE for one in found)
            rows.append(
                Row(
                    name=scenario.name,
                    noise=noise,
                    right=right,
                    fleets=len(seeds),
                    answers=dict(answers),
                    blamed_code=blamed,
                    seconds=spent / len(seeds),
                )
            )
    return rows


def by_change_points(values: Sequence[float]) -> list[tuple[int, int, int, float]]:
    """The confirmed changes that `analysis.changepoints` finds in a history of logarithms."""
    found = analyse(np.exp(np.asarray(values)))
    return [
        (change.index, change.earliest, change.latest, change.shift)
        for change in found.changes
        if change.status is Status.CONFIRMED
    ]
