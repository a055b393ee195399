"""Runs whose workers measured two arms interleaved: compared with themselves, worker by worker, and with nothing else.

Arm A is the run as its spec has it, arm B has the parameters that the spec's `duet` names. A pair is arm A's case and
the same case with those parameters. No regression is opened: the comparison is about two variants, and neither is the
code's history. What is undecided may be given more workers: see `duet_looks`.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.compare import Comparison, Entry
from tesserabench.analysis.duet import (
    DuetPolicy,
    DuetSeries,
    NullControl,
    failed_pair,
    judge_duet,
    log_ratio,
    null_control,
)
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.launch import OK, Side
from tesserabench.analysis.results import SeriesKey, SeriesResult
from tesserabench.analysis.side_summary import SideSummary
from tesserabench.analysis.summary import overall
from tesserabench.analysis.words import Better, Verdict
from tesserabench.collector.core.spec import DuetSpec, ParameterOverride, RunSpec
from tesserabench.collector.store import results as store
from tesserabench.collector.store.results import LaunchRow
from tesserabench.collector.store.tables import CaseResult, Run, Series
from tesserabench.collector.store.words import Outcome
from tesserabench.wire.names import run_name

WorkerKey = tuple[int, int]
"""Attempt and trial."""
CaseKey = tuple[str, str, tuple[tuple[str, str], ...]]
"""Mode, benchmark and parameters."""
PairKey = tuple[str, str, str, str]
"""Case of arm A, mode, metric and device."""

_ORDER = {Verdict.REGRESSED: 0, Verdict.INCONCLUSIVE: 1, Verdict.IMPROVED: 2, Verdict.PASS: 3}
_DECIDING = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one arm gave for one metric in one worker."""

    value: float
    samples: int
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSeries:
    """One metric of one case in one arm, by worker."""

    arm: str
    case_id: str
    benchmark: str
    suite: str
    parameters: Mapping[str, str]
    mode: str
    metric: str
    unit: str
    better: Better
    primary: bool
    device: str
    readings: Mapping[WorkerKey, Reading]

    @property
    def case_key(self) -> CaseKey:
        """What identifies its case."""
        items = ((name, _plain(value)) for name, value in self.parameters.items())
        return self.mode, self.benchmark, tuple(sorted(items))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFailure:
    """A case of an arm that gave nothing in one worker."""

    arm: str
    case_id: str
    benchmark: str
    suite: str
    parameters: Mapping[str, str]
    mode: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Duet:
    """Everything that the verdict of such a run rests on."""

    run: str
    commit: str
    spec: DuetSpec
    series: tuple[ArmSeries, ...]
    failures: tuple[ArmFailure, ...]


async def read(session: AsyncSession, run: Run) -> Duet:
    """What the workers of a run measured, newest epochs only."""
    spec = RunSpec.from_json(run.spec).duet
    assert spec is not None, "only such a run is read like this"
    rows = await store.launches(session, run.id)
    series = await store.series(session, {row.series_id for row in rows})
    unsuccessful = await store.unsuccessful(session, run.id)
    return Duet(
        run=run_name(run.id),
        commit=run.commit,
        spec=spec,
        series=tuple(_series(rows, series)),
        failures=tuple(_failure(result, run.suite) for result in unsuccessful if result.detail.get("arm")),
    )


def _series(rows: Sequence[LaunchRow], series: Mapping[int, Series]) -> Iterable[ArmSeries]:
    readings: defaultdict[int, dict[WorkerKey, Reading]] = defaultdict(dict)
    counts: defaultdict[tuple[int, int, int], int] = defaultdict(int)
    for row in rows:
        counts[row.record] = max(counts[row.record], row.count or 0)
    for row in rows:
        if row.outcome == OK:
            reading = Reading(value=row.value, samples=row.count or counts[row.record] or 1, host=row.host)
            readings[row.series_id][row.record[0], row.trial] = reading
    for series_id, by_worker in sorted(readings.items()):
        found = series[series_id]
        if found.arm and found.better in set(Better):
            yield ArmSeries(
                arm=found.arm,
                case_id=found.case_id,
                benchmark=found.benchmark,
                suite=found.suite,
                parameters={str(name): str(value) for name, value in found.parameters.items()},
                mode=found.mode,
                metric=found.metric,
                unit=found.unit,
                better=Better(found.better),
                primary=found.primary,
                device=found.device_key,
                readings=by_worker,
            )


