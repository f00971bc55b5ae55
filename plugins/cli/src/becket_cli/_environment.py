"""What `becket doctor` finds in the environment: which interpreter this is, and what else could have been meant."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Final

from becket_cli._findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from becket import Plugin

__all__ = ["environment"]

_SCRIPT: Final = 4096
"""Bytes of a script that are read to find its interpreter."""


def environment(plugins: Sequence[Plugin]) -> Iterator[Finding]:
    """What is wrong with the environment.

    Args:
        plugins: The plugins that were found in it.
    """
    yield from _other_environment()
    yield from _other_command()
    yield from _other_becket()
    yield from _here(plugins)


def _other_environment() -> Iterator[Finding]:
    activated = os.environ.get("VIRTUAL_ENV")
    if activated and os.path.realpath(activated) != os.path.realpath(sys.prefix):
        yield Finding(
            group="environment",
            kind="other-environment",
            about=activated,
            what=f"The environment {activated} is activated (VIRTUAL_ENV), and this becket runs in {sys.prefix}: "
            f"plugins that were installed into the one are not found by the other.",
            do=f"Install becket-cli where the plugins are, and run {_program(activated, 'becket')}; or install the "
            f"plugins here, with 'becket install'; or run 'deactivate', if that environment is not meant.",
        )


def _other_command() -> Iterator[Finding]:
    """Another command `becket` comes first on the PATH."""
    first = shutil.which("becket")
    if first is None or _is_ours(first):
        return
    this = shlex.join([os.path.normpath(sys.executable), "-m", "becket_cli"])
    yield Finding(
        group="environment",
        kind="other-command",
        about=first,
        problem=False,
        what=f"The command 'becket' on your PATH is {first}, which does not run in this environment, {sys.prefix}.",
        do=f"Run {this} to have this one, put {_scripts()} first on your PATH, or uninstall the other one.",
    )


def _is_ours(script: str) -> bool:
    """Whether a script runs in this environment: it lies in it, or names its interpreter."""
    folder = os.path.dirname(os.path.realpath(script))  # noqa: PTH120  texts
    if folder == os.path.realpath(_scripts()) or Path(folder).is_relative_to(os.path.realpath(sys.prefix)):
        return True
    try:
        with open(script, "rb") as file:  # noqa: PTH123  a text
            head = file.read(_SCRIPT).decode("utf-8", "replace")
    except OSError:
        return False
    words = (word.strip("\"'") for line in head.splitlines()[:3] for word in line.removeprefix("#!").split())
    return any(Path(word).parent == Path(sys.executable).parent for word in words if os.path.isabs(word))  # noqa: PTH117  a text


def _scripts() -> str:
    return sysconfig.get_path("scripts")


def _program(environment: str, name: str) -> str:
    return str(Path(environment, "Scripts" if sys.platform == "win32" else "bin", name))


def _other_becket() -> Iterator[Finding]:
    """The becket that is imported is none that is installed, or is not the one that the environment says it has."""
    import becket
    from importlib_metadata import PackageNotFoundError, version

    try:
        installed = version("becket")
    except PackageNotFoundError:
        what = f"becket {becket.__version__} is imported from {becket.__file__}, and is not installed"
    else:
        if installed == becket.__version__:
            return
        what = f"becket {becket.__version__} is imported from {becket.__file__}, and becket {installed} is installed"
    yield Finding(
        group="environment",
        kind="other-becket",
        about=str(becket.__file__),
        what=f"{what}: what plugins ask for is compared with the one that is imported.",
        do="Install becket anew, and look at PYTHONPATH and at .pth files for what puts another one before it.",
    )


def _here(plugins: Sequence[Plugin]) -> Iterator[Finding]:
    """Plugins whose code lies in the working directory, where the tools of an agent may write."""
    try:
        here = Path.cwd().resolve()
    except FileNotFoundError:
        return
    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")]
    lying = [
        plugin
        for plugin in plugins
        if plugin.status == "loaded"
        and (origin := _origin(plugin)) is not None
        and origin.is_relative_to(here)
        and not any(origin.is_relative_to(folder) for folder in installed)
    ]
    if lying:
        yield Finding(
            group="environment",
            kind="working-directory",
            about=str(here),
            problem=False,
            what=f"The code of these plugins lies in the working directory {here}, or below it: "
            f"{', '.join(plugin.name for plugin in lying)}. A tool that writes files there can change what becket "
            f"runs the next time.",
            do="Run agents elsewhere, install the plugins as wheels, or hold them to a lock with --locked.",
        )


def _origin(plugin: Plugin) -> Path | None:
    """The file of a plugin's outermost package, which is imported by now; None where that cannot be said."""
    name = plugin.value.partition(":")[0].strip().partition(".")[0]
    module = sys.modules.get(name)
    spec = module.__spec__ if module else PathFinder.find_spec(name)
    if spec is None:
        return None
    if spec.origin and os.path.isabs(spec.origin):  # noqa: PTH117  a text
        return Path(spec.origin).resolve()
    places = list(spec.submodule_search_locations or ())
    return Path(places[0]).resolve() if places else None
