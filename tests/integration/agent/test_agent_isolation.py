"""A fault of one case harms no other: each way that it can go wrong, on the simulated device with real workers."""

from collections.abc import Callable

import pytest
from google.protobuf.duration_pb2 import Duration
from support.embedded_agent import running_agent
from support.fake_collector import FakeCollector
from tesserabench.agent.settings import Cooling, Settings
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1 import run_pb2
from tesserabench.v1.run_pb2 import RunSpec

MakeSettings = Callable[..., Settings]
Write = Callable[[str], str]

CASES = ("gemm/matmul", "memory/copy", "memory/triad")
FAULTY = "memory/copy"


async def outcomes_of(collector: FakeCollector, settings: Settings) -> dict[str, pb.CaseResult]:
    """The results of a run over three benchmarks, by benchmark."""
    spec = RunSpec(
        suite="core",
        tier=run_pb2.TIER_SMOKE,
        device="simulated",
        seed=5,
        trials=1,
        include=[rf"^{name}\[" for name in CASES],
        case_timeout=Duration(seconds=3),
    )
    async with running_agent(settings):
        key = await collector.assign(1, spec)
        await collector.until_closed(key)
    found = {item.result.case.id.split("[")[0]: item.result for item in collector.of(key).results}
    assert len(collector.of(key).results) == len(found) == 3
    assert sorted(item.order for item in found.values()) == [0, 1, 2]
    return found


@pytest.mark.parametrize(
    ("fault", "outcome", "fresh_worker"),
    [
        ("sticky_error", pb.OUTCOME_DEVICE_ERROR, True),
        ("device_error", pb.OUTCOME_DEVICE_ERROR, False),
        ("out_of_memory", pb.OUTCOME_OUT_OF_MEMORY, False),
        ("unsupported", pb.OUTCOME_UNSUPPORTED, False),
        ("wrong_result", pb.OUTCOME_INCORRECT, False),
        ("nan_result", pb.OUTCOME_INCORRECT, False),
        ("raise", pb.OUTCOME_HARNESS_ERROR, False),
        ("zero_time", pb.OUTCOME_IMPLAUSIBLE, False),
        ("hang", pb.OUTCOME_TIMEOUT, True),
        ("segfault", pb.OUTCOME_DEVICE_ERROR, True),
        ("exit", pb.OUTCOME_HARNESS_ERROR, True),
    ],
)
async def test_other_cases_are_measured_all_the_same(
    collector: FakeCollector,
    make_settings: MakeSettings,
    scenario: Write,
    fault: str,
    outcome: pb.Outcome.ValueType,
    fresh_worker: bool,
) -> None:
    script = f'[[rules]]\nmatch = "{FAULTY}"\nfault = "{fault}"\n'
    found = await outcomes_of(collector, make_settings(simulated_scenario=scenario(script)))
    faulty = found.pop(FAULTY)
    assert faulty.outcome == outcome
    assert faulty.reason
    assert {item.outcome for item in found.values()} == {pb.OUTCOME_OK}
    later = [item for item in found.values() if item.order > faulty.order]
    assert all(("worker_restarted" in item.flags) is fresh_worker for item in later)


async def test_heat_in_one_case_spoils_no_other(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write
) -> None:
    script = f'[[rules]]\nmatch = "{FAULTY}"\nthrottled_fraction = 0.4\n'
    settings = make_settings(simulated_scenario=scenario(script), cooling=Cooling(retries=1, pause_seconds=0.05))
    found = await outcomes_of(collector, settings)
    hot = found.pop(FAULTY)
    assert hot.outcome == pb.OUTCOME_THROTTLED
    assert hot.throttle == pb.THROTTLE_CLASS_THERMAL
    assert 0.2 < hot.throttle_fractions["hw_thermal"] <= 0.4
    assert hot.order == 2
    assert {item.outcome for item in found.values()} == {pb.OUTCOME_OK}
    assert {item.throttle for item in found.values()} == {pb.THROTTLE_CLASS_CLEAN}
    assert not any("worker_restarted" in item.flags for item in found.values())
