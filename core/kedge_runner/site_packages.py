"""What an application's virtual environment adds to its version."""

from __future__ import annotations

import glob
import os

#: where an ASGI application finds its packages in the version
MODULES = "python_modules"
#: folders of tools that install, which nothing needs that runs
TOOLS = (
    "pip",
    "setuptools",
    "wheel",
    "_distutils_hack",
    "distutils-precedence",
    "pkg_resources",
    "_virtualenv",
)


def find_site_packages(environment: dict[str, str]) -> str | None:
    """The packages of the virtual environment that the dependencies were installed to, if there is one."""
    venv = environment.get("VIRTUAL_ENV")
    found = glob.glob(os.path.join(glob.escape(venv), "lib", "python3*", "site-packages")) if venv else []
    return found[0] if found else None


def is_needed(name: str) -> bool:
    """Whether a file of them, by its path there, is part of a version."""
    top = name.partition("/")[0]
    return not any(top == tool or top.startswith((f"{tool}-", f"{tool}.")) for tool in TOOLS)
