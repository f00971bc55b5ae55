"""What a wire implements: it reads what a client asks of a server, and writes a run's events in the client's format.

A wire is a definition that serves any number of requests, found by its name, as plugins give it with the hook
`register_wires`. It does no input or output of its own: a server, such as becket-serve, gives it a route, reads the
request, starts the run, and sends what the wire's encoder makes of each event. So a wire can be tested without a
server, and serves in any of them.

A wire over a connection that goes both ways is a `SocketWire`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from becket._values import JsonValue
    from becket.content import Message, Prompt
    from becket.errors import RequestError
    from becket.events import Event
    from becket.options import ModelOptions
    from becket.policies import Answer
    from becket.sinks import RunInfo
    from becket.stream import AgentStream

__all__ = [
    "AnyWire",
    "DescribingWire",
    "DocumentWire",
    "Encoder",
    "EventStreamEncoder",
    "RunHost",
    "RunRequest",
    "Socket",
    "SocketClosed",
    "SocketWire",
    "Wire",
    "server_sent_event",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What a client asks for, in becket's terms.

    Attributes:
        prompt: What the agent is asked, as `Agent.stream_async` takes it. Empty where `answers` are all there is.
        history: Messages that come before it.
        agent: The name of the agent, None for the server's first one.
        session_id: The conversation that the run belongs to, or None. A server keeps those of different clients apart.
        instructions: Added to the agent's system prompt.
        options: How the model is to answer: what is set here replaces what the agent says.
        answers: Decisions, by the `request_id` of the `decision_requested` event that asked for them. The run that
            asked goes on, and its further events are what the client gets.
        detach: Whether the run goes on when the client goes away.
    """

    prompt: Prompt = ""
    history: tuple[Message, ...] = ()
    agent: str | None = None
    session_id: str | None = None
    instructions: str = ""
    options: ModelOptions | None = None
    answers: Mapping[str, Answer] = field(default_factory=lambda: MappingProxyType({}))
    detach: bool = False


class Encoder(Protocol):
    """Writes the events of one run for one client. Not async: it makes bytes, and others send them.

    What `media_type`, `headers` and `status` say is looked at once, when there are first bytes to send.
    """

    if TYPE_CHECKING:  # only read, so that a constant or a property will do

        @property
        def media_type(self) -> str:
            """The content type of what is written."""
            ...

        @property
        def headers(self) -> Mapping[str, str]:
            """Headers of the answer, besides its content type."""
            ...

        @property
        def status(self) -> int:
            """The HTTP status; 200, but where nothing was written before the run has failed."""
            ...

        @property
        def done(self) -> bool:
            """Whether the format allows nothing more, though the run may go on: it waits for a decision."""
            ...

    def encode(self, event: Event, /) -> bytes:
        """What `event` is in this format; empty for nothing. Events come in order, those of nested runs among them."""
        ...

    def finish(self) -> bytes:
        """What stands at the end. Called once: after the last event, or when `done` says so."""
        ...

    def beat(self) -> bytes:
        """What keeps a silent connection open, such as a comment; empty where the format has no such thing."""
        ...


@runtime_checkable
class Wire(Protocol):
    """A format for clients, found by its name: `becket serve` gives each one that is installed its route.

    Attributes:
        name: Letters, digits, `-` and `_`.
        path: Where a client posts its requests, as `/agui`.
        media_type: The content type that its answers have as a rule.
        asks: Whether its client can be asked for decisions; where it cannot, they are denied.
        request_model: The type of a request's body, for pydantic: what does not fit it never reaches `read`. A property
            can import it when it is asked for.
    """

    if TYPE_CHECKING:  # only read, so that a constant or a property will do

        @property
        def name(self) -> str:
            """As said above."""
            ...

        @property
        def path(self) -> str:
            """As said above."""
            ...

        @property
        def media_type(self) -> str:
            """As said above."""
            ...

        @property
        def asks(self) -> bool:
            """As said above."""
            ...

        @property
        def request_model(self) -> type:
            """As said above."""
            ...

    else:
        name: str
        path: str
        media_type: str
        asks: bool
        # Not `request_model`: up to Python 3.11 `isinstance` gets what stands here, and that may import pydantic.

    def read(self, body: Any, /) -> RunRequest:
        """What the client asks for.

        Args:
            body: An instance of `request_model`.

        Raises:
            RequestError: It cannot be served.
        """
        ...

    def open(self, body: Any, run: RunInfo, /, *, accept: str = "") -> Encoder:
        """The encoder of one answer.

        Args:
            body: As for `read`.
            run: The run.
            accept: The request's `Accept` header.
        """
        ...


