"""Logs have parts, whoever writes them; what nobody read goes."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Apply."""
    for table in ("hot_log", "hot_chunk"):
        op.alter_column(table, "build_uuid", new_column_name="log_id")
        op.alter_column(table, "attempt", new_column_name="part")
    op.drop_column("attempt", "log_sealed")
    op.drop_column("preview_alias", "deleted_on")
