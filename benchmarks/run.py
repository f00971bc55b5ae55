"""The benchmarks, in one command: `python benchmarks/run.py [ROW ...] [--json FILE] [--quick] [--install]`.

Each row runs in a process of its own, beside its limit; README.md says how to read what comes out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import discovery
import encoding
import memory
import overhttp
import processes
import served
import streams
import toolcycles
from measuring import Figure, Settings

Row = Callable[[Settings], list[Figure]]

BACKENDS = ("asyncio", "trio")
HERE = Path(__file__).resolve().parent


def _on_both(name: str, row: Callable[[Settings, str], list[Figure]]) -> dict[str, Row]:
    def on(backend: str) -> Row:
        return lambda settings: row(settings, backend)

    return {f"{name}-{backend}": on(backend) for backend in BACKENDS}


ROWS: dict[str, Row] = {
    **_on_both("together", streams.together),
    **_on_both("alone", streams.alone),
    **_on_both("cycles", toolcycles.cycles),
    **_on_both("hooks", toolcycles.hooks),
    **_on_both("parallel", toolcycles.parallel),
    **_on_both("sync-tool", toolcycles.sync_tool),
    **_on_both("crowd", streams.crowd),
    **_on_both("memory", memory.memory),
    "import": processes.imports,
    "json": encoding.encoding,
    "installed": processes.installed,
    **_on_both("first", streams.first),
    **_on_both("http-text", overhttp.text),
    **_on_both("http-rounds", overhttp.rounds),
    **_on_both("http-first", overhttp.first),
    **_on_both("http-crowd", overhttp.crowd),
    "serve-text": served.text,
    "discovery": discovery.discovery,
    "command": processes.command,
}


def main() -> None:
    """Measure the rows that were asked for, print them, and write them to a file."""
    given = _arguments().parse_args()
    settings = Settings(quick=given.quick, install=given.install)
    if given.child:
        print(json.dumps([asdict(figure) for figure in ROWS[given.child](settings)]))
        return
    print(f"{'':52}{'becket':>10}{'limit':>10}{'':4}{'ratio':>7}  {'budget':16} verdict")
    figures = []
    for name in _chosen(given.rows):
        for figure in _apart(name, settings):
            figures.append(figure)
            print(_line(figure), flush=True)
    _write(figures, given.json or HERE / "results" / f"{datetime.now(UTC):%Y-%m-%d}.json", settings)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure becket beside the least code that does the same work.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"all, or those that begin so: {', '.join(ROWS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write; default results/<date>.json")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, to see whether it works")
    parser.add_argument("--install", action="store_true", help="also install core into an environment of its own")
    parser.add_argument("--child", choices=ROWS, help=argparse.SUPPRESS)
    return parser


def _chosen(wanted: list[str]) -> Iterator[str]:
    """The rows that begin with one of these names; all where there is none."""
    for prefix in wanted:
        if not any(name.startswith(prefix) for name in ROWS):
            sys.exit(f"there is no row {prefix!r}; the rows are: {', '.join(ROWS)}")
    yield from (name for name in ROWS if not wanted or name.startswith(tuple(wanted)))


def _apart(name: str, settings: Settings) -> list[Figure]:
    """The figures of one row, measured in a process of its own; one without figures where the row fails."""
    flags = [f"--{flag}" for flag, on in asdict(settings).items() if on]
    ran = subprocess.run(
        [sys.executable, str(HERE / "run.py"), "--child", name, *flags], check=False, capture_output=True, text=True
    )
    if ran.returncode:
        last = ran.stderr.strip().splitlines()[-1:] or [f"exit code {ran.returncode}"]
        return [Figure(row=name, becket=None, note=f"failed: {last[0]}")]
    return [Figure(**each) for each in json.loads(ran.stdout.splitlines()[-1])]


def _line(figure: Figure) -> str:
    verdict = {True: "ok", False: "OVER", None: ""}[figure.ok]
    numbers = f"{_number(figure.becket):>10}{_number(figure.limit):>10} {figure.unit:3}{_number(figure.ratio):>7}"
    return f"{figure.row:52}{numbers}  {figure.budget:16} {verdict:5}{figure.note}".rstrip()


def _number(number: float | None) -> str:
    if number is None:
        return "-"
    digits = max(0, 3 - len(str(int(abs(number)))))  # three figures in all
    return f"{number:.{digits}f}"


def _write(figures: list[Figure], path: Path, settings: Settings) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    measured: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}",
        "settings": asdict(settings),
        "figures": [asdict(each) | {"ratio": each.ratio, "budget": each.budget, "ok": each.ok} for each in figures],
    }
    path.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
