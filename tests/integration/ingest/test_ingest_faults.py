"""Uploads while PostgreSQL dies, while streams break off, and when everything comes at once."""

import asyncio
import random
from pathlib import Path

import grpc
from sqlalchemy import func, select
from support import uploads as make
from support.ingest_server import Uploads, header, uploads, utc_now
from support.postgres import kill_postgres, private_postgres
from support.waiting import wait_until_async
from tesserabench.collector.core.ingest import Ingest
from tesserabench.collector.errors import UnavailableError
from tesserabench.collector.store import migrate
from tesserabench.collector.store.attempts import lock_attempts, lock_run
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.tables import CaseResult, IngestLog, Measurement
from tesserabench.v1 import ingest_service_pb2 as pb

CASES = 120
BATCH = 4


async def upload_like_an_agent(client: Uploads, opening: pb.UploadHeader, log: list[pb.Record]) -> int:
    """Send a log to its end, beginning again after the last acknowledged record whenever the stream breaks.

    Returns how many records were acknowledged in the moment when each stream broke, at most the whole log.
    """
    acknowledged = 0
    while acknowledged < len(log):
        stream = client.stub.Upload(timeout=60)
        try:
            await stream.write(pb.UploadRequest(header=opening))
            while acknowledged < len(log):
                records = log[acknowledged : acknowledged + BATCH]
                await stream.write(pb.UploadRequest(batch=make.batch(*records)))
                answer = await stream.read()
                assert isinstance(answer, pb.UploadResponse)
                # What was acknowledged is never taken back.
                assert answer.committed_sequence >= acknowledged
                acknowledged = answer.committed_sequence
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await asyncio.sleep(0.05)
        finally:
            stream.cancel()
    return acknowledged


async def stored(database: Database) -> dict[int, list[int]]:
    """Sequences of the case results of each attempt, as often as they are stored."""
    async with database.transaction() as session:
        rows = await session.execute(select(CaseResult.attempt_id, CaseResult.sequence))
        found: dict[int, list[int]] = {}
        for attempt, sequence in rows:
            found.setdefault(attempt, []).append(sequence)
    return {attempt: sorted(sequences) for attempt, sequences in found.items()}


async def test_nothing_is_lost_or_doubled_when_postgresql_is_killed_again_and_again(tmp_path: Path) -> None:
    with private_postgres(tmp_path / "pg") as launcher:
        dsn = launcher.folder.dsn()
        await asyncio.to_thread(migrate.upgrade, dsn)
        database = Database(dsn)
        async with database.transaction() as session:
            hosts = [await make.add_host(session, f"host-{number}") for number in range(4)]
            run, attempts = await make.add_run(session, hosts)
        log = make.whole_log(CASES)
        async with uploads(database) as client:
            async with asyncio.TaskGroup() as group:
                agents = [
                    group.create_task(upload_like_an_agent(client, header(f"host-{number}", run, attempt), log))
                    for number, attempt in enumerate(attempts)
                ]
                for goal in (10, 60, 110):
                    await progress(database, goal)
                    await asyncio.to_thread(kill_postgres, launcher)
                    await asyncio.to_thread(launcher.start)
            assert [agent.result() for agent in agents] == [len(log)] * 4
        assert await stored(database) == {attempt: list(range(2, CASES + 2)) for attempt in attempts}
        async with database.transaction() as session:
            assert await session.scalar(select(func.count()).select_from(Measurement)) == 4 * CASES
        await database.close()


async def progress(database: Database, cases: int) -> None:
    """Return when some log has this many cases, or is complete."""

    async def there() -> bool:
        try:
            async with database.transaction() as session:
                statement = select(IngestLog).where((IngestLog.cases >= cases) | IngestLog.closed).limit(1)
                return await session.scalar(statement) is not None
        except UnavailableError:
            return False

    await wait_until_async(there, seconds=60, what=f"{cases} cases of one log", every=0.002)


