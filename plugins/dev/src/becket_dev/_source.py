"""A single file as a plugin: its module, and a distribution that stands for it while a command runs."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import keyword
import os
import re
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from becket import ConfigError, PluginError, Runtime, load_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from becket import Plugin

__all__ = ["SourceFile", "installed"]

_VERSION: Final = "dev"
"""What stands where a distribution has its version."""


_CACHE: Final = "BECKET_CACHE"


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the file each time: a compiled one is told from its source by whole seconds and the length."""

    def get_code(self, fullname: str) -> object:  # type: ignore[override]  # typeshed has `CodeType | None`, not public
        """The code of the file as it is now."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that is to be a plugin.

    Attributes:
        path: The file.
        module: The name of its module, which is the plugin's too.
    """

    path: Path
    module: str

    @classmethod
    def of(cls, path: Path) -> SourceFile:
        """The file at `path`.

        Raises:
            click.UsageError: Its name is none for a module, or another module has it.
        """
        path = path.resolve()
        module = re.sub(r"[-.]", "_", path.stem)
        if path.suffix != ".py" or not module.isidentifier() or keyword.iskeyword(module):
            raise click.UsageError(f"{path.name!r} cannot be a module; it takes a name such as weather.py.")
        if module.startswith("__"):
            raise click.UsageError(
                f"{path.name!r} is a part of a package; install that in place: pip install -e FOLDER."
            )
        other = _origin(module)
        if other and other != str(path):
            raise click.UsageError(f"there is another module {module!r} ({other}); give the file another name.")
        return cls(path, module)

    def load(self) -> ModuleType:
        """The module as the file is now; from then on it is what `import` gives.

        Raises:
            PluginError: It cannot be imported, or is no plugin that can be used. What was imported before stays.
        """
        loader = _Loader(self.module, str(self.path))
        spec = importlib.machinery.ModuleSpec(self.module, loader, origin=str(self.path))
        spec.has_location = True
        module = importlib.util.module_from_spec(spec)
        before = sys.modules.get(self.module)
        sys.modules[self.module] = module  # dataclasses, for one, look their own module up
        try:
            loader.exec_module(module)
            usable(module)
        except BaseException as error:
            if before is None:
                del sys.modules[self.module]
            else:
                sys.modules[self.module] = before
            if isinstance(error, Exception | SystemExit):
                told = f"{self.path.name} cannot be used: {self._told(error)}"
                raise PluginError(told, plugin=self.module) from error
            raise
        return module

    def _told(self, error: BaseException) -> str:
        """What is wrong with the file, and in which line."""
        if isinstance(error, PluginError):
            return str(error).partition(" cannot be used: ")[2] or str(error)
        path, frames = str(self.path), traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == path]
        if isinstance(error, SyntaxError) and error.filename == path:
            lines, error = [error.lineno], type(error)(error.msg)
        where = f"line {lines[-1]}: " if lines else ""
        return f"{where}{type(error).__name__}: {error}"


def usable(module: ModuleType) -> Plugin:
    """The plugin that a module is.

    Raises:
        PluginError: It is none, or what it gives is not what a plugin may give.
    """
    try:
        runtime = Runtime(plugins=[module], discover=False, strict=True, sinks=(), config=load_config(lenient=True))
    except PluginError as error:
        if not isinstance(error.__cause__, ConfigError):
            raise
        # It is not configured, or not rightly, which is nothing that the file could mend.
        runtime = Runtime(plugins=[module], discover=False, sinks=(), config=load_config(lenient=True))
    return runtime.plugins[0]


def _origin(module: str) -> str:
    """Where the module of this name comes from, if there is one."""
    if module in sys.stdlib_module_names:
        return "it comes with Python"
    try:
        spec = importlib.util.find_spec(module)
    except ValueError:  # it is there, and does not say where it is from
        return "it is in use"
    return "" if spec is None else spec.origin or "it is a folder"


@contextlib.contextmanager
def installed(source: SourceFile) -> Iterator[None]:
    """Have the module found as plugins are: by the entry point of a distribution, `weather.py dev`."""
    with tempfile.TemporaryDirectory(prefix="becket-dev-") as folder:
        info = Path(folder) / f"{source.module}-{_VERSION}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {source.path.name}\nVersion: {_VERSION}\n"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        entry = f"[becket]\n{source.module} = {source.module}\n"
        (info / "entry_points.txt").write_text(entry, encoding="utf-8")
        sys.path.append(folder)
        cache = os.environ.get(_CACHE)
        os.environ[_CACHE] = "0"  # an index of what is here for a moment would help nobody
        try:
            yield
        finally:
            sys.path.remove(folder)
            del os.environ[_CACHE]
            if cache is not None:
                os.environ[_CACHE] = cache
