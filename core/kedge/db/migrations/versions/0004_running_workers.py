"""Workers that run: secrets of versions, deployments that wait for instances, logs of workers."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "worker_secret",
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("modified_on", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"]),
        sa.PrimaryKeyConstraint("worker_id", "name"),
    )
    op.create_index("ix_worker_secret_account_id", "worker_secret", ["account_id"], unique=False)

    op.create_table(
        "worker_log",
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"]),
        sa.PrimaryKeyConstraint("worker_id", "node"),
    )

    # Rows of before: every version is files, which serve at once and have no secrets.
    op.add_column("version", sa.Column("secrets", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("deployment", sa.Column("state", sa.String(), nullable=False, server_default="active"))
    op.add_column("deployment", sa.Column("failure", sa.JSON(), nullable=False, server_default="{}"))
