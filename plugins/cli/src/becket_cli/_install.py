"""`becket install` and `becket uninstall`: the environment's own installer, and what has come of it."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import click
from becket import ConfigError, Plugin, __version__

from becket_cli import _lists
from becket_cli._exits import FAILED, INTERRUPTED, OK, complain
from becket_cli._installer import found
from becket_cli._plugins import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["install", "uninstall"]

Row = dict[str, Any]

_OURS: Final = ("becket", "becket-cli")
"""What this command cannot do without."""


def install(names: Sequence[str], *, folders: Sequence[str] = (), upgrade: bool = False) -> int:
    """Install distributions, say which plugins they have brought, and return the exit code.

    Args:
        names: What the installer is to install, as it takes it.
        folders: Folders of projects to install in editable form.
        upgrade: Whether to take the newest version of what is there.

    Raises:
        ConfigError: Nothing can be installed into this environment.
    """
    _refuse_options([*names, *folders])
    if not names and not folders:
        raise click.UsageError("There is nothing to install; name a distribution.")
    installer = found([*names, *folders], remove=False)
    if installer.remark:
        complain(installer.remark)
    before = _stamped()
    options = [*([installer.upgrade] if upgrade else []), *(part for folder in folders for part in ("-e", folder))]
    code = _run(installer.name, [*installer.install, *options, *names])
    if code != OK:
        return code
    changed = {distribution for distribution, *_ in _stamped() - before}
    rows = [row for row in _listed() if row["distribution"] in changed] if changed else []
    _lists.show(
        rows,
        {"PLUGIN": "name", "DISTRIBUTION": "distribution", "VERSION": "version", "STATUS": "status", "WHAT": "what"},
        as_json=False,
        otherwise="no plugin is new: what was installed was there already, or is none",
    )
    if any(row["status"] == "quarantined" for row in rows):
        complain("'becket doctor' says what to do about what is quarantined")
    return OK


def uninstall(names: Sequence[str]) -> int:
    """Uninstall the distributions of plugins, and return the exit code.

    Args:
        names: Any of the names of each plugin.

    Raises:
        ConfigError: One is no plugin's, is that of several, or is needed; or nothing can be uninstalled here.
    """
    _refuse_options(names)
    plugins = list(_plugins())
    distributions = list(dict.fromkeys(_distribution(name, plugins) for name in names))
    _refuse_needed(distributions)
    installer = found(distributions, remove=True)
    if installer.remark:
        complain(installer.remark)
    code = _run(installer.name, [*installer.uninstall, *distributions])
    if code != OK:
        return code
    left = {one.distribution: one for one in _plugins() if one.distribution in distributions}
    for distribution, one in left.items():
        complain(f"{distribution} {one.version} is still there, in {one.metadata}; uninstall it once more")
    gone = [
        plugin.name for plugin in plugins if plugin.distribution in distributions and plugin.distribution not in left
    ]
    if gone:
        complain(f"{', '.join(gone)} {'is' if len(gone) == 1 else 'are'} no longer installed")
    return OK


def _refuse_options(names: Iterable[str]) -> None:
    """Refuse what the installer would take for an option of its own, such as an index to install from."""
    for name in names:
        if name.startswith("-") or not name.strip():
            raise click.UsageError(f"{name!r} is no name of a distribution.")


def _plugins() -> Iterator[Plugin]:
    """The plugins that are installed; none is imported."""
    from becket.discovery import discover

    importlib.invalidate_caches()
    for one in discover(__version__):
        yield Plugin(one.name, one.distribution, one.version, one.value, metadata=one.metadata)


def _distribution(name: str, plugins: Sequence[Plugin]) -> str:
    """The distribution that is meant.

    Raises:
        ConfigError: None is, or several are.
    """
    having = [plugin for plugin in plugins if canonical(name) in plugin.aliases]
    meant = list(dict.fromkeys(plugin.distribution or "" for plugin in having))
    # A distribution of this very name, however many plugins answer to it.
    exact = [distribution for distribution in meant if canonical(distribution) == canonical(name)]
    if len(exact or meant) == 1:
        return (exact or meant)[0]
    if meant:
        raise ConfigError(f"{name!r} is a name of plugins of {' and '.join(meant)}; name one of these")
    _refuse_no_plugin(name)
    import difflib

    aliases = sorted({alias for plugin in plugins for alias in plugin.aliases})
    near = difflib.get_close_matches(canonical(name), aliases, n=1, cutoff=0.75)
    known = ", ".join(plugin.name for plugin in plugins) or "none"
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {known}"
    raise ConfigError(f"no installed plugin has the name {name!r}{hint}")


def _refuse_no_plugin(name: str) -> None:
    """Refuse the name of a distribution that is installed, and no plugin: no other name was meant.

    Raises:
        ConfigError: It is one.
    """
    if canonical(name) in _OURS:
        raise ConfigError(f"{name!r} is becket itself, and no plugin; {_without_becket()}")
    from importlib_metadata import distributions

    if any(canonical(one.metadata["Name"] or "") == canonical(name) for one in distributions() if one.metadata):
        raise ConfigError(
            f"the distribution {name!r} is no plugin, and 'becket uninstall' removes plugins alone; remove it with the "
            f"installer of the environment {sys.prefix}"
        )


def _without_becket() -> str:
    """How becket itself is removed."""
    if os.path.isfile(os.path.join(sys.prefix, "uv-receipt.toml")):  # noqa: PTH113, PTH118  texts
        return f"to remove it, with its plugins, run: uv tool uninstall {os.path.basename(sys.prefix)}"  # noqa: PTH119  a text
    if os.path.isfile(os.path.join(sys.prefix, "pipx_metadata.json")):  # noqa: PTH113, PTH118  texts
        return f"to remove it, with its plugins, run: pipx uninstall {os.path.basename(sys.prefix)}"  # noqa: PTH119  a text
    command = found(_OURS, remove=True).uninstall
    return f"to remove it, uninstall its plugins, and then run: {shlex.join([*command, *reversed(_OURS)])}"


def _refuse_needed(distributions: Sequence[str]) -> None:
    """Refuse to break this command, or plugins that stay.

    Raises:
        ConfigError: One of these is needed.
    """
    from importlib_metadata import distributions as installed

    going = set(map(canonical, distributions))
    for one in installed():
        name = one.metadata["Name"] if one.metadata else None
        if not name or canonical(name) in going:
            continue
        for requirement in one.requires or ():
            if ";" not in requirement and canonical(needed := _name_in(requirement)) in going:
                hint = "" if canonical(name) in _OURS else "; uninstall both, by naming both"
                raise ConfigError(f"{needed} is needed by {name} {one.version}, and stays{hint}")


def _name_in(requirement: str) -> str:
    """The name that a requirement begins with (PEP 508)."""
    end = next((at for at, sign in enumerate(requirement) if not (sign.isalnum() or sign in "-_.")), len(requirement))
    return requirement[:end]


def _run(name: str, command: Sequence[str]) -> int:
    """Run an installer, with the command shown; what it says is its own to say."""
    complain(f"running: {shlex.join(command)}")
    sys.stdout.flush()
    code, interrupted = _waited_for(command)
    if interrupted:
        complain("interrupted")
        return INTERRUPTED
    if code != 0:
        complain(f"{name} has failed, with the exit code {code}")
        return FAILED
    return OK


def _waited_for(command: Sequence[str]) -> tuple[int, bool]:
    """The exit code of an installer, and whether there was a Ctrl-C: it is never left behind in the middle of its work.

    A terminal sends Ctrl-C to the installer, too; from elsewhere it is handed on. How often somebody presses it before
    the installer has cleaned up is for the installer to judge.

    No exception tells of it: one that comes while `Popen.wait` takes its lock would leave that taken, for good.
    """
    interrupts: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def interrupt(number: int, frame: object) -> None:  # noqa: ARG001  as signals call it
        interrupts.append(number)
        hand_on()

    def hand_on() -> None:
        if process is not None and not _has_terminal():
            process.send_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        process = subprocess.Popen(command)  # noqa: S603  its program is the environment's
        if interrupts:  # one that came before there was anybody to hand it on to
            hand_on()
        return process.wait(), bool(interrupts)
    finally:
        signal.signal(signal.SIGINT, before)


def _has_terminal() -> bool:
    """Whether this process is one of those in front on a terminal, to which that sends its signals."""
    if sys.platform == "win32":
        return True  # a console tells all of its processes
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _listed() -> list[Row]:
    """The plugins as another process finds them: this one has not seen what became of the search path."""
    command = [sys.executable, "-P", "-m", "becket_cli", "plugins", "--json"]
    ended = subprocess.run(  # noqa: S603  our own
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
        start_new_session=True,  # Ctrl-C is for this process, which ends that one
    )
    if ended.returncode != 0:
        raise ConfigError("the plugins cannot be listed after that; run 'becket doctor'")
    rows: list[Row] = json.loads(ended.stdout)
    for row in rows:
        kinds = (f"{kind}: {', '.join(given)}" for kind, given in row["adds"].items())
        row["what"] = row["reason"] or "; ".join(kinds)
    return rows


def _stamped() -> set[tuple[str | None, str | None, int]]:
    """The distributions of plugins, each with what changes when it is installed anew."""
    return {(one.distribution, one.metadata, _changed(one.metadata or "")) for one in _plugins()}


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116  a text
    except OSError:  # it lies in a zip file
        return 0
