"""What runs builds on each node, and how busy it is."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Apply."""
    # nodes that are there say it anew every second
    op.execute("DELETE FROM node")
    op.add_column("node", sa.Column("compute", sa.String(), nullable=False))
    op.add_column("node", sa.Column("load", sa.Float(), nullable=False))
