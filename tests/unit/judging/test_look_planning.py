import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.analysis.launch import Launch
from tesserabench.analysis.results import Failure, SeriesKey
from tesserabench.collector.api.translation import gate_of
from tesserabench.collector.core.look_hosts import may_move
from tesserabench.collector.core.look_plan import MOST_LAUNCHES, Costs, LookPlan, Question, plan
from tesserabench.collector.core.look_progress import LookView, progress
from tesserabench.collector.core.looked_at import LookedAt, of_themselves
from tesserabench.collector.core.looks import look_spec, same_code
from tesserabench.collector.core.spec import GateSpec, HostSelector, RunSpec
from tesserabench.collector.errors import InvalidArgumentError
from tesserabench.collector.store.look_tables import Look
from tesserabench.collector.store.tables import Project, Run
from tesserabench.v1 import run_pb2

SPEC = RunSpec(suite="core", trials=5, seed=7, selector=HostSelector(conditions=("gpu=h100",), count=2))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def key(case: str) -> SeriesKey:
    return SeriesKey(case_id=case, mode="cold", metric="time", device="H100")


def ask(case: str, *, suspected: bool = False, severity: int = 0, launches: int | None = None) -> Question:
    return Question(key=key(case), suspected=suspected, severity=severity, launches=launches)


def run(**fields: object) -> Run:
    usual = {"commit": "abc1234", "repository": "", "labels": {}, "drill": False, "spec": SPEC.to_json()}
    return Run(id=1, **(usual | fields))


def chosen(*questions: Question, seconds_left: float | None = None, **seconds: float) -> LookPlan | None:
    costs = Costs(startup_seconds=1.0, case_seconds=seconds)
    return plan(questions, costs, usual_launches=5, seconds_left=seconds_left)


def test_without_a_budget_everything_is_measured_as_often_as_it_takes() -> None:
    found = chosen(ask("a", suspected=True), ask("b", launches=12), ask("c", launches=1000), a=1, b=1, c=1)
    assert found == LookPlan(cases=("a", "b", "c"), launches=MOST_LAUNCHES, expected_seconds=MOST_LAUNCHES * 4.0)


def test_the_most_valuable_question_goes_first_when_time_is_short() -> None:
    questions = (
        ask("dear", severity=3),
        ask("mild", suspected=True, severity=1),
        ask("bad", suspected=True, severity=3),
    )
    # Five launches of one case, or three of two, take 30 s.
    one = chosen(*questions, seconds_left=30, dear=5, mild=5, bad=5)
    assert one is not None
    assert (one.cases, one.launches, one.expected_seconds) == (("bad",), 5, 30.0)
    two = chosen(*questions, seconds_left=55, dear=5, mild=5, bad=5)
    assert two is not None
    assert (two.cases, two.launches) == (("bad", "mild"), 5)


def test_what_does_not_fit_leaves_room_for_what_does() -> None:
    found = chosen(ask("slow", suspected=True), ask("quick"), seconds_left=20, slow=60, quick=1)
    assert found is not None
    assert found.cases == ("quick",)


def test_nothing_fits_into_too_little_time() -> None:
    assert chosen(ask("a", suspected=True), seconds_left=5, a=1) is None
    assert chosen() is None


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.none() | st.integers(1, 60)), min_size=1, max_size=12),
    st.floats(0.1, 60),
    st.floats(1, 3600),
)
def test_a_plan_keeps_its_time_and_asks_nothing_else(
    asked: list[tuple[bool, int, int | None]], seconds: float, left: float
) -> None:
    questions = [
        ask(f"case{index}", suspected=suspected, severity=severity, launches=launches)
        for index, (suspected, severity, launches) in enumerate(asked)
    ]
    costs = Costs(startup_seconds=1.0, case_seconds={"case0": seconds})
    found = plan(questions, costs, usual_launches=5, seconds_left=left)
    if found is None:
        assert costs.of(["case0"], 3) > left
    else:
        assert found.expected_seconds <= left
        assert 3 <= found.launches <= MOST_LAUNCHES
        assert set(found.cases) <= {question.key.case_id for question in questions}
    assert plan(list(reversed(questions)), costs, usual_launches=5, seconds_left=left) == found


@given(st.sets(st.text(min_size=1, max_size=40), min_size=1, max_size=20), st.text(min_size=1, max_size=40))
def test_exactly_the_planned_cases_are_measured(cases: set[str], other: str) -> None:
    planned = LookPlan(cases=tuple(sorted(cases)), launches=5, expected_seconds=0.0)
    spec = look_spec(SPEC, planned, ["n1"], in_turns=False)
    for case in cases:
        assert any(re.search(pattern, case) for pattern in spec.include)
    if other.rstrip("\n") not in {case.rstrip("\n") for case in cases}:
        assert not any(re.search(pattern, other) for pattern in spec.include)


def test_a_look_is_taken_in_another_order_with_the_drill_of_the_run() -> None:
    planned = LookPlan(cases=("a",), launches=9, expected_seconds=0.0)
    spec = look_spec(replace(SPEC, drill={"gemm": 1.1}), planned, ["n1", "n2"], in_turns=False)
    assert spec.selector == HostSelector(hosts=("n1", "n2"), count=2)
    assert (spec.seed, spec.trials, spec.drill, spec.duet) == (0, 9, {"gemm": 1.1}, None)
    assert look_spec(SPEC, planned, ["n1"], in_turns=True).duet is not None


