"""Comparisons: the table of series, and the lines that say which of them need somebody."""

from collections.abc import Sequence

from tesserabench.cli.output.table import Column, clean
from tesserabench.cli.output.words import word
from tesserabench.cli.parsing import short_id
from tesserabench.cli.reproduce import reproduce_command
from tesserabench.cli.views.verdicts import case_text, parameters_text, style_of
from tesserabench.report.quantity import change, change_interval, quantity
from tesserabench.v1.comparison_pb2 import (
    CauseKind,
    Comparison,
    ComparisonEntry,
    ComparisonSide,
    QualityAnswer,
    QualityLine,
    VerdictReason,
)
from tesserabench.v1.measurement_pb2 import Better, TimingMode
from tesserabench.v1.run_pb2 import Run, Severity, Verdict

_ANSWERS = {
    QualityAnswer.QUALITY_ANSWER_FAIL: "beyond a limit",
    QualityAnswer.QUALITY_ANSWER_UNKNOWN: "limit not checked",
}
_MOST_LINES = 20
_MOST_CASES = 3


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
        Column[ComparisonEntry](title="P", field="p_value", value=_p_value, text=_share, right=True, wide=True),
        Column[ComparisonEntry](title="Q", field="q_value", value=_q_value, text=_share_q, right=True, wide=True),
        Column[ComparisonEntry](
            title="VERDICT", value=_verdict, text=_judged, whole=True, style=lambda entry: style_of(_verdict(entry))
        ),
        Column[ComparisonEntry](title="SEVERITY", value=lambda entry: word(Severity, entry.severity), wide=True),
        Column[ComparisonEntry](
            title="CONFIRMED",
            value=lambda entry: entry.confirmed,
            text=lambda entry: "yes" if entry.confirmed else "",
            wide=True,
        ),
        Column[ComparisonEntry](title="REASON", value=lambda entry: word(VerdictReason, entry.reason), wide=True),
        Column[ComparisonEntry](title="CAUSE", value=lambda entry: word(CauseKind, entry.cause), wide=True),
        Column[ComparisonEntry](title="BASE RUN", value=lambda entry: short_id(entry.base.run), wide=True),
        Column[ComparisonEntry](title="HEAD RUN", value=lambda entry: short_id(entry.head.run), wide=True),
        Column[ComparisonEntry](title="REGRESSION", value=lambda entry: short_id(entry.regression), wide=True),
        Column[ComparisonEntry](title="RULE", value=lambda entry: entry.rule, wide=True),
    )


def shown_entries(comparison: Comparison, *, every: bool) -> list[ComparisonEntry]:
    """The entries for a table: those that decide, or `every` one of them."""
    return [entry for entry in comparison.entries if every or entry.primary]


def regressed_entries(comparison: Comparison) -> list[ComparisonEntry]:
    """The entries that decided a regression, worst first."""
    found = [entry for entry in comparison.entries if entry.primary and _is(entry, Verdict.VERDICT_REGRESSED)]
    return sorted(found, key=lambda entry: (-entry.severity, -abs(entry.change)))


def verdict_lines(comparison: Comparison, run: Run | None) -> list[str]:
    """Which benchmark, how much, how bad, why, and how to see it again; then what could not be told, and why."""
    regressed = regressed_entries(comparison)
    lines = [line for entry in regressed[:_MOST_LINES] for line in _regressed_lines(entry, comparison, run)]
    if len(regressed) > _MOST_LINES:
        lines.append(f"  and {len(regressed) - _MOST_LINES} more; -o wide or -o json shows all of them")
    # What belongs to a finding is told with it: one that was answered is not brought up again by what moved with it.
    answered = [entry for entry in comparison.entries if entry.primary and entry.regression]
    lines += _secondary_lines(comparison, {_series(entry) for entry in (*regressed, *answered)})
    lines += _inconclusive_lines(comparison)
    lines += [f"  note: {note}" for note in comparison.notes]
    lines += _limit_lines(comparison)
    for difference in comparison.differences:
        mark = " (not comparable)" if difference.decisive else ""
        lines.append(f"  environment: {difference.fact} {difference.base or '?'} -> {difference.head or '?'}{mark}")
    if comparison.policy:
        lines.append(f"  policy: {_policy(comparison.policy)}")
    # Names come from result files and from other people's runs.
    return [clean(line) for line in lines]


