"""What the author of a new plugin types next, in the environment that this is."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from becket_dev._names import called

if TYPE_CHECKING:
    from becket_dev._names import Kind, Names

__all__ = ["commands", "commands_of_yours"]

_USES: Final[dict[Kind, str]] = {
    "tool": 'becket run -t {} "Count the words of: to be or not to be"',
    "provider": 'becket run -m {}:echo "Hello there"',
    "sink": 'becket run --sink console --sink {}:events.jsonl "Hello there"',
    "policy": "becket plugins",
    "wire": "becket serve",
}
"""What tries the sample that is in it."""

_YOURS: Final[dict[Kind, str]] = {
    "tool": 'becket run -t {} "..."',
    "provider": "becket models {}",
    "sink": 'becket run --sink console --sink {} "..."',
    "policy": "becket plugins",
    "wire": "becket serve",
}
"""What tries whatever the author has made of it."""


def commands(folder: Path, names: Names, kind: Kind) -> list[str]:
    """Go there; install it in place, with what its tests need, and run them; use the sample."""
    programs = _programs()
    installer = f"{programs}pip install"
    if importlib.util.find_spec("pip") is None:
        installer = f"uv pip install --python {programs}python" if programs else "uv pip install"
    return [
        f"cd {shlex.quote(str(folder))}",
        f"{installer} -e . pytest trio && {programs}pytest",
        programs + _USES[kind].format(called(names, kind)),
    ]


def commands_of_yours(names: Names, kind: Kind) -> list[str]:
    """Say what holds of it, and use it, once the sample has become something else."""
    programs = _programs()
    return [f"{programs}becket check", programs + _YOURS[kind].format(called(names, kind))]


def _programs() -> str:
    """The folder of this environment's programs, up to its slash; empty where a shell finds them by their names."""
    own = Path(sys.executable).parent
    found = shutil.which("becket")
    return "" if found is not None and Path(found).parent == own else shlex.quote(f"{own}/")
