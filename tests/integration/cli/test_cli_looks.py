"""Looks that follow the first one, as tbctl asks for them and shows them; and how to measure something again."""

import json
import re
import shlex

import pytest
from support.contract_values import a_case, a_comparison, a_result, a_run, an_entry
from support.fake_services import FakeCollector
from support.tbctl import Tbctl
from tesserabench.cli.commands.bench_run import run_command as bench_run_command
from tesserabench.v1.measurement_pb2 import Outcome
from tesserabench.v1.run_pb2 import Look, Run, RunState

TRIGGER = ("run", "trigger", "--suite", "gemm", "--commit", "abc1234")
CASE = a_case().id
CASE_WORDS = "--benchmark '^gemm/matmul\\[m=512,n=512,k=512,dtype=float32\\]$'"


@pytest.mark.parametrize(
    ("typed", "confirm", "looks", "seconds"),
    [
        ((), None, 0, None),
        (("--confirm",), True, 0, None),
        (("--confirm", "3"), True, 3, None),
        (("--budget", "20m"), None, 0, 1200),
        (("--confirm", "2", "--budget", "90s"), True, 2, 90),
        (("--no-confirm",), False, 0, None),
    ],
)
def test_how_often_to_look_is_asked_for(
    collector: FakeCollector,
    tbctl: Tbctl,
    typed: tuple[str, ...],
    confirm: bool | None,
    looks: int,
    seconds: int | None,
) -> None:
    assert tbctl(*TRIGGER, *typed, "--tier", "smoke").status == 0
    gate = collector.calls_of("CreateRun")[0].request.gate
    assert (gate.confirm if gate.HasField("confirm") else None, gate.looks) == (confirm, looks)
    assert (gate.budget.seconds if gate.HasField("budget") else None) == seconds


def test_a_schedule_may_look_again_too(collector: FakeCollector, tbctl: Tbctl) -> None:
    said = tbctl("schedule", "create", "nightly", "--every", "24h", "--suite", "gemm", "--confirm", "2")
    assert said.status == 0, said.err
    assert collector.calls_of("CreateSchedule")[0].request.schedule.gate.looks == 2


def test_the_same_code_twice_is_asked_for_and_not_waited_for(collector: FakeCollector, tbctl: Tbctl) -> None:
    said = tbctl("run", "trigger", "--suite", "gemm", "--aa")
    assert said.status == 0, said.err
    assert collector.calls_of("CreateRun")[0].request.identical
    assert "tbctl regression score" in said.err
    waiting = tbctl("run", "trigger", "--suite", "gemm", "--aa", "--wait")
    assert (waiting.status, "--aa is two runs" in waiting.err) == (2, True)
    slowed = tbctl("run", "trigger", "--suite", "gemm", "--aa", "--drill", "gemm/matmul=1.1")
    assert (slowed.status, "leave one of the two out" in slowed.err) == (2, True)
    assert len(collector.calls_of("CreateRun")) == 1


@pytest.mark.parametrize("other", [("--drill", "gemm/matmul=1.1"), ("--duet",), ("--duet-set", "matmul.m=64")])
def test_a_schedule_of_the_same_code_twice_is_neither_slowed_nor_of_two_arms(
    collector: FakeCollector, tbctl: Tbctl, other: tuple[str, ...]
) -> None:
    said = tbctl("schedule", "create", "aa", "--every", "24h", "--suite", "gemm", "--aa", *other)
    assert said.status == 2
    assert "--aa" in said.err
    assert other[0] in said.err
    assert "leave one of the two out" in said.err
    assert not collector.calls_of("CreateSchedule")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("--confirm", "11"), "give 1 to 10, or --confirm alone"),
        (("--confirm", "gemm"), "'gemm' is no number of further looks"),
        (("--no-confirm", "--budget", "5m"), "--no-confirm measures nothing again"),
        (("--budget", "0s"), "--budget"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    collector: FakeCollector, tbctl: Tbctl, typed: tuple[str, ...], words: str
) -> None:
    said = tbctl(*TRIGGER, *typed)
    assert said.status == 2
    assert words in said.err
    assert collector.calls_of("CreateRun") == []


def looked_at() -> Run:
    run = a_run(state="judging", reason="measuring 3 undecided results again, look 3 of 4, 6 of 20 minutes used")
    run.gate.looks = 3
    run.gate.budget.seconds = 1200
    run.looks.append(
        Look(
            number=2,
            run="runs/43",
            hosts=["gpu-09"],
            launches=5,
            cases=3,
            base="runs/40",
            state=RunState.RUN_STATE_FINISHED,
            outcome=Outcome.OUTCOME_OK,
        )
    )
    running = Look(number=3, run="runs/44", hosts=["gpu-07"], launches=12, cases=1, interleaved=True)
    running.state = RunState.RUN_STATE_RUNNING
    run.looks.append(running)
    return run


