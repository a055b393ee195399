"""The tables. One row per measurement, its raw samples in one value; everything else is small.

Times are `timestamptz`. Words come from `store.words`. Structures that are only carried through (a run's spec, a
comparison) are JSON in the wire contract's field names; whatever is filtered, joined or counted has its own column.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, SmallInteger, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column
from tesserabench.collector.store.finding_tables import IdenticalComparison, RegressionMember
from tesserabench.collector.store.policy_tables import PolicyRevision
from tesserabench.collector.store.schema import Table
from tesserabench.collector.store.schema import id_column as _id
from tesserabench.collector.store.schema import now_column as _now


class Project(Table):
    """A body of code whose performance is watched."""

    __tablename__ = "project"

    id: Mapped[int] = _id()
    name: Mapped[str] = mapped_column(unique=True)
    default_branch: Mapped[str] = mapped_column(server_default="main")
    created_at: Mapped[datetime] = _now()


class Host(Table):
    """A machine with an agent. The row of the newest process; state is derived from `lease_expires_at`."""

    __tablename__ = "host"

    id: Mapped[int] = _id()
    name: Mapped[str] = mapped_column(unique=True)
    process_id: Mapped[str]
    agent_version: Mapped[str]
    schema_version: Mapped[int] = mapped_column(SmallInteger)
    # Inventory as on the wire; `attributes` is what selectors match on, `suites` the names it can run.
    inventory: Mapped[dict[str, Any]]
    attributes: Mapped[dict[str, Any]]
    suites: Mapped[list[str]]
    device_kinds: Mapped[list[str]]
    devices: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    registered_at: Mapped[datetime] = _now()
    last_seen_at: Mapped[datetime] = _now()
    lease_expires_at: Mapped[datetime] = _now()
    draining: Mapped[bool] = mapped_column(server_default=text("false"))
    unready_reason: Mapped[str] = mapped_column(server_default="")
    cordoned: Mapped[bool] = mapped_column(server_default=text("false"))
    cordon_reason: Mapped[str] = mapped_column(server_default="")
    clock_offset_seconds: Mapped[float | None]
    spool_pending_bytes: Mapped[int] = mapped_column(server_default=text("0"))


class Run(Table):
    """One request to measure."""

    __tablename__ = "run"

    id: Mapped[int] = _id()
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    suite: Mapped[str]
    tier: Mapped[str]
    spec: Mapped[dict[str, Any]]
    gate: Mapped[dict[str, Any]]
    labels: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    commit: Mapped[str] = mapped_column(server_default="")
    branch: Mapped[str] = mapped_column(server_default="")
    base_branch: Mapped[str] = mapped_column(server_default="")
    pull_request: Mapped[str] = mapped_column(server_default="")
    build_url: Mapped[str] = mapped_column(server_default="")
    repository: Mapped[str] = mapped_column(server_default="")
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    deadline_at: Mapped[datetime | None]
    trigger: Mapped[str]
    requested_by: Mapped[str]
    request_id: Mapped[str | None]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"))
    schedule_id: Mapped[int | None] = mapped_column(ForeignKey("schedule.id", ondelete="SET NULL"))
    # It was slowed on purpose: its results are judged and never become a baseline.
    drill: Mapped[bool] = mapped_column(server_default=text("false"))
    state: Mapped[str]
    outcome: Mapped[str | None]
    reason: Mapped[str] = mapped_column(server_default="")
    verdict: Mapped[str | None]
    severity: Mapped[str | None]
    verdict_reason: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = _now()
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    # A replica judges it until then; afterwards another may.
    judged_until: Mapped[datetime | None]
    # Bumped by every change that a watcher should see.
    revision_number: Mapped[int] = mapped_column(server_default=text("0"))
    # Of two runs that measure the same code, to count false alarms: `first`, and `second`, whose parent is the first.
    identical: Mapped[str] = mapped_column(server_default="")

    __table_args__ = (
        UniqueConstraint("project_id", "request_id"),
        Index(None, "project_id", text("id DESC")),
        Index(None, "project_id", "suite", "branch", text("id DESC")),
        Index(None, "project_id", "commit", postgresql_ops={"commit": "text_pattern_ops"}),
        Index("ix_run_unfinished", "state", postgresql_where=text("state <> 'finished'")),
        Index("ix_run_identical", "parent_id", postgresql_where=text("identical <> ''")),
    )


class Attempt(Table):
    """A run on one host. `epoch` counts how often it has been handed out."""

    __tablename__ = "attempt"

    id: Mapped[int] = _id()
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    ordinal: Mapped[int] = mapped_column(SmallInteger)
    epoch: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    host_id: Mapped[int | None] = mapped_column(ForeignKey("host.id"))
    state: Mapped[str]
    outcome: Mapped[str | None]
    reason: Mapped[str] = mapped_column(server_default="")
    # Copies of what a claim filters by, so that it reads one table.
    suite: Mapped[str]
    device_kind: Mapped[str]
    hosts: Mapped[list[str]]
    conditions: Mapped[list[str]]
    priority: Mapped[int] = mapped_column(SmallInteger)
    created_at: Mapped[datetime] = _now()
    deadline_at: Mapped[datetime | None]
    offered_until: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    unreachable_at: Mapped[datetime | None]
    # Since when its host is heard of without listing it; a closing record may still come.
    orphaned_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    cancel_reason: Mapped[str | None]
    cases_done: Mapped[int] = mapped_column(server_default=text("0"))
    cases_total: Mapped[int] = mapped_column(server_default=text("0"))
    current_case: Mapped[str] = mapped_column(server_default="")
    phase: Mapped[str] = mapped_column(server_default="")

    __table_args__ = (
        UniqueConstraint("run_id", "ordinal"),
        # Exclusivity is a constraint, not code.
        Index(
            "uq_attempt_one_per_host",
            "host_id",
            unique=True,
            postgresql_where=text("state IN ('offered', 'running', 'unreachable')"),
        ),
        Index("ix_attempt_queue", text("priority DESC"), "id", postgresql_where=text("state = 'queued'")),
        Index("ix_attempt_unfinished", "state", postgresql_where=text("state <> 'finished'")),
    )


class IngestLog(Table):
    """How far the log of an attempt's epoch has been committed."""

    __tablename__ = "ingest_log"

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id"))
    committed_sequence: Mapped[int] = mapped_column(server_default=text("0"))
    # Case results among the committed records.
    cases: Mapped[int] = mapped_column(server_default=text("0"))
    closed: Mapped[bool] = mapped_column(server_default=text("false"))
    # What the closing record said.
    outcome: Mapped[str | None]
    reason: Mapped[str] = mapped_column(server_default="")
    late: Mapped[bool] = mapped_column(server_default=text("false"))
    updated_at: Mapped[datetime] = _now()


