"""Logs of attempts for tests: what an agent would send, and rows that they belong to."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store import projects
from tesserabench.collector.store.tables import Attempt, Host, Run
from tesserabench.v1 import host_pb2, ingest_service_pb2, measurement_pb2

NOW = datetime.now(UTC)


async def add_host(session: AsyncSession, name: str) -> int:
    host = Host(
        name=name,
        process_id="p" * 16,
        agent_version="0",
        schema_version=1,
        inventory={},
        attributes={},
        suites=["core"],
        device_kinds=["simulated"],
    )
    session.add(host)
    await session.flush()
    return host.id


async def find_or_add_host(session: AsyncSession, name: str) -> int:
    found = await session.scalar(select(Host.id).where(Host.name == name))
    return found if found is not None else await add_host(session, name)


async def add_run(session: AsyncSession, host_ids: Sequence[int], *, project: str = "default") -> tuple[int, list[int]]:
    """A running run with an attempt on each host: its id and theirs."""
    owner = await projects.get_or_create(session, project)
    run = Run(
        project_id=owner.id,
        suite="core",
        tier="smoke",
        spec={},
        gate={},
        trigger="person",
        requested_by="test",
        state="running",
        started_at=NOW,
    )
    session.add(run)
    await session.flush()
    attempts = [
        Attempt(
            run_id=run.id,
            ordinal=ordinal,
            host_id=host_id,
            state="running",
            suite="core",
            device_kind="simulated",
            hosts=[],
            conditions=[],
            priority=0,
            started_at=NOW,
        )
        for ordinal, host_id in enumerate(host_ids)
    ]
    session.add_all(attempts)
    await session.flush()
    return run.id, [attempt.id for attempt in attempts]


def record(sequence: int, **event: Any) -> ingest_service_pb2.Record:
    found = ingest_service_pb2.Record(sequence=sequence, **event)
    found.time.GetCurrentTime()
    return found


def trial_started(sequence: int, trial: int = 0, *, kind: str = "simulated") -> ingest_service_pb2.Record:
    device = host_pb2.Device(uuid=f"{kind}-0", kind=kind, model="Model X", memory_bytes=2**40)
    environment = measurement_pb2.Environment(comparability="c", fingerprint="f", facts={"driver_version": "580"})
    event = ingest_service_pb2.TrialStarted(
        trial=trial, device=device, pid=1, environment=environment, case_count=3, seed=2**63 + 1
    )
    return record(sequence, trial_started=event)


def trial_finished(sequence: int, trial: int = 0) -> ingest_service_pb2.Record:
    event = ingest_service_pb2.TrialFinished(
        trial=trial,
        outcome=measurement_pb2.OUTCOME_OK,
        throttle=measurement_pb2.THROTTLE_CLASS_CLEAN,
        throttle_fractions={"sw_power_cap": 0.25},
        ceilings=[measurement_pb2.Ceiling(name="bandwidth", unit="B/s", opening=1e12)],
        exit_status=0,
    )
    event.startup.FromMilliseconds(1500)
    return record(sequence, trial_finished=event)


def measurement(
    samples: Iterable[float] = (), *, metric: str = "time", unit: str = "ns"
) -> measurement_pb2.Measurement:
    values = list(samples)
    found = measurement_pb2.Measurement(
        metric=metric,
        unit=unit,
        better=measurement_pb2.BETTER_LOWER,
        primary=True,
        value=sorted(values)[len(values) // 2] if values else 7.0,
    )
    if values:
        found.samples.values.extend(values)
    return found


def case_finished(
    sequence: int,
    case: str = "gemm/matmul[n=512]",
    *,
    trial: int = 0,
    samples: Iterable[float] = (100.0, 102.0, 101.0),
    outcome: measurement_pb2.Outcome.ValueType = measurement_pb2.OUTCOME_OK,
) -> ingest_service_pb2.Record:
    result = measurement_pb2.CaseResult(
        case=measurement_pb2.Case(id=case, suite="core", benchmark="matmul", parameters={"n": "512"}),
        mode=measurement_pb2.TIMING_MODE_HOT,
        outcome=outcome,
        stop_reason=measurement_pb2.STOP_REASON_CONVERGED,
        iterations_per_sample=4,
        order=sequence,
        seed=2**64 - 1,
    )
    result.end_time.GetCurrentTime()
    result.wall_time.FromMilliseconds(1250)
    if outcome == measurement_pb2.OUTCOME_OK:
        result.measurements.append(measurement(samples))
    return record(sequence, case_finished=ingest_service_pb2.CaseFinished(trial=trial, result=result))


def log_lines(sequence: int, *lines: str, trial: int | None = None) -> ingest_service_pb2.Record:
    return record(sequence, log_lines=ingest_service_pb2.LogLines(trial=trial, source="stdout", lines=lines))


def attempt_finished(
    sequence: int, outcome: measurement_pb2.Outcome.ValueType = measurement_pb2.OUTCOME_OK, reason: str = ""
) -> ingest_service_pb2.Record:
    return record(sequence, attempt_finished=ingest_service_pb2.AttemptFinished(outcome=outcome, reason=reason))


def batch(*records: ingest_service_pb2.Record) -> ingest_service_pb2.RecordBatch:
    return ingest_service_pb2.RecordBatch(records=records)


def whole_log(cases: int, *, trial: int = 0) -> list[ingest_service_pb2.Record]:
    """A trial with some cases, from its start to the closing record."""
    records = [trial_started(1, trial)]
    records += [case_finished(2 + number, f"gemm/matmul[n={number}]", trial=trial) for number in range(cases)]
    return [*records, trial_finished(len(records) + 1, trial), attempt_finished(len(records) + 2)]
