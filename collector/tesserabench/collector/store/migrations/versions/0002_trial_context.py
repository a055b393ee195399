"""What a trial ran under and what its device did; the arm of an interleaved comparison in a series' identity."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_IDENTITY = ["project_id", "case_id", "mode", "metric", "device_key"]


def upgrade() -> None:
    """Add the columns, and let two arms of one case have a series each."""
    for name in ("context", "telemetry"):
        column = sa.Column(
            name, postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        )
        op.add_column("trial", column)
    op.add_column("series", sa.Column("arm", sa.Text(), server_default="", nullable=False))
    op.create_unique_constraint(
        "uq_series_project_id_case_id_mode_metric_device_key_arm", "series", [*_IDENTITY, "arm"]
    )
    op.drop_constraint("uq_series_project_id_case_id_mode_metric_device_key", "series")