async def test_a_batch_waits_for_a_database_that_is_away_and_is_then_committed(tmp_path: Path) -> None:
    with private_postgres(tmp_path / "pg") as launcher:
        dsn = launcher.folder.dsn()
        await asyncio.to_thread(migrate.upgrade, dsn)
        database = Database(dsn)
        async with database.transaction() as session:
            run, attempts = await make.add_run(session, [await make.add_host(session, "alpha")])
        async with uploads(database) as client:
            stream = client.stub.Upload(timeout=60)
            await stream.write(pb.UploadRequest(header=header("alpha", run, attempts[0])))
            await stream.write(pb.UploadRequest(batch=make.batch(make.trial_started(1), make.case_finished(2))))
            await stream.read()
            await asyncio.to_thread(kill_postgres, launcher)
            # The series of this case is known, so that nothing but the commit needs the database.
            await stream.write(pb.UploadRequest(batch=make.batch(make.case_finished(3))))
            answer = asyncio.ensure_future(stream.read())
            await asyncio.to_thread(launcher.start)
            committed = await asyncio.wait_for(answer, 30)
            assert isinstance(committed, pb.UploadResponse)
            assert committed.committed_sequence == 3
            stream.cancel()
        assert await stored(database) == {attempts[0]: [2, 3]}
        await database.close()


async def test_streams_that_break_off_anywhere_leave_every_record_once(database: Database) -> None:
    async with database.transaction() as session:
        run, attempts = await make.add_run(session, [await make.add_host(session, "alpha")])
    log = make.whole_log(60)
    opening = header("alpha", run, attempts[0])
    dice = random.Random(7)
    async with uploads(database) as client:
        for _ in range(15):
            stream = client.stub.Upload(timeout=30)
            await stream.write(pb.UploadRequest(header=opening))
            sent = dice.randrange(1, 6)
            for _ in range(sent):
                start = dice.randrange(0, len(log))
                await stream.write(pb.UploadRequest(batch=make.batch(*log[start : start + dice.randrange(1, 20)])))
            for _ in range(dice.randrange(0, sent + 1)):
                await stream.read()
            # Without a goodbye, whatever is under way.
            stream.cancel()
        assert await upload_like_an_agent(client, opening, log) == len(log)
    assert await stored(database) == {attempts[0]: list(range(2, 62))}


async def test_a_full_queue_holds_streams_back_and_loses_nothing(database: Database) -> None:
    async with database.transaction() as session:
        hosts = [await make.add_host(session, f"host-{number}") for number in range(8)]
        run, attempts = await make.add_run(session, hosts)
    log = make.whole_log(40)
    batches = [log[start : start + 2] for start in range(0, len(log), 2)]
    # Room for about two batches at a time.
    ingest = Ingest(database, utc_now, max_waiting_bytes=5000, max_commit_bytes=2000)
    async with uploads(database, ingest) as client, asyncio.TaskGroup() as group:
        for number, attempt in enumerate(attempts):
            group.create_task(client.send(header(f"host-{number}", run, attempt), batches))
        # A batch that is larger than all there is room for goes through too.
        group.create_task(client.send(header("host-0", run, attempts[0]), [log]))
    assert await stored(database) == {attempt: list(range(2, 42)) for attempt in attempts}


async def test_a_decision_about_an_attempt_does_not_stop_uploads_under_way(database: Database) -> None:
    async with database.transaction() as session:
        hosts = [await make.add_host(session, name) for name in ("alpha", "beta")]
        run, attempts = await make.add_run(session, hosts)
    log = make.whole_log(3)
    async with uploads(database) as client:
        streams = [client.stub.Upload(timeout=60) for _ in attempts]
        for stream, host, attempt in zip(streams, ("alpha", "beta"), attempts, strict=True):
            await stream.write(pb.UploadRequest(header=header(host, run, attempt)))
            await stream.write(pb.UploadRequest(batch=make.batch()))
            await stream.read()
        async with database.transaction() as session:
            # As everybody does who decides about them.
            await lock_run(session, run)
            await lock_attempts(session, run)
            async with asyncio.timeout(20):
                for stream in streams:
                    await stream.write(pb.UploadRequest(batch=make.batch(*log)))
                    answer = await stream.read()
                    assert isinstance(answer, pb.UploadResponse)
                    assert answer.committed_sequence == len(log)
        for stream in streams:
            stream.cancel()
    assert len(await stored(database)) == 2
