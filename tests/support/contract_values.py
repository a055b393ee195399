"""Values of the contract that tests need again and again: runs, results, comparisons."""

from collections.abc import Mapping
from datetime import UTC, datetime

from tesserabench.v1.comparison_pb2 import CauseKind, Comparison, ComparisonEntry, ComparisonSide, VerdictReason
from tesserabench.v1.measurement_pb2 import (
    Better,
    Case,
    CaseResult,
    Measurement,
    Outcome,
    Samples,
    Statistics,
    TimingMode,
)
from tesserabench.v1.result_service_pb2 import Result
from tesserabench.v1.run_pb2 import Progress, Revision, Run, RunSpec, RunState, Severity, Tier, Verdict

START = datetime(2030, 1, 31, 18, 0, 0, tzinfo=UTC)

_SEVERITIES = {"minor": 0.03, "major": 0.07, "critical": 0.12, "": 0.01}


def a_case(*, m: int = 512, benchmark: str = "gemm/matmul") -> Case:
    """A case of a matrix product."""
    parameters = {"m": str(m), "n": str(m), "k": str(m), "dtype": "float32"}
    inside = ",".join(f"{name}={value}" for name, value in parameters.items())
    return Case(id=f"{benchmark}[{inside}]", suite="gemm", benchmark=benchmark, parameters=parameters)


def a_run(
    *,
    state: str = "finished",
    outcome: str = "ok",
    verdict: str = "",
    severity: str = "",
    failures: Mapping[str, int] | None = None,
    reason: str = "",
    number: int = 42,
) -> Run:
    """A run of the suite gemm on the branch main."""
    run = Run(
        name=f"runs/{number}",
        project="default",
        spec=RunSpec(suite="gemm", tier=Tier.TIER_REGRESSION, device="cuda", seed=7),
        revision=Revision(commit="abc1234def5678", branch="main"),
        state=RunState.Value(f"RUN_STATE_{state.upper()}"),
        reason=reason,
        failures=dict(failures or {}),
        progress=Progress(cases_done=2, cases_total=2),
    )
    if state == "finished":
        run.outcome = Outcome.Value(f"OUTCOME_{outcome.upper()}")
        run.start_time.FromDatetime(START)
        run.end_time.FromDatetime(START.replace(minute=1, second=5))
    else:
        run.progress.current_case, run.progress.phase, run.progress.cases_done = a_case().id, "measure", 1
    if verdict:
        run.verdict = Verdict.Value(f"VERDICT_{verdict.upper()}")
    if severity:
        run.severity = Severity.Value(f"SEVERITY_{severity.upper()}")
    run.create_time.FromDatetime(START)
    return run


def a_result(
    *, m: int = 512, trial: int = 0, median_ns: float = 1_234_000.0, outcome: str = "ok", host: str = "gpu-07"
) -> Result:
    """What a case of a matrix product gave."""
    result = Result(
        run="runs/42",
        host=host,
        device_uuid="GPU-1",
        device_model="NVIDIA H100",
        trial=trial,
        epoch=1,
        result=CaseResult(
            case=a_case(m=m), mode=TimingMode.TIMING_MODE_HOT, outcome=Outcome.Value(f"OUTCOME_{outcome.upper()}")
        ),
    )
    if outcome != "ok":
        result.result.reason = "relative error 0.5 is above 1e-3; the kernel is wrong"
        return result
    result.result.ceiling_ratio, result.result.ceiling = 0.83, "flops:float32"
    result.result.measurements.extend(
        (
            Measurement(
                metric="time",
                unit="ns",
                better=Better.BETTER_LOWER,
                primary=True,
                value=median_ns,
                ci_low=median_ns * 0.99,
                ci_high=median_ns * 1.01,
                statistics=Statistics(count=30, median=median_ns),
                samples=Samples(values=[median_ns - 1, median_ns, median_ns + 1]),
            ),
            Measurement(
                metric="throughput", unit="FLOP/s", better=Better.BETTER_HIGHER, value=2 * m**3 / median_ns * 1e9
            ),
        )
    )
    return result


def an_entry(
    *, verdict: str = "pass", severity: str = "", reason: str = "", m: int = 512, primary: bool = True
) -> ComparisonEntry:
    """A series on both sides; the change fits the severity."""
    change = _SEVERITIES[severity] if verdict == "regressed" else 0.001
    base = 1_000_000.0
    entry = ComparisonEntry(
        case=a_case(m=m),
        mode=TimingMode.TIMING_MODE_HOT,
        metric="time",
        unit="ns",
        better=Better.BETTER_LOWER,
        primary=primary,
        device="NVIDIA H100",
        base=ComparisonSide(run="runs/41", commit="1111111aaa", host="gpu-07", value=base, launches=3, samples=90),
        head=ComparisonSide(
            run="runs/42", commit="abc1234def5678", host="gpu-07", value=base * (1 + change), launches=3, samples=90
        ),
        change=change,
        change_low=change - 0.004,
        change_high=change + 0.004,
        minimum_effect=0.02,
        verdict=Verdict.Value(f"VERDICT_{verdict.upper()}"),
    )
    if severity:
        entry.severity = Severity.Value(f"SEVERITY_{severity.upper()}")
    if reason:
        entry.reason = VerdictReason.Value(f"VERDICT_REASON_{reason.upper()}")
    if verdict == "regressed":
        entry.regression, entry.cause = "regressions/7", CauseKind.CAUSE_KIND_CODE
        entry.explanation = "seen again in a second launch on the same host"
    return entry


def a_comparison(*entries: ComparisonEntry, verdict: str = "pass", severity: str = "", summary: str = "") -> Comparison:
    """A comparison of run 41 with run 42."""
    comparison = Comparison(base="run:41", head="run:42", entries=entries, summary=summary)
    comparison.verdict = Verdict.Value(f"VERDICT_{verdict.upper()}")
    if severity:
        comparison.severity = Severity.Value(f"SEVERITY_{severity.upper()}")
    return comparison
