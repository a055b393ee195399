import math

import pytest
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.sessions import estimate
from tesserabench.analysis.words import Better

POLICY = Policy()
STEPS = (-0.002, -0.001, 0.0, 0.001, 0.002)


def session(run: str, level: float = 0.0, *, place: str = "a", launches: int = 5, spread: float = 1.0) -> list[Launch]:
    return [
        Launch(value=math.exp(level + spread * STEPS[index % 5]), samples=30, place=place, session=run)
        for index in range(launches)
    ]


def side(*sessions: list[Launch], better: Better = Better.LOWER) -> Side:
    return Side(launches=tuple(launch for item in sessions for launch in item), better=better, device_kind="cuda")


def test_more_sessions_of_the_head_leave_what_the_base_was_off_by() -> None:
    base = side(session("b"))
    errors = [
        estimate(base, side(*(session(f"h{index}") for index in range(count))), POLICY, None).error
        for count in (1, 2, 4, 100)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] > errors[0] / math.sqrt(2) * 0.99


def test_more_launches_of_one_session_shrink_less_than_another_session() -> None:
    noise = RunNoise(deviation=0.01, degrees=20.0)
    base = side(session("b"))
    longer = estimate(base, side(session("h", launches=20)), POLICY, noise)
    again = estimate(base, side(session("h", launches=10), session("i", launches=10)), POLICY, noise)
    assert again.error < 0.9 * longer.error


def test_what_a_shared_session_adds_is_in_neither_difference() -> None:
    noise = RunNoise(deviation=0.05, degrees=20.0)
    turns = estimate(side(session("t")), side(session("t", 0.03)), POLICY, noise)
    apart = estimate(side(session("b")), side(session("h", 0.03)), POLICY, noise)
    assert turns.worsening == pytest.approx(0.03)
    assert turns.error < 0.002
    assert apart.error > 0.05


def test_sessions_that_disagree_widen_the_interval() -> None:
    base = side(session("b"))
    alike = estimate(base, side(session("h", 0.05), session("i", 0.05)), POLICY, None)
    apart = estimate(base, side(session("h", 0.00), session("i", 0.10)), POLICY, None)
    assert apart.worsening == pytest.approx(alike.worsening)
    assert apart.error > 3 * alike.error
    assert math.isfinite(apart.degrees)


def test_places_are_compared_with_themselves() -> None:
    base = side(session("b"), session("c", 0.5, place="b"))
    head = side(session("h", 0.02), session("i", 0.54, place="b"))
    found = estimate(base, head, POLICY, None)
    assert found.worsening == pytest.approx(0.03)
    assert not found.elsewhere
    elsewhere = estimate(side(session("b")), side(session("h", place="z")), POLICY, None)
    assert elsewhere.elsewhere
    assert elsewhere.error > 0.03


def test_a_rate_that_falls_is_worse() -> None:
    base, head = side(session("b"), better=Better.HIGHER), side(session("h", -0.1), better=Better.HIGHER)
    assert estimate(base, head, POLICY, None).worsening == pytest.approx(0.1)


def test_few_launches_take_what_is_usual() -> None:
    one = estimate(side(session("b", launches=1)), side(session("h", launches=1)), POLICY, None)
    five = estimate(side(session("b")), side(session("h")), POLICY, None)
    assert one.error > five.error
    # A launch of a GPU by one per cent, a run by half as much again.
    assert one.error == pytest.approx(math.sqrt(2 * (0.01**2 + 0.005**2)))
