"""`becket lock`: the plugins that are there, written down, and what has changed since."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from becket_cli._exits import FAILED, OK, complain
from becket_cli._lists import echo
from becket_cli._plugins import build, configured, tell_all
from becket_cli._safe import safe_on_a_line

if TYPE_CHECKING:
    from becket_cli._exits import State

__all__ = ["check_lock", "write_lock"]


def write_lock(path: str, state: State) -> int:
    """Write the lock, say what is new in it, and return the exit code.

    Raises:
        ConfigError: The configuration is wrong, a plugin cannot be locked, or the file cannot be written.
    """
    from becket import ConfigError
    from becket.lock import Lock

    config = dataclasses.replace(configured(state), lock=None)  # what is written anew holds nobody back from it
    state.lock = None
    runtime = build(config, state)
    tell_all(runtime, state, tell=state.traceback, lenient=False)  # the lock says itself what is left out
    lock = Lock.of(runtime)
    changes: list[str] = []
    if os.path.lexists(path):
        try:
            changes = Lock.read(path).differences(runtime)
        except ConfigError as error:  # what is to be replaced: a lock of a newer becket, or half of one
            complain(f"what was there is replaced: {error}")
    lock.write(path)
    for remark in lock.remarks:
        complain(remark)
    for change in changes:
        echo(safe_on_a_line(change))
    plugins = sum(len(one.plugins) for one in lock.distributions)
    echo(f"{path}: {_of(plugins, 'plugin')} of {_of(len(lock.distributions), 'distribution')}")
    return OK


def check_lock(path: str, state: State) -> int:
    """Say what has changed since the lock was written, one difference a line; return 1 where something has.

    Nothing of what differs is imported.

    Raises:
        ConfigError: There is no lock, or it is none.
    """
    from becket.lock import Lock

    lock = Lock.read(path)
    state.lock = path
    differences = lock.differences(build(configured(state, lenient=True), state))
    for difference in differences:
        echo(safe_on_a_line(difference))
    if differences:
        complain(f"{_of(len(differences), 'difference')} to {path}; if you trust what is there, write it anew")
        return FAILED
    complain(f"the plugins are those of {path}")
    return OK


def _of(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
