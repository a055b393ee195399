"""Results as comparisons take them, and as people list them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.history import RunNoise, run_noise
from tesserabench.analysis.launch import OK, Launch, Side, log_error_of_interval
from tesserabench.analysis.results import Failure, ResultSet, SeriesKey, SeriesResult
from tesserabench.analysis.words import Better
from tesserabench.collector.core import series_levels
from tesserabench.collector.core.spec import RunSpec
from tesserabench.collector.store import history_watches
from tesserabench.collector.store import results as store
from tesserabench.collector.store.results import LaunchRow
from tesserabench.collector.store.tables import CaseResult, Run, Series, Trial
from tesserabench.collector.store.words import Outcome
from tesserabench.wire.names import run_name

_TIERS = ("smoke", "regression", "full", "nightly")

Record = tuple[int, int, int]


async def result_set(session: AsyncSession, run: Run, *, label: str = "", arm: str = "") -> ResultSet:
    """What a run measured, newest epochs only.

    Args:
        session: The transaction.
        run: The run.
        label: What the comparison calls it; its name when left out.
        arm: `a` or `b`, of a run that measured two in turns.
    """
    rows = await store.launches(session, run.id)
    unsuccessful = await store.unsuccessful(session, run.id)
    trials = {(trial.attempt_id, trial.epoch, trial.trial): trial for trial in await store.trials(session, run.id)}
    series = await store.series(session, {row.series_id for row in rows})
    reasons = {_record(result): result.reason for result in unsuccessful}
    measured = {row.record for row in rows}
    return ResultSet(
        label=label or run_name(run.id),
        run=run_name(run.id),
        commit=run.commit,
        series=tuple(_series([row for row in rows if series[row.series_id].arm == arm], series, trials, reasons)),
        failures=tuple(
            _failure(result, run.suite, trials)
            for result in unsuccessful
            if _record(result) not in measured
            and result.outcome != Outcome.UNSUPPORTED
            and arm in {"", result.detail.get("arm")}
        ),
        facts=_facts(trials.values()),
        partial=is_partial(RunSpec.from_json(run.spec)),
    )


def is_partial(spec: RunSpec) -> bool:
    """Whether a run left out cases that its suite has: by pattern, or by a tier below the usual one."""
    return bool(spec.include or spec.exclude) or _TIERS.index(spec.tier) < _TIERS.index("regression")


def key_of(series: Series) -> SeriesKey:
    """Identity of a series within its project."""
    return SeriesKey(case_id=series.case_id, mode=series.mode, metric=series.metric, device=series.device_key)


def _record(result: CaseResult) -> Record:
    return result.attempt_id, result.epoch, result.sequence


def _series(
    rows: Sequence[LaunchRow],
    series: Mapping[int, Series],
    trials: Mapping[Record, Trial],
    reasons: Mapping[Record, str],
) -> Iterable[SeriesResult]:
    counts: defaultdict[Record, int] = defaultdict(int)
    grouped: defaultdict[int, list[LaunchRow]] = defaultdict(list)
    for row in rows:
        counts[row.record] = max(counts[row.record], row.count or 0)
        grouped[row.series_id].append(row)
    for series_id, group in sorted(grouped.items()):
        found = series[series_id]
        if found.better not in set(Better):
            # A metric without a direction is kept and never judged.
            continue
        kinds = {_device(trials, row).get("kind", "") for row in group}
        launches = tuple(_launch(row, counts[row.record], trials, reasons) for row in group)
        yield SeriesResult(
            key=key_of(found),
            suite=found.suite,
            benchmark=found.benchmark,
            parameters={str(name): str(value) for name, value in found.parameters.items()},
            unit=found.unit,
            primary=found.primary,
            side=Side(launches=launches, better=Better(found.better), device_kind=min(kinds)),
            hosts=tuple(sorted({row.host for row in group})),
        )


def _launch(row: LaunchRow, count: int, trials: Mapping[Record, Trial], reasons: Mapping[Record, str]) -> Launch:
    # A metric computed from the samples of another stands on those.
    trial = trials.get(_trial_key(row))
    error = None if row.ci_low is None or row.ci_high is None else log_error_of_interval(row.ci_low, row.ci_high)
    return Launch(
        value=row.value,
        samples=row.count or count or 1,
        log_error=error,
        place=f"{row.host}/{_device(trials, row).get('uuid', '')}",
        comparability=trial.comparability if trial else "",
        outcome=row.outcome,
        reason="" if row.outcome == OK else reasons.get(row.record, ""),
    )


def _trial_key(row: LaunchRow) -> Record:
    return row.record[0], row.record[1], row.trial


def _device(trials: Mapping[Record, Trial], row: LaunchRow) -> Mapping[str, Any]:
    trial = trials.get(_trial_key(row))
    return trial.device if trial else {}


def _failure(result: CaseResult, suite: str, trials: Mapping[Record, Trial]) -> Failure:
    trial = trials.get((result.attempt_id, result.epoch, result.trial))
    case: Mapping[str, Any] = result.detail.get("case", {})
    return Failure(
        case_id=result.case_id,
        mode=result.mode,
        suite=case.get("suite", suite),
        benchmark=result.benchmark,
        parameters=case.get("parameters", {}),
        launch=Launch(
            value=None,
            comparability=trial.comparability if trial else "",
            outcome=result.outcome,
            reason=result.reason,
        ),
    )


def _facts(trials: Iterable[Trial]) -> dict[str, tuple[dict[str, str], ...]]:
    facts: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for trial in trials:
        device = {f"device.{name}": str(trial.device[name]) for name in ("kind", "model") if name in trial.device}
        facts[trial.comparability].append(device | {name: str(value) for name, value in trial.facts.items()})
    return {comparability: tuple(group) for comparability, group in facts.items()}


async def history(
    session: AsyncSession, run: Run, branches: Sequence[str], wanted: Iterable[SeriesKey]
) -> dict[SeriesKey, RunNoise]:
    """The level of earlier runs and the noise between them, for the series whose history is long enough.

    Series that nothing watches yet are read from the runs themselves: those on the same hosts.
    """
    columns = [(key.case_id, key.mode, key.metric, key.device) for key in wanted]
    ids = await store.series_ids(session, run.project_id, columns)
    keys = {series_id: SeriesKey(case_id=k[0], mode=k[1], metric=k[2], device=k[3]) for k, series_id in ids.items()}
    better = {series_id: row.better for series_id, row in (await store.series(session, keys)).items()}
    line = "" if "" in branches else branches[0]
    found = await series_levels.run_noise_of(session, line, better, before=run.id)
    watched = await history_watches.watches(session, line, list(keys))
    hosts = await store.hosts_of(session, run.id)
    others = [series_id for series_id in keys if series_id not in watched]
    if others and hosts:
        levels = await store.levels_of_past_runs(session, run, branches, list(hosts), others)
        noises = {series_id: run_noise(values) for series_id, values in levels.items()}
        found |= {series_id: noise for series_id, noise in noises.items() if noise is not None}
    return {keys[series_id]: noise for series_id, noise in found.items()}
