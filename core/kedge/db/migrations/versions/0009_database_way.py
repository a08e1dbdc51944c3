"""How far each node is from the database."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Apply."""
    op.add_column("node", sa.Column("database_ms", sa.Float(), nullable=True))
