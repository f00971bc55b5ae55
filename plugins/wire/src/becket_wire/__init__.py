"""becket-wire: what becket's model providers over HTTP share. Nothing of a vendor is in it.

A provider holds one `Client`, posts its request, and reads the reply as server-sent events or as lines; a `Transcript`
keeps the messages of a run as JSON, so that each is encoded once. aiohttp carries the bytes on asyncio and httpcore2 on
trio; either is imported at the first request.
"""

from __future__ import annotations

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
    "TimeLimits",
    "TooLongError",
    "Transcript",
    "dumps",
    "text_of",
]
