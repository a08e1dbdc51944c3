"""Blobs that are being deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "doomed_blob",
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("doomed_on", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("store", "key"),
    )
    op.create_table(
        "cleaning",
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("begun_on", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("store"),
    )
