"""One Kedge process: wires the parts, starts them, and stops them in the right order."""

from kedge.node.node import Node

__all__ = ["Node"]
