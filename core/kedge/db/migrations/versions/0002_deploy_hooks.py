"""Deploy hooks, and of each build the name of the one that started it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

OF_A_HOOK = "deploy_hook IS NOT NULL"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "deploy_hook",
        sa.Column("uuid_hash", sa.String(), nullable=False),
        sa.Column("uuid_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("branch", sa.String(), nullable=False),
        sa.Column("created_on", sa.BigInteger(), nullable=False),
        sa.Column("modified_on", sa.BigInteger(), nullable=False),
        sa.Column("latest_build_on", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"]),
        sa.PrimaryKeyConstraint("uuid_hash"),
        sa.UniqueConstraint("worker_id", "name"),
    )
    op.create_index("ix_deploy_hook_account_id", "deploy_hook", ["account_id"], unique=False)
    op.add_column("build", sa.Column("deploy_hook", sa.String(), nullable=True))
    op.create_index(
        "build_of_hook",
        "build",
        ["account_id", "created_on"],
        unique=False,
        sqlite_where=sa.text(OF_A_HOOK),
        postgresql_where=sa.text(OF_A_HOOK),
    )
