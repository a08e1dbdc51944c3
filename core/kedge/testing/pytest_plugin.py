"""Fixtures that come with Kedge."""
