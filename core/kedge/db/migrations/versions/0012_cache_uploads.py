"""Archives of caches that are sent part by part."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Apply."""
    op.add_column("cache_archive", sa.Column("upload", sa.String(), nullable=False, server_default=""))
