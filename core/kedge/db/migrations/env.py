"""Alembic's entry: migrates the connection it is handed."""

from alembic import context
from sqlmodel import SQLModel

import kedge.db.tables

__all__ = ["kedge"]

connection = context.config.attributes["connection"]
if connection.dialect.name == "sqlite":
    connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
