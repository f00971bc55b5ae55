"""Configuration: what a user, and within limits a project, says in files instead of in code.

Nothing reads a file unless it is asked to: `Runtime(config=load_config())`, which is what the command line does. There
are two files. The **user's** is `becket.toml` in the platform's configuration folder (see `user_file`), or the one
that `load_config(path)` or the variable `BECKET_CONFIG` names instead; it may set everything. The **project's** is
`becket.toml`, or the table `[tool.becket]` of a `pyproject.toml`: the first one found in the working directory or,
within a repository, in the folders above it up to the repository's own. An agent can write there, and whoever wrote
the repository has, so it is read as the word of anybody:

===================================  =====================  ==========================================================
key                                  a project may          means
===================================  =====================  ==========================================================
`model`                              set it                 the model of agents that name none
`system_prompt`                      no                     instructions for the model, for `becket run`
`tools`                              set it                 the tools of `becket run`, instead of those that only look
`sinks`                              add names              sinks that observe every run
`policies`                           no                     policies that decide on every tool call, by name
`[limits]`                           set, and lower yours   the fields of `becket.Limits`; `"none"` for no limit. Not
                                                            `hook_seconds`
`[options]`                          set them               the fields of `becket.ModelOptions`, but for `extra`
`allow`, `block`, `require`          no                     which plugins are loaded; see `becket.Runtime`
`order`                              no                     the order of their hooks
`[approvals]`                        no                     `allow`, `ask`, `deny`: names of tools; see `Approvals`
`[prices."provider:model"]`          no                     what the model costs; the fields of `becket.Price`
`[plugins.<name>]`                   what is marked         the plugin's own, as its hook `declare_config` has it
===================================  =====================  ==========================================================

A sink that a project names has no argument: it may be a file to write to, or an address to send to. What a project sets
goes before what the user sets, and both before becket's defaults, but for limits, where the lower one counts: a project
may narrow what the user allows, and never widen it. The variable `BECKET_MODEL` goes before all files, and what code
says (an argument of `Agent` or `Runtime`, an option of the command line) before everything. The variable
`BECKET_PLUGINS` adds to `require` and `block`, with commas or spaces between: `guard,no:console`; with `no:*` it allows
no plugin but those that it names. `BECKET_LOCK` is the lock that plugins are held to; no file says it.

A key that is not known, a value of a wrong type, and a key that a project may not set are errors, all told at once.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from becket.errors import ConfigError
from becket.options import Limits, ModelOptions

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

__all__ = [
    "Approvals",
    "Config",
    "ConfigFile",
    "ConfigReport",
    "Origin",
    "PluginTable",
    "ProjectMaySet",
    "Setting",
    "load_config",
    "user_file",
]

OriginKind: TypeAlias = Literal["default", "user", "project", "environment", "code"]


@dataclass(frozen=True, slots=True)
class ProjectMaySet:
    """Marks a field of a plugin's configuration that a project's file may set: `Annotated[int, ProjectMaySet()]`.

    Without it, a field counts only from the user's own file. A mark holds for all that is below the field. One on a
    secret (pydantic's `SecretStr` and its kin) has no effect. Mark what an attacker may set: neither an address nor a
    path, a command or a permission.
    """


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Attributes:
        kind: `default`, `user`, `project`, `environment`, or `code` for a table that the host has made.
        place: The file, or the variable; empty for the others.
        prefix: What comes before a key in that file: `tool.becket.` in a `pyproject.toml`.
    """

    kind: OriginKind
    place: str = ""
    prefix: str = ""

    def __str__(self) -> str:
        return self.place or self.kind


@dataclass(frozen=True, slots=True)
class Setting:
    """An effective value.

    Attributes:
        key: Its key in a file, with dots between the names of tables.
        value: The value, of which secrets are masked; None where nothing is set.
        origin: Where it comes from.
        note: What is to be said about it, such as that another value does not count; or empty.
    """

    key: str
    value: object
    origin: Origin
    note: str = ""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that was looked for.

    Attributes:
        path: Where.
        kind: Whose it is: `user` or `project`.
        status: `read`; `absent`; `unreadable`, which is a problem; `unused`, since another goes before it.
        reason: Why it was not read, empty where it was or is absent.
    """

    path: str
    kind: Literal["user", "project"]
    status: Literal["read", "absent", "unreadable", "unused"]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport:
    """A configuration as it is shown; see `Runtime.config_report`.

    Attributes:
        settings: Every effective value, the plugins' included. Of a table that no plugin has validated there is one
            masked value, since nothing says what in it is a secret.
        files: The files that were looked for.
        problems: What is wrong; empty unless the configuration is `lenient`.
        remarks: What is no error, and ought to be known: tables of plugins that are not installed, what a list lacks
            since a variable is not set, secrets in a file that others may read.
    """

    settings: tuple[Setting, ...]
    files: tuple[ConfigFile, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PluginTable:
    """A table `[plugins.<name>]` as one file has it, not validated: only the plugin's own model can do that.

    Attributes:
        name: The plugin's name as it is written there.
        content: The table. It may hold secrets, so it is in no repr.
        origin: Where it comes from.
    """

    name: str
    content: Mapping[str, Any] = field(repr=False)
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """What the user says of tools by name (`tool`, or `plugin:tool`); the strictest word on a tool counts.

    Attributes:
        allow: Tools whose calls are made unasked, whatever they do.
        ask: Tools whose calls are asked about, whatever they do.
        deny: Tools whose calls are refused.
    """

    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A configuration: the effective values, where each came from, and the plugins' tables until they are validated.

    `Config()` is that of nobody: all defaults. `load_config` reads one, and `Config.of` takes a table from code.

    Attributes:
        model: The model of agents that name none, or None.
        system_prompt: Instructions for the model.
        tools: The tools of `becket run`, or None for those that only look.
        sinks: Sinks that observe every run.
        policies: Policies that decide in every run.
        limits: The limits of runs whose agent sets none.
        options: The options of model calls whose agent sets none.
        allow: Names of the only plugins to load, or None for all.
        block: Names of plugins not to load.
        require: Names of plugins that must be there and usable.
        order: Names of plugins in the order in which their hooks are called.
        lock: The file of the lock that the installed plugins are held to, or None; see `becket.lock`.
        approvals: What the user says of tools.
        prices: What models cost, by `provider:model` or a pattern of it.
        plugins: The plugins' tables; the user's before the project's.
        settings: The values above but for `plugins`, by key, each with its origin.
        files: The files that were looked for.
        problems: What is wrong with it; empty unless `lenient`.
        lenient: Whether what is wrong with it is collected here, and a `Runtime` leaves out a plugin whose table is
            wrong. Otherwise each is an error. For programs that show what is there.
    """

    model: str | None = None
    system_prompt: str = ""
    tools: tuple[str, ...] | None = None
    sinks: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    options: ModelOptions = field(default_factory=ModelOptions)
    allow: tuple[str, ...] | None = None
    block: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    lock: str | None = None
    approvals: Approvals = field(default_factory=Approvals)
    prices: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: MappingProxyType({}))
    plugins: tuple[PluginTable, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    files: tuple[ConfigFile, ...] = ()
    problems: tuple[str, ...] = ()
    lenient: bool = False

    def origin(self, key: str) -> Origin:
        """Where the value of a key of becket's own comes from."""
        setting = self.settings.get(key)
        return setting.origin if setting else Origin("code")

    @classmethod
    def of(cls, table: Mapping[str, Any], *, lenient: bool = False) -> Config:
        """A configuration from code, as if the user's file said it: `Config.of({"plugins": {"tools": {...}}})`.

        Raises:
            ConfigError: Something is wrong with it, and it is not `lenient`.
        """
        import copy

        from becket._config_keys import Layer, merged

        own = copy.deepcopy(dict(table))
        return _checked(merged([Layer(own, Origin("code"))], {}), lenient=lenient)


def load_config(
    path: str | os.PathLike[str] | None = None,
    *,
    user: bool = True,
    project: bool | str | os.PathLike[str] = True,
    environ: Mapping[str, str] | None = None,
    lenient: bool = False,
) -> Config:
    """Read the configuration. Which files, and what they may say, is in the docstring of `becket.config`.

    Args:
        path: A file to read in place of the user's; it must be there. None for the one that `BECKET_CONFIG` names, else
            the user's own, if it is there.
        user: Whether to read the user's file where no `path` is given.
        project: Whether to look for a project's file: True from the working directory, or the folder to look from.
        environ: The environment variables, in place of this process's. Those that a plugin's table names are looked up
            when a `Runtime` is built, and are this process's.
        lenient: Whether to collect what is wrong in `Config.problems`, and to go on without it.

    Raises:
        ConfigError: A file cannot be read, or says what it must not, and it is not `lenient`; the text names all of it.
    """
    import os

    from becket._config_files import found
    from becket._config_keys import Layer, merged

    variables = os.environ if environ is None else environ
    reads = list(found(None if path is None else os.fspath(path), variables, user=user, project=project))
    layers = [Layer(read.table, read.origin) for read in reads if read.table is not None]
    config = merged(layers, variables, own=next((read.file.path for read in reads if read.file.kind == "user"), ""))
    unreadable = [
        f"{read.file.path} cannot be read: {read.file.reason}"
        f"{'; mend it, or name another with BECKET_CONFIG' if read.file.kind == 'user' and path is None else ''}"
        for read in reads
        if read.file.status == "unreadable"
    ]
    return _checked(
        dataclasses.replace(config, files=tuple(read.file for read in reads), problems=(*unreadable, *config.problems)),
        lenient=lenient,
    )


def user_file(environ: Mapping[str, str] | None = None) -> str:
    """Where the user's own file is to be, whether it is there or not; empty where the user has no home.

    `becket/becket.toml` in `$XDG_CONFIG_HOME`, which is `~/.config` unless set; on macOS in
    `~/Library/Application Support`; on Windows in `%APPDATA%`.
    """
    import os

    from becket._config_places import own_file

    return own_file(os.environ if environ is None else environ)


def _checked(config: Config, *, lenient: bool) -> Config:
    if config.problems and not lenient:
        raise ConfigError(told(config.problems))
    return dataclasses.replace(config, lenient=lenient)


def told(problems: Sequence[str]) -> str:
    """Everything that is wrong with a configuration, in one text."""
    if len(problems) == 1:
        return f"the configuration is wrong: {problems[0]}"
    return f"the configuration is wrong in {len(problems)} places: {'; '.join(problems)}"
