"""The base of every durable object."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from kedge.objects.objects import Objects
    from kedge.objects.storage import ObjectStorage

P = ParamSpec("P")
T = TypeVar("T")
Self = TypeVar("Self", bound="DurableObject")


class DurableObject:
    """A handle to one object. Make it by `Objects.get`, as often as you like."""

    #: what its rows are filed under; stays the same when the class is renamed
    class_name: ClassVar[str]

    def __init__(self, objects: Objects, object_id: str, services: Any) -> None:
        """`services` is whatever the class was registered with."""
        self.objects = objects
        self.id = object_id
        self.services = services

    async def alarm(self, retries: int) -> None:
        """Called when the alarm rings: at least once, again after an error (`retries` counts these)."""
        raise NotImplementedError


def transaction(
    method: Callable[Concatenate[Self, ObjectStorage, P], T],
) -> Callable[Concatenate[Self, P], Coroutine[Any, Any, T]]:
    """Make `def method(self, storage, …)` an awaitable that runs as one transaction of the object.

    The function runs in a database thread, never at the same time as another transaction of the same
    object. It cannot await, so it cannot do outside work while it holds the object; an exception undoes all.
    """

    @wraps(method)
    async def call(self: Self, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.objects.transact(self, method, *args, **kwargs)

    return call
