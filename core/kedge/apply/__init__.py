"""Makes workers, triggers and variables what a file says they should be."""

from kedge.apply.changes import Change
from kedge.apply.export import export_workers
from kedge.apply.plan import plan

__all__ = ["Change", "export_workers", "plan"]