class Trial(Table):
    """One worker process, with what may change results on its host."""

    __tablename__ = "trial"

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    trial: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    device: Mapped[dict[str, Any]]
    device_key: Mapped[str]
    facts: Mapped[dict[str, Any]]
    comparability: Mapped[str]
    fingerprint: Mapped[str]
    state_before: Mapped[dict[str, Any] | None]
    state_after: Mapped[dict[str, Any] | None]
    outcome: Mapped[str | None]
    reason: Mapped[str] = mapped_column(server_default="")
    throttle: Mapped[str | None]
    throttle_fractions: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    ceilings: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    exit_status: Mapped[int | None]
    startup_seconds: Mapped[float | None]
    seed: Mapped[str] = mapped_column(server_default="0")
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    # Of the wire's TrialStarted: clock policy, processors, NUMA node, order of the arms.
    context: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    # Of the wire's TrialFinished: flags, and what the agent read of the device meanwhile.
    telemetry: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))


class Series(Table):
    """What is comparable over time: case, mode, metric and device model (host for a CPU) within a project."""

    __tablename__ = "series"

    id: Mapped[int] = _id()
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    suite: Mapped[str]
    benchmark: Mapped[str]
    case_id: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    mode: Mapped[str]
    metric: Mapped[str]
    unit: Mapped[str]
    better: Mapped[str]
    primary: Mapped[bool]
    device_key: Mapped[str]
    created_at: Mapped[datetime] = _now()
    # `a` or `b` in an interleaved comparison: never part of a case's history, which has no arm.
    arm: Mapped[str] = mapped_column(server_default="")

    __table_args__ = (UniqueConstraint("project_id", "case_id", "mode", "metric", "device_key", "arm"),)


class CaseResult(Table):
    """What one case gave in one trial, its numbers aside. Partitioned by month of `measured_at`."""

    __tablename__ = "case_result"

    attempt_id: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    measured_at: Mapped[datetime] = mapped_column(primary_key=True)
    run_id: Mapped[int]
    trial: Mapped[int] = mapped_column(SmallInteger)
    case_id: Mapped[str]
    benchmark: Mapped[str]
    mode: Mapped[str]
    outcome: Mapped[str]
    reason: Mapped[str]
    stop_reason: Mapped[str | None]
    late: Mapped[bool]
    # Everything of the wire's CaseResult that has no column here or in `measurement`.
    detail: Mapped[dict[str, Any]]

    __table_args__ = (
        Index(None, "run_id", "case_id"),
        {"postgresql_partition_by": "RANGE (measured_at)"},
    )


