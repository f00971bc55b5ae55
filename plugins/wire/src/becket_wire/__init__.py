"""becket-wire: what becket's model providers over HTTP share. Nothing of a vendor is in it.

A provider holds one `Client`, posts its request, and reads the reply as server-sent events or as lines; a `Transcript`
keeps the messages of a run as JSON, so that each is encoded once. aiohttp carries the bytes on asyncio and httpcore2 on
trio; either is imported at the first request. Settings are imported at once, and the rest when it is asked for: a
plugin's table is read at every start, and a model seldom called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket_wire._service import ServiceSettings, SettingsError, plain

if TYPE_CHECKING:
    from becket_wire._client import Client
    from becket_wire._errors import ErrorDetails, Explain
    from becket_wire._limits import TimeLimits
    from becket_wire._ndjson import LineSplitter
    from becket_wire._reply import Reply
    from becket_wire._results import dumps, text_of
    from becket_wire._split import TooLongError
    from becket_wire._sse import EventSplitter
    from becket_wire._transcript import Transcript

__all__ = [
    "Client",
    "ErrorDetails",
    "EventSplitter",
    "Explain",
    "LineSplitter",
    "Reply",
    "ServiceSettings",
    "SettingsError",
    "TimeLimits",
    "TooLongError",
    "Transcript",
    "dumps",
    "plain",
    "text_of",
]

if not TYPE_CHECKING:  # as in becket itself

    def __getattr__(name: str) -> Any:
        """What is needed once a model is called."""
        from importlib import import_module

        homes = {
            "Client": "_client",
            "ErrorDetails": "_errors",
            "EventSplitter": "_sse",
            "Explain": "_errors",
            "LineSplitter": "_ndjson",
            "Reply": "_reply",
            "TimeLimits": "_limits",
            "TooLongError": "_split",
            "Transcript": "_transcript",
            "dumps": "_results",
            "text_of": "_results",
        }
        if name not in homes:
            raise AttributeError(f"module 'becket_wire' has no attribute {name!r}")
        return getattr(import_module(f"becket_wire.{homes[name]}"), name)
