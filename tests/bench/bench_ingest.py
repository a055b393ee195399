"""How many results a second go from agents through gRPC into PostgreSQL, beside `psql \\copy` of the same rows.

The collector is the real daemon in its own process, on its own PostgreSQL; the agents are separate connections of this
process. A row is one measurement with its 30 samples and statistics, its case result beside it; it counts when it has
been acknowledged, which is after the commit. Everything is measured in turns in one run, so that the ratio holds on a
noisy machine even where the absolute figures do not.
"""

import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import psycopg
from sqlalchemy import text
from support import uploads as make
from support.figures import Figure, out_folder, report
from support.fleet import Fleet
from tesserabench.collector.store.binaries import find_binaries
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.folder import running_dsn
from tesserabench.v1 import ingest_service_pb2 as pb
from tesserabench.v1 import measurement_pb2
from tesserabench.wire import SCHEMA_VERSION
from tesserabench.wire.channel import client_options

CASES_PER_BATCH = 20
SAMPLES = 30
WINDOW = 4
ROUNDS = 5
BATCHES = {1: 150, 10: 40, 100: 6}
"""Agents, and the batches that each of them sends in a round."""
LATENCY_SECONDS = 8
LATENCY_AGENTS = 100
_METHOD = "/tesserabench.v1.IngestService/Upload"


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory(prefix="tb-bench-") as folder, Fleet(Path(folder)) as fleet:
        fleet.start_collector()
        dsn = running_dsn(fleet.collector_state / "postgres")
        assert dsn is not None
        figures = asyncio.run(_measure(fleet.addresses.grpc, dsn, Path(folder)))
    report("ingest", figures, out_folder())


async def _measure(address: str, dsn: str, folder: Path) -> list[Figure]:
    database = Database(dsn)
    try:
        log = Log(max(BATCHES.values()))
        reference = PsqlCopy(dsn, folder)
        await _round(address, database, log, agents=10)
        rates: dict[int, list[float]] = {agents: [] for agents in BATCHES}
        copied: list[float] = []
        for number in range(ROUNDS):
            for agents in BATCHES:
                reference.empty()
                rates[agents].append(await _round(address, database, log, agents=agents))
            if number == 0:
                reference.take_rows()
            reference.empty()
            copied.append(reference.rows_per_second())
        reference.empty()
        latencies = await _latencies(address, database, log)
    finally:
        await database.close()
    return _figures(rates, copied, latencies)


def _figures(rates: dict[int, list[float]], copied: list[float], latencies: Sequence[float]) -> list[Figure]:
    p50, p99 = np.percentile(np.array(latencies) * 1000, [50, 99])
    figures = []
    for agents, measured in rates.items():
        ratio = statistics.median(rate / reference for rate, reference in zip(measured, copied, strict=True))
        name = "ingest_rows_per_second" if agents == max(rates) else f"ingest_rows_per_second_{agents}_agents"
        figures.append(
            Figure(name=name, value=statistics.median(measured), unit="rows/s", reference="psql_copy", ratio=ratio)
        )
    return [
        *figures,
        Figure(name="psql_copy_rows_per_second", value=statistics.median(copied), unit="rows/s"),
        Figure(name=f"ack_p50_ms_{LATENCY_AGENTS}_agents", value=float(p50), unit="ms"),
        Figure(name=f"ack_p99_ms_{LATENCY_AGENTS}_agents", value=float(p99), unit="ms"),
    ]


class Log:
    """Batches as they go over the wire, the same for every agent: the first starts a trial."""

    def __init__(self, batches: int) -> None:
        noise = np.random.default_rng(1)
        self.opening = _request([make.trial_started(1)])
        self.batches = []
        for number in range(batches):
            first = 2 + number * CASES_PER_BATCH
            records = [_case(first + case, case, noise) for case in range(CASES_PER_BATCH)]
            self.batches.append(_request(records))


def _request(records: list[pb.Record]) -> bytes:
    return pb.UploadRequest(batch=pb.RecordBatch(records=records)).SerializeToString()


def _case(sequence: int, case: int, noise: np.random.Generator) -> pb.Record:
    """A result as an agent sends it: 30 times in whole nanoseconds with every statistic."""
    samples = np.rint(noise.normal(1e6, 1e4, SAMPLES)).tolist()
    record = make.case_finished(sequence, f"gemm/matmul[dtype=float32,k={case},m=512,n=512]", samples=samples)
    result = record.case_finished.result
    result.correctness.check, result.correctness.error, result.correctness.limit = "relative_frobenius", 1.2e-7, 1e-5
    result.correctness.passed = result.correctness.poisoned = True
    result.timer_floor_ns, result.timer_quantum_ns = 25.5, 0.5
    ordered = sorted(samples)
    metric = result.measurements[0]
    metric.value, metric.ci_low, metric.ci_high = ordered[15], ordered[9], ordered[20]
    metric.statistics.CopyFrom(
        measurement_pb2.Statistics(
            count=SAMPLES,
            effective_count=28.5,
            min=ordered[0],
            p5=ordered[1],
            q1=ordered[7],
            median=ordered[15],
            q3=ordered[22],
            p95=ordered[28],
            max=ordered[-1],
            mean=statistics.fmean(samples),
            stdev=statistics.stdev(samples),
            mad=7000.0,
            ci_low=ordered[9],
            ci_high=ordered[20],
            autocorrelation=0.03,
            drift=0.001,
        )
    )
    return record


