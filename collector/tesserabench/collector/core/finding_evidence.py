"""What a finding shows of a series, as `tesserabench.v1.ComparisonEntry` in JSON."""

from collections.abc import Mapping
from typing import Any

from tesserabench.analysis.wording import percent
from tesserabench.collector.store.history_tables import ChangePoint
from tesserabench.collector.store.tables import Regression, Series
from tesserabench.collector.store.words import CauseWord, Severity
from tesserabench.wire.names import run_name

DRIFT = "drift"

FOUND_BY = "found_by"
HISTORY = "history"
"""In a finding's attribution: the history alone found it, no comparison of runs did."""


def named(series: Series) -> dict[str, Any]:
    """What names a series."""
    return {
        "case": {
            "id": series.case_id,
            "suite": series.suite,
            "benchmark": series.benchmark,
            "parameters": dict(series.parameters),
        },
        "mode": f"TIMING_MODE_{series.mode.upper()}" if series.mode else "TIMING_MODE_UNSPECIFIED",
        "metric": series.metric,
        "unit": series.unit,
        "better": f"BETTER_{series.better.upper()}",
        "primary": series.primary,
        "device": series.device_key,
    }


_ADVICE = {
    CauseWord.ENVIRONMENT: "It is not the code: look at what changed in the environment; accept what is to stay.",
    CauseWord.HOST: "It is not the code: look at the machine, and take it out of use until it is well.",
}


def told(regression: Regression) -> Mapping[str, Any]:
    """The evidence with advice that suits the cause: the comparison gave its own before that was known."""
    if not regression.evidence or regression.cause not in _ADVICE:
        return regression.evidence
    return {**regression.evidence, "recommendation": _ADVICE[CauseWord(regression.cause)]}


def severity_of(change: ChangePoint) -> Severity:
    """How bad a change is; minor when it is below every limit."""
    return Severity(change.severity) if change.severity else Severity.MINOR


def worsening(change: ChangePoint) -> float:
    """How much worse: a time that doubles and a rate that halves are both 1."""
    return change.change if change.change >= 0 else 1 / (1 + change.change) - 1


def of_change(change: ChangePoint, series: Series) -> dict[str, Any]:
    """A change in a history."""
    return named(series) | {
        "base": _side(change.before_run_id, change.before_level),
        "head": _side(change.run_id, change.after_level),
        "change": change.change,
        "verdict": "VERDICT_REGRESSED",
        "severity": f"SEVERITY_{severity_of(change).upper()}",
        "explanation": sentence(change, series),
    }


def sentence(change: ChangePoint, series: Series) -> str:
    """What the history shows, for people: by how much, from which run on, and how sure its place is."""
    how = "crept by" if change.kind == DRIFT else "changed by"
    ends = [run_id for run_id in (change.earliest_run_id, change.latest_run_id) if run_id is not None]
    spread = f", somewhere from {run_name(min(ends))} to {run_name(max(ends))}" if len(set(ends)) > 1 else ""
    size = f"{series.metric} {how} {percent(change.change)}"
    return f"The history shows it: {size} from {run_name(change.run_id)} on{spread}."


def _side(run_id: int | None, value: float) -> Mapping[str, Any]:
    return {"value": value} | ({"run": run_name(run_id)} if run_id is not None else {})
