"""What a runtime knows of its plugins: each one and what became of it, and what they contribute, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeAlias, TypeVar

from becket._names import canonical
from becket.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["PLUGIN_API", "Contribution", "HookInfo", "HookPlace", "Phase", "Plugin", "Registry", "Status"]

PLUGIN_API: Final = 1
"""The version of what plugins and becket ask of each other; not that of becket.

A distribution says which one its plugins speak by the group of its entry points: `becket` is version 1, a later one is
`becket.v2`. It may declare several, and this becket takes its own. What changes the number, and what does not, is in
the decision "The group of entry points is the version".
"""

Status: TypeAlias = Literal["loaded", "blocked", "quarantined"]
"""What became of a plugin."""

Phase: TypeAlias = Literal["first", "normal", "last"]
"""When an implementation of a hook is called: marked `tryfirst`, not marked, marked `trylast`."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HookInfo:
    """A hook that a plugin implements.

    Attributes:
        name: The hook.
        phase: When it is called among the implementations of others.
    """

    name: str
    phase: Phase


@dataclass(frozen=True, slots=True, eq=False)
class Plugin:
    """A plugin and what became of it.

    Attributes:
        name: Its name: the entry point's, or that of the object.
        distribution: The distribution it comes from, or None for an object passed to the runtime.
        version: The distribution's version, or None.
        value: What the entry point points at, or the object's type.
        status: `loaded`; `blocked` by a list; `quarantined`, since it could not be used.
        reason: Why it is not loaded, empty where it is.
        error: The exception behind the reason, or None.
        adds: The names of what it contributes, by kind: `tools`, `providers`, `sinks`, `policies`, and `hooks` for
            those that are called in a run.
        hooks: Every hook that it implements, by name; a bare module implements `register_tools`.
        import_seconds: How long its import took, or None where it was not imported by the runtime. The first plugin
            that needs a library pays for it, and what the process has imported before costs nothing.
        metadata: Where the metadata of its distribution lies, as `.../x-1.0.dist-info`, or None.
    """

    name: str
    distribution: str | None
    version: str | None
    value: str
    status: Status = "loaded"
    reason: str = ""
    error: BaseException | None = None
    adds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hooks: tuple[HookInfo, ...] = ()
    import_seconds: float | None = None
    metadata: str | None = None

    @property
    def title(self) -> str:
        """How messages name it: by the distribution, since that is what can be uninstalled."""
        return f"{self.distribution} {self.version}" if self.distribution else f"plugin {self.name!r}"

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it answers to: its distribution's, its own, its module's, and that of the module's package."""
        module = self.value.partition(":")[0].strip()
        given = (self.distribution or self.name, self.name, module, module.partition(".")[0])
        return tuple(dict.fromkeys(name for name in given if name))

    @property
    def aliases(self) -> set[str]:
        """Its names in canonical form, as lists of plugins are compared with them."""
        return {canonical(name) for name in self.names}


@dataclass(frozen=True, slots=True)
class HookPlace:
    """One implementation of a hook in the order of its calls.

    Attributes:
        plugin: Whose it is.
        phase: When it is called, before all else.
        why: What has put it there, in words.
    """

    plugin: Plugin
    phase: Phase
    why: str


@dataclass(frozen=True, slots=True)
class Contribution(Generic[T]):
    """A thing that a plugin contributed."""

    item: T
    plugin: Plugin


class Registry(Generic[T]):
    """What plugins contributed of one kind, by name. A name given by two plugins is an error once it is asked for.

    Args:
        kind: What messages call one of them.
        contributions: What there is, by name, in the order of the plugins.
    """

    __slots__ = ("_all", "kind")

    def __init__(self, kind: str, contributions: Mapping[str, Sequence[Contribution[T]]]) -> None:
        self.kind = kind
        self._all = MappingProxyType({name: tuple(entries) for name, entries in contributions.items()})

    @property
    def kinds(self) -> str:
        """What messages call several of them."""
        return f"{self.kind[:-1]}ies" if self.kind.endswith("y") else f"{self.kind}s"

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, name: object) -> bool:
        return name in self._all

    def contributions(self) -> Iterator[Contribution[T]]:
        """Everything that was contributed, by name, of all plugins."""
        for name in self:
            yield from self._all[name]

    def find(self, name: str) -> T | None:
        """What has this name, `plugin:name` included; None where nothing has it.

        Raises:
            ConfigError: Two plugins give it.
        """
        item, rest = self.split(name)
        return item if rest is None else None

    def split(self, text: str) -> tuple[T | None, str | None]:
        """What `name`, `name:rest`, `plugin:name` or `plugin:name:rest` names, and the rest, None where there is none.

        `name:rest` goes before `plugin:name`, unless two plugins give `name`, so that the plugin has to be told.

        Raises:
            ConfigError: Two plugins give it.
        """
        first, colon, rest = text.partition(":")
        own, own_colon, own_rest = rest.partition(":")
        plain = self._all.get(first, ())
        picked = [entry for entry in self._all.get(own, ()) if canonical(first) in entry.plugin.aliases]
        if picked and len(plain) != 1:
            return self._only(own, picked), own_rest if own_colon else None
        return (self._only(first, plain) if plain else None), rest if colon else None

    def suggestion(self, text: str) -> str:
        """`; did you mean ...?` for a text one of whose parts is near one of these names, else a full stop."""
        import difflib

        near = [match for part in text.split(":") for match in difflib.get_close_matches(part, list(self._all), n=1)]
        return f"; did you mean {near[0]!r}?" if near else "."

    def _only(self, name: str, entries: Sequence[Contribution[T]]) -> T:
        if len(entries) > 1:
            one, two = entries[0].plugin, entries[1].plugin
            raise ConfigError(
                f"{self.kind} {name!r} is provided by both {one.title} and {two.title}; "
                f"name one as '{_apart(one, two)}:{name}', or block the other with -p no:{_apart(two, one)}"
            )
        return entries[0].item


def _apart(one: Plugin, other: Plugin) -> str:
    """The name of a plugin that the other one does not answer to."""
    return next((name for name in one.names if canonical(name) not in other.aliases), one.name)
