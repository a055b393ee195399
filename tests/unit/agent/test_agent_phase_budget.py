"""How long a worker may take for what it is doing."""

from hypothesis import given
from hypothesis import strategies as st
from tesserabench.agent.runner.budget import PhaseClock

LIMITS = {"startup": 60.0, "ceiling": 30.0, "prepare": 20.0, "verify": 10.0, "warmup": 5.0, "shutdown": 2.0}


def clock(case_limit: float | None = None) -> PhaseClock:
    return PhaseClock.started(LIMITS, case_limit, now=100.0)


def test_startup_has_its_own_budget() -> None:
    assert clock().deadline == 160.0
    assert clock().overrun(159.9) is None
    overrun = clock().overrun(160.0)
    assert overrun is not None
    assert overrun.sentence == "phase startup took longer than its 60 s"


def test_settings_bound_every_phase_but_measure_which_follows_the_plan() -> None:
    assert clock().enter("verify", "a", 999, now=110).deadline == 120.0
    assert clock().enter("measure", "a", 33, now=110).deadline == 143.0


def test_overrun_names_case_phase_and_limit() -> None:
    overrun = clock().enter("measure", "gemm/matmul[n=1]", 33, now=110).overrun(143.0)
    assert overrun is not None
    assert overrun.case == "gemm/matmul[n=1]"
    assert overrun.sentence == "phase measure of gemm/matmul[n=1] took longer than its 33 s"


def test_case_limit_runs_over_all_phases_of_a_case() -> None:
    at_verify = clock(case_limit=15).enter("prepare", "a", 0, now=100).enter("verify", "a", 0, now=112)
    assert at_verify.deadline == 115.0
    overrun = at_verify.overrun(115.0)
    assert overrun is not None
    assert "case_timeout" in overrun.sentence
    assert overrun.limit_seconds == 15


def test_case_limit_begins_anew_with_the_next_case() -> None:
    first = clock(case_limit=15).enter("prepare", "a", 0, now=100)
    second = first.leave_case(now=110).enter("prepare", "b", 0, now=111)
    assert second.deadline == 126.0


def test_between_cases_a_worker_may_not_dawdle() -> None:
    assert clock().enter("measure", "a", 33, now=110).leave_case(now=111).deadline == 131.0


def test_ceiling_probe_has_no_case_limit() -> None:
    assert clock(case_limit=1).enter("ceiling", None, 0, now=110).deadline == 140.0


def test_shutdown_ends_soon() -> None:
    assert clock().enter("measure", "a", 33, now=110).shut_down(now=111).deadline == 113.0


@given(
    st.lists(
        st.tuples(st.sampled_from([*LIMITS, "measure"]), st.sampled_from(["a", "b", None]), st.floats(0, 50)),
        max_size=12,
    ),
    st.one_of(st.none(), st.floats(0.1, 100)),
)
def test_overrun_is_exactly_when_the_deadline_has_come(
    steps: list[tuple[str, str | None, float]], case_limit: float | None
) -> None:
    now = 100.0
    current = PhaseClock.started(LIMITS, case_limit, now)
    for phase, case, seconds in steps:
        now += seconds
        current = current.enter(phase, case, 33, now)
        assert current.deadline <= now + 60
        assert current.overrun(current.deadline) is not None
        assert current.overrun(current.deadline - 1e-6) is None