def _regressed_lines(entry: ComparisonEntry, comparison: Comparison, run: Run | None) -> list[str]:
    regression = f"  regression {short_id(entry.regression)}" if entry.regression else ""
    severity = word(Severity, entry.severity)
    head = " ".join(filter(None, ("regressed", severity, entry.case.id, _how_much(entry))))
    lines = [f"  {head}{regression}"]
    if cause := word(CauseKind, entry.cause):
        lines.append(f"    cause: {cause}")
    if entry.explanation:
        lines.append(f"    {entry.explanation}")
    lines += [f"    {note}" for note in entry.notes]
    others = [item for item in comparison.entries if not item.primary and _series(item) == _series(entry)]
    also = [_how_much(item) for item in others if _is(item, Verdict.VERDICT_REGRESSED)]
    if also:
        lines.append(f"    also: {', '.join(also)}")
    if entry.recommendation:
        lines.append(f"    next: {entry.recommendation}")
    if reproduce := reproduce_command(run, entry):
        lines.append(f"    reproduce: {reproduce}")
    return lines


def _secondary_lines(comparison: Comparison, told: set[tuple[str, int, str]]) -> list[str]:
    """A line for every secondary metric that became worse although what decides did not."""
    return [
        f"  worse, but not deciding: {entry.case.id} {_how_much(entry)}"
        for entry in comparison.entries
        if not entry.primary and _is(entry, Verdict.VERDICT_REGRESSED) and _series(entry) not in told
    ][:_MOST_LINES]


def _inconclusive_lines(comparison: Comparison) -> list[str]:
    """The open questions, those with the same answer together."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for entry in comparison.entries:
        if entry.primary and _is(entry, Verdict.VERDICT_INCONCLUSIVE):
            key = (word(VerdictReason, entry.reason), entry.explanation, entry.recommendation)
            groups.setdefault(key, []).append(entry.case.id)
    lines: list[str] = []
    for (reason, explanation, recommendation), cases in groups.items():
        more = f" and {len(cases) - _MOST_CASES} more" if len(cases) > _MOST_CASES else ""
        lines.append(f"  inconclusive: {', '.join(cases[:_MOST_CASES])}{more}")
        if why := "; ".join(filter(None, (f"reason: {reason}" if reason else "", explanation))):
            lines.append(f"    {why}")
        if recommendation:
            lines.append(f"    next: {recommendation}")
    return lines


def _policy(name: str) -> str:
    """A revision by its number, and how to read it; a file by its name."""
    return f"revision {short_id(name)} (tbctl policy get {short_id(name)})" if name.startswith("projects/") else name


def _limit_lines(comparison: Comparison) -> list[str]:
    """The absolute limits that do not hold or could not be checked, and the share of all of them that holds."""
    lines = []
    for entry in comparison.entries:
        for limit in entry.quality:
            answer = _ANSWERS.get(limit.answer)
            if answer is None:
                continue
            value = quantity(limit.value, entry.unit) if limit.HasField("value") else "not measured"
            rule = f" (rule {limit.rule!r})" if limit.rule else ""
            lines.append(f"  {answer}: {entry.case.id} {entry.metric} {value}, {_bounds(entry, limit)}{rule}")
    if comparison.HasField("quality_score"):
        lines.append(f"  limits that hold: {100 * comparison.quality_score:.0f} % by weight")
    return lines


def _bounds(entry: ComparisonEntry, limit: QualityLine) -> str:
    ends = [f"at least {quantity(limit.minimum, entry.unit)}"] if limit.HasField("minimum") else []
    ends += [f"at most {quantity(limit.maximum, entry.unit)}"] if limit.HasField("maximum") else []
    return " and ".join(ends)


def _how_much(entry: ComparisonEntry) -> str:
    if _change(entry) is None:
        return entry.metric
    low, high = _low(entry), _high(entry)
    ends = "" if low is None or high is None else f" {change_interval(low, high)}"
    return f"{entry.metric} {change(_change(entry))}{ends}"


def _series(entry: ComparisonEntry) -> tuple[str, int, str]:
    return entry.case.id, entry.mode, entry.device


def _is(entry: ComparisonEntry, verdict: Verdict.ValueType) -> bool:
    return entry.verdict == verdict


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


def _p_value(entry: ComparisonEntry) -> float | None:
    return entry.p_value if entry.HasField("p_value") else None


def _q_value(entry: ComparisonEntry) -> float | None:
    return entry.q_value if entry.HasField("q_value") else None


def _share(entry: ComparisonEntry) -> str:
    return _rounded(_p_value(entry))


def _share_q(entry: ComparisonEntry) -> str:
    return _rounded(_q_value(entry))


def _rounded(probability: float | None) -> str:
    return "" if probability is None else f"{probability:.2g}"


def _verdict(entry: ComparisonEntry) -> str:
    return word(Verdict, entry.verdict)


def _judged(entry: ComparisonEntry) -> str:
    return f"{_verdict(entry)} {word(Severity, entry.severity)}".rstrip()
