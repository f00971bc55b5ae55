"""Install core, then core with each plugin, from wheels into an environment of its own, and import it there.

In the workspace every package sees every other one's dependencies; here an undeclared one is missed.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CHECK = """
import importlib, pathlib, sys
module = importlib.import_module(sys.argv[1])
assert sys.prefix in module.__file__, module.__file__
for file in pathlib.Path(module.__file__).parent.rglob("*.py"):
    parts = file.relative_to(pathlib.Path(module.__file__).parent.parent).with_suffix("").parts
    if parts[-1] not in ("__init__", "__main__"):
        try:
            importlib.import_module(".".join(parts))
        except ModuleNotFoundError as error:  # conformance classes, and a plugin of pytest's: for who has it
            of_pytest = parts[:2] in (("becket", "testing"), ("becket_dev", "_telling"))
            assert error.name == "pytest" and of_pytest, (parts, error)
from becket import Runtime
broken = [plugin for plugin in Runtime(strict=True).plugins if plugin.status != "loaded"]
assert not broken, broken
print(sys.argv[1], "imports, and its plugins load")
"""


def run(*command: str | Path) -> None:
    """Run a command from a folder outside the workspace."""
    subprocess.run([str(part) for part in command], check=True, cwd="/")  # noqa: S603  our own commands


def check(project: Path, scratch: Path, constraints: Path) -> None:
    """Install one package from its wheel, and import every module of it."""
    name = tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"]
    home = scratch / name
    python = home / "bin" / "python"
    run("uv", "venv", "--quiet", "--no-project", home)
    wheels = scratch / "wheels"
    install = ("uv", "pip", "install", "--quiet", "--python", python, "--constraints", constraints)
    run(*install, "--find-links", wheels, name)
    run(python, "-I", "-W", "error", "-c", CHECK, name.replace("-", "_"))


def main() -> None:
    """Check every package of the workspace."""
    scratch = Path(sys.argv[1])
    pinned = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"]
    constraints = scratch / "constraints.txt"
    constraints.write_text("\n".join(pinned))
    for project in (ROOT / "core", *sorted((ROOT / "plugins").iterdir())):
        if (project / "pyproject.toml").exists():
            check(project, scratch, constraints)


if __name__ == "__main__":
    main()
