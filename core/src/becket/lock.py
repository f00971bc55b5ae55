"""The lock: which plugins were there when somebody looked, what their files held, and what they added.

`becket lock` writes `becket.lock`, and `Runtime(lock="becket.lock")` holds the installed plugins to it. Each
distribution stands in it with its version, a hash of its files, its plugins, and what each of them adds: hooks, tools
with their effect and reach, providers, sinks, policies, masks, wires.

- What is *not in the lock* is quarantined, before a line of it is imported. So is what could not be used when the lock
  was written: that stands in it as left out, so that it is told from what is new, and nothing more.
- What is *locked* is required: where it is missing, or is not as it was, the runtime is a `ConfigError` that names
  every difference; nothing of a distribution that differs is imported. Otherwise a change to one byte of a locked
  policy would switch it off. A plugin that the host blocks is passed over.
- What a plugin adds once it is loaded must be in the lock, too, and what guards a run (policies, masks and the hooks
  that are called in it) must not be lacking.

The hash is over the files that would be imported, without bytecode (see `Covers`), and is worked out anew for every
runtime: whoever can write to the plugins can write to a cache of hashes, too. It says nothing of becket itself, of what
the plugins need, of `.pth` files of others, nor of bytecode in `__pycache__`. The decision "A lock says what was there"
has what that does and does not protect against.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from becket.runtime import Runtime
    from becket.tools import AnyTool, Effect, Reach

__all__ = ["FORMAT", "Covers", "LeftOut", "Lock", "LockedDistribution", "LockedPlugin", "LockedTool"]

FORMAT: Final = 1
"""The version of the file's format."""

Covers: TypeAlias = Literal["record", "packages", "archive"]
"""What a hash is over.

`record`: what the distribution's RECORD lists, what else lies in the folders of its packages, and what lies beside
them under their names, where Python may find it first. `packages`: the packages or modules that its entry points name,
since there is no RECORD of them: an editable install, or a package of the system. `archive`: the zip file that it is.
"""


@dataclass(frozen=True, slots=True)
class LockedTool:
    """What a tool was said to do.

    Attributes:
        name: The tool.
        effect: What a call does; of a tool whose calls differ, the strongest.
        by_arguments: Whether its calls differ, by their arguments.
        reach: How far it reaches.
    """

    name: str
    effect: Effect
    by_arguments: bool
    reach: Reach

    @classmethod
    def of(cls, tool: AnyTool) -> Self:
        """As the tool says it now."""
        return cls(tool.name, tool.effect, not tool.effect_is_fixed, tool.reach)

    def __str__(self) -> str:
        varies = " at most, by its arguments" if self.by_arguments else ""
        return f"{self.effect}{varies}, {self.reach}"


@dataclass(frozen=True, slots=True)
class LockedPlugin:
    """A plugin, and what it added.

    Attributes:
        name: The entry point's name.
        value: What it points at.
        hooks: The hooks that it implements, those of a run included.
        adds: The names of what it contributes by kind, but for tools.
        tools: The tools that it contributes.
    """

    name: str
    value: str
    hooks: tuple[str, ...] = ()
    adds: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    tools: tuple[LockedTool, ...] = ()


@dataclass(frozen=True, slots=True)
class LockedDistribution:
    """A distribution, and what its files held.

    Attributes:
        name: Its name.
        version: Its version.
        covers: What the hash is over.
        sha256: The hash, in hexadecimal.
        plugins: Its plugins.
    """

    name: str
    version: str
    covers: Covers
    sha256: str
    plugins: tuple[LockedPlugin, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A plugin that was installed and could not be used, so that nothing can be said of what it adds.

    It is not locked: with the lock it is not imported, whatever has become of it.

    Attributes:
        distribution: Where it comes from.
        version: The version of that.
        name: The entry point's name.
        value: What it points at.
    """

    distribution: str
    version: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Lock:
    """The plugins that were there.

    Attributes:
        distributions: Where they come from, by name.
        path: The file that it was read from, empty where there is none.
        remarks: What whoever makes the lock ought to know, such as a file that is not as its installer has left it;
            in words, and not in the file.
        left_out: What was there and could not be used, by distribution and name.
    """

    distributions: tuple[LockedDistribution, ...] = ()
    path: str = field(default="", compare=False)
    remarks: tuple[str, ...] = field(default=(), compare=False)
    left_out: tuple[LeftOut, ...] = ()

    @classmethod
    def of(cls, runtime: Runtime) -> Lock:
        """The lock of the plugins that a runtime has loaded; what the host has passed as objects is not in it."""
        from becket._locking import made

        return made(runtime)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Lock:
        """Read a lock.

        Raises:
            ConfigError: The file is not there, cannot be read, or is no lock. It never counts as an empty one.
        """
        from becket._lock_file import read

        return read(path)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it, as a whole or not at all. What is at `path` is replaced, and a link there is not followed.

        Raises:
            ConfigError: It cannot be written.
        """
        from becket._lock_file import write

        write(self, path)

    def differences(self, runtime: Runtime) -> list[str]:
        """What differs between the lock and the plugins of a runtime that was built without it, in sentences.

        Plugins that the runtime has blocked are passed over, as `Runtime(lock=...)` does. So is what was left out of
        the lock, as long as it is of that version and is not in use.
        """
        from becket._locking import differences

        return differences(self, runtime)
