"""Decisions that need no state: pace, host state, schedule grid, the worst outcome, suites, plans."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.collector.core.endings import worst
from tesserabench.collector.core.hosts import HostState, state_of
from tesserabench.collector.core.pace import HOSTS_PER_SECOND, pace_of
from tesserabench.collector.core.schedules import next_on_grid
from tesserabench.collector.core.siblings import class_of
from tesserabench.collector.core.spec import ParameterOverride, RunSpec
from tesserabench.collector.core.suites import KnownSuite, check_spec
from tesserabench.collector.errors import InvalidArgumentError
from tesserabench.collector.store.tables import Series
from tesserabench.collector.store.words import Outcome
from tesserabench.wire.reasons import Reason

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
CORE = KnownSuite(
    name="core",
    info={},
    hosts=("alpha",),
    benchmarks={"gemm": frozenset({"m", "n", "dtype"}), "copy": frozenset({"size"})},
)


@pytest.mark.parametrize(("hosts", "heartbeat"), [(0, 10), (1, 10), (500, 10), (5000, 100)])
def test_heartbeats_become_rarer_as_the_fleet_grows(hosts: int, heartbeat: float) -> None:
    pace = pace_of(hosts, 10, 30)
    assert pace.heartbeat_seconds == heartbeat
    assert pace.lease_seconds == 3 * heartbeat
    assert hosts / pace.heartbeat_seconds <= HOSTS_PER_SECOND


@pytest.mark.parametrize(
    ("alive", "no_work", "busy", "state"),
    [
        (True, False, False, HostState.READY),
        (True, False, True, HostState.BUSY),
        (True, True, True, HostState.UNREADY),
        (False, True, True, HostState.UNREACHABLE),
    ],
)
def test_host_state(alive: bool, no_work: bool, busy: bool, state: HostState) -> None:
    assert state_of(lease_alive=alive, takes_no_work=no_work, busy=busy) is state


@given(st.integers(60, 10**6), st.integers(-(10**6), 10**8))
def test_the_next_time_is_on_the_grid_and_the_first_after_now(interval: int, passed: int) -> None:
    now = NOON + timedelta(seconds=passed)
    following = next_on_grid(NOON, interval, now)
    assert following > now
    assert (following - NOON) % timedelta(seconds=interval) == timedelta(0)
    assert following >= NOON
    assert following == NOON or following - timedelta(seconds=interval) <= now


def test_the_worst_outcome_is_told_and_cancelling_explains_the_rest() -> None:
    assert worst([]) is Outcome.OK
    assert worst([Outcome.OK, Outcome.TIMEOUT, Outcome.OK]) is Outcome.TIMEOUT
    assert worst([Outcome.DEVICE_LOST, Outcome.CANCELLED]) is Outcome.CANCELLED
    assert {worst([outcome]) for outcome in Outcome} == set(Outcome)


def test_an_unknown_suite_is_refused_with_near_names() -> None:
    with pytest.raises(InvalidArgumentError, match="did you mean core") as caught:
        check_spec(RunSpec(suite="cord"), {"core": CORE})
    assert caught.value.reason is Reason.UNKNOWN_SUITE


def test_any_suite_goes_while_no_host_is_known() -> None:
    check_spec(RunSpec(suite="anything"), {})


@pytest.mark.parametrize("parameter", ["m", "gemm.m", "copy.size", "size"])
def test_a_known_parameter_passes(parameter: str) -> None:
    check_spec(RunSpec(suite="core", overrides=(ParameterOverride(parameter=parameter, value="1"),)), {"core": CORE})


@pytest.mark.parametrize(
    ("parameter", "part"),
    [
        ("k", "no benchmark of suite core has a parameter 'k'"),
        ("gemm.size", "benchmark gemm has no parameter 'size'"),
        ("gem.m", "did you mean gemm?"),
        ("sise", "did you mean size?"),
    ],
)
def test_an_unknown_parameter_is_refused_with_what_is_known(parameter: str, part: str) -> None:
    spec = RunSpec(suite="core", overrides=(ParameterOverride(parameter=parameter, value="1"),))
    with pytest.raises(InvalidArgumentError) as caught:
        check_spec(spec, {"core": CORE})
    assert part in caught.value.message
    assert caught.value.reason is Reason.UNKNOWN_PARAMETER
    assert caught.value.violations[0].field == "spec.overrides[0].parameter"


def test_a_drill_must_name_a_benchmark_of_the_suite() -> None:
    check_spec(RunSpec(suite="core", drill={"gemm": 1.1}), {"core": CORE})
    with pytest.raises(InvalidArgumentError, match=r"spec\.drill: 'gem'.*did you mean gemm"):
        check_spec(RunSpec(suite="core", drill={"gem": 1.1}), {"core": CORE})


@pytest.mark.parametrize(
    ("suite", "benchmark", "expected"),
    [
        ("memory", "triad", "memory"),
        ("gemm", "matmul", "compute"),
        ("fft", "c2c", "compute"),
        ("primitives", "sort", "memory"),
        ("core", "gemm/matmul", "compute"),
        ("kernels", "softmax", "softmax"),
    ],
)
def test_devices_are_compared_by_what_a_suite_tests(suite: str, benchmark: str, expected: str) -> None:
    assert class_of(Series(suite=suite, benchmark=benchmark)) == expected
