"""An environment of Python that is thrown away: a plugin is installed in it as users do, and programs run in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from becket.errors import BecketError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Environment"]

_HOMES: Final = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "APPDATA")
_LEFT_OUT: Final = ("BECKET_", "PYTHON", "VIRTUAL_ENV", "UV_", "PIP_REQUIRE")
"""How variables begin that would lead programs out of the environment, or to a user's own configuration."""

_NOT_COPIED: Final = (".*", "build", "dist", "*.egg-info", "__pycache__")
"""What of a project is none of its sources."""

_SCRIPT: Final = """\
#!{python}
import sys
from {module} import {name}
sys.exit({name}())
"""


class Environment:
    """A virtual environment in a folder, with becket in it and nothing else.

    What is installed here, becket and what it needs among it, is linked from where it is, so that nothing has to be
    fetched; a project or a wheel is really installed, by uv where there is one, else by pip.

    Args:
        folder: Where it is made; it must be empty, or not be there.

    Attributes:
        folder: Where it is.
        work: The folder in which programs run. Also what they take for the user's home.
        python: Its interpreter.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.work = self.folder / "work"
        made = venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt")
        made.create(self.folder / "venv")
        self.work.mkdir()
        places = {"base": str(self.folder / "venv"), "platbase": str(self.folder / "venv")}
        self._site = Path(sysconfig.get_path("purelib", "venv", places))
        self._bin = Path(sysconfig.get_path("scripts", "venv", places))
        self.python = self._bin / Path(sys.executable).name if os.name == "nt" else self._bin / "python"
        self._linked: set[str] = set()
        self._link("becket")

    def install(self, what: str | os.PathLike[str]) -> None:
        """Install a project's folder, a wheel, or by its name what is installed here, or else what an index has.

        Args:
            what: A path, if there is something at it; else a requirement.

        Raises:
            BecketError: It could not be installed; the text says why.
        """
        path = Path(what)
        if path.is_dir():
            self._pip("install", str(self._built(path)))
        elif path.exists():
            self._pip("install", str(path.resolve()))
        elif _installed(str(what)) is not None:
            self._link(str(what))
        else:
            self._pip("install", str(what))

    def uninstall(self, name: str) -> None:
        """Uninstall what was installed from a project or a wheel.

        Raises:
            BecketError: It could not be uninstalled.
        """
        self._pip("uninstall", name)

    def run(
        self, *command: str | os.PathLike[str], timeout: float = 60.0, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, such as `becket` or `python`, and wait for its end.

        Args:
            command: The program, and what it is given.
            timeout: Seconds after which it is killed, which raises `subprocess.TimeoutExpired`.
            stdin: What it reads.
            environment: Variables for it, besides those of this process that lead nowhere else.
        """
        program, *arguments = (os.fspath(part) for part in command)
        own = self._bin / program
        return subprocess.run(  # noqa: S603  what the test asks for
            [str(own) if own.exists() else program, *arguments],
            cwd=self.work,
            env={**self._variables(), **environment},
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )

    def _variables(self) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
        path = f"{self._bin}{os.pathsep}{kept.get('PATH', '')}"
        return {**kept, **dict.fromkeys(_HOMES, str(self.work)), "PATH": path, "PYTHONUTF8": "1"}

    # -- linking -------------------------------------------------------------------------------------------------------

    def _link(self, name: str) -> None:
        """Link a distribution that is installed here, and what it requires, as far as that is."""
        distribution = _installed(name)
        if distribution is None or distribution.metadata["Name"] in self._linked:
            return
        self._linked.add(distribution.metadata["Name"])
        for top in _tops(distribution):
            source, target = Path(str(distribution.locate_file(top))), self._site / top
            if source.exists() and not target.exists():
                _link(source, target)
        for script in distribution.entry_points.select(group="console_scripts"):
            self._write_script(script)
        for requirement in distribution.requires or ():
            if "extra ==" not in requirement and (match := re.match(r"[\w.-]+", requirement)):
                self._link(match[0])

    def _write_script(self, script: metadata.EntryPoint) -> None:
        file = self._bin / script.name
        file.write_text(_SCRIPT.format(python=self.python, module=script.module, name=script.attr), encoding="utf-8")
        file.chmod(0o755)

    # -- installing ----------------------------------------------------------------------------------------------------

    def _built(self, project: Path) -> Path:
        """The wheel of a project, built with the backend that is installed here; the project where it is not."""
        try:
            said = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8")).get("build-system", {})
        except (OSError, ValueError) as error:
            raise BecketError(f"{project} is no project that can be installed: {error}") from error
        backend = said.get("build-backend", "setuptools.build_meta")
        number = len(list(self.folder.glob("built-*")))
        copy, out = self.folder / f"built-{number}" / "project", self.folder / f"built-{number}"
        shutil.copytree(
            project, copy, ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
        )
        if said.get("backend-path") or ":" in backend or not _importable(backend):
            return copy
        program = f"import sys, {backend} as backend; backend.build_wheel(sys.argv[1])"
        command = [sys.executable, "-P", "-c", program, str(out)]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)  # noqa: S603  the project's own backend
        if done.returncode:
            raise BecketError(f"the wheel of {project} could not be built: {done.stderr.strip()}")
        (wheel,) = out.glob("*.whl")
        return wheel

    def _pip(self, verb: str, what: str) -> None:
        uv = shutil.which("uv")
        if uv:
            command = [uv, "pip", verb, "--quiet", "--python", str(self.python), what]
        else:
            command = [sys.executable, "-m", "pip", "--quiet", "--python", str(self.python), verb, what]
            command += ["--yes"] if verb == "uninstall" else ["--no-input"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)  # noqa: S603  an installer
        if done.returncode:
            raise BecketError(f"{what} could not be {verb}ed: {(done.stderr or done.stdout).strip()}")


def _installed(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _tops(distribution: metadata.Distribution) -> Iterator[str]:
    """The files and folders of a distribution in site-packages; for an editable one the file that leads to it."""
    names = dict.fromkeys(file.parts[0] for file in distribution.files or ())
    return (name for name in names if name not in {"..", "__pycache__"})


def _link(source: Path, target: Path) -> None:
    """Link a file or folder; what is said of a distribution is copied, since uv does not look behind links for it."""
    if target.name.endswith(".dist-info"):
        shutil.copytree(source, target)
        return
    try:
        target.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:  # Windows, for who may not
        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)


def _importable(module: str) -> bool:
    """Whether the package of a module is there. It is not imported: setuptools changes the process that imports it."""
    from importlib.util import find_spec

    return find_spec(module.partition(".")[0]) is not None
