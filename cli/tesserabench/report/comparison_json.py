"""Comparisons in protobuf's JSON mapping with the wire contract's field names, as they are stored and shown.

The collector stores them and `tbctl` makes them from files, so that both say the same.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tesserabench.analysis.compare import Comparison, Entry
from tesserabench.analysis.environment import Difference
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.looks import LookSeen
from tesserabench.analysis.quality import QualityLine, quality_score
from tesserabench.analysis.results import SeriesKey
from tesserabench.analysis.side_summary import SideSummary
from tesserabench.wire.names import regression_name


def comparison_json(
    comparison: Comparison, now: datetime, regressions: Mapping[SeriesKey, int] | None = None
) -> dict[str, Any]:
    """A `tesserabench.v1.Comparison`.

    Args:
        comparison: What was found.
        now: When it was judged.
        regressions: Regressions that entries belong to.
    """
    known = regressions or {}
    entries = [entry_json(entry, known.get(entry.series.key)) for entry in comparison.entries]
    return _without_empty(
        {
            "base": comparison.base,
            "head": comparison.head,
            "entries": entries,
            "verdict": _enum("VERDICT", comparison.verdict),
            "severity": _enum("SEVERITY", comparison.severity),
            "summary": comparison.summary,
            "differences": [_difference(difference) for difference in comparison.differences],
            "create_time": now.isoformat().replace("+00:00", "Z"),
            "policy": comparison.policy,
            "quality_score": quality_score([entry.quality for entry in comparison.entries if entry.quality]),
            "notes": list(comparison.notes),
        }
    )


def entry_json(entry: Entry, regression: int | None = None) -> dict[str, Any]:
    """A `tesserabench.v1.ComparisonEntry`."""
    series, judgement = entry.series, entry.judgement
    return _without_empty(
        {
            "case": _without_empty(
                {
                    "id": series.key.case_id,
                    "suite": series.suite,
                    "benchmark": series.benchmark,
                    "parameters": dict(series.parameters),
                }
            ),
            "mode": _enum("TIMING_MODE", series.key.mode),
            "metric": series.key.metric,
            "unit": series.unit,
            "better": _enum("BETTER", series.side.better),
            "primary": series.primary,
            "device": series.key.device,
            "base": _side(entry.base),
            "head": _side(entry.head),
            "change": judgement.change,
            "change_low": judgement.change_low,
            "change_high": judgement.change_high,
            "p_value": judgement.p_value,
            "q_value": judgement.q_value,
            "confirmed": judgement.confirmed,
            "smallest_visible_change": judgement.smallest_visible_change,
            "minimum_effect": judgement.minimum_effect,
            "verdict": _enum("VERDICT", judgement.verdict),
            "severity": _enum("SEVERITY", judgement.severity),
            "reason": _enum("VERDICT_REASON", judgement.reason),
            "explanation": judgement.explanation,
            "recommendation": _advice(judgement, regression),
            "regression": None if regression is None else regression_name(regression),
            "rule": entry.rule,
            "quality": [_quality(entry.quality)] if entry.quality else [],
            # What looking again on several hosts says goes before what moved beside the change.
            "cause": "CAUSE_KIND_HOST" if judgement.points_at_host else _enum("CAUSE_KIND", judgement.cause_hint),
            "notes": list(judgement.notes),
            "looks": [_look(look) for look in judgement.looks],
        }
    )


def _advice(judgement: Judgement, regression: int | None) -> str:
    """What to do next; what belongs to a finding is accepted there, and the baseline follows."""
    if regression is None:
        return judgement.recommendation
    accept = f"accept it: tbctl regression accept {regression} --comment 'why'"
    return judgement.recommendation.replace("move the baseline to this run", accept)


def key_of_entry(entry: Mapping[str, Any]) -> SeriesKey:
    """The series that an entry speaks of."""
    return SeriesKey(
        case_id=entry["case"]["id"],
        mode=entry.get("mode", "").removeprefix("TIMING_MODE_").lower(),
        metric=entry.get("metric", ""),
        device=entry.get("device", ""),
    )


def _look(look: LookSeen) -> dict[str, Any]:
    """A `tesserabench.v1.SeriesLook`."""
    return _without_empty(
        {
            "number": look.number,
            "run": look.run,
            "hosts": list(look.hosts),
            "launches": look.launches,
            "interleaved": look.interleaved,
            "verdict": _enum("VERDICT", look.verdict),
            "change": look.change,
            "change_low": look.change_low,
            "change_high": look.change_high,
            "reason": look.why,
        }
    )


def _side(side: SideSummary) -> dict[str, Any]:
    return _without_empty(
        {
            "run": side.run,
            "commit": side.commit,
            "host": side.host,
            "value": side.value,
            "launches": side.launches,
            "samples": side.samples,
            "launch_noise": side.launch_noise,
            "comparability": side.comparability,
        }
    )


def _quality(line: QualityLine) -> dict[str, Any]:
    return _without_empty(
        {
            "minimum": line.limit.minimum,
            "maximum": line.limit.maximum,
            "value": line.value,
            "answer": _enum("QUALITY_ANSWER", line.answer),
            "weight": line.limit.weight,
            "rule": line.rule,
        }
    )


def _difference(difference: Difference) -> dict[str, Any]:
    return _without_empty(
        {
            "fact": difference.fact,
            "base": difference.base,
            "head": difference.head,
            "decisive": difference.decisive,
        }
    )


def _enum(prefix: str, word: str | None) -> str | None:
    return f"{prefix}_{word.upper()}" if word else None


def _without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is unknown, empty or false is left out; a measured zero stays."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {}) and value is not False}
