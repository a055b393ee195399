"""Every suite verified on the device: outcomes, what each case cost beyond its samples."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from support.gpu_section import Line, run_section
from tesserabench.bench import Measurement, MeasureOptions, Outcome, TrialResult, run_locally, suites
from tesserabench.bench.vocabulary import DeviceKind

SECTION = "suites"
LIMIT_SECONDS = 86.0
REPEATED = {"core", "llm"}
"""Suites of other suites' benchmarks come last, and may be left out."""
FINE = {Outcome.OK, Outcome.UNSUPPORTED}


def overhead_seconds(item: Measurement) -> float | None:
    """Return what a case took beside its timed samples, or None when it took none."""
    if item.sampling is None or item.ended_monotonic_ns is None or item.started_monotonic_ns is None:
        return None
    return (item.ended_monotonic_ns - item.started_monotonic_ns) / 1e9 - item.sampling.elapsed_seconds


def of_suite(name: str, result: TrialResult) -> Iterator[Line]:
    counts = Counter(str(item.outcome) for item in result.measurements)
    wrong = [item for item in result.measurements if item.outcome not in FINE]
    told = "; ".join(f"{item.case_id}: {item.outcome}: {item.reason}" for item in wrong[:3])
    yield Line(
        section=SECTION,
        name=f"{name}: cases that are right",
        value=counts["ok"],
        unit=f"of {len(result.measurements)}",
        goal="none wrong",
        holds=not wrong and result.outcome is Outcome.OK and not result.not_run,
        remark=(
            told
            or result.reason
            or " ".join(f"{count} {outcome}" for outcome, count in counts.items() if outcome != "ok")
        )[:300],
    )


def measure() -> Iterator[Line]:
    """One suite after the other, the smallest tier, until the time is up."""
    started = time.monotonic()
    options = replace(
        MeasureOptions.for_tier("smoke"), budget_seconds=0.1, warmup_cap_seconds=0.1, probe_ceilings=False
    )
    spent: list[float] = []
    for suite in sorted(suites(), key=lambda suite: suite.name in REPEATED):
        if DeviceKind.CUDA not in suite.devices:
            continue
        if time.monotonic() - started > LIMIT_SECONDS:
            held = None if suite.name in REPEATED else False
            yield Line(section=SECTION, name=suite.name, value=None, unit="", holds=held, remark="no time left")
            continue
        try:
            result = run_locally(suite.name, device="cuda", tier="smoke", options=options)
        except Exception as error:  # noqa: BLE001 - the other suites are still worth having
            remark = f"{type(error).__name__}: {error}"[:300]
            yield Line(section=SECTION, name=suite.name, value=None, unit="", holds=False, remark=remark)
            continue
        spent.extend(cost for item in result.measurements if (cost := overhead_seconds(item)) is not None)
        yield from of_suite(suite.name, result)
    if spent:
        yield Line(section=SECTION, name="cost of a case beside its samples, median", value=median(spent), unit="s")


if __name__ == "__main__":
    run_section(measure)
