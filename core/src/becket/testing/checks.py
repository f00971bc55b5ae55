"""Checking a plugin: the tests of its contracts, as far as they need nothing said, and what came of each.

It happens in a process of its own, with a home and a working directory that are thrown away, and without pytest. What a
plugin contributes is used: its sinks observe runs, its policies are asked, its masks are given ordinary text, its event
log is filled, its commands are asked for their help, its tools that compute only are called with arguments that are
made up from their schemas. Model providers, and tools that read or change something, are not, and commands do not do
their work: what they do is for tests that say so, with `ToolConformance`, `ProviderConformance` and
`CommandConformance`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from becket.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["Finding", "Kind", "check"]

Kind: TypeAlias = Literal["plugin", "tool", "provider", "sink", "policy", "mask", "log", "wire", "command"]
"""What was looked at."""

_PROGRAM: Final = "import os; from becket.testing._checking import main; main(); os._exit(0)"
"""It waits for no thread that a call which did not end has left."""

_PAUSE: Final = 5.0
"""Seconds after which it is said what is being looked at."""

_HOMES: Final = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "APPDATA")
"""Variables that say where a user's own files are."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one rule.

    Attributes:
        kind: What was looked at.
        name: Its name.
        rule: The rule in a few words.
        holds: Whether it holds; None where it was not looked at.
        sentence: What the rule is about; where it does not hold, what is wrong and what to do; where it was not looked
            at, why.
        rules: How many rules it stands for: more than 1 where none of them was looked at, for the same reason.
        needs: The class of `becket.testing` that a test of yours is to inherit from, so that they are; or empty.
    """

    kind: Kind
    name: str
    rule: str
    holds: bool | None
    sentence: str
    rules: int = 1
    needs: str = ""

    def to_json(self) -> dict[str, str | int | bool | None]:
        """The finding as a JSON object."""
        return asdict(self)


def check(
    plugin: str | os.PathLike[str],
    *,
    path: Iterable[str] = (),
    import_seconds: float = 0.5,
    timeout: float = 120.0,
    python: str | None = None,
    waiting: Callable[[str], object] | None = None,
) -> list[Finding]:
    """Check a plugin, and what it contributes, against their contracts.

    Args:
        plugin: A name of an installed plugin; what an entry point points at, `module` or `module:object`; a Python
            file; or the folder of a project, whose `pyproject.toml` declares plugins.
        path: Where to look for modules, before everything else.
        import_seconds: Seconds of CPU time that importing a plugin may take.
        timeout: Seconds after which the check is given up; what was found by then is told.
        python: The interpreter of the environment that the plugin is installed in, which has becket; None for this one.
        waiting: Called each few seconds with what is being looked at.

    Returns:
        What came of each rule, in the order in which they were looked at. Never empty.

    Raises:
        ConfigError: There is no such plugin.
    """
    values, folders = _given(os.fspath(plugin))
    own = [] if python else sys.path  # of another interpreter it is that one's own
    asked = {
        "file": os.path.abspath(plugin) if os.fspath(plugin).endswith(".py") else "",  # noqa: PTH100  no link is followed
        "module": bool(folders),
        "plugins": values,
        "path": [*map(os.path.abspath, (*path, *folders)), *own],
        "import_seconds": import_seconds,
    }
    found = [finding for value in values for finding in _checked({**asked, "plugin": value}, python, timeout, waiting)]
    if not found:
        raise ConfigError(f"there is nothing to check in {os.fspath(plugin)}: no entry point of the group 'becket'")
    return found


def _given(plugin: str) -> tuple[list[str], list[str]]:
    """What the plugins are to be imported as, and the folders in which they are."""
    given = Path(plugin)
    if plugin.endswith(".py"):
        if not given.is_file():
            raise ConfigError(f"there is no file {plugin}; give a plugin's name, its module, its file or its project")
        return [given.stem], [str(given.parent)]
    if not plugin or not given.is_dir() or (os.sep not in plugin and not (given / "pyproject.toml").is_file()):
        return [plugin], []
    return _of_project(given)


def _of_project(folder: Path) -> tuple[list[str], list[str]]:
    import tomllib

    from becket.discovery import GROUP

    file = folder / "pyproject.toml"
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8"))
        declared: Mapping[str, str] = project.get("project", {}).get("entry-points", {}).get(GROUP, {})
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}; give the folder of the plugin's project") from error
    return [*declared.values()], [str(folder / "src"), str(folder)]


def _checked(
    asked: Mapping[str, Any], python: str | None, timeout: float, waiting: Callable[[str], object] | None
) -> Iterator[Finding]:
    """The findings of the program that makes the tests, as far as it came."""
    with tempfile.TemporaryDirectory(prefix="becket-check-", ignore_cleanup_errors=True) as home:
        environment = {**os.environ, **dict.fromkeys(_HOMES, home), "BECKET_CACHE": "0"}
        with subprocess.Popen(  # noqa: S603  our own program
            [python or sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=home,
            env=environment,
        ) as process:
            try:
                told, said = _ended(process, json.dumps(asked).encode(), timeout, waiting or (lambda _: None))
                ended = f"ended with {process.returncode}"
            except subprocess.TimeoutExpired:
                process.kill()
                told, said = process.communicate()
                ended = f"did not end within {timeout:g} s"
            except BaseException:  # Ctrl-C, most likely: nothing of it stays
                process.kill()
                process.wait()
                raise
    lines = [json.loads(line) for line in told.splitlines() if line.endswith(b"}")]
    if lines and "unknown" in lines[-1]:
        raise ConfigError(lines[-1]["unknown"])
    yield from (Finding(**line) for line in lines if "holds" in line)
    if not lines or "done" not in lines[-1]:
        at = _place(told)
        tail = said.decode(errors="replace").strip()[-2000:]
        sentence = f"the process {ended} at: {at}{f'; it said: {tail}' if tail else ''}"
        yield Finding("plugin", asked["plugin"], "the check comes to its end", holds=False, sentence=sentence)


def _ended(
    process: subprocess.Popen[bytes], asked: bytes, timeout: float, waiting: Callable[[str], object]
) -> tuple[bytes, bytes]:
    """What it has told and said at its end; what is told before that is kept for it.

    Raises:
        TimeoutExpired: It takes longer than `timeout`.
    """
    given: bytes | None = asked
    end = time.monotonic() + timeout
    while True:
        left = end - time.monotonic()
        try:
            return process.communicate(given, min(left, _PAUSE))
        except subprocess.TimeoutExpired as expired:
            if left <= _PAUSE:
                raise
            given = None
            waiting(_place(expired.output or b""))


def _place(told: bytes) -> str:
    """What was begun last."""
    whole = [line for line in told.splitlines() if line.endswith(b"}")]
    last = json.loads(whole[-1]) if whole else {"begins": "the beginning"}
    place: str = last.get("begins", last.get("rule", ""))
    return place
