"""What was learnt of where requests are answered fastest outlives a node."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "placement_memory",
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("location", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("explanation", sa.JSON(), nullable=False),
        sa.Column("modified_on", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"]),
        sa.PrimaryKeyConstraint("worker_id", "location"),
    )
    op.create_table(
        "measured_way",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("rtt_ms", sa.Float(), nullable=False),
        sa.Column("modified_on", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "target"),
    )
    op.create_index("ix_measured_way_modified_on", "measured_way", ["modified_on"], unique=False)
