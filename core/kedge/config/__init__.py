"""What an operator decides: settings from a TOML file, the environment and the command line."""

from kedge.config.describe import SettingDoc, describe_settings
from kedge.config.load import Draft, load, read
from kedge.config.mistakes import Mistake, choices, mistakes_of, nearest
from kedge.config.references import SecretRef, resolve_secret
from kedge.config.settings import (
    BlobSettings,
    BuildSettings,
    ComputeSettings,
    ForgeSettings,
    LoggingSettings,
    LogSettings,
    NodeSettings,
    PlacementSettings,
    ServerSettings,
    Settings,
    default_data_dir,
)
from kedge.config.units import AbsolutePath, Duration, Size, parse_duration, parse_size
from kedge.config.workers import TriggerSpec, VariableSpec, WorkerSpec

__all__ = [
    "AbsolutePath",
    "BlobSettings",
    "BuildSettings",
    "ComputeSettings",
    "Draft",
    "Duration",
    "ForgeSettings",
    "LogSettings",
    "LoggingSettings",
    "Mistake",
    "NodeSettings",
    "PlacementSettings",
    "SecretRef",
    "ServerSettings",
    "SettingDoc",
    "Settings",
    "Size",
    "TriggerSpec",
    "VariableSpec",
    "WorkerSpec",
    "choices",
    "default_data_dir",
    "describe_settings",
    "load",
    "mistakes_of",
    "nearest",
    "parse_duration",
    "parse_size",
    "read",
    "resolve_secret",
]
