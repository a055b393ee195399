"""The table of looks that follow a run's first one."""

from datetime import datetime

from sqlalchemy import ForeignKey, SmallInteger
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column
from tesserabench.collector.store.schema import Table, now_column


class Look(Table):
    """A run that measures again what the first look at another run left undecided."""

    __tablename__ = "look"

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    # Counted from 1, which is the judged run itself: the first row of a run has 2.
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    measuring_run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), unique=True)
    # What it is compared with; none: its own other arm.
    base_run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"))
    interleaved: Mapped[bool]
    hosts: Mapped[list[str]]
    launches: Mapped[int] = mapped_column(SmallInteger)
    # The series that it was asked about, each as case, mode, metric and device.
    asked: Mapped[list[list[str]]] = mapped_column(JSONB)
    # Those that there was no time for.
    left_out: Mapped[list[list[str]]] = mapped_column(JSONB)
    # How long it should take, as far as the run before says.
    expected_seconds: Mapped[float | None]
    # It is waited for until then.
    waits_until: Mapped[datetime]
    created_at: Mapped[datetime] = now_column()
