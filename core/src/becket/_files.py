"""The files that an installed distribution runs from, and what they hold; nothing is imported to find them."""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import importlib.util
import os
import sys
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from importlib.machinery import ModuleSpec

    from becket.lock import Covers

__all__ = ["Files", "Survey"]

_METADATA: Final = ("METADATA", "PKG-INFO", "entry_points.txt")
"""What of the metadata counts. The rest is no code, or says where and by what it was installed."""

_CODE: Final = (*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES, ".pyc")


@dataclass(frozen=True)
class Files:
    """The files of one distribution.

    Attributes:
        covers: How they were found.
        hashes: The SHA-256 of each, by its path below the folder of the distribution, or of the package.
        recorded: The same as RECORD has it, empty where it has none of a file; nothing where there is no RECORD.
        problems: Why it cannot be said what would be imported. A distribution that has some cannot be locked.
        paths: Where they lie, by the same names as in `hashes`.
    """

    covers: Covers
    hashes: Mapping[str, str]
    recorded: Mapping[str, str]
    problems: tuple[str, ...] = ()
    paths: Mapping[str, Path] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """One hash over all of them, their names included."""
        said = "".join(f"{name}\0{self.hashes[name]}\n" for name in sorted(self.hashes))
        return hashlib.sha256(f"{self.covers}\n{said}".encode("utf-8", "surrogateescape")).hexdigest()

    @cached_property
    def deviations(self) -> tuple[str, ...]:
        """What is not as the installer has left it, in words; nothing where there is no RECORD."""
        if self.covers != "record":
            return ()
        here = {name: digest for name, digest in self.hashes.items() if self.recorded.get(name) not in ("", digest)}
        changed = (f"{name} was {'changed' if name in self.recorded else 'added'}" for name in here)
        return tuple(sorted([*changed, *(f"{name} is gone" for name in self.recorded.keys() - self.hashes.keys())]))


class Survey:
    """Looks at the files of distributions; a folder that many of them share is listed once."""

    __slots__ = ("_listed",)

    def __init__(self) -> None:
        self._listed: dict[Path, list[str]] = {}

    def of(self, metadata: str, modules: Iterable[str]) -> Files:
        """The files of one distribution.

        Args:
            metadata: Where its metadata lies: `.../x-1.0.dist-info`.
            modules: The modules that its entry points name.
        """
        try:
            return self._of(Path(metadata), frozenset(modules))
        except OSError as error:
            return Files("packages", {}, {}, (f"its files cannot be listed: {error}",))

    def _of(self, info: Path, modules: frozenset[str]) -> Files:
        if info.parent.is_file():
            return _hashed("archive", {info.parent.name: info.parent}, {})
        own = {f"{info.name}/{name}": info / name for name in _METADATA}
        kept = {name: path for name, path in own.items() if path.is_file()}
        recorded = _record(info)
        if not any(name.endswith(_CODE) and not name.startswith("__editable__") for name in recorded):
            packages, lost = _packages(modules)
            return _hashed("packages", kept | packages, {}, lost)
        counting = {name: digest for name, digest in recorded.items() if not _is_metadata(name) or name in own}
        code = counting.keys() - own.keys()
        found = kept | self._owned(info.parent, code)
        return _hashed("record", found, counting, _misplaced(found, _importable(code), modules))

    def _owned(self, folder: Path, listed: AbstractSet[str]) -> dict[str, Path]:
        """What is there of what RECORD lists, and what lies where Python may find it in place of that."""
        stems: dict[str, set[str]] = {}  # what the names in a folder may begin with
        owned: set[str] = set()
        for name in listed:
            folders, _, _file = name.rpartition("/")
            owned.add(folders)
            parts = name.split("/")
            for depth, part in enumerate(parts):
                stems.setdefault("/".join(parts[:depth]), set()).add(part.partition(".")[0])
        found: dict[str, Path] = {}
        shared = [""]  # folders in which other distributions may lie, too
        while shared:
            inner = shared.pop()
            for entry in self._list(folder / inner):
                name = f"{inner}/{entry}" if inner else entry
                if entry.partition(".")[0] not in stems[inner] or _is_metadata(name):
                    continue
                if name in stems and name not in owned:
                    shared.append(name)
                elif name in listed or entry.endswith(_CODE) or (folder / name).is_dir():
                    found.update(_tree(folder / name, name))
        return found

    def _list(self, folder: Path) -> list[str]:
        if folder not in self._listed:
            self._listed[folder] = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208  names, not paths
        return self._listed[folder]


