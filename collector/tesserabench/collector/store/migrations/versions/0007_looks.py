"""Further looks at undecided results."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; what was being measured again, without a row here, is judged from its first look on."""
    op.create_table(
        "look",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("measuring_run_id", sa.BigInteger(), nullable=False),
        sa.Column("base_run_id", sa.BigInteger(), nullable=True),
        sa.Column("interleaved", sa.Boolean(), nullable=False),
        sa.Column("hosts", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("launches", sa.SmallInteger(), nullable=False),
        sa.Column("asked", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("left_out", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("expected_seconds", sa.Float(), nullable=True),
        sa.Column("waits_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_look_run_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["measuring_run_id"], ["run.id"], name="fk_look_measuring_run_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["base_run_id"], ["run.id"], name="fk_look_base_run_id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_look"),
        sa.UniqueConstraint("measuring_run_id", name="uq_look_measuring_run_id"),
    )
    op.execute("DELETE FROM comparison USING run WHERE run.id = comparison.run_id AND run.state = 'judging'")
