"""What the parts of a new plugin are called: everything follows from one name, and no part of it may be taken."""

from __future__ import annotations

import builtins
import importlib.util
import keyword
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import click
from becket import Runtime, __version__

if TYPE_CHECKING:
    from becket.plugins import Registry

__all__ = ["KINDS", "Kind", "Names", "becket_range", "called", "check_free"]

Kind: TypeAlias = Literal["tool", "provider", "sink", "policy", "wire"]
"""What the plugin gives."""

KINDS: Final[tuple[Kind, ...]] = ("tool", "provider", "sink", "policy", "wire")

_LONGEST: Final = 64
"""Characters of a tool's name, as every model service takes it; the others are held to it, too."""

_PREFIX: Final = "becket-"

_OWN: Final = frozenset(
    {
        "agui",
        "aisdk",
        "anthropic",
        "cli",
        "console",
        "dev",
        "fallback",
        "google",
        "guard",
        "journal",
        "local",
        "openai",
        "openai-server",
        "otel",
        "serve",
        "tools",
        "websocket",
        "wire",
    }
)
"""The names of becket's own packages, which need not be installed here for another of that name to do harm."""

_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")  # PEP 508


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one plugin.

    Attributes:
        name: The plugin's, which is its entry point's, and that of what it gives: `word-count`.
        identifier: The same as Python has it: `word_count`.
        distribution: What is installed: `becket-word-count`.
        module: What is imported: `becket_word_count`.
        cls: What the names of its classes begin with: `WordCount`.
    """

    name: str
    identifier: str
    distribution: str
    module: str
    cls: str

    @classmethod
    def of(cls, given: str, kind: Kind) -> Names:
        """The names that follow from the one that was given, with or without `becket-` before it.

        Raises:
            click.UsageError: It is no name for a distribution, or what follows from it is none for Python.
        """
        if not _NAME.fullmatch(given):
            raise click.UsageError(
                f"{given!r} is no name for a package; one has letters and digits, and between them '-', '_' and '.'."
            )
        name = re.sub(r"[-_.]+", "-", given).lower().removeprefix(_PREFIX)  # PEP 503
        identifier = name.replace("-", "_")
        if not identifier.isidentifier() or keyword.iskeyword(identifier):
            raise click.UsageError(f"{identifier!r} cannot be a name in Python, and the {kind} is to have it.")
        if name == "becket":
            raise click.UsageError("'becket' is becket's own name; choose another one.")
        if name in _OWN:
            raise click.UsageError(f"{_PREFIX}{name} is a package of becket's own; choose another name.")
        if len(name) > _LONGEST:
            raise click.UsageError(f"{name!r} has {len(name)} characters, and models take names of {_LONGEST}.")
        if kind == "tool" and (hasattr(builtins, identifier) or identifier == "tool"):
            raise click.UsageError(
                f"{identifier!r} is a function that the module of the tool uses or may want to; choose another name."
            )
        title = "".join(part.capitalize() for part in name.split("-"))
        return cls(name, identifier, f"{_PREFIX}{name}", f"becket_{identifier}", title)


def called(names: Names, kind: Kind) -> str:
    """What the thing is called that the plugin gives: a tool's name is that of its function."""
    return names.identifier if kind == "tool" else names.name


def check_free(names: Names, kind: Kind) -> None:
    """Refuse names that something installed has: two of a name would be an error for everybody who has both.

    Raises:
        click.UsageError: One is taken.
    """
    from importlib.metadata import entry_points

    for entry in entry_points(group="becket"):
        if re.sub(r"[-_.]+", "-", entry.name).lower() == names.name:
            whose = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
            raise click.UsageError(
                f"there is a plugin {entry.name!r} already, of {whose}; choose another name, or uninstall that one."
            )
    if importlib.util.find_spec(names.module) is not None:
        raise click.UsageError(f"there is a module {names.module!r} already; choose another name.")
    runtime = Runtime()
    registries: dict[Kind, Registry[Any]] = {
        "tool": runtime.tools,
        "provider": runtime.providers,
        "sink": runtime.available_sinks,
        "policy": runtime.available_policies,
        "wire": runtime.wires,
    }
    what = called(names, kind)
    for one in registries[kind].contributions():
        if one.item.name == what:
            raise click.UsageError(
                f"there is a {kind} {what!r} already, of {one.plugin.title}; choose another name, "
                f"or whoever has both must tell them apart."
            )


def becket_range() -> str:
    """The versions of becket that a plugin made now is for: from this one, up to the next that may break it."""
    major, minor = (int(part) for part in __version__.split(".")[:2])
    return f">={major}.{minor},<{major + 1}" if major else f">=0.{minor},<0.{minor + 1}"
