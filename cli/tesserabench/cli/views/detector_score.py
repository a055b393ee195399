"""How right the detector has been."""

from collections.abc import Sequence

from tesserabench.cli.output.table import Column
from tesserabench.cli.output.words import word
from tesserabench.report.quantity import duration
from tesserabench.v1.false_alarms_pb2 import FalseAlarmRate
from tesserabench.v1.regression_service_pb2 import DetectorScoreRow, FindingKind


def score_columns() -> Sequence[Column[DetectorScoreRow]]:
    """Findings by policy, class of hosts and kind."""
    return (
        Column[DetectorScoreRow](title="POLICY", value=lambda row: row.policy or "built in", shrink=True),
        Column[DetectorScoreRow](title="HOST CLASS", value=lambda row: row.host_class or None, shrink=True),
        Column[DetectorScoreRow](title="KIND", value=lambda row: word(FindingKind, row.kind)),
        Column[DetectorScoreRow](title="FOUND", field="findings", value=lambda row: row.findings, right=True),
        Column[DetectorScoreRow](title="RIGHT", value=lambda row: row.right, right=True),
        Column[DetectorScoreRow](title="WRONG", value=lambda row: row.wrong, right=True),
        Column[DetectorScoreRow](
            title="PRECISION",
            value=lambda row: row.precision if row.HasField("precision") else None,
            text=_precision,
            right=True,
        ),
        Column[DetectorScoreRow](title="UNTRIAGED", value=lambda row: row.untriaged, right=True),
        Column[DetectorScoreRow](
            title="TRIAGED IN",
            field="median_seconds_to_triage",
            value=_seconds,
            text=lambda row: "-" if _seconds(row) is None else duration(_seconds(row) or 0.0),
            right=True,
        ),
        Column[DetectorScoreRow](title="OUTCOMES", value=_outcomes, wide=True),
    )


def _precision(row: DetectorScoreRow) -> str:
    if not row.HasField("precision"):
        return "-"
    return f"{row.precision:.0%} ({100 * row.precision_low:.0f} to {row.precision_high:.0%})".replace("%", " %")


def _seconds(row: DetectorScoreRow) -> float | None:
    return row.median_time_to_triage.ToMilliseconds() / 1e3 if row.HasField("median_time_to_triage") else None


def _outcomes(row: DetectorScoreRow) -> str:
    return ", ".join(f"{row.outcomes[state]} {state.replace('_', ' ')}" for state in sorted(row.outcomes))


def rate_sentence(rate: FalseAlarmRate) -> str:
    """What the gate says of identical code on one class of hosts."""
    told = f"False alarms of identical code on {rate.host_class}: {rate.false_alarms} of {rate.comparisons}"
    share = f"{_share(rate.rate)} ({_share(rate.rate_low)} to {_share(rate.rate_high)})"
    raised = f" The smallest change that matters is taken {rate.limit_factor:.1f} times as large there for it."
    return f"{told}, {share}.{raised if rate.limit_factor > 1 else ''}"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
