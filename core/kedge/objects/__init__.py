"""Durable objects: a class, an id, transactional storage and one alarm.

A handle from `Objects.get` has no state of its own: its methods are awaited wherever the caller is, and
those marked `transaction` run one at a time per object, each as one database transaction. What must
happen outside the database happens in plain `async` methods, between transactions.
"""

from kedge.objects.durable import DurableObject, transaction
from kedge.objects.objects import Objects
from kedge.objects.storage import ObjectStorage

__all__ = ["DurableObject", "ObjectStorage", "Objects", "transaction"]
