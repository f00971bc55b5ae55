"""Making the folder of a new plugin, from templates: text in which `{{name}}` and its like are replaced."""

from __future__ import annotations

import contextlib
import shutil
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import click

from becket_dev._names import becket_range

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from becket_dev._names import Kind, Names

__all__ = ["make", "rendered"]

_FILES: Final = {
    "pyproject.toml": "every/pyproject.toml",
    "README.md": "{{kind}}/README.md",
    "src/{{module}}/__init__.py": "{{kind}}/plugin.py",
    "src/{{module}}/py.typed": "",
    "tests/test_{{identifier}}.py": "{{kind}}/test.py",
    ".github/workflows/test.yml": "every/test.yml",
    ".gitignore": "every/gitignore",
}
"""The template of each file; none for one that is empty."""


def rendered(names: Names, kind: Kind) -> dict[str, str]:
    """The files of the plugin: the text of each, by its path in the folder."""
    words = {
        "kind": kind,
        "name": names.name,
        "identifier": names.identifier,
        "distribution": names.distribution,
        "module": names.module,
        "Class": names.cls,
        "range": becket_range(),
    }

    def filled(text: str) -> str:
        for word, value in words.items():
            text = text.replace(f"{{{{{word}}}}}", value)
        return text

    templates = files("becket_dev") / "templates"
    return {
        filled(path): filled((templates / f"{filled(source)}.txt").read_text(encoding="utf-8")) if source else ""
        for path, source in _FILES.items()
    }


def make(folder: Path, content: dict[str, str]) -> None:
    """Write the files into a folder that is made for them; where that fails, nothing is left of it.

    Raises:
        click.UsageError: There is something of that name already, or no folder to make it in.
        click.ClickException: It cannot be written.
    """
    try:
        folder.mkdir()
    except FileExistsError:
        raise click.UsageError(f"there is {str(folder)!r} already, and nothing is overwritten.") from None
    except FileNotFoundError:
        raise click.UsageError(f"there is no folder {str(folder.parent)!r} to make it in.") from None
    except OSError as error:
        raise click.ClickException(f"{str(folder)!r} cannot be made: {error.strerror}") from error
    with _all_or_nothing(folder):
        for path, text in content.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _all_or_nothing(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise click.ClickException(f"{str(folder)!r} cannot be written: {error.strerror}") from error
        raise
