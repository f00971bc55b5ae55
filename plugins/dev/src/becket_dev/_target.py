"""What is to be checked: a project's folder, a single file, or something installed, by any of its names."""

from __future__ import annotations

import difflib
import importlib.util
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from becket import Runtime

if TYPE_CHECKING:
    from becket import Plugin

__all__ = ["Target", "target_of"]


@dataclass(frozen=True, slots=True)
class Target:
    """Plugins that come from one place.

    Attributes:
        title: What messages call it.
        plugins: The value of each one's entry point, `module` or `module:object`, by its name.
        path: Where their modules are found, before all else; None for what is found anyway.
    """

    title: str
    plugins: dict[str, str]
    path: Path | None = None


def target_of(given: str) -> Target:
    """What `given` stands for: what is there on disk goes before what is installed.

    Raises:
        click.UsageError: Nothing, or something that has no plugin.
    """
    path = Path(given)
    if path.is_dir() and ((path / "pyproject.toml").is_file() or given == "."):
        return _of_project(path)
    if path.is_file() or given.endswith(".py"):
        return _of_file(path)
    return _of_installed(given)


def _of_project(folder: Path) -> Target:
    title, plugins = _declared(folder / "pyproject.toml")
    modules = [re.split(r"[.:]", value)[0].strip() for value in plugins.values()]
    for place in (folder / "src", folder):
        if all((place / module).is_dir() or (place / f"{module}.py").is_file() for module in modules):
            return Target(title, plugins, place.resolve())
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise click.UsageError(
                f"there is no module {module!r} in {str(folder)!r} nor its 'src', and none is installed; "
                f"install the project: pip install -e {folder}"
            )
    return Target(title, plugins)


def _declared(file: Path) -> tuple[str, dict[str, str]]:
    """The name of a project, and its plugins."""
    try:
        project: Any = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        points = project.get("entry-points", {}).get("becket", {})
        declared = str(project.get("name", file.parent.name)), {str(name): str(value) for name, value in points.items()}
    except FileNotFoundError:
        raise click.UsageError("there is no pyproject.toml here; give a folder that has one, or a name.") from None
    except (OSError, ValueError, AttributeError) as error:
        raise click.UsageError(f"{str(file)!r} cannot be read: {error}") from error
    if not declared[1]:
        raise click.UsageError(f"{str(file)!r} names no plugin; those are under [project.entry-points.becket].")
    return declared


def _of_file(path: Path) -> Target:
    from becket_dev._source import SourceFile

    if not path.is_file():
        raise click.UsageError(f"there is no file {str(path)!r}.")
    source = SourceFile.of(path)
    return Target(path.name, {source.module: source.module}, source.path.parent)


def _of_installed(name: str) -> Target:
    canonical = re.sub(r"[-_.]+", "-", name).lower()  # PEP 503, as plugins give their names
    known = Runtime().plugins
    found = [plugin for plugin in known if canonical in plugin.aliases]
    if not found:
        raise click.UsageError(f"there is no plugin {name!r}{_near(name, known)}; a path or a name of one is wanted.")
    return Target(found[0].title, {plugin.name: plugin.value for plugin in found})


def _near(name: str, known: tuple[Plugin, ...]) -> str:
    near = difflib.get_close_matches(name, [one for plugin in known for one in plugin.names], n=1)
    return f", did you mean {near[0]!r}?" if near else ""
