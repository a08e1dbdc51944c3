"""Queries by topic. Each takes a `Session` and runs inside a transaction of `Database`."""
