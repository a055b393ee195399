"""The result of a local trial as the rows of the usual table; reads the library's data without importing it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tesserabench.cli.views.results import ResultRow, rate_of
from tesserabench.cli.views.verdicts import parameters_text


def rows_of_trial(result: Any) -> list[ResultRow]:
    """A row for every measurement of a `tesserabench.bench.TrialResult`, by case id."""
    return [_row(item, result.header) for item in sorted(result.measurements, key=lambda item: item.case_id)]


def _row(item: Any, header: Any) -> ResultRow:
    metrics = {metric.name: metric for metric in item.metrics}
    main = metrics.get("time") or next(iter(_primary_first(item.metrics)), None)
    ratio = metrics.get("ceiling_ratio")
    ceiling = _ceiling(item, metrics, header) if ratio else ""
    rate = rate_of(metrics, ceiling)
    facts = header.environment.facts if header is not None else {}
    return ResultRow(
        case=item.case_id,
        benchmark=item.case.benchmark,
        parameters=parameters_text(item.case_id, {name: str(value) for name, value in item.case.params.items()}),
        mode=str(item.mode),
        host=str(facts.get("hostname", "")),
        device=header.device.model if header is not None else "",
        outcome=str(item.outcome),
        reason=item.reason,
        metric=main.name if main else "",
        unit=main.unit if main else "",
        value=main.value if main else None,
        low=main.ci_low if main else None,
        high=main.ci_high if main else None,
        samples=len(item.samples) or None,
        rate=rate.value if rate else None,
        rate_unit=rate.unit if rate else "",
        ceiling_ratio=ratio.value if ratio else None,
        ceiling=ceiling,
        stop_reason=str(item.sampling.stop_reason) if item.sampling else "",
        flags=" ".join(item.flags),
    )


def _primary_first(metrics: Sequence[Any]) -> list[Any]:
    return sorted(metrics, key=lambda metric: not metric.primary)


def _ceiling(item: Any, metrics: Mapping[str, Any], header: Any) -> str:
    """Which ceiling the ratio is a share of, as the contract spells it: the one that comes out at that share."""
    bandwidth, peak = metrics.get("bandwidth"), header.ceilings.bandwidth if header is not None else None
    share = bandwidth.value / peak if bandwidth and peak else None
    if share is not None and math.isclose(share, metrics["ceiling_ratio"].value, rel_tol=1e-6):
        return "bandwidth"
    return f"flops:{item.dtype}" if item.dtype else ""
