"""The spine: accounts, workers, triggers, builds, versions, durable objects."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "account",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_on", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "delivery",
        sa.Column("forge", sa.String(), nullable=False),
        sa.Column("delivery_id", sa.String(), nullable=False),
        sa.Column("received_on", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("forge", "delivery_id"),
    )
    op.create_index("ix_delivery_received_on", "delivery", ["received_on"], unique=False)

    op.create_table(
        "object_alarm",
        sa.Column("class_name", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("due_on", sa.BigInteger(), nullable=True),
        sa.Column("ringing_for", sa.BigInteger(), nullable=True),
        sa.Column("ringing_until", sa.BigInteger(), nullable=True),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("class_name", "object_id"),
    )
    op.create_index("ix_object_alarm_due_on", "object_alarm", ["due_on"], unique=False)
    op.create_index("ix_object_alarm_ringing_until", "object_alarm", ["ringing_until"], unique=False)

    op.create_table(
        "object_value",
        sa.Column("class_name", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("class_name", "object_id", "key"),
    )
    op.create_table(
        "api_token",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("can_write", sa.Boolean(), nullable=False),
        sa.Column("created_on", sa.BigInteger(), nullable=False),
        sa.Column("revoked_on", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_index("ix_api_token_account_id", "api_token", ["account_id"], unique=False)

    op.create_table(
        "build_token",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("cloudflare_token_id", sa.String(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("owner_type", sa.String(), nullable=False),
        sa.Column("created_on", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("uuid"),
    )
    op.create_index("ix_build_token_account_id", "build_token", ["account_id"], unique=False)

    op.create_table(
        "repo_connection",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("provider_type", sa.String(), nullable=False),
        sa.Column("provider_account_id", sa.String(), nullable=False),
        sa.Column("provider_account_name", sa.String(), nullable=False),
        sa.Column("repo_id", sa.String(), nullable=False),
        sa.Column("repo_name", sa.String(), nullable=False),
        sa.Column("created_on", sa.BigInteger(), nullable=False),
        sa.Column("modified_on", sa.BigInteger(), nullable=False),
        sa.Column("deleted_on", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("uuid"),
        sa.UniqueConstraint("account_id", "provider_type", "provider_account_id", "repo_id"),
    )
    op.create_index("ix_repo_connection_account_id", "repo_connection", ["account_id"], unique=False)

    op.create_table(
        "worker",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_on", sa.BigInteger(), nullable=False),
        sa.Column("modified_on", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_id", "name"),
    )
    op.create_index("ix_worker_account_id", "worker", ["account_id"], unique=False)
    op.create_index("ix_worker_name", "worker", ["name"], unique=False)

    op.create_table(
        "build_trigger",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("repo_connection_uuid", sa.String(), nullable=False),
        sa.Column("build_token_uuid", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("build_command", sa.String(), nullable=False),
        sa.Column("deploy_command", sa.String(), nullable=False),
        sa.Column("root_directory", sa.String(), nullable=False),
        sa.Column("branch_includes", sa.JSON(), nullable=False),
        sa.Column("branch_excludes", sa.JSON(), nullable=False),
        sa.Column("path_includes", sa.JSON(), nullable=False),
        sa.Column("path_excludes", sa.JSON(), nullable=False),
        sa.Column("build_caching_enabled", sa.Boolean(), nullable=False),
        sa.Column("created_on", sa.BigInteger(), nullable=False),
        sa.Column("modified_on", sa.BigInteger(), nullable=False),
        sa.Column("deleted_on", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["repo_connection_uuid"], ["repo_connection.uuid"]),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"]),
        sa.PrimaryKeyConstraint("uuid"),
    )
    op.create_index("ix_build_trigger_account_id", "build_trigger", ["account_id"], unique=False)
    op.create_index(
        "ix_build_trigger_repo_connection_uuid", "build_trigger", ["repo_connection_uuid"], unique=False
    )
    op.create_index("ix_build_trigger_worker_id", "build_trigger", ["worker_id"], unique=False)

    op.create_table(
        "deployment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("created_on", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid"),
    )
    op.create_index("ix_deployment_account_id", "deployment", ["account_id"], unique=False)
    op.create_index("ix_deployment_worker_id", "deployment", ["worker_id"], unique=False)

    op.create_table(
        "upload",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("build_uuid", sa.String(), nullable=True),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("created_on", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_upload_account_id", "upload", ["account_id"], unique=False)
    op.create_index("ix_upload_created_on", "upload", ["created_on"], unique=False)
    op.create_index("ix_upload_worker_id", "upload", ["worker_id"], unique=False)

    op.create_table(
        "version",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("file_count", sa.Integer(), nullable=False),
        sa.Column("byte_count", sa.BigInteger(), nullable=False),
        sa.Column("commit_hash", sa.String(), nullable=True),
        sa.Column("branch", sa.String(), nullable=True),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("build_uuid", sa.String(), nullable=True),
        sa.Column("created_on", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("worker_id", "number"),
    )
    op.create_index("ix_version_account_id", "version", ["account_id"], unique=False)
    op.create_index("ix_version_build_uuid", "version", ["build_uuid"], unique=False)
    op.create_index("ix_version_worker_id", "version", ["worker_id"], unique=False)

    op.create_table(
        "build",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("build_uuid", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("trigger_uuid", sa.String(), nullable=False),
        sa.Column("forge", sa.String(), nullable=False),
        sa.Column("delivery_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("branch", sa.String(), nullable=False),
        sa.Column("commit_hash", sa.String(), nullable=False),
        sa.Column("commit_message", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("is_production", sa.Boolean(), nullable=False),
        sa.Column("snapshot", sa.JSON(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("claimed_on", sa.BigInteger(), nullable=True),
        sa.Column("infrastructure_retries", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("wait_reason", sa.String(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("failure_message", sa.String(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("phases", sa.JSON(), nullable=True),
        sa.Column("version_id", sa.String(), nullable=True),
        sa.Column("created_on", sa.BigInteger(), nullable=False),
        sa.Column("initializing_on", sa.BigInteger(), nullable=True),
        sa.Column("running_on", sa.BigInteger(), nullable=True),
        sa.Column("stopped_on", sa.BigInteger(), nullable=True),
        sa.Column("modified_on", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["trigger_uuid"], ["build_trigger.uuid"]),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("build_uuid"),
    )
    op.create_index(
        "build_live",
        "build",
        ["account_id"],
        unique=False,
        sqlite_where=sa.text("status != 'stopped'"),
        postgresql_where=sa.text("status != 'stopped'"),
    )
    op.create_index("build_of_worker", "build", ["worker_id", "id"], unique=False)
    op.create_index("ix_build_delivery_id", "build", ["delivery_id"], unique=False)
    op.create_index("ix_build_trigger_uuid", "build", ["trigger_uuid"], unique=False)

    op.create_table(
        "preview_alias",
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("created_on", sa.BigInteger(), nullable=False),
        sa.Column("modified_on", sa.BigInteger(), nullable=False),
        sa.Column("deleted_on", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"]),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"]),
        sa.PrimaryKeyConstraint("worker_id", "alias"),
    )
    op.create_index("ix_preview_alias_account_id", "preview_alias", ["account_id"], unique=False)

    op.create_table(
        "trigger_variable",
        sa.Column("trigger_uuid", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("is_secret", sa.Boolean(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("created_on", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["trigger_uuid"], ["build_trigger.uuid"]),
        sa.PrimaryKeyConstraint("trigger_uuid", "key"),
    )
    op.create_index("ix_trigger_variable_account_id", "trigger_variable", ["account_id"], unique=False)

    op.create_table(
        "attempt",
        sa.Column("build_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("build_uuid", sa.String(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("deploy_token_hash", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("compute", sa.String(), nullable=False),
        sa.Column("location", sa.String(), nullable=False),
        sa.Column("compute_id", sa.String(), nullable=True),
        sa.Column("started_on", sa.BigInteger(), nullable=False),
        sa.Column("reported_on", sa.BigInteger(), nullable=True),
        sa.Column("ended_on", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("log_sealed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["build_id"], ["build.id"]),
        sa.PrimaryKeyConstraint("build_id", "number"),
        sa.UniqueConstraint("deploy_token_hash"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_index("ix_attempt_account_id", "attempt", ["account_id"], unique=False)
    op.create_index("ix_attempt_build_uuid", "attempt", ["build_uuid"], unique=False)
    op.create_index("ix_attempt_ended_on", "attempt", ["ended_on"], unique=False)
