"""Which node starts the instances of a deployment."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

STARTING = "state = 'starting'"


def upgrade() -> None:
    """Apply."""
    op.add_column("deployment", sa.Column("node", sa.String(), nullable=False, server_default=""))
    op.create_index(
        "deployment_starting",
        "deployment",
        ["id"],
        sqlite_where=sa.text(STARTING),
        postgresql_where=sa.text(STARTING),
    )
