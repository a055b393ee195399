"""Tables of histories: one point a run and series, the state of the watch over each series, and what changed in it.

Runs are in the order of their ids, which is that in which they were asked for; when their results arrive does not
matter. A *line* is a branch as findings are kept under it: empty for the project's default branch.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import DDL, ForeignKey, Index, SmallInteger, UniqueConstraint, event, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL
from sqlalchemy.orm import Mapped, mapped_column
from tesserabench.collector.store.schema import Table, id_column, now_column


class HistoryPoint(Table):
    """What one run gave for one series."""

    __tablename__ = "history_point"

    series_id: Mapped[int] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"), primary_key=True)
    line: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    # When the run was asked for.
    at: Mapped[datetime]
    # Median of the launches, in the unit of the metric.
    value: Mapped[float]
    launches: Mapped[int] = mapped_column(SmallInteger)
    # Standard deviation of the logarithms of the launches; absent with fewer than two.
    spread: Mapped[float | None]
    hosts: Mapped[list[str]]
    # Class of environments that compare with each other, and all that may change results.
    comparability: Mapped[str]
    fingerprint: Mapped[str]
    # The run's own comparison called it regressed.
    flagged: Mapped[bool] = mapped_column(server_default=text("false"))

    __table_args__ = (Index(None, "run_id"),)


class SeriesWatch(Table):
    """The watch over one series on one line: with this row, one more point needs no other."""

    __tablename__ = "series_watch"

    series_id: Mapped[int] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"), primary_key=True)
    line: Mapped[str] = mapped_column(primary_key=True)
    points: Mapped[int] = mapped_column(server_default=text("0"))
    last_run_id: Mapped[int | None]
    last_at: Mapped[datetime | None]
    # Seconds between the last points, oldest first.
    spacings: Mapped[list[float]] = mapped_column(ARRAY(REAL), server_default=text("'{}'"))
    # `analysis.changepoints.Tail`, and the edition of the detector that it belongs to.
    tail: Mapped[bytes | None]
    edition: Mapped[str] = mapped_column(server_default="")
    # The last segments, oldest first, as `core.series_watch` writes them; levels are logarithms, or shares of `unit`.
    segments: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    # Where the detector's changes lie, as `core.series_changes` writes them, to write only what is new.
    known: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    # By host, how far its points lie above those of the others: logarithms.
    host_offsets: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    # Of the newest segment, for lists: logarithms, and the word of its noise.
    level: Mapped[float | None]
    noise_spread: Mapped[float | None]
    noise: Mapped[str] = mapped_column(server_default="")
    # active, stale or removed: see `core.missing_data`.
    state: Mapped[str] = mapped_column(server_default="active")
    updated_at: Mapped[datetime] = now_column()


# Numbers of points do not become smaller by compression, and trying it takes PostgreSQL longer than all the rest.
_PLAIN_TAIL = "ALTER TABLE series_watch ALTER COLUMN tail SET STORAGE EXTERNAL"
event.listen(SeriesWatch.__table__, "after_create", DDL(_PLAIN_TAIL))  # type: ignore[no-untyped-call]  # SQLAlchemy has no types for it


class HistoryDue(Table):
    """A finished run whose points are not in the histories yet; written in the transaction that ends the run."""

    __tablename__ = "history_due"

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    queued_at: Mapped[datetime] = now_column()
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    not_before: Mapped[datetime] = now_column()
    # Why it was given up; a row with one waits for `tesserabench-collector reanalyse --from-results`.
    error: Mapped[str] = mapped_column(server_default="")

    __table_args__ = (Index(None, "not_before", "run_id", postgresql_where=text("error = ''")),)


class HistoryBroken(Table):
    """A series that could not be analysed when it got its last points; tried again from `not_before` on."""

    __tablename__ = "history_broken"

    series_id: Mapped[int] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"), primary_key=True)
    line: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime] = now_column()
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    not_before: Mapped[datetime] = now_column()
    error: Mapped[str]

    __table_args__ = (Index(None, "not_before"),)


class ChangePoint(Table):
    """A change in a series on a line. Unique by the run that is the first at the new level."""

    __tablename__ = "change_point"

    id: Mapped[int] = id_column()
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"))
    line: Mapped[str]
    # First run at the new level, and the last one before it.
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    before_run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"))
    at: Mapped[datetime]
    # Between which runs the change may lie.
    earliest_run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"))
    latest_run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"))
    kind: Mapped[str]
    state: Mapped[str]
    # As a fraction, positive for a larger value; `worse` knows the direction of the metric.
    change: Mapped[float]
    worse: Mapped[bool]
    severity: Mapped[str | None]
    strength: Mapped[float]
    # In the unit of the metric.
    before_level: Mapped[float]
    after_level: Mapped[float]
    hosts: Mapped[list[str]]
    created_at: Mapped[datetime] = now_column()
    updated_at: Mapped[datetime] = now_column()
    # The finding that it belongs to.
    regression_id: Mapped[int | None] = mapped_column(ForeignKey("regression.id", ondelete="SET NULL"))
    # Of a creep: the release whose level it has left.
    reference_id: Mapped[int | None] = mapped_column(ForeignKey("frozen_reference.id", ondelete="SET NULL"))

    __table_args__ = (
        UniqueConstraint("series_id", "line", "kind", "run_id"),
        Index(None, "run_id"),
        # Nobody looks for these; without an index every run that is removed would read the whole table.
        Index(None, "before_run_id"),
        Index(None, "earliest_run_id"),
        Index(None, "latest_run_id"),
        Index(None, "reference_id", postgresql_where=text("reference_id IS NOT NULL")),
        Index("ix_change_point_finding", "regression_id", postgresql_where=text("regression_id IS NOT NULL")),
        Index(
            "ix_change_point_unclaimed",
            "at",
            postgresql_where=text("state = 'confirmed' AND worse AND regression_id IS NULL"),
        ),
    )


class FrozenReference(Table):
    """The level of a series in the segment of a run that a baseline was set to by hand: later levels creep from it."""

    __tablename__ = "frozen_reference"

    id: Mapped[int] = id_column()
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"))
    line: Mapped[str]
    baseline_id: Mapped[int] = mapped_column(ForeignKey("baseline.id", ondelete="CASCADE"))
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    # Logarithms, and how many points they stand on.
    level: Mapped[float]
    spread: Mapped[float]
    points: Mapped[int]
    created_at: Mapped[datetime] = now_column()

    __table_args__ = (
        UniqueConstraint("baseline_id", "series_id", "line"),
        Index(None, "series_id", "line"),
        Index(None, "run_id"),
    )


class AcceptedLevel(Table):
    """From this run on a series counts as having the level that it has then: somebody accepted it."""

    __tablename__ = "accepted_level"

    series_id: Mapped[int] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"), primary_key=True)
    line: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    at: Mapped[datetime] = now_column()

    __table_args__ = (Index(None, "run_id"),)


__all__ = [
    "AcceptedLevel",
    "ChangePoint",
    "FrozenReference",
    "HistoryBroken",
    "HistoryDue",
    "HistoryPoint",
    "SeriesWatch",
]
