"""What can be set, for the reference and for the tests that hold files to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from kedge.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class SettingDoc:
    """One setting."""

    #: the dotted key
    key: str
    #: as the settings hold it; sections of backends have their own models
    default: Any
    description: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "KEDGE_" + self.key.replace(".", "__").upper()


def describe_settings(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[SettingDoc]:
    """Yield every setting of `model` and of its sections, in the order in which they are written."""
    for name, info in model.model_fields.items():
        key = f"{prefix}{name}"
        default = info.get_default(call_default_factory=True, validated_data={})
        if isinstance(default, BaseModel):
            yield from describe_settings(type(default), f"{key}.")
        else:
            required = default is PydanticUndefined
            yield SettingDoc(
                key=key, default=None if required else default, description=info.description or ""
            )