def test_too_many_cases_let_the_patterns_of_the_run_stay() -> None:
    planned = LookPlan(cases=tuple(f"case{index}" for index in range(500)), launches=5, expected_seconds=0.0)
    spec = look_spec(replace(SPEC, include=("case",), exclude=("x",)), planned, ["n1"], in_turns=False)
    assert (spec.include, spec.exclude) == (("case",), ("x",))


@pytest.mark.parametrize(
    ("looks", "points", "yes"),
    [
        ([], False, True),
        ([("b",)], False, False),
        ([("b",), ("a",)], False, True),
        ([("b",)], True, False),
        ([()], False, True),
    ],
)
def test_looks_are_taken_here_and_elsewhere_turn_about(looks: list[tuple[str, ...]], points: bool, yes: bool) -> None:
    assert may_move(("a",), looks, points_at_host=points) is yes


def test_a_run_on_several_hosts_is_looked_at_on_all_of_them() -> None:
    assert not may_move(("a", "b"), [], points_at_host=False)


@pytest.mark.parametrize(
    ("head", "base", "same"),
    [
        ({}, {}, True),
        ({"spec": replace(SPEC, drill={"gemm": 1.1}).to_json(), "drill": True}, {}, True),
        ({"spec": replace(SPEC, include=("a",), trials=3).to_json()}, {}, True),
        ({"commit": "def5678"}, {}, False),
        ({"commit": ""}, {"commit": ""}, False),
        ({"labels": {"git.changed": "true"}}, {}, False),
        ({"spec": replace(SPEC, mode="hot").to_json()}, {}, False),
        ({}, {"drill": True}, False),
    ],
)
def test_the_code_of_the_base_is_at_hand_when_it_is_the_same(
    head: dict[str, object], base: dict[str, object], same: bool
) -> None:
    assert same_code(run(**head), run(**base)) is same


def test_how_many_looks_a_gate_allows() -> None:
    assert (GateSpec().further_looks, GateSpec().sequential) == (1, False)
    assert (GateSpec(looks=4).further_looks, GateSpec(looks=4).sequential) == (4, True)
    assert (GateSpec(budget_seconds=60.0).further_looks, GateSpec(budget_seconds=60.0).sequential) == (3, True)
    assert GateSpec(confirm=False).further_looks == 0
    gate = GateSpec(baseline="release", looks=2, budget_seconds=1200.0)
    assert GateSpec.from_json(gate.to_json()) == gate


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (GateSpec(looks=11), "gate.looks"),
        (GateSpec(budget_seconds=0.0), "gate.budget"),
        (GateSpec(confirm=False, looks=2), "gate.looks"),
        (GateSpec(confirm=False, budget_seconds=2.0), "gate.budget"),
    ],
)
def test_a_gate_that_cannot_be_meant_is_refused(gate: GateSpec, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        gate.validate()
    message = ParseDict(gate.to_json(), run_pb2.GateSpec())
    if gate.budget_seconds == 0:
        # Left out of the JSON as nothing; on the wire it is there.
        message.budget.SetInParent()
    with pytest.raises(InvalidArgumentError, match=words):
        gate_of(message)


def test_the_budget_runs_from_the_first_further_look_on() -> None:
    def at(budget: float | None, since: datetime | None) -> LookedAt:
        judged = run(gate=GateSpec(budget_seconds=budget).to_json())
        project = Project(id=1, name="default", default_branch="main")
        return LookedAt(run=judged, project=project, hosts=("a",), base_run_id=None, since=since)

    assert at(100.0, None).budget_left(NOW) == 100.0
    assert at(100.0, NOW).budget_left(NOW + timedelta(seconds=40)) == 60.0
    assert at(None, NOW).budget_left(NOW) is None


def test_progress_says_which_look_it_is_and_what_of_the_budget_is_used() -> None:
    judged = run(gate=GateSpec(looks=2, budget_seconds=1200.0).to_json())
    looks = [LookView(look=Look(number=2, created_at=NOW), measuring=run())]
    assert progress(judged, looks, NOW + timedelta(seconds=370)) == "look 2 of 3, 6 of 20 minutes used"
    short = run(gate=GateSpec(budget_seconds=30.0).to_json())
    assert progress(short, looks, NOW + timedelta(seconds=12)) == "look 2 of 4, 12 of 30 seconds used"
    assert progress(run(gate=GateSpec().to_json()), looks, NOW) == "look 2 of 2"


def test_a_case_that_was_stopped_from_outside_failed_at_nothing() -> None:
    def failure(outcome: str) -> Failure:
        launch = Launch(value=None, outcome=outcome)
        return Failure(case_id="a", mode="cold", suite="core", benchmark="a", parameters={}, launch=launch)

    crashed = failure("device_error")
    assert of_themselves([failure("cancelled"), crashed, failure("interrupted")]) == (crashed,)