def _failure(result: CaseResult, suite: str) -> ArmFailure:
    case = result.detail.get("case", {})
    return ArmFailure(
        arm=result.detail["arm"],
        case_id=result.case_id,
        benchmark=result.benchmark,
        suite=case.get("suite", suite),
        parameters=case.get("parameters", {}),
        mode=result.mode,
        outcome=result.outcome,
        reason=result.reason,
    )


def policy_of(duet: Duet) -> DuetPolicy:
    """What counts as a change between the arms."""
    return DuetPolicy(smallest_effect=duet.spec.smallest_effect or DuetPolicy().smallest_effect)


def compare(duet: Duet) -> Comparison:
    """What one look concludes of every pair, worst first. A function of values, to be computed anywhere."""
    return comparison(duet, judge_pairs(duet, error=policy_of(duet).error))


def judge_pairs(duet: Duet, *, error: float) -> dict[PairKey, Judgement]:
    """The judgement of every pair, at an error that it may spend."""
    measured = _pairs(duet)
    control = _control(duet, policy_of(duet))
    judged = judge_duet(
        [_effects(ours, theirs) for ours, theirs in measured],
        policy_of(duet),
        error=error,
        advisory=control is not None and control.failed,
    )
    return {_key(ours): judgement for (ours, _), judgement in zip(measured, judged, strict=True)}


def comparison(duet: Duet, judged: Mapping[PairKey, Judgement]) -> Comparison:
    """The comparison that these judgements come to, worst first."""
    policy = policy_of(duet)
    control = _control(duet, policy)
    entries = [_entry(duet, ours, theirs, judged[_key(ours)]) for ours, theirs in _pairs(duet) if _key(ours) in judged]
    entries += _failed_entries(duet, entries, policy)
    entries.sort(key=_badness)
    verdict, reason, severity, sentence = overall([(entry.series, entry.judgement) for entry in entries])
    return Comparison(
        base="arm A",
        head=_label(duet.spec),
        entries=tuple(entries),
        verdict=verdict,
        reason=reason,
        severity=severity,
        summary=" ".join(filter(None, (sentence, control.explanation if control is not None else ""))),
        differences=(),
    )


def effects_of(duet: Duet, pair: PairKey) -> dict[str, list[float]]:
    """The effect in each worker that measured a pair, as logarithms, by host."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for ours, theirs in _pairs(duet):
        if _key(ours) == pair:
            for worker in _common(ours, theirs):
                effect = log_ratio(ours.readings[worker].value, theirs.readings[worker].value)
                found[ours.readings[worker].host].append(effect)
    return dict(found)


def _pairs(duet: Duet) -> list[tuple[ArmSeries, ArmSeries]]:
    """The series of arm A, each with arm B's, where at least one worker gave both."""
    partners = {(item.case_key, item.metric, item.device): item for item in duet.series if item.arm == "b"}
    pairs = [
        (ours, partners.get((changed(ours.case_key, duet.spec.overrides), ours.metric, ours.device)))
        for ours in duet.series
        if ours.arm == "a"
    ]
    return [(ours, theirs) for ours, theirs in pairs if theirs is not None and _common(ours, theirs)]


def _key(ours: ArmSeries) -> PairKey:
    return ours.case_id, ours.mode, ours.metric, ours.device


def changed(case: CaseKey, overrides: Sequence[ParameterOverride]) -> CaseKey:
    """Arm B's case for arm A's: the same with the overrides that concern it; a qualified one beats a plain one."""
    mode, benchmark, items = case
    parameters = dict(items)
    for override in sorted(overrides, key=lambda item: "." in item.parameter):
        owner, _, name = override.parameter.rpartition(".")
        meant = not owner or owner == benchmark or owner.rpartition("/")[2] == benchmark.rpartition("/")[2]
        if meant and name in parameters:
            parameters[name] = _plain(override.value)
    return mode, benchmark, tuple(sorted(parameters.items()))


def _plain(text: str) -> str:
    """A value in one spelling: people write 0.50 and TRUE where the measuring side writes 0.5 and true."""
    try:
        return f"{float(text):.17g}"
    except ValueError:
        return text.strip().lower()


def _common(a: ArmSeries, b: ArmSeries) -> list[WorkerKey]:
    """The workers that gave both a value with a logarithm."""
    shared = sorted(a.readings.keys() & b.readings.keys())
    return [key for key in shared if a.readings[key].value > 0 and b.readings[key].value > 0]


