"""The plugin: its table, and its wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket import hookimpl

from becket_openai_server._settings import Settings
from becket_openai_server._wire import ChatCompletions

if TYPE_CHECKING:
    from becket.wires import Wire

__all__ = ["OpenAIServer"]


class OpenAIServer:
    """The plugin. Installed, it is configured by `[plugins.openai-server]`; a host may give one to its `Runtime`.

    Args:
        settings: The settings; None for those of the configuration, or the defaults.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings

    @hookimpl
    def declare_config(self) -> type:
        """The table `[plugins.openai-server]`."""
        return Settings

    @hookimpl
    def register_wires(self, config: Settings | None) -> list[Wire]:
        """The wire `openai`."""
        return [ChatCompletions(self._settings or config)]