class Measurement(Table):
    """One metric of one case in one trial, with its raw samples. Partitioned by month of `measured_at`."""

    __tablename__ = "measurement"

    attempt_id: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(primary_key=True)
    measured_at: Mapped[datetime] = mapped_column(primary_key=True)
    run_id: Mapped[int]
    trial: Mapped[int] = mapped_column(SmallInteger)
    outcome: Mapped[str]
    late: Mapped[bool]
    value: Mapped[float]
    ci_low: Mapped[float | None]
    ci_high: Mapped[float | None]
    count: Mapped[int | None]
    minimum: Mapped[float | None]
    q1: Mapped[float | None]
    q3: Mapped[float | None]
    maximum: Mapped[float | None]
    mean: Mapped[float | None]
    stdev: Mapped[float | None]
    # All of the statistics are absent for a metric that was not sampled.
    p5: Mapped[float | None]
    p95: Mapped[float | None]
    p99: Mapped[float | None]
    mad: Mapped[float | None]
    effective_count: Mapped[float | None]
    autocorrelation: Mapped[float | None]
    drift: Mapped[float | None]
    # `codec` says how `samples` is packed: 1 little-endian float64 (whole nanoseconds when the unit is ns).
    codec: Mapped[int | None] = mapped_column(SmallInteger)
    samples: Mapped[bytes | None]
    # The other sample columns (clock, offset, block, flags) as `store.samples` packs them, when there are any.
    columns: Mapped[bytes | None]

    __table_args__ = (
        Index(
            "ix_measurement_history",
            "series_id",
            "measured_at",
            postgresql_include=["value", "run_id", "attempt_id", "late"],
        ),
        Index(None, "run_id"),
        {"postgresql_partition_by": "RANGE (measured_at)"},
    )


class LogLine(Table):
    """A line that a worker or an agent wrote."""

    __tablename__ = "log_line"

    id: Mapped[int] = _id()
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    attempt_id: Mapped[int]
    epoch: Mapped[int] = mapped_column(SmallInteger)
    sequence: Mapped[int]
    line: Mapped[int]
    at: Mapped[datetime]
    host: Mapped[str]
    trial: Mapped[int | None] = mapped_column(SmallInteger)
    source: Mapped[str]
    text: Mapped[str]

    __table_args__ = (UniqueConstraint("attempt_id", "epoch", "sequence", "line"), Index(None, "run_id", "id"))


class QuarantinedRecord(Table):
    """A record of an attempt's log that could not be taken: kept as it came, with the reason."""

    __tablename__ = "quarantined_record"

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    reason: Mapped[str]
    # The serialised `tesserabench.v1.Record`.
    record: Mapped[bytes]
    received_at: Mapped[datetime] = _now()


class Baseline(Table):
    """A name for a run to compare with; `branch:NAME` rows are kept by the collector."""

    __tablename__ = "baseline"

    id: Mapped[int] = _id()
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str]
    suite: Mapped[str]
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    pinned: Mapped[bool] = mapped_column(server_default=text("false"))
    automatic: Mapped[bool] = mapped_column(server_default=text("false"))
    comment: Mapped[str] = mapped_column(server_default="")
    updated_at: Mapped[datetime] = _now()
    updated_by: Mapped[str]

    __table_args__ = (UniqueConstraint("project_id", "name", "suite"),)


class Comparison(Table):
    """The comparison that decided a run's verdict."""

    __tablename__ = "comparison"

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    base_run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"), index=True)
    content: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = _now()
    # What the verdict rested on besides what was measured, as `core.grounds` writes it.
    grounds: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))