@runtime_checkable
class DescribingWire(Protocol):
    """A wire whose clients look for more in the body of an error than RFC 9457 has."""

    def describe(self, error: RequestError, /) -> Mapping[str, JsonValue]:
        """Members that are added to the body of the error."""
        ...


@runtime_checkable
class DocumentWire(Protocol):
    """A wire whose clients read documents too, such as a list of models."""

    def documents(self, agents: Sequence[str], /) -> Mapping[str, JsonValue]:
        """The JSON documents by path, for a server with these agents."""
        ...


class SocketClosed(Exception):  # noqa: N818  no failure: how a conversation ends
    """The other side has closed the socket, or has gone."""


class Socket(Protocol):
    """A connection that goes both ways, message by message."""

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            SocketClosed: There will be none.
        """
        ...

    async def send(self, message: str | bytes, /) -> None:
        """Send a message: a text, or bytes of one in UTF-8. Waits while the other side does not read.

        Raises:
            SocketClosed: Nobody is there any more.
        """
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it, for a reason of RFC 6455, section 7.4; nothing happens where it is closed."""
        ...


class RunHost(Protocol):
    """The runs of a server, as far as they are one client's."""

    def start(self, request: RunRequest, /, *, asks: bool) -> AgentStream[Any]:
        """A run, which begins when it is first read.

        Args:
            request: What is asked for.
            asks: Whether the client can be asked for decisions.

        Raises:
            RequestError: It cannot be served: the agent is not known, too many runs go on, the prompt is none, ...
        """
        ...

    def find(self, run_id: str, /) -> AgentStream[Any]:
        """A run of this client that goes on, or whose events are still there.

        Raises:
            RequestError: There is none.
        """
        ...


@runtime_checkable
class SocketWire(Protocol):
    """A format for clients that hold a connection open, such as a WebSocket.

    Attributes:
        name: As that of a `Wire`.
        path: Where a client connects.
        subprotocols: What the server may agree on, best first; none for no such thing.
    """

    if TYPE_CHECKING:  # as above

        @property
        def name(self) -> str:
            """As said above."""
            ...

        @property
        def path(self) -> str:
            """As said above."""
            ...

        @property
        def subprotocols(self) -> Sequence[str]:
            """As said above."""
            ...

    else:
        name: str
        path: str
        subprotocols: Sequence[str]

    async def serve(self, socket: Socket, runs: RunHost, /) -> None:
        """Talk with one client, until it goes away or has been told to; one wire talks with any number of them at once.

        What is wrong with a message, and a `RequestError` of `runs`, is told to the client, and ends nothing else. One
        task sends at a time. What was read of a run is sent before more is read, so that a slow client holds up its
        own runs alone.

        Runs that it has started and not detached are cancelled by whoever called this, as soon as the client has gone.

        Raises:
            SocketClosed: It has gone.
        """
        ...


AnyWire: TypeAlias = Wire | SocketWire

_NO_STORE: Final = MappingProxyType(
    {
        "cache-control": "no-store",
        # nginx holds back what it proxies otherwise; https://nginx.org/en/docs/http/ngx_http_proxy_module.html
        "x-accel-buffering": "no",
    }
)


class EventStreamEncoder:
    """What encoders of `text/event-stream` have in common, to derive from: all but `encode`."""

    media_type: str = "text/event-stream"
    headers: Mapping[str, str] = _NO_STORE
    status: int = 200
    done: bool = False

    def finish(self) -> bytes:
        """Nothing stands at the end."""
        return b""

    def beat(self) -> bytes:
        """A comment."""
        return b":\n\n"


def server_sent_event(data: bytes, *, name: str = "", event_id: str = "") -> bytes:
    """One event of a `text/event-stream`, as the HTML standard has it; lines of `data` become lines of the event.

    Args:
        data: In UTF-8.
        name: The event's type, empty for none; no line break in it.
        event_id: What a client that comes back says as `Last-Event-ID`; no line break in it.
    """
    head = f"id: {event_id}\n" if event_id else ""
    if name:
        head = f"{head}event: {name}\n"
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return b"%bdata: %b\n\n" % (head.encode(), data.replace(b"\n", b"\ndata: "))
