"""Runs of two arms on a real agent with real workers, against a pretended collector."""

from collections import Counter
from collections.abc import Callable

from support.embedded_agent import running_agent
from support.fake_collector import FakeCollector
from tesserabench.agent.settings import Settings
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1 import run_pb2
from tesserabench.v1.ingest_service_pb2 import TrialStarted
from tesserabench.v1.run_pb2 import Duet, ParameterOverride, RunSpec

MakeSettings = Callable[..., Settings]
Write = Callable[[str], str]


def two_arms(*, trials: int = 2, **duet: str) -> RunSpec:
    """Two copies, each against one with other parameters."""
    return RunSpec(
        suite="memory",
        tier=run_pb2.TIER_SMOKE,
        device="simulated",
        seed=5,
        trials=trials,
        include=[r"^memory/copy\["],
        overrides=[ParameterOverride(parameter="copy.n", value="1048576,2097152")],
        duet=Duet(overrides=[ParameterOverride(parameter=name, value=value) for name, value in duet.items()]),
    )


def started(collector: FakeCollector, key: tuple[str, int]) -> list[TrialStarted]:
    return [record.trial_started for record in collector.of(key).records if record.HasField("trial_started")]


async def test_every_worker_measures_both_arms_and_the_null_control(
    collector: FakeCollector, make_settings: MakeSettings
) -> None:
    async with running_agent(make_settings()):
        key = await collector.assign(1, two_arms(dtype="float64"))
        closing = await collector.until_closed(key)
        await collector.until(lambda: not collector.held, what="the attempt to leave the host")
    assert closing.outcome == pb.OUTCOME_OK, closing.reason
    results = [item.result for item in collector.of(key).results]
    assert Counter(item.arm for item in results) == {"a": 4, "b": 4, "null_a": 2, "null_b": 2}
    assert {item.case.parameters["dtype"] for item in results if item.arm == "b"} == {"float64"}
    assert {item.case.parameters["dtype"] for item in results if item.arm == "a"} == {"float32"}
    assert all(item.measurements[0].samples.values for item in results)
    trials = started(collector, key)
    assert [trial.arm_order for trial in trials] == ["ab", "ba"]
    assert [trial.case_count for trial in trials] == [6, 6]
    done = [item.progress.cases_done for question in collector.questions for item in question.held]
    assert max(done) <= 12


async def test_a_pair_that_kills_its_worker_is_given_up_whole_and_the_others_go_on(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write
) -> None:
    script = '[[rules]]\nmatch = "memory/copy[n=2097152,dtype=float32]"\nfault = "segfault"\n'
    async with running_agent(make_settings(simulated_scenario=scenario(script))):
        key = await collector.assign(1, two_arms(trials=1))
        await collector.until_closed(key)
    results = [item.result for item in collector.of(key).results]
    outcomes = {(item.arm, item.case.parameters["n"]): item.outcome for item in results}
    assert outcomes == {
        ("a", "1048576"): pb.OUTCOME_OK,
        ("b", "1048576"): pb.OUTCOME_OK,
        ("a", "2097152"): pb.OUTCOME_DEVICE_ERROR,
        ("b", "2097152"): pb.OUTCOME_DEVICE_ERROR,
    }
    assert all("SIGSEGV" in item.reason for item in results if item.outcome == pb.OUTCOME_DEVICE_ERROR)


async def test_throttled_arms_are_told_once_and_not_tried_again(
    collector: FakeCollector, make_settings: MakeSettings
) -> None:
    async with running_agent(make_settings(simulated_scenario="throttled")):
        key = await collector.assign(1, two_arms(trials=1))
        await collector.until_closed(key)
    results = [item.result for item in collector.of(key).results]
    assert Counter(item.outcome for item in results) == {pb.OUTCOME_THROTTLED: 4}
    assert len(started(collector, key)) == 1


async def test_parameters_that_no_case_has_end_the_attempt_with_the_remedy(
    collector: FakeCollector, make_settings: MakeSettings
) -> None:
    async with running_agent(make_settings()):
        key = await collector.assign(1, two_arms(tile="64"))
        closing = await collector.until_closed(key)
    assert closing.outcome == pb.OUTCOME_UNSUPPORTED
    assert "no case of arm A has a parameter 'tile'" in closing.reason
