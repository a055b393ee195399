"""What belongs to findings besides `regression` and `regression_event`: their series, and false alarms counted."""

from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Double, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column
from tesserabench.collector.store.schema import Table, now_column


class RegressionMember(Table):
    """A series that a finding is about: one cause makes one finding, however many series show it."""

    __tablename__ = "regression_member"

    regression_id: Mapped[int] = mapped_column(ForeignKey("regression.id", ondelete="CASCADE"), primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"), primary_key=True)
    # Row of `change_point` that shows it; no foreign key, since an analysis anew may replace that row.
    change_point_id: Mapped[int | None]
    # First run at the worse level.
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"), index=True)
    change: Mapped[float]
    severity: Mapped[str]
    # `tesserabench.v1.ComparisonEntry` in JSON, as far as it is known.
    evidence: Mapped[dict[str, Any]]
    # When the series was back at the level of before.
    returned_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = now_column()

    __table_args__ = (Index(None, "series_id"),)


class IdenticalComparison(Table):
    """What the gate said when the same code was compared with itself, on one class of hosts."""

    __tablename__ = "identical_comparison"

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    # Device model of GPUs; for a CPU the host.
    host_class: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    suite: Mapped[str]
    base_run_id: Mapped[int] = mapped_column(BigInteger)
    # Primary series that were judged, and how many of them were called regressed or improved.
    comparisons: Mapped[int]
    false_alarms: Mapped[int]
    inconclusive: Mapped[int]
    # Of each false alarm: how far the near end of its interval lay beyond the smallest change that matters, as a
    # multiple of that change. Limits that are raised by a larger factor would have kept quiet.
    excesses: Mapped[list[float]] = mapped_column(ARRAY(Double))
    at: Mapped[datetime] = now_column()

    __table_args__ = (Index(None, "project_id", "host_class", "at"),)
