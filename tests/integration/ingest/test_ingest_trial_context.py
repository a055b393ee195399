"""What a trial ran under, what its device did and how each case was timed: stored, and read back as results."""

from support import uploads as make
from support.ingest_server import header, uploads
from tesserabench.collector.api.result_translation import result_message
from tesserabench.collector.store import results as store
from tesserabench.collector.store.database import Database
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1.ingest_service_pb2 import Record
from tesserabench.v1.result_service_pb2 import Result


async def stored_and_read_back(database: Database, *records: Record) -> Result:
    """The only result of a log, as a client gets it."""
    async with database.transaction() as session:
        host_id = await make.add_host(session, "alpha")
        run, attempts = await make.add_run(session, [host_id])
    async with uploads(database) as client:
        await client.send(header("alpha", run, attempts[0]), [list(records)])
    async with database.transaction() as session:
        (row,) = await store.page(session, run, pattern="", after=None, size=10)
        key = (row[0].attempt_id, row[0].epoch, row[0].sequence)
        measured = await store.measurements_of(session, [key], with_samples=True)
        return result_message(row, measured[key], with_samples=True)


def timed_case(sequence: int) -> Record:
    record = make.case_finished(sequence)
    result = record.case_finished.result
    result.backend, result.inputs, result.blocks = "graph", "normal", 3
    result.cache.kind, result.cache.size_bytes, result.cache.copies = "read_sweep", 2**40, 1
    result.warmup.calls = 12
    result.warmup.duration.FromMilliseconds(250)
    result.target_half_width, result.half_width = 0.0025, 0.001
    result.kernels.add(name="copy", registers=32, occupancy=1.0, options=["--std=c++17"])
    result.throttle = pb.THROTTLE_CLASS_POWER_LIMITED
    result.throttle_fractions["sw_power_cap"] = 0.25
    statistics = result.measurements[0].statistics
    statistics.count, statistics.min, statistics.q1, statistics.median = 3, 100, 100.5, 101
    statistics.q3, statistics.max, statistics.mean = 101.5, 102, 101
    statistics.mild_outliers, statistics.mode_count, statistics.first_ratio = 1, 2, 1.5
    return record


async def test_how_a_case_was_timed_comes_back_whole(database: Database) -> None:
    record = timed_case(2)
    sent = record.case_finished.result
    found = (await stored_and_read_back(database, make.trial_started(1), record)).result
    for field in ("backend", "inputs", "blocks", "cache", "warmup", "target_half_width", "half_width", "throttle"):
        assert getattr(found, field) == getattr(sent, field), field
    assert found.kernels == sent.kernels
    assert dict(found.throttle_fractions) == {"sw_power_cap": 0.25}
    (metric,) = found.measurements
    assert metric.statistics == sent.measurements[0].statistics
    assert list(metric.samples.values) == [100.0, 102.0, 101.0]


async def test_trial_is_told_with_its_results(database: Database) -> None:
    started, finished = make.trial_started(1), make.trial_finished(3)
    started.trial_started.clock_policy, started.trial_started.numa_node = "lock:1410", 1
    started.trial_started.processors.extend([4, 5])
    telemetry = finished.trial_finished.telemetry
    telemetry.readings, telemetry.sm_clock_median_mhz, telemetry.fault_counts["pcie_replay"] = 200, 1755, 3
    finished.trial_finished.flags.append("environment_drift")
    found = await stored_and_read_back(database, started, make.case_finished(2), finished)
    assert found.trial_started.clock_policy == "lock:1410"
    assert list(found.trial_started.processors) == [4, 5]
    assert found.trial_started.numa_node == 1
    assert list(found.trial_finished.flags) == ["environment_drift"]
    assert found.trial_finished.telemetry == telemetry


async def test_trial_of_which_nothing_is_known_tells_nothing(database: Database) -> None:
    found = await stored_and_read_back(database, make.trial_started(1), make.case_finished(2), make.trial_finished(3))
    assert not found.HasField("trial_started")
    assert not found.HasField("trial_finished")
