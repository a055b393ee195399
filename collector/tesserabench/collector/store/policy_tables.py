"""Tables of policies: every revision of every project's file, as it was applied."""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column
from tesserabench.collector.store.schema import Table, id_column, now_column


class PolicyRevision(Table):
    """A policy file as it was applied. The one with the highest number is in force; none is ever changed."""

    __tablename__ = "policy_revision"

    id: Mapped[int] = id_column()
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    # From 1 within its project.
    revision: Mapped[int]
    # YAML, whatever it was called where it came from.
    text: Mapped[str]
    comment: Mapped[str] = mapped_column(server_default="")
    # How many rules it has.
    rules: Mapped[int]
    created_at: Mapped[datetime] = now_column()
    created_by: Mapped[str]

    __table_args__ = (UniqueConstraint("project_id", "revision"),)