class Regression(Table):
    """A finding: series that became worse for one cause, a device that is slow, or data that stopped.

    At most one is open per series and branch, drills apart, and per subject of the other kinds.
    """

    __tablename__ = "regression"

    id: Mapped[int] = _id()
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    # The series that shows it most; members name all of them.
    series_id: Mapped[int | None] = mapped_column(ForeignKey("series.id"))
    # Branch that it was found on; empty for the project's default branch.
    branch: Mapped[str] = mapped_column(server_default="")
    state: Mapped[str]
    severity: Mapped[str]
    # How much worse: 0.1 is 10 %; absent where nothing is compared.
    change: Mapped[float | None]
    evidence: Mapped[dict[str, Any]]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"), index=True)
    base_run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"), index=True)
    confirming_run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"), index=True)
    owner: Mapped[str] = mapped_column(server_default="")
    drill: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()
    kind: Mapped[str] = mapped_column(server_default="regression")
    # What it is about when that is no series: `devices/{uuid}`, `schedules/{name}`, `series/{id}`.
    subject: Mapped[str] = mapped_column(server_default="")
    # One sentence, for findings that no comparison explains.
    summary: Mapped[str] = mapped_column(server_default="")
    # Copies of what lists and metrics are filtered by: there may be no series and no run to ask.
    suite: Mapped[str] = mapped_column(server_default="")
    device_key: Mapped[str] = mapped_column(server_default="")
    # code, host, environment, unknown; empty as long as nobody has looked for it. `attribution` says why.
    cause: Mapped[str] = mapped_column(server_default="")
    # Who judged: the policy's name and revision, by which the detector's score is kept.
    policy: Mapped[str] = mapped_column(server_default="")
    feedback_by: Mapped[str] = mapped_column(server_default="")
    attribution: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    # An ignored finding wakes then; none: it does not.
    ignored_until: Mapped[datetime | None]
    duplicate_of: Mapped[int | None] = mapped_column(ForeignKey("regression.id"), index=True)
    # Runs since it was fixed that show the level of before; enough of them verify it.
    good_runs: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    # What a person says of the detector: it was right, or it was not.
    feedback: Mapped[bool | None]
    # That follows from an answer; nobody said it in so many words.
    feedback_implied: Mapped[bool] = mapped_column(server_default=text("false"))
    # When a person first did something about it.
    triaged_at: Mapped[datetime | None]
    # Which alert it fires, when that is not its severity's: a severity, or `none`.
    alert: Mapped[str] = mapped_column(server_default="")

    __table_args__ = (
        Index(
            "uq_regression_one_open_per_series",
            "series_id",
            "branch",
            "drill",
            unique=True,
            postgresql_where=text(
                "kind = 'regression' AND state IN ('suspected', 'confirmed', 'acknowledged', 'assigned', 'fixed')"
            ),
        ),
        Index(
            "uq_regression_one_open_per_subject",
            "project_id",
            "kind",
            "subject",
            unique=True,
            postgresql_where=text(
                "kind <> 'regression' AND state IN ('suspected', 'confirmed', 'acknowledged', 'assigned', 'fixed')"
            ),
        ),
        Index(None, "project_id", "state", text("id DESC")),
        Index("ix_regression_ignored_until", "ignored_until", postgresql_where=text("ignored_until IS NOT NULL")),
    )


class RegressionEvent(Table):
    """One step in a regression's history."""

    __tablename__ = "regression_event"

    id: Mapped[int] = _id()
    regression_id: Mapped[int] = mapped_column(ForeignKey("regression.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime] = _now()
    state: Mapped[str]
    actor: Mapped[str]
    comment: Mapped[str] = mapped_column(server_default="")
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"), index=True)


class Schedule(Table):
    """A run that is asked for at an interval."""

    __tablename__ = "schedule"

    id: Mapped[int] = _id()
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str]
    spec: Mapped[dict[str, Any]]
    revision: Mapped[dict[str, Any]]
    gate: Mapped[dict[str, Any]]
    labels: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    interval_seconds: Mapped[int]
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    next_at: Mapped[datetime]
    last_run_id: Mapped[int | None] = mapped_column(
        ForeignKey("run.id", ondelete="SET NULL", use_alter=True, name="fk_schedule_last_run")
    )
    last_success_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    created_by: Mapped[str]
    # Every time it measures the same code twice and counts what the gate says wrongly.
    identical: Mapped[bool] = mapped_column(server_default=text("false"))

    __table_args__ = (UniqueConstraint("project_id", "name"),)


class Token(Table):
    """A bearer token, kept as the SHA-256 of its secret."""

    __tablename__ = "token"

    id: Mapped[int] = _id()
    name: Mapped[str] = mapped_column(unique=True)
    sha256: Mapped[bytes] = mapped_column(unique=True)
    role: Mapped[str]
    # Empty: every project. An agent's token names its host instead.
    project: Mapped[str] = mapped_column(server_default="")
    host: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = _now()
    revoked_at: Mapped[datetime | None]


class Audit(Table):
    """Who changed what."""

    __tablename__ = "audit"

    id: Mapped[int] = _id()
    at: Mapped[datetime] = _now()
    actor: Mapped[str]
    action: Mapped[str]
    resource: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))

    __table_args__ = (Index(None, "resource", "id"),)


class Rendezvous(Table):
    """Where attempts of one run meet; `members` are those who joined, as `core.rendezvous_rules` writes them."""

    __tablename__ = "rendezvous"

    id: Mapped[int] = _id()
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    key: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")
    world_size: Mapped[int] = mapped_column(SmallInteger)
    members: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    deadline_at: Mapped[datetime]
    created_at: Mapped[datetime] = _now()

    __table_args__ = (UniqueConstraint("run_id", "key"),)


__all__ = [
    "Attempt",
    "Audit",
    "Baseline",
    "CaseResult",
    "Comparison",
    "Host",
    "IdenticalComparison",
    "IngestLog",
    "LogLine",
    "Measurement",
    "PolicyRevision",
    "Project",
    "QuarantinedRecord",
    "Regression",
    "RegressionEvent",
    "RegressionMember",
    "Rendezvous",
    "Run",
    "Schedule",
    "Series",
    "Table",
    "Token",
    "Trial",
]
