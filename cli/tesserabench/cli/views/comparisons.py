"""Comparisons: the table of series, and the lines that say which of them need somebody."""

from collections.abc import Sequence

from tesserabench.cli.output.table import Column
from tesserabench.cli.output.words import word
from tesserabench.cli.parsing import short_id
from tesserabench.cli.reproduce import reproduce_command
from tesserabench.cli.views.verdicts import case_text, parameters_text, style_of
from tesserabench.report.quantity import change, change_interval, quantity
from tesserabench.v1.comparison_pb2 import CauseKind, Comparison, ComparisonEntry, ComparisonSide, VerdictReason
from tesserabench.v1.measurement_pb2 import Better, TimingMode
from tesserabench.v1.run_pb2 import Run, Severity, Verdict

_MOST_LINES = 20


def comparison_columns(entries: Sequence[ComparisonEntry]) -> Sequence[Column[ComparisonEntry]]:
    """The columns for these entries: the metric is shown when there are several."""
    one_metric = len({entry.metric for entry in entries}) <= 1
    return (
        Column[ComparisonEntry](title="CASE", value=lambda entry: entry.case.id, wide=True),
        Column[ComparisonEntry](
            title="BENCHMARK",
            value=lambda entry: entry.case.benchmark,
            text=_case,
            whole=True,
            shrink=True,
        ),
        Column[ComparisonEntry](title="PARAMETERS", value=_parameters, wide=True),
        Column[ComparisonEntry](title="DEVICE", value=lambda entry: entry.device, wide=True),
        Column[ComparisonEntry](title="MODE", value=lambda entry: word(TimingMode, entry.mode), wide=True),
        Column[ComparisonEntry](title="METRIC", value=lambda entry: entry.metric, wide=one_metric),
        Column[ComparisonEntry](title="UNIT", value=lambda entry: entry.unit, wide=True),
        Column[ComparisonEntry](title="BETTER", value=lambda entry: word(Better, entry.better), wide=True),
        Column[ComparisonEntry](title="BASE", value=lambda entry: _value(entry.base), text=_base, right=True),
        Column[ComparisonEntry](title="HEAD", value=lambda entry: _value(entry.head), text=_head, right=True),
        Column[ComparisonEntry](title="CHANGE", value=_change, text=lambda entry: change(_change(entry)), right=True),
        Column[ComparisonEntry](
            title="LOW", field="change_low", value=_low, text=lambda entry: change(_low(entry)), wide=True
        ),
        Column[ComparisonEntry](
            title="HIGH", field="change_high", value=_high, text=lambda entry: change(_high(entry)), wide=True
        ),
        Column[ComparisonEntry](title="95 % INTERVAL", field="interval", value=_interval, right=True),
        Column[ComparisonEntry](
            title="VERDICT", value=_verdict, text=_judged, whole=True, style=lambda entry: style_of(_verdict(entry))
        ),
        Column[ComparisonEntry](title="SEVERITY", value=lambda entry: word(Severity, entry.severity), wide=True),
        Column[ComparisonEntry](title="REASON", value=lambda entry: word(VerdictReason, entry.reason), wide=True),
        Column[ComparisonEntry](title="CAUSE", value=lambda entry: word(CauseKind, entry.cause), wide=True),
        Column[ComparisonEntry](title="BASE RUN", value=lambda entry: short_id(entry.base.run), wide=True),
        Column[ComparisonEntry](title="HEAD RUN", value=lambda entry: short_id(entry.head.run), wide=True),
        Column[ComparisonEntry](title="REGRESSION", value=lambda entry: short_id(entry.regression), wide=True),
    )


def notable(comparison: Comparison) -> list[ComparisonEntry]:
    """The entries that need somebody: regressed ones worst first, then inconclusive ones that decide."""
    regressed = [entry for entry in comparison.entries if entry.verdict == Verdict.VERDICT_REGRESSED]
    open_questions = [
        entry for entry in comparison.entries if entry.verdict == Verdict.VERDICT_INCONCLUSIVE and entry.primary
    ]
    return [
        *sorted(regressed, key=lambda entry: (not entry.primary, -entry.severity, -abs(entry.change))),
        *open_questions,
    ]


def verdict_lines(comparison: Comparison, run: Run | None) -> list[str]:
    """Which benchmark, how much, how bad, why, and how to see it again; then the environment's differences."""
    entries = notable(comparison)
    lines: list[str] = []
    for entry in entries[:_MOST_LINES]:
        lines += _entry_lines(entry, run)
    if len(entries) > _MOST_LINES:
        lines.append(f"  and {len(entries) - _MOST_LINES} more; -o wide or -o json shows all of them")
    for difference in comparison.differences:
        mark = " (not comparable)" if difference.decisive else ""
        lines.append(f"  environment: {difference.fact} {difference.base or '?'} -> {difference.head or '?'}{mark}")
    return lines


def _entry_lines(entry: ComparisonEntry, run: Run | None) -> list[str]:
    regression = f"  regression {short_id(entry.regression)}" if entry.regression else ""
    severity = word(Severity, entry.severity)
    kind = "" if entry.primary else " (secondary)"
    how_much = (
        f"{change(_change(entry))} {change_interval(_low(entry), _high(entry))}" if _change(entry) is not None else ""
    )
    head = " ".join(filter(None, (_verdict(entry), severity, entry.case.id, f"{entry.metric}{kind}", how_much)))
    lines = [f"  {head}{regression}"]
    cause, reason = word(CauseKind, entry.cause), word(VerdictReason, entry.reason)
    why = "; ".join(
        filter(None, (f"cause: {cause}" if cause else "", f"reason: {reason}" if reason else "", entry.explanation))
    )
    if why:
        lines.append(f"    {why}")
    if entry.recommendation:
        lines.append(f"    next: {entry.recommendation}")
    if entry.verdict == Verdict.VERDICT_REGRESSED and (reproduce := reproduce_command(run, entry)):
        lines.append(f"    reproduce: {reproduce}")
    return lines


def _case(entry: ComparisonEntry) -> str:
    return case_text(entry.case.benchmark, _parameters(entry))


def _parameters(entry: ComparisonEntry) -> str:
    return parameters_text(entry.case.id, entry.case.parameters)


def _value(side: ComparisonSide) -> float | None:
    return side.value if side.HasField("value") else None


def _base(entry: ComparisonEntry) -> str:
    return quantity(_value(entry.base), entry.unit)


def _head(entry: ComparisonEntry) -> str:
    return quantity(_value(entry.head), entry.unit)


def _change(entry: ComparisonEntry) -> float | None:
    return entry.change if entry.HasField("change") else None


def _low(entry: ComparisonEntry) -> float | None:
    return entry.change_low if entry.HasField("change_low") else None


def _high(entry: ComparisonEntry) -> float | None:
    return entry.change_high if entry.HasField("change_high") else None


def _interval(entry: ComparisonEntry) -> str | None:
    low, high = _low(entry), _high(entry)
    return None if low is None or high is None else change_interval(low, high)


def _verdict(entry: ComparisonEntry) -> str:
    return word(Verdict, entry.verdict)


def _judged(entry: ComparisonEntry) -> str:
    return f"{_verdict(entry)} {word(Severity, entry.severity)}".rstrip()
