"""Finding installed plugins: the entry points of the group `becket`, and the distributions they come from.

The group is the version of the plugin API, see `becket.plugins.PLUGIN_API`: what declares another one alone is found,
refused in words, and never imported.
"""

from __future__ import annotations

import operator
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from becket._names import canonical
from becket.plugins import PLUGIN_API

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from importlib_metadata import EntryPoint
    from importlib_metadata._meta import IDistribution  # what its public functions give has no public name

__all__ = ["GROUP", "Candidate", "PassedOver", "discover", "passed_over", "unmet_requirement"]

GROUP: Final = "becket"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry point that names a plugin, not yet loaded.

    Attributes:
        name: The entry point's name.
        value: What it points at, as `module` or `module:object`.
        distribution: The distribution's name.
        version: Its version, `?` where its metadata has none.
        refusal: Why it must not be loaded, or empty.
        metadata: Where the distribution's metadata lies, as `.../x-1.0.dist-info`.
    """

    name: str
    value: str
    distribution: str
    version: str
    refusal: str
    metadata: str
    _entry_point: EntryPoint | None

    def load(self) -> Any:
        """Import what it points at."""
        return self._entry_point.load() if self._entry_point else None


@dataclass(frozen=True, slots=True)
class _Found:
    """A distribution that declares plugins.

    Attributes:
        folder: The folder it lies in.
        sound: Whether it may take the place of another distribution of its name.
    """

    name: str
    version: str
    folder: str
    sound: bool
    refusal: str
    metadata: str
    entry_points: tuple[EntryPoint, ...]

    def candidates(self) -> Iterator[Candidate]:
        if not self.entry_points:  # they cannot be read: the distribution stands for them, so that it is not lost
            yield Candidate(self.name, "", self.name, self.version, self.refusal, self.metadata, None)
        for entry in self.entry_points:
            yield Candidate(entry.name, entry.value, self.name, self.version, self.refusal, self.metadata, entry)


def discover(version: str, *, path: list[str] | None = None) -> list[Candidate]:
    """The plugins that are installed, by name; nothing is imported.

    A distribution that is found twice counts once: the first on the path, and of two in one folder the newer, since
    the other was left behind by an upgrade. One that is not trusted, or whose metadata is lost, counts only where
    there is no other. An entry point that is declared twice, as editable installs do, counts once.

    Args:
        version: The version of becket that their requirements are read against.
        path: Where to look, instead of `sys.path`.
    """
    kept, _ = _sorted_out(version, path)
    return sorted(kept, key=lambda one: (canonical(one.name), canonical(one.distribution), one.value))


@dataclass(frozen=True, slots=True)
class PassedOver:
    """What was found of a plugin and does not count, for programs that show what is wrong.

    Attributes:
        candidate: What does not count.
        by: What counts in its place: the same distribution, or another one that declares the same entry point.
    """

    candidate: Candidate
    by: Candidate


def passed_over(version: str, *, path: list[str] | None = None) -> list[PassedOver]:
    """What `discover` finds and passes over, since something else counts in its place."""
    return _sorted_out(version, path)[1]


def _sorted_out(version: str, path: list[str] | None) -> tuple[list[Candidate], list[PassedOver]]:
    """What counts, and what does not."""
    from importlib_metadata import distributions

    every = distributions() if path is None else distributions(path=path)
    found = [known for one in every if (known := _known(one, version))]
    distributed: dict[str, Candidate] = {}
    kept: dict[tuple[str, str], Candidate] = {}
    passed: list[PassedOver] = []
    for known in _by_precedence(found):
        candidates = list(known.candidates())
        by = distributed.setdefault(canonical(known.name), candidates[0])
        if by is not candidates[0]:
            passed.append(PassedOver(candidates[0], by))
            continue
        for candidate in candidates:
            first = kept.setdefault((candidate.name, candidate.value), candidate)
            if first is not candidate and first.metadata != candidate.metadata:
                passed.append(PassedOver(candidate, first))
    return list(kept.values()), passed


def _by_precedence(found: list[_Found]) -> list[_Found]:
    folders = list(dict.fromkeys(known.folder for known in found))
    newest_first = sorted(found, key=lambda known: _release(known.version), reverse=True)
    # By name at last: the order of a folder's entries is the file system's, and differs from machine to machine.
    return sorted(newest_first, key=lambda known: (not known.sound, folders.index(known.folder), canonical(known.name)))


def _known(distribution: IDistribution, version: str) -> _Found | None:
    """What matters of a distribution; None where it declares no plugin.

    The entry points are looked at first, as text: to parse the metadata of every distribution there is takes ten times
    as long.
    """
    declared = _declared(distribution)
    if declared is None or not (declared.entry_points or declared.unreadable):
        return None
    name, own_version, requires = _metadata(distribution)
    folder = os.path.realpath(str(distribution.locate_file("")))
    lost = "" if name else "its metadata is lost, and with it what it requires; reinstall or uninstall it"
    broken = _distrust(folder) or lost or declared.unreadable
    stem_name, stem_version = _stem(distribution)
    return _Found(
        name or stem_name,
        own_version or stem_version,
        folder,
        sound=not broken,
        refusal=broken or declared.foreign or unmet_requirement(requires, version),
        metadata=_path(distribution),
        entry_points=declared.entry_points,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declared:
    """The entry points that a distribution declares for becket.

    Attributes:
        foreign: Why they must not be loaded, being for another version of the plugin API, or empty.
        unreadable: Why they cannot be read, or empty.
    """

    entry_points: tuple[EntryPoint, ...] = ()
    foreign: str = ""
    unreadable: str = ""


def _declared(distribution: IDistribution) -> _Declared | None:
    """The entry points of our group, else of another version's; None where there is no such group."""
    try:
        text = distribution.read_text("entry_points.txt") or ""
        if "[becket" not in text:  # 0.2 us; nearly all that is installed ends here
            return None
        if f"[{GROUP}]" in text:
            return _Declared(entry_points=tuple(distribution.entry_points.select(group=GROUP)))
        other = max(map(int, _VERSIONED.findall(text)), default=None)
        if other is None:
            return None
        theirs = distribution.entry_points.select(group=f"becket.v{other}")
        return _Declared(entry_points=tuple(theirs), foreign=_foreign(other))
    except UnicodeDecodeError as error:
        why = f"its entry_points.txt is not UTF-8 ({error}); reinstall or uninstall it"
        return _Declared(unreadable=why) if f"[{GROUP}]".encode() in error.object else None
    except (OSError, TypeError, ValueError) as error:  # importlib-metadata takes a line without `=` apart and fails
        return _Declared(unreadable=f"its entry_points.txt cannot be read ({error}); reinstall or uninstall it")


