"""Values held to the shapes of the service model: members, types, enums, lengths."""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StringShape, StructureShape

SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "boolean": (bool,),
    "double": (int, float),
    "float": (int, float),
    "timestamp": (int, float),
}


@cache
def service_model() -> ServiceModel:
    """The description of ECS."""
    return ServiceModel(Loader().load_service_model("ecs", "service-2"), "ecs")


def mistakes(shape: Shape | None, value: Any, place: str = "") -> list[str]:
    """What is wrong with `value`, each with its place; nothing if it has the shape."""
    if shape is None:
        return [f"{place or 'body'}: nothing is expected"] if value else []
    if isinstance(shape, StructureShape):
        return _structure(shape, value, place)
    if isinstance(shape, ListShape | MapShape):
        return _collection(shape, value, place)
    return _scalar(shape, value, place)


def _structure(shape: StructureShape, value: Any, place: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{place}: a structure is expected"]
    said = [f"{place}.{name}: is required" for name in shape.required_members if name not in value]
    for name, one in value.items():
        if name in shape.members:
            said += mistakes(shape.members[name], one, f"{place}.{name}")
        else:
            said.append(f"{place}.{name}: is no member of {shape.name}")
    return said


def _collection(shape: ListShape | MapShape, value: Any, place: str) -> list[str]:
    if isinstance(shape, ListShape):
        if not isinstance(value, list):
            return [f"{place}: a list is expected"]
        return [said for one in value for said in mistakes(shape.member, one, f"{place}[]")]
    if not isinstance(value, dict):
        return [f"{place}: a map is expected"]
    return [said for key, one in value.items() for said in mistakes(shape.value, one, f"{place}.{key}")]


def _scalar(shape: Shape, value: Any, place: str) -> list[str]:
    kinds = SCALARS[shape.type_name]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return [f"{place}: {shape.type_name} is expected"]
    if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        return [f"{place}: {value!r} is none of {', '.join(shape.enum)}"]
    size = len(value) if isinstance(value, str) else value
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if (least is not None and size < least) or (most is not None and size > most):
        return [f"{place}: must be from {least} to {most}"]
    return []
