"""What the author of a new plugin types next, in the environment that this is."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from becket_dev._names import Kind, Names

__all__ = ["commands"]

_USES: Final[dict[Kind, str]] = {
    "tool": 'becket run -t {identifier} "How many words has this sentence?"',
    "provider": 'becket run -m {name} "Hello there"',
    "sink": 'becket run --sink {name} "Hello there"',
    "policy": "becket plugins",
    "wire": "becket serve",
}


def commands(folder: Path, names: Names, kind: Kind) -> list[str]:
    """Go there; install it in place, with what its tests need, and run them; use it."""
    return [
        f"cd {shlex.quote(str(folder))}",
        f"{_install()} -e . pytest trio && {_pytest()}",
        _USES[kind].format(name=names.name, identifier=names.identifier),
    ]


def _install() -> str:
    """The installer of the environment that this interpreter is in, as it is called from there."""
    if importlib.util.find_spec("pip") is None:
        return "uv pip install" if _is_active() else f"uv pip install --python {shlex.quote(sys.executable)}"
    return "pip install" if _is_active() else f"{shlex.quote(sys.executable)} -m pip install"


def _pytest() -> str:
    return "pytest" if _is_active() else f"{shlex.quote(sys.executable)} -m pytest"


def _is_active() -> bool:
    """Whether the commands of this environment are those that a shell finds."""
    path = os.environ.get("PATH", "").split(os.pathsep)
    return any(folder and os.path.samefile(folder, os.path.dirname(sys.executable)) for folder in path[:1])  # noqa: PTH120, PTH121
