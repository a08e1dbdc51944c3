"""Whether a class keeps its contract, as far as that can be seen without running it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = inspect.Parameter


def problems_of(cls: Any, contract: type) -> Iterator[str]:
    """Yield what `cls` lacks of `contract`, in sentences that name the member."""
    if not isinstance(cls, type):
        yield f"{cls!r} is no class: return the class itself, not an instance"
        return
    if not isinstance(getattr(cls, "name", None), str) or not cls.name:  # type: ignore[attr-defined]
        yield "has no `name`, a text by which a config file chooses it"
    settings = getattr(cls, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, BaseModel)):
        yield "has no `Settings`, a pydantic model of its config table"
    for member in inspect.get_annotations(contract):
        if member not in {"name", "Settings"} and not hasattr(cls, member):
            yield f"has no `{member}`"
    for name, promised in methods(contract).items():
        yield from _method_problems(cls, name, promised)


def methods(contract: type) -> dict[str, Callable[..., Any]]:
    """The methods of a contract, in the order in which they are called."""
    members = vars(contract).items()
    public = ((name, one) for name, one in members if name == "__init__" or not name.startswith("_"))
    return {name: one for name, one in public if inspect.isfunction(one)}


def _method_problems(cls: type, name: str, promised: Callable[..., Any]) -> Iterator[str]:
    given = inspect.getattr_static(cls, name, None)
    function = given.__func__ if isinstance(given, (staticmethod, classmethod)) else given
    # A class that inherits from its contract still has to write every method itself.
    if function in {None, promised} or (name == "__init__" and function is object.__init__):
        yield f"has no method `{name}{_shown(promised)}`"
    elif not callable(function):
        yield f"has `{name}`, which is no method"
    else:
        if name != "__init__":
            yield from _manner_problems(name, promised, function)
        bound = not isinstance(given, staticmethod)
        if not _accepts(function, promised, bound=bound):
            yield f"has `{name}{_shown(function)}`, but it is called as `{name}{_shown(promised)}`"


def _manner_problems(name: str, promised: Callable[..., Any], given: Any) -> Iterator[str]:
    if inspect.iscoroutinefunction(promised) and not inspect.iscoroutinefunction(given):
        yield f"has `{name}`, which must be `async def` and return, not yield"
    if not inspect.iscoroutinefunction(promised) and inspect.iscoroutinefunction(given):
        iterates = "Iterator" in str(inspect.signature(promised).return_annotation)
        yield (
            f"has `{name}`, which must yield: an `async def` without `yield` is no iterator"
            if iterates
            else f"has `{name}`, which must be a plain `def`"
        )


def _accepts(given: Any, promised: Callable[..., Any], *, bound: bool) -> bool:
    """Whether `given` can be called in the least and in the fullest way that `promised` allows."""
    try:
        signature = inspect.signature(given)
    except (TypeError, ValueError):
        return True
    parameters = list(inspect.signature(promised).parameters.values())[0 if bound else 1 :]
    try:
        for wanted in ([one for one in parameters if one.default is P.empty], parameters):
            keywords = {one.name: None for one in wanted if one.kind is P.KEYWORD_ONLY}
            signature.bind(*(None for one in wanted if one.kind is not P.KEYWORD_ONLY), **keywords)
    except TypeError:
        return False
    return True


def _shown(function: Any) -> str:
    signature = inspect.signature(function)
    parameters = [one.replace(annotation=P.empty) for one in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
