"""An agent and a collector over real gRPC: runs from the offer to the last committed record."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from support.embedded_agent import running_agent
from support.fake_collector import FakeCollector, Fault
from tesserabench.agent.app import Agent
from tesserabench.agent.errors import AgentError, DiskFull, LinkError, Superseded
from tesserabench.agent.host.machine import Machine
from tesserabench.agent.locks import device_lock, lock_path
from tesserabench.agent.settings import Budgets, Policy, Settings
from tesserabench.agent.spool import AttemptKey, Spool, open_spool
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1 import run_pb2
from tesserabench.v1.ingest_service_pb2 import LogLines, Record
from tesserabench.v1.run_pb2 import RunSpec
from tesserabench.wire.reasons import Reason

MakeSettings = Callable[..., Settings]
Write = Callable[[str], str]

LONG = "real_time_factor = 30.0\n"
"""A trial of the smoke tier then takes several seconds for each case."""


def smoke(**changes: object) -> RunSpec:
    given: dict[str, object] = {"suite": "core", "tier": run_pb2.TIER_SMOKE, "device": "simulated", "seed": 5}
    return RunSpec(**(given | changes))  # type: ignore[arg-type]


def events(records: list[Record]) -> list[str | None]:
    return [record.WhichOneof("event") for record in records]


async def test_run_arrives_whole_and_in_order(collector: FakeCollector, make_settings: MakeSettings) -> None:
    async with running_agent(make_settings(labels={"rack": "a1"})):
        key = await collector.assign(1, smoke(trials=2))
        closing = await collector.until_closed(key)
        await collector.until(lambda: not collector.held, what="the attempt to leave the host")
    assert closing.outcome == pb.OUTCOME_OK
    records = collector.of(key).records
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    kinds = [kind for kind in events(records) if kind != "log_lines"]
    assert kinds == [*["trial_started", *["case_finished"] * 5, "trial_finished"] * 2, "attempt_finished"]
    results = collector.of(key).results
    assert all(item.result.outcome == pb.OUTCOME_OK for item in results)
    assert [item.result.order for item in results] == [0, 1, 2, 3, 4] * 2
    assert Counter(item.result.case.id for item in results).most_common(1)[0][1] == 2
    spent = results[0].result.measurements[0]
    assert spent.metric == "time"
    assert len(spent.samples.values) == spent.statistics.count >= 10
    started = next(record.trial_started for record in records if record.HasField("trial_started"))
    assert started.device.kind == "simulated"
    assert started.environment.facts["software.engine"]
    assert started.case_count == 5
    registration = collector.registrations[0]
    assert registration.host == "bench-1"
    assert registration.schema_version == 1
    assert dict(registration.inventory.labels) == {"rack": "a1"}
    assert {suite.name for suite in registration.inventory.suites} >= {"core", "gemm"}


async def test_run_on_the_real_processor(collector: FakeCollector, make_settings: MakeSettings) -> None:
    async with running_agent(make_settings(devices=("cpu",))):
        overrides = [run_pb2.ParameterOverride(parameter=name, value="64") for name in ("m", "n", "k")]
        key = await collector.assign(1, smoke(suite="gemm", device="cpu", overrides=overrides))
        closing = await collector.until_closed(key)
    assert closing.outcome == pb.OUTCOME_OK, closing.reason
    result = collector.of(key).results[0].result
    assert result.outcome == pb.OUTCOME_OK, result.reason
    assert result.measurements[0].value > 0
    finished = next(record.trial_finished for record in collector.of(key).records if record.HasField("trial_finished"))
    assert finished.exit_status == 0
    assert finished.HasField("startup")
    assert {ceiling.name for ceiling in finished.ceilings} == {"bandwidth", "flops:float32"}
    assert finished.throttle == pb.THROTTLE_CLASS_UNSPECIFIED


async def test_held_attempt_is_listed_with_its_progress(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write
) -> None:
    async with running_agent(make_settings(simulated_scenario=scenario("real_time_factor = 10.0\n"))):
        key = await collector.assign(1, smoke())
        await collector.until(
            lambda: any(0 < item.progress.cases_done < 5 for question in collector.questions for item in question.held),
            what="progress between the first and the last case",
        )
        await collector.until_closed(key)
        await collector.until(lambda: not collector.held, what="the attempt to leave the host")
    listed = [item for question in collector.questions for item in question.held]
    assert {(item.name, item.epoch) for item in listed} == {key}
    done = [item.progress.cases_done for item in listed]
    assert done == sorted(done)
    assert {item.progress.cases_total for item in listed} <= {0, 5}
    assert any("/" in item.progress.current_case for item in listed)


async def test_collector_away_during_a_run_gets_everything_later(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write
) -> None:
    settings = make_settings(simulated_scenario=scenario("real_time_factor = 5.0\n"))
    async with running_agent(settings) as agent:
        key = await collector.assign(1, smoke())
        await collector.until(lambda: bool(collector.held), what="the attempt to be held")
        await collector.stop()
        while agent.roster.running is not None:
            agent.roster.changed.clear()
            await agent.roster.changed.wait()
        assert collector.of(key).closing is None
        await collector.restart()
        closing = await collector.until_closed(key)
        assert closing.outcome == pb.OUTCOME_OK
    records = collector.of(key).records
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    assert len(collector.of(key).results) == 5


async def test_stream_that_breaks_before_the_answer_repeats_nothing(
    collector: FakeCollector, make_settings: MakeSettings
) -> None:
    collector.break_stream_after_batches = 1
    collector.max_batch_bytes = 4000
    async with running_agent(make_settings()):
        key = await collector.assign(1, smoke(trials=2))
        await collector.until_closed(key)
        await collector.until(lambda: not collector.held, what="the attempt to leave the host")
    records = collector.of(key).records
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    assert len(collector.of(key).results) == 10
    assert len(collector.headers) >= 2
    assert len({header.attempt for header in collector.headers}) == 1


async def test_slow_answers_lose_nothing(collector: FakeCollector, make_settings: MakeSettings) -> None:
    collector.ack_delay_seconds = 0.1
    collector.max_batch_bytes = 2000
    async with running_agent(make_settings()):
        key = await collector.assign(1, smoke(trials=3))
        await collector.until_closed(key)
    assert len(collector.of(key).results) == 15
    assert collector.duplicates == 0


async def test_cancel_stops_the_worker_and_closes_as_cancelled(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write
) -> None:
    async with running_agent(make_settings(simulated_scenario=scenario(LONG))):
        key = await collector.assign(1, smoke())
        await collector.until(
            lambda: any(item.progress.phase == "warmup" for item in collector.held.values()), what="a case to run"
        )
        await collector.cancel(key, "no more wanted")
        closing = await collector.until_closed(key, seconds=30)
        assert closing.outcome == pb.OUTCOME_CANCELLED
        assert closing.reason == "no more wanted"
        following = await collector.assign(2, smoke(suite="gemm", timeout={"seconds": 60}))
        await collector.until(lambda: following in collector.held, what="more")
        await collector.cancel(following)
        await collector.until_closed(following, seconds=30)
    ends = [record.trial_finished for record in collector.of(key).records if record.HasField("trial_finished")]
    assert [end.outcome for end in ends] == [pb.OUTCOME_CANCELLED]


async def test_attempt_over_its_time_closes_as_timeout(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write
) -> None:
    async with running_agent(make_settings(simulated_scenario=scenario(LONG))):
        key = await collector.assign(1, smoke(timeout={"seconds": 1}))
        closing = await collector.until_closed(key)
    assert closing.outcome == pb.OUTCOME_TIMEOUT
    assert "1 s" in closing.reason


@pytest.mark.parametrize("phase", ["prepare", "verify", "measure"])
async def test_case_that_hangs_times_out_and_the_others_go_on(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write, phase: str
) -> None:
    script = f'[[rules]]\nmatch = "memory/copy"\nfault = "hang"\nfault_phase = "{phase}"\n'
    settings = make_settings(simulated_scenario=scenario(script))
    async with running_agent(settings):
        key = await collector.assign(1, smoke(case_timeout={"seconds": 2}))
        closing = await collector.until_closed(key)
    outcomes = {item.result.case.id.split("[")[0]: item.result for item in collector.of(key).results}
    assert len(outcomes) == len(collector.of(key).results) == 5
    hung = outcomes.pop("memory/copy")
    assert hung.outcome == pb.OUTCOME_TIMEOUT
    assert phase in hung.reason
    assert {item.outcome for item in outcomes.values()} == {pb.OUTCOME_OK}
    assert closing.outcome == pb.OUTCOME_OK
    assert "1 of 5" in closing.reason
    assert sorted(item.result.order for item in collector.of(key).results) == [0, 1, 2, 3, 4]


async def test_case_that_crashes_is_a_device_error_and_the_others_go_on(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write
) -> None:
    script = '[[rules]]\nmatch = "memory/triad"\nfault = "segfault"\n'
    async with running_agent(make_settings(simulated_scenario=scenario(script))):
        key = await collector.assign(1, smoke())
        await collector.until_closed(key)
    results = {item.result.case.id.split("[")[0]: item.result for item in collector.of(key).results}
    crashed = results.pop("memory/triad")
    assert crashed.outcome == pb.OUTCOME_DEVICE_ERROR
    assert "SIGSEGV" in crashed.reason
    assert {item.outcome for item in results.values()} == {pb.OUTCOME_OK}
    after = [item for item in results.values() if item.order > crashed.order]
    assert all("worker_restarted" in item.flags for item in after)
    lines = [line for record in collector.of(key).records for line in record.log_lines.lines]
    assert any("Segmentation fault" in line for line in lines)
    end = next(record.trial_finished for record in collector.of(key).records if record.HasField("trial_finished"))
    assert end.outcome == pb.OUTCOME_DEVICE_ERROR


async def test_worker_that_never_comes_to_a_case_is_not_tried_for_ever(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write
) -> None:
    script = '[[rules]]\nfault = "exit"\nfault_phase = "prepare"\n'
    async with running_agent(make_settings(simulated_scenario=scenario(script))):
        key = await collector.assign(1, smoke())
        closing = await collector.until_closed(key)
    results = collector.of(key).results
    assert len(results) == 5
    assert all(item.result.outcome == pb.OUTCOME_HARNESS_ERROR for item in results)
    assert sum(item.result.reason.startswith("not measured") for item in results) == 2
    assert closing.outcome == pb.OUTCOME_HARNESS_ERROR


async def test_lost_device_ends_the_attempt(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write
) -> None:
    script = '[[rules]]\nfault = "device_lost"\n'
    async with running_agent(make_settings(simulated_scenario=scenario(script))):
        key = await collector.assign(1, smoke(trials=3))
        closing = await collector.until_closed(key)
    assert closing.outcome == pb.OUTCOME_DEVICE_LOST
    assert len(collector.of(key).results) == 5
    assert all(item.result.outcome == pb.OUTCOME_DEVICE_LOST for item in collector.of(key).results)


async def test_throttled_device_is_classified(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write
) -> None:
    async with running_agent(make_settings(simulated_scenario=scenario("[[rules]]\nthrottled_fraction = 0.4\n"))):
        key = await collector.assign(1, smoke(suite="gemm"))
        await collector.until_closed(key)
    end = next(record.trial_finished for record in collector.of(key).records if record.HasField("trial_finished"))
    assert end.throttle == pb.THROTTLE_CLASS_THERMAL
    assert 0.2 < end.throttle_fractions["hw_thermal"] <= 1
    result = collector.of(key).results[0].result
    assert result.outcome == pb.OUTCOME_THROTTLED
    assert result.measurements[0].metric == "time"


async def test_broken_scenario_is_named(collector: FakeCollector, make_settings: MakeSettings, scenario: Write) -> None:
    async with running_agent(make_settings(simulated_scenario=scenario("colour = 3\n"))):
        key = await collector.assign(1, smoke(suite="gemm"))
        closing = await collector.until_closed(key)
    assert closing.outcome == pb.OUTCOME_UNSUPPORTED
    assert "colour" in collector.of(key).results[0].result.reason


async def test_drill_slows_one_benchmark_and_is_flagged(collector: FakeCollector, make_settings: MakeSettings) -> None:
    async with running_agent(make_settings()):
        plain = await collector.assign(1, smoke())
        await collector.until_closed(plain)
        drilled = await collector.assign(2, smoke(drill={"matmul": 1.5}))
        await collector.until_closed(drilled)
    before, after = (
        {item.result.case.benchmark: item.result for item in collector.of(key).results} for key in (plain, drilled)
    )
    ratios = {name: after[name].measurements[0].value / before[name].measurements[0].value for name in before}
    assert 1.45 < ratios.pop("matmul") < 1.55
    assert all(0.97 < ratio < 1.03 for ratio in ratios.values())
    assert {name for name, result in after.items() if "drill" in result.flags} == {"matmul"}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (smoke(suite="gemm"), "policy.suites"),
        (smoke(drill={"matmul": 1.2}), "policy.allow_drill"),
        (smoke(device="cuda"), "setting devices"),
        (smoke(device="simulated:/etc/passwd"), "scenario"),
        (smoke(suite="core", include=["nothing"]), "leaves none"),
    ],
)
async def test_work_that_this_host_may_not_do_closes_at_once(
    collector: FakeCollector, make_settings: MakeSettings, spec: RunSpec, words: str
) -> None:
    async with running_agent(make_settings(policy=Policy(suites=("core",), allow_drill=False))):
        key = await collector.assign(1, spec)
        closing = await collector.until_closed(key, seconds=40)
    assert closing.outcome == pb.OUTCOME_UNSUPPORTED
    assert words in closing.reason
    assert events(collector.of(key).records) == ["attempt_finished"]


async def _end_of(agent: Agent) -> AgentError | None:
    """Run an agent and give the error that it ended with."""
    try:
        async with asyncio.timeout(60):
            await agent.run()
    except AgentError as error:
        return error
    return None


async def test_newer_process_supersedes_and_work_stops(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write
) -> None:
    settings = make_settings(simulated_scenario=scenario(LONG))
    agent = Agent(settings)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_end_of(agent))
        await collector.assign(1, smoke())
        await collector.until(lambda: bool(collector.held), what="work")
        collector.superseded = True
        await collector.wake()
    assert isinstance(task.result(), Superseded)
    spool = open_spool(settings.state_dir / "spool.db", max_bytes=1 << 20).spool
    try:
        attempt = spool.attempts()[0]
        assert attempt.closed
        body = spool.read(attempt.key, attempt.last_sequence - 1, max_bytes=1 << 20, max_records=1)[0].body
        closing = Record.FromString(body).attempt_finished
        assert closing.outcome == pb.OUTCOME_INTERRUPTED
        assert "newer agent" in closing.reason
    finally:
        spool.close()


async def test_forgotten_host_registers_again(collector: FakeCollector, make_settings: MakeSettings) -> None:
    async with running_agent(make_settings()):
        await collector.until(lambda: bool(collector.questions), what="the first question")
        collector.sync_fault = Fault(code=grpc.StatusCode.NOT_FOUND, reason=Reason.HOST_NOT_REGISTERED)
        await collector.wake()
        await collector.until(lambda: len(collector.registrations) >= 2, what="a second registration")
        collector.sync_fault = None
        asked = len(collector.questions)
        await collector.until(lambda: len(collector.questions) > asked, what="another question")
    assert {item.process_id for item in collector.registrations} == {collector.registrations[0].process_id}


async def test_refused_token_is_tried_again_and_a_new_one_from_the_file_is_taken(
    collector: FakeCollector, make_settings: MakeSettings, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("wrong\n", encoding="utf-8")
    collector.token = "right"
    async with running_agent(make_settings(token_file=token_file)) as agent:
        await collector.until_refused("Bearer wrong")
        assert agent.metrics.registry.get_sample_value("tesserabench_agent_connected") == 0
        token_file.write_text("right\n", encoding="utf-8")
        await collector.until(lambda: bool(collector.questions), what="a question with the new token")
        await collector.until(lambda: len(collector.questions) > 1, what="another question")
        assert agent.metrics.registry.get_sample_value("tesserabench_agent_connected") == 1
    assert {"Bearer wrong", "Bearer right"} <= collector.tokens


async def test_schema_version_that_the_collector_does_not_take_is_tried_slowly(
    collector: FakeCollector, make_settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    collector.register_fault = Fault(
        code=grpc.StatusCode.FAILED_PRECONDITION, reason=Reason.SCHEMA_VERSION_UNSUPPORTED, message="takes 2, got 1"
    )
    async with running_agent(make_settings()):
        await collector.until_refused("")
        collector.register_fault = None
        await collector.until(lambda: bool(collector.questions), what="a question after the upgrade")
    assert "upgrade the older one" in capsys.readouterr().out


async def test_attempt_unknown_to_the_collector_stays_on_disk_and_blocks_nobody(
    collector: FakeCollector, make_settings: MakeSettings
) -> None:
    settings = make_settings()
    settings.state_dir.mkdir()
    spool = open_spool(settings.state_dir / "spool.db", max_bytes=1 << 20).spool
    lost = AttemptKey(name="runs/77/attempts/1", epoch=1)
    spool.begin(lost)
    spool.append(lost, Record(log_lines=LogLines(lines=["precious"])))
    spool.close()
    collector.upload_fault = lambda key: (
        Fault(code=grpc.StatusCode.NOT_FOUND, reason=Reason.ATTEMPT_NOT_FOUND) if key[0] == lost.name else None
    )
    async with running_agent(settings) as agent:
        key = await collector.assign(1, smoke(suite="gemm"))
        await collector.until_closed(key)
        await collector.until(lambda: not collector.held, what="nothing to be listed")
        assert [entry.key for entry in agent.roster.entries()] == [lost]
        collector.upload_fault = lambda _key: None
        closing = await collector.until_closed((lost.name, lost.epoch))
        assert closing.outcome == pb.OUTCOME_INTERRUPTED
    assert collector.of((lost.name, 1)).records[0].log_lines.lines[0] == "precious"


async def test_collector_with_another_database_gets_nothing_wrong_and_loses_nothing_here(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_agent(make_settings(simulated_scenario=scenario("real_time_factor = 5.0\n"))) as agent:
        key = await collector.assign(1, smoke())
        await collector.until(lambda: len(collector.of(key).results) >= 2, what="two results")
        committed = collector.of(key).committed
        collector.stored.clear()
        while agent.roster.running is not None:
            agent.roster.changed.clear()
            await agent.roster.changed.wait()
        tried = len(collector.headers)
        await collector.until(lambda: len(collector.headers) > tried, what="another try")
        assert collector.of(key).records == []
        assert agent.spool is not None
        attempt = agent.spool.attempts()[0]
        assert attempt.closed
        assert attempt.committed_sequence >= committed
        assert attempt.pending >= 2
    assert "another one than before" in capsys.readouterr().out


async def test_cancellation_of_a_waiting_attempt_needs_no_worker(
    collector: FakeCollector, make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(devices=("cpu",), device_wait_seconds=60)
    device = Machine({"cpu"}, None).devices[0]
    async with device_lock(lock_path(device.uuid, tmp_path / "locks", tmp_path), 1), running_agent(settings):
        key = await collector.assign(1, smoke(device="cpu"))
        await collector.until(
            lambda: any(item.progress.phase == "waiting for the device" for item in collector.held.values()),
            what="wait",
        )
        await collector.cancel(key)
        closing = await collector.until_closed(key, seconds=30)
    assert closing.outcome == pb.OUTCOME_CANCELLED


async def test_device_in_use_by_another_measurement_is_busy(
    collector: FakeCollector, make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(devices=("cpu",), device_wait_seconds=0.2)
    device = Machine({"cpu"}, None).devices[0]
    async with device_lock(lock_path(device.uuid, tmp_path / "locks", tmp_path), 1), running_agent(settings):
        key = await collector.assign(1, smoke(device="cpu"))
        closing = await collector.until_closed(key)
    assert closing.outcome == pb.OUTCOME_BUSY
    assert "device_wait_seconds" in closing.reason


async def test_newer_epoch_ends_the_older_one_and_is_run(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write
) -> None:
    async with running_agent(make_settings(simulated_scenario=scenario("real_time_factor = 10.0\n"))):
        first = await collector.assign(1, smoke(trials=5))
        await collector.until(lambda: len(collector.of(first).results) >= 1, what="a first result")
        # For the next worker.
        scenario("")
        second = await collector.assign(1, smoke(suite="gemm"), epoch=2)
        older = await collector.until_closed(first)
        newer = await collector.until_closed(second)
    assert older.outcome == pb.OUTCOME_INTERRUPTED
    assert "epoch 2" in older.reason
    assert newer.outcome == pb.OUTCOME_OK


async def test_unsecured_connection_beyond_this_machine_is_refused(make_settings: MakeSettings) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with running_agent(make_settings(collector="collector.example:7710")):
            pass
    assert caught.group_contains(LinkError, match="insecure = true")


async def test_full_disk_log_says_so_and_takes_no_work(collector: FakeCollector, make_settings: MakeSettings) -> None:
    settings = make_settings(spool_max_bytes=64 * 1024)
    settings.state_dir.mkdir()
    spool = open_spool(settings.state_dir / "spool.db", max_bytes=1 << 20).spool
    stuck = AttemptKey(name="runs/77/attempts/1", epoch=1)
    spool.begin(stuck)
    spool.append(stuck, Record(log_lines=LogLines(lines=["x" * 70_000])))
    spool.close()
    collector.upload_fault = lambda _key: Fault(code=grpc.StatusCode.UNAVAILABLE)
    async with running_agent(settings):
        await collector.until(lambda: bool(collector.questions), what="the first question")
        question = collector.questions[-1]
        assert question.spool.full
        assert question.spool.pending_bytes > 64 * 1024
        assert "spool_max_bytes" in question.unready_reason
        key = await collector.assign(1, smoke())
        asked = len(collector.questions)
        await collector.until(lambda: len(collector.questions) >= asked + 2, what="two more questions")
        assert all(key not in {(i.name, i.epoch) for i in question.held} for question in collector.questions)


async def test_host_short_of_memory_says_so(collector: FakeCollector, make_settings: MakeSettings) -> None:
    async with running_agent(make_settings(min_free_bytes=1 << 60)) as agent:
        await collector.until(lambda: bool(collector.questions), what="the first question")
        assert "min_free_bytes" in collector.questions[-1].unready_reason
        failures = "tesserabench_agent_preflight_failures_total"
        assert agent.metrics.registry.get_sample_value(failures, {"check": "memory"})


async def test_disk_that_fills_during_a_run_stops_it_honestly(
    collector: FakeCollector, make_settings: MakeSettings, scenario: Write
) -> None:
    settings = make_settings(simulated_scenario=scenario("real_time_factor = 3.0\n"))
    async with running_agent(settings) as agent:
        key = await collector.assign(1, smoke(trials=50))
        await collector.until(lambda: len(collector.of(key).results) > 2, what="the first results")
        collector.upload_fault = lambda _key: Fault(code=grpc.StatusCode.UNAVAILABLE)
        assert agent.spool is not None
        connection = agent.spool._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        await collector.until(lambda: "cannot grow" in collector.questions[-1].unready_reason, what="the complaint")
        connection.execute("PRAGMA max_page_count = 1000000")
        collector.upload_fault = lambda _key: None
        closing = await collector.until_closed(key)
        assert closing.outcome == pb.OUTCOME_INTERRUPTED
        assert "disk log" in closing.reason
    records = collector.of(key).records
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))


async def test_phase_budget_of_the_settings_ends_a_start_that_hangs(
    collector: FakeCollector, make_settings: MakeSettings
) -> None:
    settings = make_settings(budgets=Budgets(startup=0.05, kill_grace=1))
    async with running_agent(settings):
        key = await collector.assign(1, smoke(suite="gemm"))
        closing = await collector.until_closed(key)
    assert closing.outcome == pb.OUTCOME_TIMEOUT
    assert "phase startup" in collector.of(key).results[0].result.reason


async def test_disk_too_full_to_note_what_was_committed_ends_no_agent_and_repeats_nothing(
    collector: FakeCollector, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, refused = Spool.commit, Counter[str]()

    def full_at_first(spool: Spool, key: AttemptKey, sequence: int) -> bool:
        refused["times"] += 1
        if refused["times"] <= 2:
            raise DiskFull("spool.db cannot grow: database or disk is full; free space on its disk")
        return commit(spool, key, sequence)

    monkeypatch.setattr(Spool, "commit", full_at_first)
    async with running_agent(make_settings()):
        key = await collector.assign(1, smoke())
        closing = await collector.until_closed(key)
        await collector.until(lambda: not collector.held, what="the attempt to leave the host")
    assert closing.outcome == pb.OUTCOME_OK
    records = collector.of(key).records
    assert refused["times"] > 2
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