def test_looks_are_shown_with_their_run(collector: FakeCollector, tbctl: Tbctl) -> None:
    collector.runs["runs/42"] = looked_at()
    shown = tbctl("run", "get", "42").out
    assert "what is undecided, up to 3 times within 20m" in shown
    assert "look 3 of 4, 6 of 20 minutes used" in shown
    assert "run 43 on gpu-09, 3 cases in 5 launches, ok" in shown
    assert "run 44 on gpu-07, 1 case in 12 launches in turns with the base, running" in shown
    body = json.loads(tbctl("run", "get", "42", "-o", "json").out)
    assert [look["run"] for look in body["looks"]] == ["runs/43", "runs/44"]


def measured(collector: FakeCollector) -> None:
    collector.runs["runs/42"] = a_run(verdict="regressed", severity="major")
    collector.results["runs/42"] = [a_result(trial=trial) for trial in range(3)]
    collector.comparisons["runs/42"] = a_comparison(an_entry(verdict="regressed", severity="major"))


def test_a_case_is_reproduced_on_its_host_with_its_seed_and_base(collector: FakeCollector, tbctl: Tbctl) -> None:
    measured(collector)
    said = tbctl("run", "reproduce", "42", "--case", CASE)
    assert said.status == 0, said.err
    assert said.out.strip() == (
        f"tbctl run trigger --suite gemm --tier regression --device cuda {CASE_WORDS} --seed 7 --nodes gpu-07 "
        "--commit abc1234def5678 --baseline run:41 --wait"
    )
    local = tbctl("run", "reproduce", "42", "--case", CASE, "--local").out.strip()
    assert local == f"tbctl bench run gemm --device cuda --tier regression {CASE_WORDS} --seed 7"
    body = json.loads(tbctl("run", "reproduce", "42", "-o", "json").out)
    assert (body["hosts"], body["base"], body["local_command"]) == (
        ["gpu-07"],
        "runs/41",
        "tbctl bench run gemm --device cuda --tier regression --seed 7",
    )


def test_the_printed_line_asks_for_the_same_again(collector: FakeCollector, tbctl: Tbctl) -> None:
    measured(collector)
    run = collector.runs["runs/42"]
    run.spec.overrides.add(parameter="matmul.m", value="256")
    run.spec.drill["gemm/matmul"] = 1.12
    run.spec.case_timeout.seconds, run.spec.timeout.seconds, run.spec.trials = 90, 600, 5
    run.spec.determinism_launches = 4
    line = tbctl("run", "reproduce", "42", "--case", CASE).out
    assert tbctl(*shlex.split(line)[1:-1]).status == 0
    request = collector.calls_of("CreateRun")[0].request
    again, spec = request.spec, run.spec
    assert (again.tier, again.device, again.seed, again.trials) == (spec.tier, spec.device, spec.seed, spec.trials)
    assert (again.overrides, again.drill) == (spec.overrides, spec.drill)
    assert (again.case_timeout, again.timeout) == (spec.case_timeout, spec.timeout)
    assert again.determinism_launches == 4
    assert [pattern for pattern in again.include if re.fullmatch(pattern, CASE)] == list(again.include) != []
    assert (list(again.selector.hosts), request.gate.baseline) == (["gpu-07"], "run:41")
    assert request.revision.commit == run.revision.commit


def test_the_line_for_this_machine_can_be_typed(collector: FakeCollector, tbctl: Tbctl) -> None:
    measured(collector)
    collector.runs["runs/42"].spec.trials = 3
    words = shlex.split(tbctl("run", "reproduce", "42", "--case", CASE, "--local").out)
    with bench_run_command.make_context("run", words[3:]) as context:
        typed = context.params
    assert (typed["device"], typed["trials"], typed["seed"]) == ("cuda", 3, 7)


def test_reproducing_may_be_done_at_once(collector: FakeCollector, tbctl: Tbctl) -> None:
    measured(collector)
    collector.created = a_run(number=50, verdict="pass")
    collector.results["runs/50"] = [a_result()]
    said = tbctl("run", "reproduce", "42", "--case", CASE, "--execute")
    assert said.status == 0, said.err
    request = collector.calls_of("CreateRun")[0].request
    assert (list(request.spec.selector.hosts), request.spec.seed, request.gate.baseline) == (["gpu-07"], 7, "run:41")
    assert len(request.spec.include) == 1
    assert request.revision.commit == "abc1234def5678"
    assert "run 50 repeats run 42" in said.err


def test_a_case_that_was_not_measured_is_named_with_those_that_were(collector: FakeCollector, tbctl: Tbctl) -> None:
    measured(collector)
    said = tbctl("run", "reproduce", "42", "--case", "gemm/other")
    assert said.status == 5
    assert f"did not measure 'gemm/other'; it measured {CASE}" in said.err