async def _round(address: str, database: Database, log: Log, *, agents: int) -> float:
    """Rows acknowledged a second when so many agents send as fast as they can."""
    batches = log.batches[: BATCHES[agents]]
    async with _Agents(address, database, log, agents) as connected:
        begin = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for agent in connected:
                group.create_task(agent.send_all(batches))
        seconds = time.perf_counter() - begin
    return agents * len(batches) * CASES_PER_BATCH / seconds


async def _latencies(address: str, database: Database, log: Log) -> list[float]:
    """Seconds from sending a batch to its acknowledgement, with each agent sending one a second."""
    async with _Agents(address, database, log, LATENCY_AGENTS) as connected:
        found: list[float] = []
        begin = time.perf_counter() + 0.5
        async with asyncio.TaskGroup() as group:
            for number, agent in enumerate(connected):
                group.create_task(agent.send_paced(log.batches, begin + number / LATENCY_AGENTS, found))
    return found


class Agent:
    """One agent: a connection of its own and an open upload."""

    def __init__(self, address: str, header: pb.UploadHeader) -> None:
        options = [*client_options(), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(address, options=options)
        # Batches are bytes already, as they are on an agent's disk.
        upload = self._channel.stream_stream(
            _METHOD, request_serializer=lambda content: content, response_deserializer=pb.UploadResponse.FromString
        )
        self._stream = upload()
        self._header = pb.UploadRequest(header=header).SerializeToString()

    async def open(self, opening: bytes) -> None:
        """Send the header and the start of the trial."""
        await self._stream.write(self._header)
        await self._stream.write(opening)
        await self._stream.read()

    async def send_all(self, batches: Sequence[bytes]) -> None:
        """Send every batch, a few ahead of the acknowledgements."""
        for position, batch in enumerate(batches):
            if position >= WINDOW:
                await self._stream.read()
            await self._stream.write(batch)
        for _ in range(min(WINDOW, len(batches))):
            answer = await self._stream.read()
        assert isinstance(answer, pb.UploadResponse)
        assert answer.committed_sequence == 1 + len(batches) * CASES_PER_BATCH

    async def send_paced(self, batches: Sequence[bytes], begin: float, found: list[float]) -> None:
        """Send a batch a second by a clock of its own, and note how long each acknowledgement took."""
        for position in range(LATENCY_SECONDS):
            due = begin + position
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await self._stream.write(batches[position])
            await self._stream.read()
            # From the moment when it should have been sent: a slow answer must not hide the next one's wait.
            found.append(time.perf_counter() - due)

    async def close(self) -> None:
        """Hang up."""
        self._stream.cancel()
        await self._channel.close()


class _Agents:
    """Some agents, each with an attempt that it holds and an open upload."""

    def __init__(self, address: str, database: Database, log: Log, count: int) -> None:
        self._address, self._database, self._log, self._count = address, database, log, count
        self._agents: list[Agent] = []

    async def __aenter__(self) -> list[Agent]:
        async with self._database.transaction() as session:
            await session.execute(text("DELETE FROM attempt"))
            names = [f"host-{number}" for number in range(self._count)]
            hosts = [await make.find_or_add_host(session, name) for name in names]
            tomorrow = datetime.now(UTC) + timedelta(days=1)
            await session.execute(text("UPDATE host SET lease_expires_at = :then"), {"then": tomorrow})
            run, attempts = await make.add_run(session, hosts)
        for name, attempt in zip(names, attempts, strict=True):
            header = pb.UploadHeader(
                host=name, attempt=f"runs/{run}/attempts/{attempt}", epoch=1, schema_version=SCHEMA_VERSION
            )
            self._agents.append(Agent(self._address, header))
        await asyncio.gather(*[agent.open(self._log.opening) for agent in self._agents])
        return self._agents

    async def __aexit__(self, *_error: object) -> None:
        await asyncio.gather(*[agent.close() for agent in self._agents])


class PsqlCopy:
    """`psql \\copy` of the rows that agents have sent, into the same tables of the same server."""

    TABLES = ("measurement", "case_result")

    def __init__(self, dsn: str, folder: Path) -> None:
        self._dsn = dsn
        self._folder = folder
        self._rows = 0

    def take_rows(self) -> None:
        """Keep what is in the tables now as files."""
        self._psql(
            [f"\\copy (SELECT * FROM {table}) TO '{self._folder / table}' (FORMAT BINARY)" for table in self.TABLES]
        )
        with psycopg.connect(self._dsn) as connection:
            row = connection.execute("SELECT count(*) FROM measurement").fetchone()
        assert row is not None
        self._rows = int(row[0])

    def empty(self) -> None:
        """Empty the tables, so that every turn begins with the same."""
        with psycopg.connect(self._dsn) as connection:
            connection.execute("TRUNCATE measurement, case_result")

    def rows_per_second(self) -> float:
        """Measurements a second, their case results beside them; psql's own start is not counted."""
        copies = [f"\\copy {table} FROM '{self._folder / table}' (FORMAT BINARY)" for table in self.TABLES]
        told = self._psql(["\\timing on", *copies])
        seconds = sum(float(line.split()[1]) for line in told.splitlines() if line.startswith("Time:")) / 1000
        return self._rows / seconds

    def _psql(self, commands: Sequence[str]) -> str:
        program = [find_binaries().program("psql"), "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", self._dsn]
        for command in commands:
            program += ["-c", command]
        return subprocess.run(program, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
