"""A run whose workers measure two arms in turns: real collector, real agent, real tbctl, simulated device."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.fleet import Fleet

pytestmark = pytest.mark.system

A, SLOWER, BROKEN = 268435456, 268435457, 268435458
SCENARIO = f"""
process_spread = 0.01

[[rules]]
spread = 0.01

[[rules]]
match = "memory/copy[n={SLOWER},dtype=float32]"
scale = 1.05

[[rules]]
match = "memory/copy[n={BROKEN},dtype=float32]"
fault = "wrong_result"
"""
TRIGGER = ("run", "trigger", "--suite", "memory", "--tier", "smoke", "--device", "simulated", "--wait")
COPY = ("--benchmark", r"^memory/copy\[", "--set", f"copy.n={A}")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A collector and one agent, whose copies of one size are five per cent slower than their neighbours'."""
    folder = tmp_path_factory.mktemp("interleaved")
    scenario = folder / "scenario.toml"
    scenario.write_text(SCENARIO)
    with Fleet(folder) as fleet:
        fleet.start_collector()
        fleet.start_agent("alpha", TESSERABENCH_AGENT_SIMULATED_SCENARIO=str(scenario))
        fleet.wait_for_hosts("alpha")
        yield fleet
        assert fleet.collector is not None
        for daemon in (fleet.collector, fleet.agents["alpha"]):
            assert "Traceback" not in daemon.log.read_text()


def trigger(fleet: Fleet, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = fleet.tbctl(*TRIGGER, *COPY, *arguments, "-o", "json")
    return done.returncode, json.loads(done.stdout), done.stderr


def entries(report: dict[str, Any]) -> dict[str, Any]:
    return {entry["metric"]: entry for entry in report["comparison"]["entries"]}


def test_a_slower_arm_fails_the_gate(fleet: Fleet) -> None:
    status, report, said = trigger(fleet, "--duet-set", f"copy.n={SLOWER}", "--fail-on", "any")
    assert status == 10, said
    time = entries(report)["time"]
    assert time["verdict"] == "regressed"
    assert time["change"] == pytest.approx(0.05, abs=0.005)
    assert (time["base"]["launches"], time["head"]["launches"]) == (5, 5)
    assert f"Against memory/copy[n={SLOWER}" in time["explanation"]
    assert entries(report)["bandwidth"]["verdict"] == "regressed"
    assert "A against A" in report["comparison"]["summary"]
    arms = [item["result"]["arm"] for item in report["results"]]
    assert sorted(set(arms)) == ["a", "b", "null_a", "null_b"]
    assert len(arms) == 5 * 4


def test_an_arm_that_is_the_same_passes(fleet: Fleet) -> None:
    status, report, said = trigger(fleet, "--duet", "--repeat", "3", "--fail-on", "any", "--fail-on-inconclusive")
    assert status == 0, said
    assert entries(report)["time"]["verdict"] == "pass"


def test_a_planted_slow_down_is_arm_bs_alone(fleet: Fleet) -> None:
    status, report, said = trigger(
        fleet, "--duet", "--repeat", "3", "--drill", "memory/copy=1.08", "--fail-on", "major"
    )
    assert status == 10, said
    assert entries(report)["time"]["change"] == pytest.approx(0.08, abs=0.005)


def test_an_arm_that_computes_something_else_fails(fleet: Fleet) -> None:
    status, report, said = trigger(fleet, "--duet-set", f"copy.n={BROKEN}", "--repeat", "2")
    assert status == 12, said
    (entry,) = (entry for entry in report["comparison"]["entries"] if f"n={BROKEN}" in entry["case"]["id"])
    assert (entry["verdict"], entry["reason"]) == ("inconclusive", "case_failed")
    assert "Arm B gave no valid result (incorrect" in entry["explanation"]


def test_a_parameter_that_no_case_has_is_refused_when_it_is_asked_for(fleet: Fleet) -> None:
    done = fleet.tbctl(*TRIGGER, *COPY, "--duet-set", "copy.m=1")
    assert done.returncode == 2
    assert "spec.duet.overrides[0].parameter" in done.stderr


def test_two_arms_are_no_baseline_and_no_history_of_anything(fleet: Fleet) -> None:
    status, report, said = trigger(fleet, "--repeat", "1")
    assert status == 0, said
    assert report["run"]["verdict"] == "inconclusive"
    assert "nothing to compare with" in report["run"]["verdict_reason"]


def test_a_suspicion_of_the_same_code_is_settled_in_turns_with_its_base(fleet: Fleet) -> None:
    code = ("--commit", "abc1234", "--branch", "looks", "--base", "looks", "--repeat", "5")
    status, _, said = trigger(fleet, *code)
    assert status == 0, said
    drilled = ("--drill", "memory/copy=1.12", "--confirm", "2", "--budget", "10m", "--fail-on", "critical")
    status, report, said = trigger(fleet, *code, *drilled)
    assert status == 10, said
    (look,) = report["run"]["looks"]
    assert (look["number"], look["interleaved"], look["hosts"], look["outcome"]) == (2, True, ["alpha"], "ok")
    time = entries(report)["time"]
    assert [seen["number"] for seen in time["looks"]] == [1, 2]
    assert "in turns with the base" in time["explanation"]
    shown = fleet.tbctl("run", "get", report["run"]["name"])
    assert "in turns with the base, ok" in shown.stdout
    again = fleet.tbctl("run", "reproduce", report["run"]["name"], "--case", time["case"]["id"])
    assert "--drill memory/copy=1.12" in again.stdout
    assert "--nodes alpha" in again.stdout