_VERSIONED: Final = re.compile(r"^\[becket\.v([0-9]{1,4})\][ \t]*$", re.MULTILINE)


def _foreign(version: int) -> str:
    """Why the plugins of a distribution that speaks this version of the API, and not ours, must not be loaded."""
    if version == PLUGIN_API:
        return f"it declares them in the group 'becket.v{version}', which is called {GROUP!r}; that is its to mend"
    which = "becket" if version > PLUGIN_API else "the plugin"
    return f"it speaks version {version} of the plugin API, and this becket speaks {PLUGIN_API}; upgrade {which}"


def _metadata(distribution: IDistribution) -> tuple[str, str, list[str]]:
    """Name, version and requirements, empty where missing: a half-removed distribution must not stop the others."""
    try:
        metadata = distribution.metadata
        requires = (
            metadata.get_all("Requires-Dist") or distribution.requires or []
        )  # the latter for an egg, parsed anew
        return metadata.get("Name") or "", metadata.get("Version") or "", requires
    except (OSError, TypeError, ValueError):  # for a file that is not there; each version has its own
        return "", "", []


def _stem(distribution: IDistribution) -> tuple[str, str]:
    """Name and version as the folder of the metadata has them: `becket_x-1.0.dist-info`."""
    stem = os.path.splitext(os.path.basename(_path(distribution)))[0]  # noqa: PTH119, PTH122  it may lie in a zip file
    name, _, version = stem.partition("-")
    return name.replace("_", "-"), version or "?"


def _path(distribution: IDistribution) -> str:
    """Where the metadata lies; no public attribute says it."""
    return str(getattr(distribution, "_path", "")).rstrip(os.sep)


def _distrust(folder: str) -> str:
    """Why a distribution is not trusted: it lies in the working directory, where an agent may have written it."""
    try:
        here = os.path.realpath(os.getcwd())  # noqa: PTH109  the text is compared
    except FileNotFoundError:  # the working directory was removed: nothing lies in it
        return ""
    if folder != here or folder in _installed():
        return ""
    return f"it lies in the working directory {here}, where anyone may have written it; install it properly"


def _installed() -> set[str]:
    """The folders that installers write to."""
    import site
    import sysconfig

    paths = sysconfig.get_paths()
    folders = (paths["purelib"], paths["platlib"], site.getusersitepackages(), *site.getsitepackages())
    return {os.path.realpath(folder) for folder in folders}


_REQUIREMENT = re.compile(r"\s*becket(?![\w.-])\s*(?:\[[^\]]*\])?\s*\(?([^;()]*)\)?\s*", re.IGNORECASE)
_CLAUSE = re.compile(r"\s*(~=|==|!=|<=|>=|<|>)\s*([0-9]+(?:\.[0-9]+)*)(\.\*)?\s*")


_COMPARISONS: Final = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


def unmet_requirement(requirements: Iterable[str], version: str) -> str:
    """The requirement on becket that `version` does not meet, in words; empty where it meets them all.

    Knows the comparisons of plain release numbers (PEP 440), which is what ranges are made of. Whatever else a
    requirement says, a condition (`; extra == "test"`) among it, was the installer's to check.
    """
    release = _release(version)
    for requirement in requirements:
        match = _REQUIREMENT.fullmatch(requirement)
        for clause in match[1].split(",") if match else ():
            parts = _CLAUSE.fullmatch(clause)
            if parts and not _meets(release, parts[1], _numbers(parts[2]), wildcard=bool(parts[3])):
                return f"it asks for becket {clause.strip()}, and this is becket {version}; upgrade one of the two"
    return ""


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _release(version: str) -> tuple[int, ...]:
    """The release numbers that a version begins with; what follows them is not looked at."""
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return _numbers(match[0]) if match else ()


def _meets(version: tuple[int, ...], comparison: str, wanted: tuple[int, ...], *, wildcard: bool) -> bool:
    length, shown = max(len(version), len(wanted)), len(wanted)
    have, want = _padded(version, length), _padded(wanted, length)
    if comparison == "~=":  # at least this, and the same up to the last number but one
        return have >= want and have[: shown - 1] == wanted[:-1]
    if wildcard:
        return (have[:shown] == wanted) == (comparison == "==")
    met: bool = _COMPARISONS[comparison](have, want)
    return met


def _padded(numbers: tuple[int, ...], length: int) -> tuple[int, ...]:
    return numbers + (0,) * (length - len(numbers))
