"""What came of the conformance classes in a project's own tests, for the table of `becket check`."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from becket.testing import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from becket.testing.checks import Kind

__all__ = ["held_files", "joined", "own_findings"]

_SAYS: Final = re.compile(r"^class .*Conformance\b", re.MULTILINE)

_NOT_LOOKED_INTO: Final = {"node_modules", "build", "dist", "venv", "site-packages"}

_TIMEOUT: Final = 300.0
"""Seconds after which the tests are given up."""

_ENDS: Final = (0, 1, 5)
"""How pytest ends where it has run what there was: all have passed, some have not, there was none."""

_ORDER: Final = {False: 0, True: 1, None: 2}
"""Of several outcomes of a rule, such as on two event loops, the first of these counts."""


def held_files(folder: Path) -> list[Path]:
    """The test files of a project in which a class inherits from one that is called `...Conformance`."""
    found = []
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NOT_LOOKED_INTO)
        tests = (Path(at, name) for name in sorted(names) if re.fullmatch(r"test_.*\.py|.*_test\.py", name))
        found += [file for file in tests if _SAYS.search(file.read_text(encoding="utf-8", errors="replace"))]
    return found


def own_findings(folder: Path, files: Sequence[Path]) -> list[Finding]:
    """Run these classes, as pytest does in this folder, and give what came of each rule.

    Tests that belong to no such class do not run. The options that the project has for pytest (`addopts`) do not count.
    """
    names = ", ".join(str(file.relative_to(folder)) for file in files)
    rule, name = "its own conformance tests run", folder.resolve().name
    if importlib.util.find_spec("pytest") is None:
        why = f"pytest is not installed here, so the classes in {names} were not run"
        return [Finding("plugin", name, rule, holds=None, sentence=why)]
    lines, said = _told(folder, files)
    found = list(_found(line for line in lines if "rule" in line))
    broken = [f"{line['file']}: {line['broken']}" for line in lines if "broken" in line]
    ended = lines[-1].get("done") if lines else None
    if ended not in _ENDS and not broken:
        broken.append(said or f"pytest did not end within {_TIMEOUT:g} s")
    return [*found, *(Finding("plugin", name, rule, holds=False, sentence=why) for why in broken)]


def _told(folder: Path, files: Sequence[Path]) -> tuple[list[dict[str, Any]], str]:
    """What the tests told, and the end of what pytest said."""
    own = [str(folder.resolve() / "src"), str(folder.resolve())]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "becket_dev._telling", "-p", "no:cacheprovider"]
    command += ["-o", "addopts=", *(str(file.resolve()) for file in files)]
    with tempfile.TemporaryDirectory(prefix="becket-check-", ignore_cleanup_errors=True) as temporary:
        told = Path(temporary) / "told"
        told.touch()
        path = os.pathsep.join(filter(None, [*own, *sys.path]))
        env = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "BECKET_CHECK_TELL": str(told)}
        env.pop("PYTEST_ADDOPTS", None)
        try:
            done = subprocess.run(  # noqa: S603  pytest, on the project that was named
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_TIMEOUT,
                check=False,
            )
            said = done.stdout.decode(errors="replace").strip()[-2000:]
        except subprocess.TimeoutExpired:
            said = ""
        lines = told.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")], said


def _found(lines: Iterable[dict[str, Any]]) -> Iterator[Finding]:
    """A finding for each rule of each class, whatever number of tests it was."""
    rules: dict[tuple[str, str, str], dict[str, Any]] = {}
    names: dict[tuple[str, str], str] = {}
    for line in lines:
        one = (line["file"], line["cls"])
        names[one] = ", ".join(line["names"]) or names.get(one, "") or line["cls"]
        before = rules.setdefault((*one, line["rule"]), line)
        if _ORDER[line["holds"]] < _ORDER[before["holds"]]:
            rules[*one, line["rule"]] = line
    for (file, cls, rule), line in rules.items():
        said = line["said"] if line["holds"] is not True else line["about"]
        where = f" ({Path(file).name}, {cls})" if line["holds"] is False else ""
        kind = cast("Kind", line["kind"])
        yield Finding(kind, names[file, cls], rule, holds=line["holds"], sentence=f"{said or line['about']}{where}")


def joined(found: Sequence[Finding], own: Sequence[Finding]) -> list[Finding]:
    """All of it by what it is about; where the project's own tests look at something, they say what holds.

    They know calls that succeed and what a service answers; what was found without them stands in for the rest.
    """
    told = {(one.kind, name) for one in own for name in one.name.split(", ")}
    rules = {(one.kind, name, one.rule) for one in own for name in one.name.split(", ") if one.holds is not None}
    rest = [
        one
        for one in found
        if (one.kind, one.name, one.rule) not in rules and not (one.holds is None and (one.kind, one.name) in told)
    ]
    seen = {(one.kind, one.name, one.rule) for one in rest}
    more = [one for one in own if (one.kind, one.name, one.rule) not in seen]
    groups = dict.fromkeys((one.kind, one.name) for one in (*rest, *more))
    return [one for kind, name in groups for one in (*rest, *more) if (one.kind, one.name) == (kind, name)]
