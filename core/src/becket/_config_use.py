"""A configuration in the hands of a runtime: what it names is looked up, what is wrong with it is raised or kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from becket.config import ConfigReport, told
from becket.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from becket._config_tables import Settled
    from becket.config import Config
    from becket.plugins import Plugin

__all__ = ["ConfigUse"]

T = TypeVar("T")


class ConfigUse:
    """The configuration of one runtime.

    Args:
        config: The configuration.
        plugins: The runtime's plugins, with what became of their tables.
        tools: The names of their tools.

    Attributes:
        config: The configuration.

    Raises:
        ConfigError: It is wrong, and not lenient.
    """

    __slots__ = ("_plugins", "_problems", "_tools", "config")

    def __init__(
        self, config: Config, plugins: Sequence[tuple[Plugin, Settled | None]], tools: frozenset[str] = frozenset()
    ) -> None:
        self.config = config
        self._plugins = plugins
        self._tools = tools
        wrong = (problem for _, settled in plugins if settled for problem in settled.problems)
        self._problems = [*config.problems, *wrong]
        if self._problems and not config.lenient:
            raise ConfigError(told(self._problems))
        if config.settings and not config.lenient:
            from becket._config_view import misspelled, slips
            from becket._log import logger

            known = [plugin for plugin, _ in plugins]
            for said in (*misspelled(known, config.plugins), *slips(known, tools, config)):
                logger.warning("%s", said)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with it, so far."""
        return tuple(self._problems)

    def each(self, key: str, get: Callable[[str], T]) -> tuple[T, ...]:
        """What it names under a key, of one name or several; without what cannot be had, if it is lenient.

        Raises:
            ConfigError: As `get`, with the place of the name.
        """
        value: str | tuple[str, ...] | None = getattr(self.config, key)
        names = (value,) if isinstance(value, str) else value or ()
        return tuple(one for name in names for one in self.had(key, name, get))

    def report(self) -> ConfigReport:
        """See `becket.Runtime.config_report`."""
        from becket._config_view import remarks, settings, slips

        known = [plugin for plugin, _ in self._plugins]

        return ConfigReport(
            settings=(*self.config.settings.values(), *settings(self._plugins, self.config.plugins)),
            files=self.config.files,
            problems=self.problems,
            remarks=(*remarks(self._plugins, self.config.plugins), *slips(known, self._tools, self.config)),
        )

    def had(self, key: str, name: str, get: Callable[[str], T]) -> tuple[T, ...]:
        """What one name under a key means; nothing where it cannot be had, and the configuration is lenient.

        Raises:
            ConfigError: As `get`, with the place of the name.
        """
        try:
            return (get(name),)
        except ConfigError as error:
            text = f"{name!r} under {key!r} in {self.config.origin(key)}: {error}"
            if not self.config.lenient:
                raise ConfigError(text) from error.__cause__
            self._problems.append(text)
            return ()
