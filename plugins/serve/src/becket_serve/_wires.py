"""The server's own wires: plain text, and becket's own events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket import RunFailed, TextDelta
from becket.errors import RequestError
from becket.wires import EventStreamEncoder, RunRequest, server_sent_event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from becket import Event, RunInfo
    from becket.wires import AnyWire, Encoder

__all__ = ["EventsWire", "TextWire", "events_encoder", "own_wires"]

_NDJSON = "application/x-ndjson"


def own_wires() -> list[AnyWire]:
    """The wires that every server has."""
    return [TextWire(), EventsWire()]


class TextWire:
    """The answer's text and nothing else, as it comes: `curl -N .../stream -d '{"prompt": "..."}'`."""

    name = "text"
    path = "/stream"
    media_type = "text/plain"
    asks = False

    @property
    def request_model(self) -> type:
        """`{"prompt": ...}`."""
        from becket_serve._models import Prompted

        return Prompted

    def read(self, body: Any, /) -> RunRequest:
        """The prompt."""
        return RunRequest(prompt=body.prompt, agent=body.agent, session_id=body.session_id)

    def open(self, body: Any, run: RunInfo, /, *, accept: str = "") -> Encoder:  # noqa: ARG002  there is one form
        """An encoder."""
        return _TextEncoder(run.run_id)


class _TextEncoder:
    media_type = "text/plain; charset=utf-8"
    headers: Mapping[str, str]
    status = 200
    done = False

    def __init__(self, run_id: str) -> None:
        self.headers = EventStreamEncoder.headers
        self._run_id = run_id
        self._begun = False

    def encode(self, event: Event, /) -> bytes:
        if event.run_id != self._run_id:
            return b""
        if isinstance(event, TextDelta):
            self._begun = True
            return event.text.encode()
        if isinstance(event, RunFailed):
            if not self._begun:
                self.status = 502
            return f"\nError: {event.error.message}".encode()
        return b""

    def finish(self) -> bytes:
        return b""

    def beat(self) -> bytes:
        return b""


class EventsWire:
    """becket's own events as JSON: as `text/event-stream`, or one a line where the client prefers that."""

    name = "events"
    path = "/events"
    media_type = "text/event-stream"
    asks = True

    @property
    def request_model(self) -> type:
        """The prompt, and what else a run can be given."""
        from becket_serve._models import Started

        return Started

    def read(self, body: Any, /) -> RunRequest:
        """The run."""
        return RunRequest(prompt=body.prompt, agent=body.agent, session_id=body.session_id, detach=body.detach)

    def open(self, body: Any, run: RunInfo, /, *, accept: str = "") -> Encoder:  # noqa: ARG002  any run's is the same
        """An encoder of the form that is accepted."""
        return events_encoder(accept)


def events_encoder(accept: str) -> Encoder:
    """The encoder of becket's own events for a client that accepts this."""
    if not accept or "text/event-stream" in accept or "*/*" in accept:
        return _EventsEncoder()
    if _NDJSON in accept or "application/*" in accept:
        return _LinesEncoder()
    raise RequestError(
        f"events come as text/event-stream or {_NDJSON}, and the request accepts neither",
        status=406,
        code="not_acceptable",
    )


class _EventsEncoder(EventStreamEncoder):
    def encode(self, event: Event, /) -> bytes:
        return server_sent_event(event.to_json(), event_id=str(event.seq))


class _LinesEncoder(EventStreamEncoder):
    media_type = _NDJSON

    def encode(self, event: Event, /) -> bytes:
        return event.to_json() + b"\n"

    def beat(self) -> bytes:
        return b"\n"
