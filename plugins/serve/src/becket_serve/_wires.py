"""The server's own wires: plain text, and becket's own events."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from becket import RequestError, RunFailed, RunStarted, TextDelta
from becket.wires import EventStreamEncoder, RunRequest, Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from becket import Event, RunInfo
    from becket.wires import Encoder

__all__ = ["NDJSON", "EventsWire", "TextWire", "events_encoder", "own_wires"]

NDJSON: Final = "application/x-ndjson"
"""One JSON object a line; there is no registered name."""

_SSE: Final = "text/event-stream"


def own_wires() -> list[Wire]:
    """The wires that every server has."""
    return [TextWire(), EventsWire()]


class TextWire:
    """The answer's text and nothing else, as it comes."""

    name = "text"
    path = "/stream"
    media_type = "text/plain"
    asks = False

    @property
    def request_model(self) -> type:
        """The prompt."""
        from becket_serve._models import Prompted

        return Prompted

    def read(self, body: Any, /) -> RunRequest:
        """The run."""
        return RunRequest(prompt=body.prompt, agent=body.agent, session_id=body.session_id)

    def open(self, body: Any, run: RunInfo, /, *, accept: str = "") -> Encoder:  # noqa: ARG002  there is one form
        """An encoder."""
        return _TextEncoder(run.run_id)


class _TextEncoder:
    """Writes text. An error can only be told in it, once some was sent; before that, by the status too."""

    media_type = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = EventStreamEncoder.headers
    done = False

    def __init__(self, run_id: str) -> None:
        self.status = 200
        self._run_id = run_id
        self._begun = False

    def encode(self, event: Event, /) -> bytes:
        """The text of a delta, or the end of a run that has failed."""
        if isinstance(event, TextDelta) and event.run_id == self._run_id:
            self._begun = self._begun or bool(event.text)
            return event.text.encode()
        if isinstance(event, RunFailed) and event.run_id == self._run_id:
            told = f"Error: {event.error.message}"
            if self._begun:
                return f"\n{told}".encode()
            self.status = _STATUSES.get(event.error.kind, 500)
            return told.encode()
        return b""

    def finish(self) -> bytes:
        """Nothing stands at the end."""
        return b""

    def beat(self) -> bytes:
        """Nothing can be said that is no text."""
        return b""


_STATUSES: Final = {"ProviderError": 502, "SessionError": 409}
"""The status for errors that are not the server's own; others are 500."""


class EventsWire:
    """becket's own events as JSON: as `text/event-stream`, or one a line where the client prefers that."""

    name = "events"
    path = "/events"
    media_type = _SSE
    asks = True

    @property
    def request_model(self) -> type:
        """The prompt, and whether the run goes on without its client."""
        from becket_serve._models import Started

        return Started

    def read(self, body: Any, /) -> RunRequest:
        """The run."""
        return RunRequest(prompt=body.prompt, agent=body.agent, session_id=body.session_id, detach=body.detach)

    def open(self, body: Any, run: RunInfo, /, *, accept: str = "") -> Encoder:  # noqa: ARG002  any run's is the same
        """An encoder of the form that is accepted."""
        return events_encoder(accept, run)


_JSON: Final = "application/json"


def events_encoder(accept: str, run: RunInfo) -> Encoder:
    """The encoder of becket's own events for a client that accepts this.

    Raises:
        RequestError: It accepts neither form, status 406.
    """
    wanted = {form: _quality(accept, form) for form in (_SSE, NDJSON)}
    wanted[NDJSON] = max(wanted[NDJSON], _quality(accept, _JSON))  # of lines, as `curl --json` would have it
    best = max(wanted, key=lambda form: wanted[form])
    if not wanted[best]:
        raise RequestError(
            f"events come as {_SSE} or as {NDJSON}, and the request accepts neither",
            status=406,
            code="not_acceptable",
        )
    return (_EventsEncoder if best == _SSE else _LinesEncoder)(run)


def _quality(accept: str, form: str) -> float:
    """How much a client wants a media type, from 0 to 1; RFC 9110, section 12.5.1."""
    if not accept.strip():
        return 1.0
    said = dict(map(_range, accept.split(",")))
    group = f"{form.partition('/')[0]}/*"
    return next((said[kind] for kind in (form, group, "*/*") if kind in said), 0.0)


def _range(item: str) -> tuple[str, float]:
    kind, *parameters = (part.strip().lower() for part in item.split(";"))
    quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        return kind, min(max(float(quality), 0.0), 1.0)
    except ValueError:
        return kind, 0.0


class _EventsEncoder(EventStreamEncoder):
    """Writes events of `text/event-stream`, whose id is `seq`.

    Args:
        run: The run as its client knows it.
    """

    def __init__(self, run: RunInfo) -> None:
        self._run = run

    def encode(self, event: Event, /) -> bytes:
        return b"id: %d\ndata: %b\n\n" % (event.seq, _json(event, self._run))  # no line break is in JSON of one line


class _LinesEncoder(EventStreamEncoder):
    """Writes one event a line.

    Args:
        run: As above.
    """

    media_type = NDJSON

    def __init__(self, run: RunInfo) -> None:
        self._run = run

    def encode(self, event: Event, /) -> bytes:
        return _json(event, self._run) + b"\n"

    def beat(self) -> bytes:
        """An empty line."""
        return b"\n"


def _json(event: Event, run: RunInfo) -> bytes:
    """An event as JSON, with the client's own name for the session."""
    if type(event) is RunStarted and event.run_id == run.run_id and event.session_id != run.session_id:
        event = dataclasses.replace(event, session_id=run.session_id)
    return event.to_json()
