"""Rows of finding plugins: 300 distributions, 60 plugins among them, of which one is broken and one is slow."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from measuring import Figure, Settings, cpu_of_command, interleaved
from processes import MS, compiled

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["discovery"]

DISTRIBUTIONS: Final = 300
PLUGINS: Final = 60
PREFIX: Final = "becket_plugin"
BROKEN: Final = 7
SLOW: Final = 8
CONFIGURATION: Final = "named.toml"

TOOL: Final = """
from becket import tool

@tool(effect="none")
def tool_{number}() -> str:
    "Say which tool it is."
    return "{number}"
"""


@contextlib.contextmanager
def crowded() -> Iterator[dict[str, str]]:
    """An environment in which the distributions are installed, beside what this one has; with an index of its own.

    While it lasts, the working directory is one without a project's configuration.
    """
    with tempfile.TemporaryDirectory() as folder, compiled() as environment, contextlib.chdir(folder):
        site = Path(folder, "site")
        for number in range(DISTRIBUTIONS):
            _install(site, number)
        configuration = Path(folder, CONFIGURATION)
        configuration.write_text('[limits]\ncycles = 20\n\n[approvals]\nallow = ["tool_1"]\n', encoding="utf-8")
        settled = time.time() - 3600  # an index trusts no folder that has just been changed
        for path in (*site.rglob("*"), site, configuration):
            os.utime(path, (settled, settled))
        added = {"PYTHONPATH": str(site), "BECKET_CACHE": str(Path(folder, "cache")), "BECKET_CONFIG": ""}
        yield environment | added | {"XDG_CONFIG_HOME": folder}


def _install(site: Path, number: int) -> None:
    plugin = number < PLUGINS
    name = f"{PREFIX}{number}" if plugin else f"other{number}"
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    text = "Classifier: Programming Language :: Python\n" * 20 + "\n" + "What it does, at length.\n" * 200
    said = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\nRequires-Dist: becket>=0.1\n{text}"
    (info / "METADATA").write_text(said, encoding="utf-8")
    (info / "RECORD").write_text(f"{name}.py,,\n", encoding="utf-8")
    code = TOOL.format(number=number)
    if number == BROKEN:
        code = "import a_module_of_2019\n"
    elif number == SLOW:
        code = f"import time\nstop = time.process_time() + 0.2\nwhile time.process_time() < stop:\n    pass\n{code}"
    (site / f"{name}.py").write_text(code, encoding="utf-8")
    if plugin:
        (info / "entry_points.txt").write_text(f"[becket]\n{name} = {name}\n", encoding="utf-8")
    elif number % 3 == 0:
        (info / "entry_points.txt").write_text(f"[console_scripts]\n{name} = {name}:main\n", encoding="utf-8")


def discovery(settings: Settings) -> list[Figure]:
    """CPU of processes that look for plugins, and of those that need not. What is below one line is the limit of it."""
    commands = {
        "import": ("-c", "import becket"),
        "scan": ("-c", "from becket.discovery import discover; discover('0.1.0')"),
        "recall": ("-c", "from becket.index import recall; assert recall(), 'there is no index'"),
        "version": ("-m", "becket_cli", "--version"),
        "plugins": ("-m", "becket_cli", "plugins"),
        "configured": ("-m", "becket_cli", "--config", CONFIGURATION, "plugins"),
        "runtime": ("-c", "import becket; becket.Runtime()"),
    }
    if find_spec("becket_cli") is None:
        return [Figure(row="discovery", becket=None, unit="ms", note="not in this environment: becket_cli")]
    with crowded() as environment:
        imported = {name: _imported(commands[name], environment) for name in ("version", "plugins", "configured")}
        if not imported["plugins"]:
            raise AssertionError("the first list imports the plugins, and none was seen")
        imported = {name: _imported(commands[name], environment) for name in imported}
        samples = [
            lambda what=what: cpu_of_command((sys.executable, "-P", *what), environment) * MS
            for what in commands.values()
        ]
        cost = dict(zip(commands, interleaved(samples, settings.repetitions(10)), strict=True))
    return [
        Figure(row="discovery: scan of 300 distributions", becket=cost["scan"], limit=cost["import"], unit="ms"),
        Figure(row="discovery: recall of 60 plugins", becket=cost["recall"], limit=cost["import"], unit="ms", more=10),
        Figure(
            row="discovery: becket plugins, warm index",
            becket=cost["plugins"],
            limit=cost["version"],
            unit="ms",
            more=10,
            note=f"imports {imported['plugins']} plugins; --version {imported['version']}",
            also=not any(imported.values()),
        ),
        Figure(
            row="discovery: the same with a configuration file",
            becket=cost["configured"],
            limit=cost["version"],
            unit="ms",
            more=10,
        ),
        Figure(row="discovery: a Runtime of all of them", becket=cost["runtime"], limit=cost["import"], unit="ms"),
    ]


def _imported(command: tuple[str, ...], environment: dict[str, str]) -> int:
    """How many of the plugins a command imports."""
    ran = subprocess.run([sys.executable, "-P", "-v", *command], env=environment, check=True, capture_output=True)
    return ran.stderr.count(f"import '{PREFIX}".encode())  # -X importtime does not see what importlib imports
