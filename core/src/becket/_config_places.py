"""Where the files of a configuration may lie. In texts: who only looks whether one is there loads nothing else."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NAME", "PYPROJECT", "folders", "own_file", "places", "users_file"]

NAME: Final = "becket.toml"
PYPROJECT: Final = "pyproject.toml"

_REPOSITORY: Final = (".git", ".hg", ".jj", ".svn")


def own_file(environ: Mapping[str, str]) -> str:
    """See `becket.config.user_file`."""
    named = environ.get({"win32": "APPDATA", "darwin": ""}.get(sys.platform, "XDG_CONFIG_HOME"), "")
    usual = {"win32": "~/AppData/Roaming", "darwin": "~/Library/Application Support"}.get(sys.platform, "~/.config")
    # The specification of the variable says to pass over one that is relative.
    folder = named if os.path.isabs(named) else os.path.expanduser(usual)
    return os.path.join(os.path.normpath(folder), "becket", NAME) if os.path.isabs(folder) else ""


def users_file(path: str | None, environ: Mapping[str, str]) -> str:
    """The file that is read as the user's: the one that is named, else the user's own; empty where there is none."""
    return path if path is not None else environ.get("BECKET_CONFIG") or own_file(environ)


def folders(start: str) -> list[str]:
    """Where a project's file may lie: in `start`, and within a repository in each folder up to its own.

    Without a repository no further: what lies above (`/tmp`, a shared folder) belongs to somebody else.
    """
    every: list[str] = []
    folder, above = "", start
    while folder != above:
        folder, above = above, os.path.dirname(above)
        every.append(folder)
        if any(os.path.exists(os.path.join(folder, name)) for name in _REPOSITORY):
            return every
    return [start]


def places(path: str | None, environ: Mapping[str, str]) -> list[str]:
    """Every file that `load_config(path, environ=environ)` may look at, whether it is there or not.

    Raises:
        OSError: The working directory was removed.
    """
    projects = [os.path.join(folder, name) for folder in folders(os.getcwd()) for name in (NAME, PYPROJECT)]
    return [os.path.abspath(own) for own in (users_file(path, environ),) if own] + projects
