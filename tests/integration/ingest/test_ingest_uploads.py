"""Uploads into a real PostgreSQL: everything once, in order, whatever is sent."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from support import uploads as make
from support.ingest_server import header, uploads
from support.statuses import reason_of
from support.waiting import wait_until_async
from tesserabench.collector.core import metrics, tokens
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.samples import decode_samples
from tesserabench.collector.store.tables import (
    Attempt,
    CaseResult,
    IngestLog,
    LogLine,
    Measurement,
    QuarantinedRecord,
    Run,
    Series,
    Trial,
)
from tesserabench.v1 import ingest_service_pb2 as pb
from tesserabench.v1 import measurement_pb2
from tesserabench.wire.reasons import Reason


async def one_attempt(database: Database, host: str = "alpha") -> tuple[int, int]:
    """Ids of a run and its attempt, held by the host."""
    async with database.transaction() as session:
        host_id = await make.add_host(session, host)
        run, attempts = await make.add_run(session, [host_id])
    return run, attempts[0]


async def rows(database: Database, table: type[Any]) -> Sequence[Any]:
    async with database.transaction() as session:
        return (await session.scalars(select(table))).all()


async def change(session: AsyncSession, assignments: str) -> None:
    """Set columns of the only attempt."""
    await session.execute(text(f"UPDATE attempt SET {assignments}"))


async def ended(database: Database, attempt: int) -> Attempt:
    """The attempt, once it has ended."""

    async def look() -> Attempt | None:
        async with database.transaction() as session:
            return await session.scalar(select(Attempt).where(Attempt.id == attempt, Attempt.state == "finished"))

    found = await wait_until_async(look, seconds=20, what="the attempt to end")
    assert found is not None
    return found


async def test_a_whole_log_is_stored_and_closes_its_attempt(database: Database) -> None:
    run, attempt = await one_attempt(database)
    log = make.whole_log(3)
    log.insert(1, make.log_lines(0, "hello", "world", trial=0))
    for sequence, record in enumerate(log, start=1):
        record.sequence = sequence
    async with uploads(database) as client:
        answers = await client.send(header("alpha", run, attempt), [log[:3], log[3:]])
        assert [answer.committed_sequence for answer in answers] == [3, len(log)]
        assert not any(answer.late for answer in answers)
        closed = await ended(database, attempt)
    assert closed.outcome == "ok"
    assert closed.cases_done == 3
    cases = await rows(database, CaseResult)
    assert [(case.sequence, case.outcome, case.mode, case.stop_reason, case.late) for case in cases] == [
        (sequence, "ok", "hot", "converged", False) for sequence in (3, 4, 5)
    ]
    assert cases[0].detail["case"] == {
        "id": "gemm/matmul[n=0]",
        "suite": "core",
        "benchmark": "matmul",
        "parameters": {"n": "512"},
    }
    assert cases[0].detail["seed"] == str(2**64 - 1)
    lines = await rows(database, LogLine)
    assert [(line.line, line.host, line.trial, line.source, line.text) for line in lines] == [
        (0, "alpha", 0, "stdout", "hello"),
        (1, "alpha", 0, "stdout", "world"),
    ]
    (trial,) = await rows(database, Trial)
    assert (trial.device_key, trial.comparability, trial.outcome, trial.throttle) == ("Model X", "c", "ok", "clean")
    assert (trial.startup_seconds, trial.exit_status, trial.seed) == (1.5, 0, str(2**63 + 1))
    assert trial.ceilings == [{"name": "bandwidth", "unit": "B/s", "opening": 1e12}]
    (position,) = await rows(database, IngestLog)
    assert (position.committed_sequence, position.cases, position.closed, position.late) == (len(log), 3, True, False)


async def test_measurements_come_back_as_they_were_sent(database: Database) -> None:
    run, attempt = await one_attempt(database)
    record = make.case_finished(2, samples=[100.0, 300.0, 200.0])
    metric = record.case_finished.result.measurements[0]
    metric.ci_low, metric.ci_high = 150.0, 250.0
    metric.samples.block.extend([0, 0, 1])
    other = make.measurement(metric="throughput", unit="FLOP/s")
    record.case_finished.result.measurements.append(other)
    async with uploads(database) as client:
        await client.send(header("alpha", run, attempt), [[make.trial_started(1), record]])
    time, throughput = sorted(await rows(database, Measurement), key=lambda row: row.samples is None)
    assert (time.value, time.ci_low, time.ci_high) == (200.0, 150.0, 250.0)
    samples = decode_samples(time.codec, time.samples)
    assert samples is not None
    assert samples.tolist() == [100.0, 300.0, 200.0]
    assert time.columns is not None
    # The agent sent no statistics: they were computed here.
    assert (time.count, time.minimum, time.q1, time.q3, time.maximum, time.mean) == (3, 100, 150, 250, 300, 200)
    assert time.stdev == pytest.approx(100.0)
    assert (throughput.value, throughput.count, throughput.samples, throughput.codec) == (7.0, None, None, None)
    sent = record.case_finished.result.end_time.ToMicroseconds()
    assert round(time.measured_at.timestamp() * 1e6) == sent
    series = await rows(database, Series)
    assert {(row.metric, row.unit, row.better, row.primary, row.device_key, row.mode) for row in series} == {
        ("time", "ns", "lower", True, "Model X", "hot"),
        ("throughput", "FLOP/s", "lower", True, "Model X", "hot"),
    }


async def test_a_replayed_log_stores_nothing_twice(database: Database) -> None:
    run, attempt = await one_attempt(database)
    log = make.whole_log(4)
    async with uploads(database) as client:
        for _ in range(3):
            answers = await client.send(header("alpha", run, attempt), [log[:2], log[1:5], log])
            assert answers[-1].committed_sequence == len(log)
    assert len(await rows(database, CaseResult)) == 4
    assert len(await rows(database, Measurement)) == 4


async def test_a_gap_changes_nothing_and_is_told_where_to_go_on(database: Database) -> None:
    run, attempt = await one_attempt(database)
    log = make.whole_log(4)
    async with uploads(database) as client:
        answers = await client.send(header("alpha", run, attempt), [log[:2], log[3:], log[2:]])
    assert [answer.committed_sequence for answer in answers] == [2, 2, len(log)]
    assert len(await rows(database, CaseResult)) == 4


async def test_two_streams_of_one_attempt_agree(database: Database) -> None:
    run, attempt = await one_attempt(database)
    log = make.whole_log(30)
    batches = [log[start : start + 3] for start in range(0, len(log), 3)]
    async with uploads(database) as client, asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(client.send(header("alpha", run, attempt), batches))
    cases = await rows(database, CaseResult)
    assert sorted(case.sequence for case in cases) == list(range(2, 32))


async def test_two_replicas_that_take_one_log_agree(database: Database, database_dsn: str) -> None:
    run, attempt = await one_attempt(database)
    log = make.whole_log(30)
    batches = [log[start : start + 2] for start in range(0, len(log), 2)]
    second = Database(database_dsn)
    try:
        async with uploads(database) as here, uploads(second) as there, asyncio.TaskGroup() as group:
            for client in (here, there, here, there):
                group.create_task(client.send(header("alpha", run, attempt), batches))
    finally:
        await second.close()
    assert sorted(case.sequence for case in await rows(database, CaseResult)) == list(range(2, 32))


async def test_many_attempts_at_once_are_each_complete(database: Database) -> None:
    async with database.transaction() as session:
        hosts = [await make.add_host(session, f"host-{number}") for number in range(20)]
        run, attempts = await make.add_run(session, hosts)
    log = make.whole_log(10)
    async with uploads(database) as client:
        async with asyncio.TaskGroup() as group:
            for number, attempt in enumerate(attempts):
                batches = [log[:5], log[5:]]
                group.create_task(client.send(header(f"host-{number}", run, attempt), batches))
        for attempt in attempts:
            assert (await ended(database, attempt)).outcome == "ok"
    async with database.transaction() as session:
        counted = await session.execute(
            select(Measurement.attempt_id, func.count())
            .group_by(Measurement.attempt_id)
            .order_by(Measurement.attempt_id)
        )
        assert [tuple(row) for row in counted] == [(attempt, 10) for attempt in attempts]
        # One series per case, whoever measured it.
        assert await session.scalar(select(func.count()).select_from(Series)) == 10


async def test_watchers_of_a_run_are_told(database: Database) -> None:
    run, attempt = await one_attempt(database)
    listening = asyncio.Event()
    notifications = database.listen("tb_run", connected=listening.set)
    first = asyncio.ensure_future(anext(notifications))
    await asyncio.wait_for(listening.wait(), 10)
    async with uploads(database) as client:
        await client.send(header("alpha", run, attempt), [make.whole_log(1)[:2]])
        assert (await asyncio.wait_for(first, 10)).payload == str(run)
    await notifications.aclose()


async def test_records_that_cannot_be_taken_are_set_aside_and_the_log_goes_on(database: Database) -> None:
    run, attempt = await one_attempt(database)
    bad = make.case_finished(3, "gemm/bad", samples=[1.0, math.inf, 2.0])
    homeless = make.case_finished(4, "gemm/homeless", trial=9)
    log = [make.trial_started(1), make.case_finished(2), bad, homeless, make.case_finished(5), make.attempt_finished(6)]
    async with uploads(database) as client:
        answers = await client.send(header("alpha", run, attempt), [log])
        assert answers[-1].committed_sequence == 6
        assert (await ended(database, attempt)).outcome == "ok"
    aside = await rows(database, QuarantinedRecord)
    assert [(row.sequence, pb.Record.FromString(row.record)) for row in aside] == [(3, bad), (4, homeless)]
    assert "samples.values[1]: inf" in aside[0].reason
    assert "trial: 9: no such trial has started" in aside[1].reason
    outcomes = {row.case_id: (row.outcome, row.reason) for row in await rows(database, CaseResult)}
    assert outcomes["gemm/bad"] == ("harness_error", f"put aside by the collector: {aside[0].reason}")
    assert outcomes["gemm/homeless"][0] == "harness_error"
    assert len(await rows(database, Measurement)) == 2
    lines = await rows(database, LogLine)
    assert {(line.source, line.sequence) for line in lines} == {("collector", 3), ("collector", 4)}


async def test_a_closing_record_that_cannot_be_read_ends_the_attempt_and_says_so(database: Database) -> None:
    run, attempt = await one_attempt(database)
    log = [make.trial_started(1), make.attempt_finished(2, measurement_pb2.OUTCOME_UNSPECIFIED)]
    async with uploads(database) as client:
        await client.send(header("alpha", run, attempt), [log])
        closed = await ended(database, attempt)
    assert closed.outcome == "harness_error"
    assert "its closing record could not be taken" in closed.reason


@pytest.mark.parametrize(
    ("constraint", "failed_case_is_shown"),
    [
        ("ALTER TABLE measurement ADD CHECK (value <> 777)", True),
        ("ALTER TABLE case_result ADD CHECK (case_id <> 'gemm/matmul[n=7]')", False),
    ],
)
async def test_what_only_the_database_refuses_is_found_and_set_aside_alone(
    database: Database, constraint: str, *, failed_case_is_shown: bool
) -> None:
    run, attempt = await one_attempt(database)
    async with database.transaction() as session:
        await session.execute(text(constraint))
    log = make.whole_log(20)
    refused = log[8]
    refused.case_finished.result.measurements[0].value = 777.0
    async with uploads(database) as client:
        answers = await client.send(header("alpha", run, attempt), [log[:3], log[3:18], log[18:]])
        assert answers[-1].committed_sequence == len(log)
        assert (await ended(database, attempt)).outcome == "ok"
    (aside,) = await rows(database, QuarantinedRecord)
    assert pb.Record.FromString(aside.record) == refused
    assert "the database does not take it: new row" in aside.reason
    outcomes = {row.case_id: row.outcome for row in await rows(database, CaseResult)}
    assert outcomes.pop("gemm/matmul[n=7]", None) == ("harness_error" if failed_case_is_shown else None)
    assert outcomes == {f"gemm/matmul[n={number}]": "ok" for number in range(20) if number != 7}


async def test_a_value_in_another_unit_does_not_join_the_series(database: Database) -> None:
    run, attempt = await one_attempt(database)
    other = make.case_finished(3)
    other.case_finished.result.measurements[0].unit = "s"
    async with uploads(database) as client:
        await client.send(header("alpha", run, attempt), [[make.trial_started(1), make.case_finished(2)], [other]])
    (aside,) = await rows(database, QuarantinedRecord)
    assert "unit: 's': metric time of this case has been measured in 'ns'" in aside.reason
    assert len(await rows(database, Measurement)) == 1


async def test_direction_and_importance_of_a_metric_are_those_of_the_newest_result(database: Database) -> None:
    run, attempt = await one_attempt(database)
    other = make.case_finished(3)
    metric = other.case_finished.result.measurements[0]
    metric.better, metric.primary = measurement_pb2.BETTER_HIGHER, False
    async with uploads(database) as client:
        await client.send(header("alpha", run, attempt), [[make.trial_started(1), make.case_finished(2)], [other]])
    (series,) = await rows(database, Series)
    assert (series.better, series.primary) == ("higher", False)
    assert len(await rows(database, Measurement)) == 2


async def test_results_of_an_older_epoch_are_kept_marked_late_and_change_no_attempt(database: Database) -> None:
    run, attempt = await one_attempt(database)
    async with database.transaction() as session:
        await session.execute(
            text(f"UPDATE attempt SET epoch = 2, state = 'queued', host_id = NULL WHERE id = {attempt}")
        )
    async with uploads(database) as client:
        answers = await client.send(header("alpha", run, attempt), [make.whole_log(2)])
    assert [(answer.committed_sequence, answer.late) for answer in answers] == [(5, True)]
    assert [case.late for case in await rows(database, CaseResult)] == [True, True]
    assert [row.late for row in await rows(database, Measurement)] == [True, True]
    (found,) = await rows(database, Attempt)
    assert (found.state, found.epoch, found.cases_done) == ("queued", 2, 0)


async def test_results_become_late_when_the_attempt_is_handed_on_in_the_middle(database: Database) -> None:
    run, attempt = await one_attempt(database)
    log = make.whole_log(2)
    async with uploads(database) as client:
        stream = client.stub.Upload(timeout=30)
        await stream.write(pb.UploadRequest(header=header("alpha", run, attempt)))
        await stream.write(pb.UploadRequest(batch=make.batch(*log[:2])))
        first = await stream.read()
        assert isinstance(first, pb.UploadResponse)
        assert not first.late
        async with database.transaction() as session:
            await session.execute(
                text(f"UPDATE attempt SET epoch = 2, host_id = NULL, state = 'queued' WHERE id = {attempt}")
            )
        await stream.write(pb.UploadRequest(batch=make.batch(*log[2:])))
        second = await stream.read()
        assert isinstance(second, pb.UploadResponse)
        assert second.late
        stream.cancel()
    late = {case.sequence: case.late for case in await rows(database, CaseResult)}
    assert late == {2: False, 3: True}


async def test_results_that_come_after_the_attempt_was_given_up_are_late(database: Database) -> None:
    run, attempt = await one_attempt(database)
    async with database.transaction() as session:
        await session.execute(
            text(
                f"UPDATE attempt SET state = 'finished', outcome = 'interrupted', reason = 'lost' WHERE id = {attempt}"
            )
        )
    async with uploads(database) as client:
        answers = await client.send(header("alpha", run, attempt), [make.whole_log(1)])
    assert answers[-1].late
    (found,) = await rows(database, Attempt)
    assert (found.outcome, found.reason) == ("interrupted", "lost")


async def test_an_interrupted_attempt_is_handed_out_again(database: Database) -> None:
    run, attempt = await one_attempt(database)
    log = [make.trial_started(1), make.attempt_finished(2, measurement_pb2.OUTCOME_INTERRUPTED, "agent restarted")]

    async def queued() -> Attempt | None:
        async with database.transaction() as session:
            return await session.scalar(select(Attempt).where(Attempt.state == "queued", Attempt.epoch == 2))

    async with uploads(database) as client:
        await client.send(header("alpha", run, attempt), [log])
        found = await wait_until_async(queued, seconds=20, what="the attempt to be queued again")
    assert found is not None
    assert "agent restarted" in found.reason


async def test_a_complete_log_whose_attempt_is_still_open_is_closed_at_the_start(database: Database) -> None:
    run, attempt = await one_attempt(database)
    async with database.transaction() as session:
        host = await session.scalar(select(Attempt.host_id))
        session.add(
            IngestLog(
                attempt_id=attempt, epoch=1, host_id=host, committed_sequence=9, closed=True, outcome="ok", reason=""
            )
        )
    async with uploads(database):
        assert (await ended(database, attempt)).outcome == "ok"
    async with database.transaction() as session:
        assert await session.scalar(select(Run.state).where(Run.id == run)) == "finished"


@pytest.mark.parametrize(
    ("change", "code", "reason", "words"),
    [
        ({"attempt": "runs/1/attempts/999"}, grpc.StatusCode.NOT_FOUND, Reason.ATTEMPT_NOT_FOUND, "no such attempt"),
        ({"attempt": "nonsense"}, grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_FIELD, "header.attempt: 'nonsense'"),
        ({"host": "beta"}, grpc.StatusCode.NOT_FOUND, Reason.ATTEMPT_NOT_FOUND, "host beta has never registered"),
        ({"epoch": 5}, grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_FIELD, "epochs 1 to 1 have been handed out"),
        (
            {"schema_version": 99},
            grpc.StatusCode.FAILED_PRECONDITION,
            Reason.SCHEMA_VERSION_UNSUPPORTED,
            "schema_version: 99: this collector reads record schema 1",
        ),
    ],
)
async def test_a_header_that_does_not_fit_is_refused(
    database: Database, change: dict[str, Any], code: grpc.StatusCode, reason: Reason, words: str
) -> None:
    run, attempt = await one_attempt(database)
    wrong = header("alpha", run, attempt)
    for field, value in change.items():
        setattr(wrong, field, value)
    async with uploads(database) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.send(wrong, [])
    assert (caught.value.code(), reason_of(caught.value)) == (code, reason)
    assert words in str(caught.value.details())


async def test_another_hosts_attempt_is_not_found(database: Database) -> None:
    run, attempt = await one_attempt(database)
    async with database.transaction() as session:
        await make.add_host(session, "beta")
    async with uploads(database) as client:
        with pytest.raises(grpc.aio.AioRpcError, match="was handed to another host"):
            await client.send(header("beta", run, attempt), [make.whole_log(1)])


async def test_a_token_speaks_for_its_own_host_only(database: Database) -> None:
    run, attempt = await one_attempt(database)
    async with database.transaction() as session:
        secret = await tokens.create(session, name="b", role="agent:beta", project="", actor="test")
    async with uploads(database, auth=True) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.send(header("alpha", run, attempt), [], metadata=(("authorization", f"Bearer {secret}"),))
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("records", "field"),
    [
        ([make.log_lines(1, "a"), make.log_lines(3, "b")], "batch.records[1].sequence"),
        ([make.attempt_finished(1), make.log_lines(2, "b")], "batch.records[0].attempt_finished"),
    ],
)
async def test_a_batch_out_of_shape_is_refused_after_what_came_before_it(
    database: Database, records: list[pb.Record], field: str
) -> None:
    run, attempt = await one_attempt(database)
    async with uploads(database) as client:
        stream = client.stub.Upload(timeout=30)
        await stream.write(pb.UploadRequest(header=header("alpha", run, attempt)))
        await stream.write(pb.UploadRequest(batch=make.batch(make.log_lines(1, "kept"))))
        await stream.write(pb.UploadRequest(batch=make.batch(*records)))
        first = await stream.read()
        assert isinstance(first, pb.UploadResponse)
        assert first.committed_sequence == 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(caught.value) is Reason.MALFORMED_BATCH
    assert field in str(caught.value.details())
    assert len(await rows(database, LogLine)) == 1


async def test_a_stream_without_a_header_is_refused(database: Database) -> None:
    async with uploads(database) as client:
        stream = client.stub.Upload(timeout=30)
        await stream.write(pb.UploadRequest(batch=make.batch(make.log_lines(1, "x"))))
        with pytest.raises(grpc.aio.AioRpcError, match="the first message is the header"):
            await stream.read()


async def test_what_becomes_of_batches_is_counted(database: Database) -> None:
    run, attempt = await one_attempt(database)

    def counted() -> dict[str, float]:
        outcomes = ("committed", "duplicate", "gap", "quarantined", "malformed")
        sample = metrics.REGISTRY.get_sample_value
        return {
            outcome: sample("tesserabench_ingest_batches_total", {"outcome": outcome}) or 0.0 for outcome in outcomes
        }

    before = counted()
    opening = header("alpha", run, attempt)
    bad = make.case_finished(3, samples=[math.inf])
    async with uploads(database) as client:
        start = [make.trial_started(1), make.case_finished(2)]
        await client.send(opening, [start, start, [make.case_finished(9)], [bad]])
        with pytest.raises(grpc.aio.AioRpcError, match="ascend by one"):
            await client.send(opening, [[make.log_lines(4, "a"), make.log_lines(9, "b")]])
    after = counted()
    assert {outcome: after[outcome] - before[outcome] for outcome in after} == dict.fromkeys(after, 1.0)


async def test_an_empty_batch_asks_where_the_log_stands(database: Database) -> None:
    run, attempt = await one_attempt(database)
    async with uploads(database) as client:
        answers = await client.send(header("alpha", run, attempt), [make.whole_log(1)[:2], []])
        assert answers[0].committed_sequence == 2
        (answer,) = await client.send(header("alpha", run, attempt), [[]])
        assert answer.committed_sequence == 2
