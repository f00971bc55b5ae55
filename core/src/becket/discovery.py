"""Finding installed plugins: the entry points of the group `becket`, and the distributions they come from."""

from __future__ import annotations

import os
import re
import site
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from importlib_metadata import Distribution, EntryPoint

__all__ = ["GROUP", "Candidate", "canonical", "discover", "unmet_requirement"]

GROUP: Final = "becket"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry point that names a plugin, not yet loaded.

    Attributes:
        name: The entry point's name.
        value: What it points at, as `module` or `module:object`.
        distribution: The distribution's name.
        version: Its version.
        refusal: Why it must not be loaded, or empty.
    """

    name: str
    value: str
    distribution: str
    version: str
    refusal: str
    _entry_point: EntryPoint

    def load(self) -> Any:
        """Import what it points at."""
        return self._entry_point.load()


def canonical(name: str) -> str:
    """A name as PEP 503 compares distributions: `Becket_Tools` is `becket-tools`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def discover(version: str, *, path: list[str] | None = None) -> list[Candidate]:
    """The plugins that are installed, by name; nothing is imported.

    A distribution that is found twice counts once, the first on the path; so does an entry point that is declared
    twice, as editable installs do.

    Args:
        version: The version of becket that their requirements are read against.
        path: Where to look, instead of `sys.path`.
    """
    from importlib_metadata import distributions

    found: dict[tuple[str, str], Candidate] = {}
    seen: set[str] = set()
    for distribution in distributions() if path is None else distributions(path=path):
        name = _name_of(distribution)
        if name is None or canonical(name) in seen:
            continue
        seen.add(canonical(name))
        for entry_point in distribution.entry_points.select(group=GROUP):
            refusal = _distrust(distribution) or unmet_requirement(distribution.requires or (), version)
            candidate = Candidate(
                entry_point.name, entry_point.value, name, distribution.version or "?", refusal, entry_point
            )
            found.setdefault((entry_point.name, entry_point.value), candidate)
    return sorted(found.values(), key=lambda candidate: (canonical(candidate.name), candidate.distribution))


def _name_of(distribution: Distribution) -> str | None:
    """The name, or None where the metadata is missing: a half-removed distribution must not stop the others."""
    try:
        return distribution.metadata["Name"]
    except (KeyError, OSError, UnicodeError, TypeError):
        return None


def _distrust(distribution: Distribution) -> str:
    """Why a distribution is not trusted: it lies in the working directory, where an agent may have written it."""
    root = _resolved(str(distribution.locate_file("")))
    if root == _resolved(os.curdir) and root not in _installed():
        return (
            f"it lies in the working directory {root}, where anything may have been written; install it into the environment"
        )
    return ""


def _installed() -> Iterator[str]:
    """The folders that installers write to."""
    paths = sysconfig.get_paths()
    for folder in (paths["purelib"], paths["platlib"], site.getusersitepackages(), *site.getsitepackages()):
        yield _resolved(folder)


def _resolved(folder: str) -> str:
    return str(Path(folder or os.curdir).resolve())


_REQUIREMENT = re.compile(r"^\s*becket\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(?:;|$)", re.IGNORECASE)
_CLAUSE = re.compile(r"^\s*(~=|==|!=|<=|>=|<|>)\s*([0-9][0-9.]*)(\.\*)?\s*$")


def unmet_requirement(requirements: Iterable[str], version: str) -> str:
    """The requirement on becket that `version` does not meet, in words; empty where it meets them all.

    Knows the comparisons of plain release numbers (PEP 440), which is what ranges are made of. Whatever else a
    requirement says was the installer's to check.
    """
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        for clause in match[1].split(",") if match else ():
            parts = _CLAUSE.match(clause)
            if parts and not _meets(_release(version), parts[1], parts[2], wildcard=bool(parts[3])):
                return f"it asks for becket {clause.strip()}, and this is becket {version}; upgrade one of the two"
    return ""


def _release(version: str) -> tuple[int, ...]:
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _meets(version: tuple[int, ...], operator: str, wanted: str, *, wildcard: bool) -> bool:
    release = _release(wanted)
    length = len(wanted.split("."))
    padded = (*version, *(0,) * length)
    stated = tuple(int(part) for part in wanted.split(".") if part)
    match operator:
        case "==":
            return padded[:length] == stated if wildcard else version == release
        case "!=":
            return padded[:length] != stated if wildcard else version != release
        case ">=":
            return version >= release
        case "<=":
            return version <= release
        case ">":
            return version > release
        case "<":
            return version < release
        case _:  # ~=: at least this, and the same up to the last number but one
            return version >= release and padded[: length - 1] == stated[:-1]