def _hashed(
    covers: Covers, found: Mapping[str, Path], recorded: Mapping[str, str], problems: Iterable[str] = ()
) -> Files:
    hashes: dict[str, str] = {}
    wrong = list(problems)
    for name, path in found.items():
        try:
            with path.open("rb") as file:
                hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            wrong.append(f"{path} cannot be read: {error}")
    return Files(covers, hashes, recorded, tuple(wrong), found)


def _record(info: Path) -> dict[str, str]:
    """The SHA-256 of the files that RECORD lists, but for bytecode and what lies outside of the folder.

    That is scripts, which hold the path of their interpreter, and data; an installer writes both anew on each machine.
    """
    try:
        text = (info / "RECORD").read_text(encoding="utf-8", errors="surrogateescape")
        rows = [row for row in csv.reader(text.splitlines()) if row]
    except (OSError, csv.Error):  # there is none, or it is none
        return {}
    named = ((row[0].replace("\\", "/"), row[1] if len(row) > 1 else "") for row in rows)
    return {
        name: _digest(digest)
        for name, digest in named
        if not name.startswith("/") and ".." not in (parts := name.split("/")) and "__pycache__" not in parts
    }


def _digest(said: str) -> str:
    """A hash in hexadecimal, as RECORD has it in base64; empty where it is of another kind, or no hash."""
    kind, _, digest = said.partition("=")
    try:
        return base64.urlsafe_b64decode(f"{digest}==").hex() if kind == "sha256" else ""
    except (binascii.Error, ValueError):
        return ""


def _is_metadata(name: str) -> bool:
    return name.partition("/")[0].endswith((".dist-info", ".egg-info"))


def _importable(code: Iterable[str]) -> set[str]:
    """The names that can be imported from the folder itself, of files in it."""
    firsts = {name.partition("/")[0] for name in code if name.endswith(_CODE)}
    return {stem for first in firsts if (stem := first.partition(".")[0]).isidentifier()}


def _tree(path: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Every file in a folder and those below, or the one file, by name; links are followed."""
    pending = [(path, name, frozenset[str]())]
    while pending:
        here, named, above = pending.pop()
        if here.is_file():
            yield named, here
        elif here.is_dir() and here.name != "__pycache__" and (real := os.path.realpath(here)) not in above:
            inside = os.listdir(here)  # noqa: PTH208  names, not paths
            pending.extend((here / entry, f"{named}/{entry}", above | {real}) for entry in inside)


def _packages(modules: Iterable[str]) -> tuple[dict[str, Path], list[str]]:
    """The files of the packages and modules that would be imported for these, and what cannot be found."""
    found: dict[str, Path] = {}
    lost = []
    for module in modules:
        name, spec = _outermost(module)
        if spec is None or spec.origin is None:
            lost.append(f"its module {module!r} is not there")
        else:
            origin = Path(spec.origin)
            root = origin.parent if spec.submodule_search_locations is not None else origin
            *outer, _own = name.split(".")
            found.update(_tree(root, "/".join([*outer, root.name])))
    return found, lost


def _misplaced(found: Mapping[str, Path], names: set[str], modules: Iterable[str]) -> Iterator[str]:
    """What would be imported from elsewhere, as from a folder that is earlier on the path."""
    own = {os.path.realpath(path) for path in found.values()}
    for module in sorted({*names, *modules}):
        name, spec = _outermost(module)
        if spec is None:
            yield f"it cannot be said where the module {module!r} would be imported from"
        elif spec.origin is not None and os.path.realpath(spec.origin) not in own:
            yield f"the module {name!r} would be imported from {spec.origin}, which is none of its files"


def _outermost(module: str) -> tuple[str, ModuleSpec | None]:
    """The first package on the way to a module that has code of its own, or the module; None where it is not there.

    The packages before it are namespaces, which many distributions share. Nothing is imported.
    """
    name, *others = module.split(".")
    try:
        spec = importlib.util.find_spec(name)
        for part in others:
            if spec is None or spec.origin is not None or spec.submodule_search_locations is None:
                break
            name = f"{name}.{part}"
            # Asked for by its last name alone: for a namespace in another one, the whole name has the outer imported.
            imported = sys.modules.get(name)
            spec = imported.__spec__ if imported else PathFinder.find_spec(part, list(spec.submodule_search_locations))
    except (AttributeError, ImportError, ValueError):  # the first and last for what was put into `sys.modules` by hand
        return name, None
    return name, spec
