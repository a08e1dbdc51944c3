"""Where nodes of one database reach each other."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply."""
    # nodes that are there say it anew every second
    op.execute("DELETE FROM node")
    op.add_column("node", sa.Column("region", sa.String(), nullable=True))
    op.add_column("node", sa.Column("url", sa.String(), nullable=False))
