"""What was measured, one row per case, host and device: the same table for a run and for `tbctl bench run`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from tesserabench.cli.output.table import Column, clean
from tesserabench.cli.output.words import word
from tesserabench.cli.views.verdicts import case_text, parameters_text, style_of
from tesserabench.report.quantity import interval, percent, quantity
from tesserabench.v1.measurement_pb2 import CaseResult, Measurement, Outcome, StopReason, ThrottleClass, TimingMode
from tesserabench.v1.result_service_pb2 import Result

Metric = TypeVar("Metric")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """A case on a host. Values are in `unit` and `rate_unit`; what is not known is None."""

    case: str
    benchmark: str
    parameters: str
    mode: str
    host: str
    device: str
    outcome: str
    reason: str = ""
    trials: int = 1
    metric: str = ""
    unit: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    samples: int | None = None
    rate: float | None = None
    rate_unit: str = ""
    ceiling_ratio: float | None = None
    ceiling: str = ""
    stop_reason: str = ""
    flags: str = ""
    backend: str = ""
    throttle: str = ""
    clock_policy: str = ""
    arm: str = ""
    """Of an interleaved comparison."""


def rows_of(results: Iterable[Result], *, per_trial: bool) -> list[ResultRow]:
    """Results as rows. Unless `per_trial`, the trials of a case on a device become one row.

    Its value is the median of the trials' medians, its interval spans theirs, its outcome is the first that is not ok.
    Results that came too late are left out of such a row.
    """
    if per_trial:
        return [_row([result]) for result in results]
    groups: dict[tuple[str, int, str, str, str], list[Result]] = {}
    for result in results:
        key = (result.result.case.id, result.result.mode, result.host, result.device_uuid, result.result.arm)
        groups.setdefault(key, []).append(result)
    return [_row([result for result in group if not result.late] or group) for group in groups.values()]


def result_columns(rows: Sequence[ResultRow]) -> Sequence[Column[ResultRow]]:
    """The columns for these rows: the host is shown when there are several."""
    one_host = len({row.host for row in rows}) <= 1
    arms = (Column[ResultRow](title="ARM", value=lambda row: row.arm),) if any(row.arm for row in rows) else ()
    return (
        Column[ResultRow](title="CASE", value=lambda row: row.case, wide=True),
        Column[ResultRow](
            title="BENCHMARK",
            value=lambda row: row.benchmark,
            text=_case,
            whole=True,
            shrink=True,
        ),
        Column[ResultRow](title="PARAMETERS", value=lambda row: row.parameters, wide=True),
        *arms,
        Column[ResultRow](title="HOST", value=lambda row: row.host, wide=one_host),
        Column[ResultRow](title="DEVICE", value=lambda row: row.device, wide=True),
        Column[ResultRow](title="MODE", value=lambda row: row.mode, wide=True),
        Column[ResultRow](title="METRIC", value=lambda row: row.metric, wide=True),
        Column[ResultRow](title="UNIT", value=lambda row: row.unit, wide=True),
        Column[ResultRow](
            title="MEDIAN", value=lambda row: row.value, text=lambda row: quantity(row.value, row.unit), right=True
        ),
        Column[ResultRow](
            title="LOW",
            field="ci_low",
            value=lambda row: row.low,
            wide=True,
            text=lambda row: quantity(row.low, row.unit),
        ),
        Column[ResultRow](
            title="HIGH",
            field="ci_high",
            value=lambda row: row.high,
            wide=True,
            text=lambda row: quantity(row.high, row.unit),
        ),
        Column[ResultRow](title="95 % INTERVAL", field="interval", value=_interval, right=True),
        Column[ResultRow](
            title="RATE", value=lambda row: row.rate, text=lambda row: quantity(row.rate, row.rate_unit), right=True
        ),
        Column[ResultRow](title="RATE UNIT", value=lambda row: row.rate_unit, wide=True),
        Column[ResultRow](
            title="CEILING",
            field="ceiling_ratio",
            value=lambda row: row.ceiling_ratio,
            text=lambda row: percent(row.ceiling_ratio),
            right=True,
        ),
        Column[ResultRow](title="OF", field="ceiling", value=lambda row: row.ceiling, wide=True),
        Column[ResultRow](title="TRIALS", value=lambda row: row.trials, wide=True, right=True),
        Column[ResultRow](title="SAMPLES", value=lambda row: row.samples, wide=True, right=True),
        Column[ResultRow](title="STOPPED", field="stop_reason", value=lambda row: row.stop_reason, wide=True),
        Column[ResultRow](title="FLAGS", value=lambda row: row.flags, wide=True),
        Column[ResultRow](title="TIMED BY", field="backend", value=lambda row: row.backend, wide=True),
        Column[ResultRow](title="THROTTLE", value=lambda row: row.throttle, wide=True),
        Column[ResultRow](title="CLOCKS", field="clock_policy", value=lambda row: row.clock_policy, wide=True),
        Column[ResultRow](title="OUTCOME", value=lambda row: row.outcome, style=lambda row: style_of(row.outcome)),
        Column[ResultRow](title="REASON", value=lambda row: row.reason, wide=True),
    )


def trouble_lines(rows: Sequence[ResultRow]) -> list[str]:
    """A line for every row that did not end well, with its reason, and one for each reason why some cannot run here."""
    lines = [
        f"  {row.outcome}  {row.case}: {row.reason or 'no reason given'}"
        for row in rows
        if row.outcome not in {"ok", "unsupported"}
    ]
    reasons = Counter(row.reason or "no reason given" for row in rows if row.outcome == "unsupported")
    lines += [f"  unsupported ({count} of {len(rows)}): {reason}" for reason, count in reasons.items()]
    return [clean(line) for line in lines]


def _case(row: ResultRow) -> str:
    return case_text(row.benchmark, row.parameters)


def _interval(row: ResultRow) -> str | None:
    if row.value is None or row.low is None or row.high is None:
        return None
    return interval(row.low, row.high, value=row.value, unit=row.unit)


def _row(group: Sequence[Result]) -> ResultRow:
    first = group[0]
    case = first.result.case
    worst = next((item.result for item in group if item.result.outcome != Outcome.OUTCOME_OK), first.result)
    measured = [item.result for item in group if item.result.measurements]
    main = [found for found in (_main(item) for item in measured) if found is not None]
    # One ceiling for all trials: which one limits may change from trial to trial, and units must not be mixed.
    ceiling = measured[0].ceiling if measured else ""
    rates = [found for found in (_rate(item, ceiling) for item in measured) if found is not None]
    ratios = [item.ceiling_ratio for item in measured if item.HasField("ceiling_ratio") and item.ceiling == ceiling]
    return ResultRow(
        case=case.id,
        arm=first.result.arm,
        benchmark=case.benchmark,
        parameters=parameters_text(case.id, case.parameters),
        mode=word(TimingMode, first.result.mode),
        host=first.host,
        device=first.device_model,
        outcome=word(Outcome, worst.outcome),
        reason=worst.reason,
        trials=len(group),
        metric=main[0].metric if main else "",
        unit=main[0].unit if main else "",
        value=median(item.value for item in main) if main else None,
        low=_lowest(main),
        high=_highest(main),
        samples=sum(item.statistics.count for item in main) or None,
        rate=median(item.value for item in rates) if rates else None,
        rate_unit=rates[0].unit if rates else "",
        ceiling_ratio=median(ratios) if ratios else None,
        ceiling=ceiling,
        stop_reason=word(StopReason, first.result.stop_reason),
        flags=" ".join(sorted({flag for item in group for flag in _flags(item)})),
        backend=" ".join(sorted({item.result.backend for item in group} - {""})),
        throttle=" ".join(sorted({word(ThrottleClass, item.result.throttle) for item in group} - {"", "unspecified"})),
        clock_policy=" ".join(sorted({item.trial_started.clock_policy for item in group} - {""})),
    )


def _flags(result: Result) -> Iterator[str]:
    """Remarks on a case and on the trial that it was measured in."""
    yield from result.result.flags
    yield from result.trial_finished.flags


def _main(result: CaseResult) -> Measurement | None:
    """The metric that a row shows: the time, else the first primary one, else the first."""
    ranked = sorted(result.measurements, key=lambda item: (item.metric != "time", not item.primary))
    return ranked[0] if ranked else None


def _rate(result: CaseResult, ceiling: str) -> Measurement | None:
    return rate_of({item.metric: item for item in result.measurements}, ceiling)


def rate_of(metrics: Mapping[str, Metric], ceiling: str) -> Metric | None:
    """The rate to show: the one that the ceiling limits, else operations before bytes; of what only moves, its own."""
    order = ("bandwidth", "throughput") if ceiling == "bandwidth" else ("throughput", "bandwidth")
    moved = ("bus_bandwidth", "payload_bandwidth")
    return next((metrics[name] for name in (*order, *moved) if name in metrics), None)


def _lowest(measurements: Sequence[Measurement]) -> float | None:
    if not any(item.HasField("ci_low") for item in measurements):
        return None
    return min(item.ci_low if item.HasField("ci_low") else item.statistics.min for item in measurements)


def _highest(measurements: Sequence[Measurement]) -> float | None:
    # A trial with too few independent samples for an interval counts with all of them.
    if not any(item.HasField("ci_high") for item in measurements):
        return None
    return max(item.ci_high if item.HasField("ci_high") else item.statistics.max for item in measurements)
