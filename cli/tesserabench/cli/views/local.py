"""The result of a local trial as the rows of the usual table; reads the library's data without importing it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from tesserabench.cli.views.results import ResultRow, rate_of
from tesserabench.cli.views.verdicts import parameters_text
from tesserabench.report.quantity import change, percent, quantity


def rows_of_trials(results: Sequence[Any]) -> list[ResultRow]:
    """A row for every case of one or several `tesserabench.bench.TrialResult`, by case id.

    Over several trials the value is the median of the trials' medians, the interval spans theirs, and the outcome is
    the first that is not ok.
    """
    groups: dict[tuple[str, str], list[ResultRow]] = {}
    for result in results:
        for item in result.measurements:
            row = _row(item, result.header)
            groups.setdefault((row.case, row.mode), []).append(row)
    return [_joined(group) for _, group in sorted(groups.items())]


def local_lines(rows: Sequence[ResultRow], results: Sequence[Any], *, wide: bool) -> list[str]:
    """What stands below the table: what cannot be done here, and flags; with `wide` also ceilings and kernels."""
    counts: dict[str, int] = {}
    for flag in (flag for row in rows for flag in row.flags.split()):
        counts[flag] = counts.get(flag, 0) + 1
    for flag in (flag for result in results for flag in result.flags):
        counts[flag] = counts.get(flag, 0) + 1
    lines = [f"  flag {flag} ({count} of {len(rows)}): tbctl bench explain {flag}" for flag, count in counts.items()]
    if wide:
        lines += [line for result in results for line in _ceiling_lines(result)]
        lines += list(dict.fromkeys(line for result in results for line in _kernel_lines(result)))
    return lines


def _joined(group: Sequence[ResultRow]) -> ResultRow:
    if len(group) == 1:
        return group[0]
    worst = next((row for row in group if row.outcome != "ok"), group[0])
    measured = [row for row in group if row.value is not None]
    if not measured:
        return replace(worst, trials=len(group))
    values = [row.value for row in measured if row.value is not None]
    lows = [row.value if row.low is None else row.low for row in measured]
    highs = [row.value if row.high is None else row.high for row in measured]
    same = [row for row in measured if row.ceiling == measured[0].ceiling]
    rates = [row.rate for row in same if row.rate is not None]
    ratios = [row.ceiling_ratio for row in same if row.ceiling_ratio is not None]
    return replace(
        measured[0],
        outcome=worst.outcome,
        reason=worst.reason,
        trials=len(group),
        value=median(values),
        low=min(low for low in lows if low is not None),
        high=max(high for high in highs if high is not None),
        samples=sum(row.samples or 0 for row in measured) or None,
        rate=median(rates) if rates else None,
        ceiling_ratio=median(ratios) if ratios else None,
        flags=" ".join(sorted({flag for row in group for flag in row.flags.split()})),
    )


def _ceiling_lines(result: Any) -> list[str]:
    """The probed rates, and how far they moved during the trial."""
    if result.header is None:
        return []
    opening, closing = result.header.ceilings, result.closing
    found = [("copy", "B/s", opening.bandwidth, None if closing is None else closing.bandwidth)]
    found += [
        (f"{dtype} product", "FLOP/s", rate, None if closing is None else closing.flops.get(dtype))
        for dtype, rate in opening.flops.items()
    ]
    lines = []
    for name, unit, first, last in found:
        if first is not None:
            moved = f", {change(last / first - 1)} at the end" if last is not None else ""
            lines.append(f"  ceiling {name}: {quantity(first, unit)}{moved}")
    return lines


def _kernel_lines(result: Any) -> list[str]:
    """What the compiler says of the kernels."""
    lines = []
    for kernel in (kernel for item in result.measurements for kernel in item.kernels):
        facts = (
            ("registers", kernel.registers, ""),
            ("shared", kernel.shared_bytes, " B"),
            ("local", kernel.local_bytes, " B"),
            ("occupancy", None if kernel.occupancy is None else percent(kernel.occupancy), ""),
            ("compiled in", None if not kernel.compile_seconds else f"{kernel.compile_seconds:.2f}", " s"),
        )
        told = ", ".join(f"{name} {value}{unit}" for name, value, unit in facts if value is not None)
        lines.append(f"  kernel {kernel.name}: {told or 'nothing is known'}")
    return lines


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
