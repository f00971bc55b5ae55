"""becket agents behind OpenAI's chat completions API: any of its clients, and chat front ends, can talk to them."""

from __future__ import annotations

from becket_openai_server._plugin import OpenAIServer
from becket_openai_server._settings import Settings, SettingsError, ShownTools
from becket_openai_server._wire import ChatCompletions

__all__ = ["ChatCompletions", "OpenAIServer", "Settings", "SettingsError", "ShownTools"]
