import pytest
from tesserabench.analysis.compare import Entry, compare
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import ResultSet, SeriesKey, SeriesResult
from tesserabench.analysis.words import Better, CauseHint, Verdict

STEPS = (0.999, 1.0, 1.001, 0.9995, 1.0005)


def results(**values: float) -> ResultSet:
    """One case with these metrics; `time` decides."""
    return ResultSet(label="x", series=tuple(series(metric, value) for metric, value in values.items()))


def series(metric: str, value: float) -> SeriesResult:
    steps = STEPS if metric in {"time", "cycles"} else (1.0,) * 5
    launches = tuple(Launch(value=value * step, samples=30, place="gpu0", comparability="a") for step in steps)
    better = Better.HIGHER if metric == "occupancy" else Better.LOWER
    return SeriesResult(
        key=SeriesKey(case_id="gemm", mode="cold", metric=metric, device="H100"),
        suite="core",
        benchmark="gemm",
        parameters={},
        unit="",
        primary=metric == "time",
        side=Side(launches=launches, better=better, device_kind="cuda"),
    )


def judged(base: ResultSet, head: ResultSet) -> Entry:
    return next(entry for entry in compare(base, head, Policy()).entries if entry.series.primary)


def test_a_time_that_grew_with_the_same_cycles_is_the_clock() -> None:
    entry = judged(results(time=1.0, cycles=1e6), results(time=1.04, cycles=1.001e6))
    assert entry.judgement.verdict is Verdict.REGRESSED
    assert entry.judgement.cause_hint is CauseHint.ENVIRONMENT
    (note,) = [note for note in entry.judgement.notes if "clock" in note]
    assert "the machine, not the kernel" in note
    assert "the clock -3.8 %" in note
    assert "Lock the clocks" in entry.judgement.recommendation


def test_cycles_that_moved_with_the_time_clear_the_clock_and_blame_nobody() -> None:
    entry = judged(results(time=1.0, cycles=1e6), results(time=1.08, cycles=1.08e6))
    assert entry.judgement.cause_hint is None
    assert any("it is not the clock" in note for note in entry.judgement.notes)


def test_another_kernel_is_told_by_its_registers_and_occupancy() -> None:
    base = results(time=1.0, cycles=1e6, registers=128, occupancy=0.5)
    entry = judged(base, results(time=1.3, cycles=1.3e6, registers=168, occupancy=0.25))
    assert entry.judgement.cause_hint is CauseHint.CODE
    (note,) = [note for note in entry.judgement.notes if "registers" in note]
    assert "registers a thread 128 to 168; occupancy 50 % to 25 %" in note


def test_a_clock_that_fell_goes_before_another_kernel() -> None:
    base = results(time=1.0, cycles=1e6, registers=128)
    entry = judged(base, results(time=1.08, cycles=1.0e6, registers=132))
    assert entry.judgement.cause_hint is CauseHint.ENVIRONMENT


@pytest.mark.parametrize("head", [results(time=1.0, cycles=2e6), results(time=1.001, registers=9)])
def test_what_passes_needs_no_explanation(head: ResultSet) -> None:
    entry = judged(results(time=1.0, cycles=1e6, registers=8), head)
    assert entry.judgement.verdict is Verdict.PASS
    assert entry.judgement.cause_hint is None
    assert not any("kernel" in note for note in entry.judgement.notes)
