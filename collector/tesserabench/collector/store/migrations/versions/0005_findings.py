"""Findings: kinds, subjects, causes, members, what people say of them; comparisons of identical code."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_REFERENCES = (
    ("comparison", "base_run_id"),
    ("regression", "run_id"),
    ("regression", "base_run_id"),
    ("regression", "confirming_run_id"),
    ("regression", "duplicate_of"),
    ("regression_event", "run_id"),
    ("regression_member", "run_id"),
)
_OPEN = "state IN ('suspected', 'confirmed', 'acknowledged', 'assigned', 'fixed')"


def upgrade() -> None:
    """Add the columns and the tables; what is there is of kind `regression`."""
    _columns()
    _indexes()
    _members()
    _identical()
    # A run that is removed asks each of them for what speaks of it.
    for table, column in _REFERENCES:
        op.create_index(f"ix_{table}_{column}", table, [column])


def _text(name: str, default: str = "") -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default=default, nullable=False)


def _columns() -> None:
    columns: tuple[sa.Column[Any], ...] = (
        _text("kind", "regression"),
        *map(_text, ("subject", "summary", "suite", "device_key", "cause", "policy", "feedback_by")),
        sa.Column(
            "attribution", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("ignored_until", sa.DateTime(timezone=True)),
        sa.Column("duplicate_of", sa.BigInteger()),
        sa.Column("good_runs", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("feedback", sa.Boolean()),
        sa.Column("feedback_implied", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("triaged_at", sa.DateTime(timezone=True)),
    )
    for column in columns:
        op.add_column("regression", column)
    op.create_foreign_key("fk_regression_duplicate_of", "regression", "regression", ["duplicate_of"], ["id"])
    for optional in ("series_id", "run_id", "change"):
        op.alter_column("regression", optional, nullable=True)
    op.execute(
        "UPDATE regression SET suite = series.suite, device_key = series.device_key"
        " FROM series WHERE series.id = regression.series_id"
    )
    op.add_column("run", _text("identical"))
    op.create_index("ix_run_identical", "run", ["parent_id"], postgresql_where=sa.text("identical <> ''"))
    op.add_column("schedule", sa.Column("identical", sa.Boolean(), server_default=sa.text("false"), nullable=False))


def _indexes() -> None:
    op.drop_index("uq_regression_one_open_per_series", "regression")
    op.create_index(
        "uq_regression_one_open_per_series",
        "regression",
        ["series_id", "branch", "drill"],
        unique=True,
        postgresql_where=sa.text(f"kind = 'regression' AND {_OPEN}"),
    )
    op.create_index(
        "uq_regression_one_open_per_subject",
        "regression",
        ["project_id", "kind", "subject"],
        unique=True,
        postgresql_where=sa.text(f"kind <> 'regression' AND {_OPEN}"),
    )
    op.create_index(
        "ix_regression_ignored_until",
        "regression",
        ["ignored_until"],
        postgresql_where=sa.text("ignored_until IS NOT NULL"),
    )
    op.create_index(
        "ix_change_point_finding",
        "change_point",
        ["regression_id"],
        postgresql_where=sa.text("regression_id IS NOT NULL"),
    )


def _members() -> None:
    op.create_table(
        "regression_member",
        sa.Column("regression_id", sa.BigInteger(), nullable=False),
        sa.Column("series_id", sa.BigInteger(), nullable=False),
        sa.Column("change_point_id", sa.BigInteger()),
        sa.Column("run_id", sa.BigInteger()),
        sa.Column("change", sa.Float(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("returned_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["regression_id"], ["regression.id"], name="fk_regression_member_regression_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["series_id"], ["series.id"], name="fk_regression_member_series_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_regression_member_run_id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("regression_id", "series_id", name="pk_regression_member"),
    )
    op.create_index("ix_regression_member_series_id", "regression_member", ["series_id"])
    op.execute(
        "INSERT INTO regression_member (regression_id, series_id, run_id, change, severity, evidence)"
        " SELECT id, series_id, run_id, change, severity, evidence FROM regression"
    )


def _identical() -> None:
    op.create_table(
        "identical_comparison",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("host_class", sa.Text(), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("suite", sa.Text(), nullable=False),
        sa.Column("base_run_id", sa.BigInteger(), nullable=False),
        sa.Column("comparisons", sa.BigInteger(), nullable=False),
        sa.Column("false_alarms", sa.BigInteger(), nullable=False),
        sa.Column("inconclusive", sa.BigInteger(), nullable=False),
        sa.Column("excesses", sa.ARRAY(sa.Double()), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_identical_comparison_run_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_identical_comparison_project_id"),
        sa.PrimaryKeyConstraint("run_id", "host_class", name="pk_identical_comparison"),
    )
    op.create_index(
        "ix_identical_comparison_project_id_host_class_at",
        "identical_comparison",
        ["project_id", "host_class", "at"],
    )
