"""The plugins that the settings name, behind typed methods."""

from kedge.registry.registry import Registry, load_and_register

__all__ = ["Registry", "load_and_register"]
