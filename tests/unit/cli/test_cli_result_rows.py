from support.contract_values import a_result
from tesserabench.cli.views.results import result_columns, rows_of, trouble_lines
from tesserabench.v1.measurement_pb2 import OUTCOME_UNSUPPORTED, THROTTLE_CLASS_POWER_LIMITED, Measurement, Statistics
from tesserabench.v1.result_service_pb2 import Result


def trial(*, ceiling: str, time: Measurement) -> Result:
    """A trial with a time, 2 GFLOP/s and 3 GB/s."""
    result = a_result()
    result.result.ceiling = ceiling
    del result.result.measurements[:]
    result.result.measurements.extend(
        [
            time,
            Measurement(metric="throughput", unit="FLOP/s", value=2e9),
            Measurement(metric="bandwidth", unit="B/s", value=3e9),
        ]
    )
    return result


def time_of(*, low: float | None, high: float | None) -> Measurement:
    return Measurement(
        metric="time",
        unit="ns",
        primary=True,
        value=100.0,
        ci_low=low,
        ci_high=high,
        statistics=Statistics(count=9, min=80, q1=90, median=100, q3=110, max=150, mean=100),
    )


def test_trials_that_hit_different_ceilings_are_not_mixed() -> None:
    time = time_of(low=95, high=105)
    trials = [trial(ceiling=name, time=time) for name in ("bandwidth", "flops:float32", "flops:float32")]
    (row,) = rows_of(trials, per_trial=False)
    assert (row.rate, row.rate_unit) == (3e9, "B/s")


def test_a_trial_without_an_interval_counts_with_all_its_samples() -> None:
    trials = [trial(ceiling="bandwidth", time=time_of(low=95, high=105)) for _ in range(2)]
    trials.append(trial(ceiling="bandwidth", time=time_of(low=None, high=None)))
    (row,) = rows_of(trials, per_trial=False)
    assert (row.low, row.high) == (80, 150)


def test_one_trial_without_an_interval_shows_none() -> None:
    (row,) = rows_of([trial(ceiling="bandwidth", time=time_of(low=None, high=None))], per_trial=False)
    assert (row.low, row.high) == (None, None)


def test_two_arms_of_one_case_are_two_rows() -> None:
    trials = [trial(ceiling="", time=time_of(low=95, high=105)) for _ in range(4)]
    for item, arm in zip(trials, ("a", "b", "a", "b"), strict=True):
        item.result.arm = arm
    rows = rows_of(trials, per_trial=False)
    assert [(row.arm, row.trials) for row in rows] == [("a", 2), ("b", 2)]
    assert "ARM" in [column.title for column in result_columns(rows)]
    assert "ARM" not in [column.title for column in result_columns(rows_of([a_result()], per_trial=False))]


def test_row_tells_how_a_case_was_timed_and_what_became_of_its_trial() -> None:
    trials = [trial(ceiling="", time=time_of(low=95, high=105)) for _ in range(2)]
    for item in trials:
        del item.result.flags[:]
        item.result.backend = "graph"
    trials[1].result.throttle = THROTTLE_CLASS_POWER_LIMITED
    trials[1].result.flags.append("power_limited")
    trials[1].trial_started.clock_policy = "lock:1410"
    trials[1].trial_finished.flags.append("contended")
    (row,) = rows_of(trials, per_trial=False)
    assert (row.backend, row.throttle, row.clock_policy) == ("graph", "power_limited", "lock:1410")
    assert row.flags == "contended power_limited"


def test_what_cannot_run_here_says_why_once_for_each_reason() -> None:
    trials = [trial(ceiling="", time=time_of(low=95, high=105)) for _ in range(4)]
    for number, item in enumerate(trials[:3]):
        item.result.case.id = f"memory/copy[n={number}]"
        item.result.outcome = OUTCOME_UNSUPPORTED
        item.result.reason = "no tensor cores" if number else "no such mode"
    lines = trouble_lines(rows_of(trials, per_trial=False))
    assert lines == ["  unsupported (1 of 4): no such mode", "  unsupported (2 of 4): no tensor cores"]