def _effects(a: ArmSeries, b: ArmSeries) -> DuetSeries:
    effects = tuple(log_ratio(a.readings[key].value, b.readings[key].value) for key in _common(a, b))
    return DuetSeries(effects=effects, better=a.better, primary=a.primary)


def _control(duet: Duet, policy: DuetPolicy) -> NullControl | None:
    """What arm A against itself gave, in the metric that decides; none when it was not measured."""
    first = {item.case_key: item for item in duet.series if item.arm == "null_a" and item.metric == _DECIDING}
    second = {item.case_key: item for item in duet.series if item.arm == "null_b" and item.metric == _DECIDING}
    case = next(iter(first.keys() & second.keys()), None)
    return None if case is None else null_control(_effects(first[case], second[case]).effects, policy)


def _entry(duet: Duet, a: ArmSeries, b: ArmSeries, judgement: Judgement) -> Entry:
    workers = _common(a, b)
    hosts = tuple(sorted({a.readings[key].host for key in workers}))
    return Entry(
        series=_named(a, hosts),
        base=_side(duet, [a.readings[key] for key in workers]),
        head=_side(duet, [b.readings[key] for key in workers]),
        judgement=_telling(judgement, a, b),
    )


def _telling(judgement: Judgement, a: ArmSeries, b: ArmSeries) -> Judgement:
    """The judgement with the name of arm B's case, which a comparison has no other place for."""
    if a.case_id == b.case_id:
        return judgement
    return replace(judgement, explanation=f"Against {b.case_id}. {judgement.explanation}")


def _named(a: ArmSeries, hosts: tuple[str, ...]) -> SeriesResult:
    return SeriesResult(
        key=SeriesKey(case_id=a.case_id, mode=a.mode, metric=a.metric, device=a.device),
        suite=a.suite,
        benchmark=a.benchmark,
        parameters=a.parameters,
        unit=a.unit,
        primary=a.primary,
        side=Side(launches=(), better=a.better),
        hosts=hosts,
    )


def _side(duet: Duet, readings: Sequence[Reading]) -> SideSummary:
    values = [reading.value for reading in readings]
    return SideSummary(
        run=duet.run,
        commit=duet.commit,
        host=", ".join(sorted({reading.host for reading in readings})),
        value=statistics.median(values),
        launches=len(values),
        samples=sum(reading.samples for reading in readings),
        launch_noise=statistics.stdev(values) / statistics.fmean(values) if len(values) > 1 else None,
    )


def _failed_entries(duet: Duet, entries: Sequence[Entry], policy: DuetPolicy) -> list[Entry]:
    """An entry without a metric for each case of either arm that failed everywhere."""
    known = {(entry.series.key.case_id, entry.series.key.mode) for entry in entries}
    measured_b = {(item.case_id, item.mode) for item in duet.series if item.arm == "b"}
    failed: dict[tuple[str, str, str], Entry] = {}
    for failure in duet.failures:
        place = failure.case_id, failure.mode
        missing = place not in (known if failure.arm == "a" else measured_b)
        if failure.arm in {"a", "b"} and missing and failure.outcome != Outcome.UNSUPPORTED:
            judgement = failed_pair(failure.arm, failure.outcome, failure.reason, policy)
            failed.setdefault((failure.arm, *place), _failed_entry(duet, failure, judgement))
    return list(failed.values())


def _failed_entry(duet: Duet, failure: ArmFailure, judgement: Judgement) -> Entry:
    series = SeriesResult(
        key=SeriesKey(case_id=failure.case_id, mode=failure.mode, metric="", device=""),
        suite=failure.suite,
        benchmark=failure.benchmark,
        parameters=failure.parameters,
        unit="",
        primary=True,
        side=Side(launches=(), better=Better.LOWER),
    )
    empty = SideSummary(run=duet.run, commit=duet.commit)
    return Entry(series=series, base=empty, head=empty, judgement=judgement)


def _badness(entry: Entry) -> tuple[int, bool, float, SeriesKey]:
    worsening = entry.judgement.worsening if entry.judgement.worsening is not None else 0.0
    return _ORDER[entry.judgement.verdict], not entry.series.primary, -worsening, entry.series.key


def _label(spec: DuetSpec) -> str:
    told = ", ".join(f"{item.parameter}={item.value}" for item in spec.overrides)
    return f"arm B ({told})" if told else "arm B (the same)"
