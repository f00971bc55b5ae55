"""Which installer an environment has: uv, pip, or another program that keeps it for itself."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from becket import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Installer", "found"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installer:
    """What installs into this environment.

    Attributes:
        name: What people call it.
        install: The command, to which the names are added.
        upgrade: The option that has it take the newest version.
        uninstall: The command, to which the names are added.
        remark: What whoever installs ought to know, or empty.
    """

    name: str
    install: tuple[str, ...]
    upgrade: str
    uninstall: tuple[str, ...]
    remark: str = ""


def found(names: Sequence[str], *, remove: bool) -> Installer:
    """The installer of the environment that this process runs in.

    Args:
        names: What is to be installed or uninstalled, for what is said where it must not be.
        remove: Whether it is to be uninstalled.

    Raises:
        ConfigError: The environment is another program's to change, or there is no installer; the text says what to do.
    """
    prefix = Path(sys.prefix)
    if why := _kept(prefix, names, remove=remove):
        raise ConfigError(why)
    uv = shutil.which("uv")
    has_pip = importlib.util.find_spec("pip") is not None
    if uv and (_made_by_uv(prefix) or not has_pip):
        at = ("--python", sys.executable)
        return Installer(
            name="uv",
            install=(uv, "pip", "install", *at),
            upgrade="--upgrade",
            uninstall=(uv, "pip", "uninstall", *at),
            remark=_synced(prefix, names, remove=remove),
        )
    if has_pip:
        pip = (sys.executable, "-m", "pip")
        return Installer(
            name="pip",
            install=(*pip, "install", "--quiet"),  # of each requirement it would say that it is satisfied; errors stay
            upgrade="--upgrade",
            uninstall=(*pip, "uninstall", "--quiet", "--yes"),
        )
    raise ConfigError(
        f"there is no installer for the environment {sys.prefix}: it has no pip, and there is no uv on the PATH; run "
        f"{shlex.join([sys.executable, '-m', 'ensurepip'])}, or install uv"
    )


def _kept(prefix: Path, names: Sequence[str], *, remove: bool) -> str:
    """Why nothing must be installed here, and what to do instead; empty where something may."""
    what = shlex.join(names)
    if (prefix / "uv-receipt.toml").is_file():
        tool, others = _receipt(prefix / "uv-receipt.toml")
        with_ = [name for name in others if name not in names] if remove else [*others, *names]
        command = ["uv", "tool", "install", tool, *(part for name in dict.fromkeys(with_) for part in ("--with", name))]
        return (
            f"the environment {prefix} is that of a tool of uv, which keeps it for itself; run: {shlex.join(command)}"
        )
    if (prefix / "pipx_metadata.json").is_file():
        verb = "uninject" if remove else "inject"
        return f"the environment {prefix} is pipx's, which keeps it for itself; run: pipx {verb} {prefix.name} {what}"
    if sys.prefix == sys.base_prefix and (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").is_file():
        return (
            f"the Python in {prefix} is managed by the system, which would lose track of what is installed into it; "
            f"install becket-cli into an environment of its own: 'uv tool install becket-cli --with ...', "
            f"'pipx install becket-cli', or a virtual environment with 'python -m venv'"
        )
    return ""


def _receipt(path: Path) -> tuple[str, list[str]]:
    """The tool that uv has installed, and what with it."""
    try:
        required = tomllib.loads(path.read_text(encoding="utf-8"))["tool"]["requirements"]
        tool, *others = [str(one["name"]) for one in required]
    except (OSError, ValueError, LookupError, TypeError):  # another uv writes it otherwise
        return "becket-cli", []
    return tool, others


def _made_by_uv(prefix: Path) -> bool:
    try:
        lines = (prefix / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return False
    return any(line.partition("=")[0].strip() == "uv" for line in lines)


def _synced(prefix: Path, names: Sequence[str], *, remove: bool) -> str:
    """What to say of the environment of a project, which uv makes anew by what the project says."""
    project = prefix.parent
    if not (project / "uv.lock").is_file() or os.environ.get("UV_PROJECT_ENVIRONMENT"):
        return ""
    verb = "remove" if remove else "add"
    return (
        f"{prefix} is the environment of the project in {project}: the next 'uv sync' undoes this; "
        f"'uv {verb} {shlex.join(names)}' lasts"
    )
