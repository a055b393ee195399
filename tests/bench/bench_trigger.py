"""How long it takes from a trigger until the worker process measures, beside the start of such a process alone.

One collector, one agent, a simulated device. A trigger is the moment before `CreateRun` is sent; the end is the
worker's own first record, by the clock of the same machine.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psycopg
from support.figures import Figure, out_folder, report
from support.fleet import Fleet
from support.waiting import wait_until
from tesserabench.collector.store.folder import running_dsn
from tesserabench.v1.run_pb2 import Run, RunSpec, RunState, Tier
from tesserabench.v1.run_service_pb2 import CreateRunRequest, GetRunRequest
from tesserabench.v1.run_service_pb2_grpc import RunServiceStub

ROUNDS = 12
WORKER = "import tesserabench.bench as bench; bench.suites(); import numpy"


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory(prefix="tesserabench-") as folder, Fleet(Path(folder)) as fleet:
        fleet.start_collector()
        fleet.start_agent("alpha")
        fleet.wait_for_hosts("alpha")
        pairs = list(_pairs(fleet))[1:]  # the first round warms caches
    latency = statistics.median(pair[0] for pair in pairs)
    alone = statistics.median(pair[1] for pair in pairs)
    figure = Figure(
        name="trigger_to_start_p50_ms",
        value=latency,
        unit="ms",
        reference="worker_process_alone",
        ratio=latency / alone,
    )
    report("trigger", [figure], out_folder())


def _pairs(fleet: Fleet) -> Iterator[tuple[float, float]]:
    dsn = running_dsn(fleet.collector_state / "postgres")
    assert dsn is not None
    with grpc.insecure_channel(fleet.addresses.grpc) as channel, psycopg.connect(dsn, autocommit=True) as database:
        stub = RunServiceStub(channel)
        for _ in range(ROUNDS + 1):
            yield _trigger_to_start(stub, database), _worker_alone()


def _trigger_to_start(stub: RunServiceStub, database: psycopg.Connection) -> float:
    spec = RunSpec(suite="memory", tier=Tier.TIER_SMOKE, device="simulated", include=["copy"], trials=1)
    begin = time.time()
    run = stub.CreateRun(CreateRunRequest(spec=spec), timeout=10)

    def finished() -> Run | None:
        told = stub.GetRun(GetRunRequest(name=run.name), timeout=10)
        return told if told.state == RunState.RUN_STATE_FINISHED else None

    wait_until(finished, seconds=60, what=f"the end of {run.name}")
    query = "SELECT trial.started_at FROM trial JOIN attempt ON attempt.id = attempt_id WHERE run_id = %s"
    row = database.execute(query, [int(run.name.rpartition("/")[2])]).fetchone()
    assert row is not None
    started: float = row[0].timestamp()
    return (started - begin) * 1000


def _worker_alone() -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", WORKER], check=True)
    return (time.perf_counter() - begin) * 1000


if __name__ == "__main__":
    main()
