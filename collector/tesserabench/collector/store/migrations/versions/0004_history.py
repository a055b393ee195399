"""Histories of series, the watch over each, and what changed in them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and let every run that has ended be taken into the histories."""
    _points()
    _watch()
    _references()
    _changes()
    op.execute("INSERT INTO history_due (run_id) SELECT id FROM run WHERE state = 'finished'")


def _points() -> None:
    op.create_table(
        "history_point",
        sa.Column("series_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("launches", sa.SmallInteger(), nullable=False),
        sa.Column("spread", sa.Double(), nullable=True),
        sa.Column("hosts", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("comparability", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("flagged", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_history_point_run_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_history_point_series_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("series_id", "line", "run_id", name="pk_history_point"),
    )
    op.create_index("ix_history_point_run_id", "history_point", ["run_id"], unique=False)
    op.create_table(
        "history_due",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_history_due_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", name="pk_history_due"),
    )
    op.create_index(
        "ix_history_due_not_before_run_id",
        "history_due",
        ["not_before", "run_id"],
        unique=False,
        postgresql_where=sa.text("error = ''"),
    )

    op.create_table(
        "history_broken",
        sa.Column("series_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_history_broken_series_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("series_id", "line", name="pk_history_broken"),
    )
    op.create_index("ix_history_broken_not_before", "history_broken", ["not_before"], unique=False)


def _watch() -> None:
    op.create_table(
        "series_watch",
        sa.Column("series_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_run_id", sa.BigInteger(), nullable=True),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("spacings", postgresql.ARRAY(sa.REAL()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("tail", sa.LargeBinary(), nullable=True),
        sa.Column("edition", sa.Text(), server_default="", nullable=False),
        sa.Column("segments", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("known", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column(
            "host_offsets", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("level", sa.Double(), nullable=True),
        sa.Column("noise_spread", sa.Double(), nullable=True),
        sa.Column("noise", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_series_watch_series_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("series_id", "line", name="pk_series_watch"),
    )
    op.execute("ALTER TABLE series_watch ALTER COLUMN tail SET STORAGE EXTERNAL")
    op.create_table(
        "accepted_level",
        sa.Column("series_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_accepted_level_run_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_accepted_level_series_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("series_id", "line", "run_id", name="pk_accepted_level"),
    )
    op.create_index("ix_accepted_level_run_id", "accepted_level", ["run_id"], unique=False)


def _references() -> None:
    op.create_table(
        "frozen_reference",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("series_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("baseline_id", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.Double(), nullable=False),
        sa.Column("spread", sa.Double(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["baseline_id"], ["baseline.id"], name="fk_frozen_reference_baseline_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_frozen_reference_run_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_frozen_reference_series_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_frozen_reference"),
        sa.UniqueConstraint("baseline_id", "series_id", "line", name="uq_frozen_reference_baseline_id_series_id_line"),
    )
    op.create_index("ix_frozen_reference_series_id_line", "frozen_reference", ["series_id", "line"], unique=False)
    op.create_index("ix_frozen_reference_run_id", "frozen_reference", ["run_id"], unique=False)


def _changes() -> None:
    op.create_table(
        "change_point",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("series_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("before_run_id", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("earliest_run_id", sa.BigInteger(), nullable=True),
        sa.Column("latest_run_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("change", sa.Double(), nullable=False),
        sa.Column("worse", sa.Boolean(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=True),
        sa.Column("strength", sa.Double(), nullable=False),
        sa.Column("before_level", sa.Double(), nullable=False),
        sa.Column("after_level", sa.Double(), nullable=False),
        sa.Column("hosts", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("regression_id", sa.BigInteger(), nullable=True),
        sa.Column("reference_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["before_run_id"], ["run.id"], name="fk_change_point_before_run_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["earliest_run_id"], ["run.id"], name="fk_change_point_earliest_run_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["latest_run_id"], ["run.id"], name="fk_change_point_latest_run_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["frozen_reference.id"], name="fk_change_point_reference_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["regression_id"], ["regression.id"], name="fk_change_point_regression_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_change_point_run_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_change_point_series_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_change_point"),
        sa.UniqueConstraint("series_id", "line", "kind", "run_id", name="uq_change_point_series_id_line_kind_run_id"),
    )
    for column in ("run_id", "before_run_id", "earliest_run_id", "latest_run_id"):
        op.create_index(f"ix_change_point_{column}", "change_point", [column], unique=False)
    op.create_index(
        "ix_change_point_reference_id",
        "change_point",
        ["reference_id"],
        unique=False,
        postgresql_where=sa.text("reference_id IS NOT NULL"),
    )
    op.create_index(
        "ix_change_point_unclaimed",
        "change_point",
        ["at"],
        unique=False,
        postgresql_where=sa.text("state = 'confirmed' AND worse AND regression_id IS NULL"),
    )
