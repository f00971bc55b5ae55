"""Rows of the process: what importing and starting becket costs, what it pulls in, and what it installs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from measuring import Figure, Settings, cpu_of_command, interleaved
from serving import wire_service

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MS", "command", "compiled", "imports", "installed"]

MS = 1e3
MEGABYTE = 1e6
HEAVY: Final = (
    *("pydantic", "importlib_metadata", "asyncio", "rich"),
    *("httpx", "httpx2", "aiohttp", "httpcore", "trio", "click"),
)
CORE: Final = Path(__file__).resolve().parent.parent / "core"


@contextlib.contextmanager
def compiled() -> Iterator[dict[str, str]]:
    """An environment in which Python keeps its bytecode, in a folder of its own; the first run fills it.

    Some machines forbid bytecode, and compiling becket anew costs more than everything else that an import does.
    """
    with tempfile.TemporaryDirectory() as folder:
        kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        yield kept | {"PYTHONPYCACHEPREFIX": folder}


def imports(settings: Settings) -> list[Figure]:
    """CPU of a process that imports becket. Limit: a process that imports nothing, in the same environment."""
    nothing, becket = (sys.executable, "-c", "pass"), (sys.executable, "-c", "import becket")
    with compiled() as environment:
        limit, cost = interleaved(
            [
                lambda: cpu_of_command(nothing, environment) * MS,
                lambda: cpu_of_command(becket, environment) * MS,
            ],
            settings.repetitions(25),
        )
    pulled = _pulled_in()
    return [
        Figure(
            row="import becket",
            becket=cost,
            limit=limit,
            unit="ms",
            times=8,
            note=f"pulls in {', '.join(pulled)}" if pulled else f"{', '.join(HEAVY[:4])}, HTTP: not pulled in",
            also=not pulled,
        )
    ]


def _pulled_in() -> list[str]:
    """Which of the heavy packages `import becket` imports."""
    code = "import becket, json, sys; sys.stdout.write(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return sorted(set(HEAVY) & set(json.loads(ran.stdout)))


def installed(settings: Settings) -> list[Figure]:
    """Distributions and megabytes of core in an environment of its own. Limit: the same without becket itself.

    Sizes are those of the files as installed, without bytecode.
    """
    names = ("core installed, distributions", "core installed, size")
    uv = shutil.which("uv")
    if not settings.install or uv is None:
        why = "only with --install, since it takes a minute" if uv else "needs uv"
        return [Figure(row=name, becket=None, note=why) for name in names]
    with tempfile.TemporaryDirectory() as folder:
        python = str(Path(folder, "bin", "python"))
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, str(CORE)], check=True)
        site = next(Path(folder, "lib").glob("python*/site-packages"))
        sizes = {path.name: _size(path) for path in site.iterdir() if not path.name.startswith("_virtualenv")}
    distributions = [name for name in sizes if name.endswith(".dist-info")]
    own = sum(size for name, size in sizes.items() if name.startswith("becket"))
    total = sum(sizes.values())
    return [
        Figure(row=names[0], becket=len(distributions), limit=len(distributions) - 1, unit="", most=13),
        Figure(row=names[1], becket=total / MEGABYTE, limit=(total - own) / MEGABYTE, unit="MB", most=16),
    ]


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc")


def command(settings: Settings) -> list[Figure]:
    """CPU of the process `becket run`, from its start to its first delta; the model's worker process not counted.

    Once with the embedded model and once with one over HTTP. The command writes its events as JSON to a pipe, and its
    own times are read from /proc as soon as the first delta is there; they come in clock ticks of 10 ms. Limit: a bare
    Python.
    """
    with wire_service() as root:
        over_http = {"OPENAI_BASE_URL": f"{root}/each/3", "OPENAI_API_KEY": "none"}
        return [
            _command("becket run: start to first delta", ("becket_cli", "becket_local"), "local", {}, settings),
            _command(
                "becket run: the same over HTTP", ("becket_cli", "becket_openai"), "openai:bench", over_http, settings
            ),
        ]


def _command(row: str, packages: tuple[str, ...], model: str, variables: dict[str, str], settings: Settings) -> Figure:
    missing = [name for name in packages if find_spec(name) is None]
    if missing or not Path("/proc/self/stat").exists():
        why = f"not in this environment: {', '.join(missing)}" if missing else "needs Linux's /proc"
        return Figure(row=row, becket=None, unit="ms", most=500, note=why)
    prompt = (sys.executable, "-m", "becket_cli", "run", "-m", model, "--json", "What time is it in Paris?")
    costs = []
    with compiled() as environment:
        for _number in range(settings.repetitions(5) + 1):
            cost, said = _until_first_delta(prompt, {**environment, **variables})
            if cost is None:
                return Figure(row=row, becket=None, unit="ms", most=500, note=f"no delta: {said[-120:]}")
            costs.append(cost * MS)
        del costs[0]  # it compiled
        bare = (sys.executable, "-c", "pass")
        (limit,) = interleaved([lambda: cpu_of_command(bare, environment) * MS], len(costs))
    return Figure(row=row, becket=statistics.median(costs), limit=limit, unit="ms", most=500)


def _until_first_delta(arguments: tuple[str, ...], environment: dict[str, str]) -> tuple[float | None, str]:
    """CPU seconds until the command has written a delta, or None, and what it wrote last."""
    said = ""
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for line in process.stdout or ():
            said = line.decode(errors="replace").strip()
            if b"_delta" in line:
                ticks = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                process.communicate()
                return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK"), said
    return None, said
