"""Events of the protocol as bytes of a `text/event-stream`.

One that carries a delta is a head, made once, and the text: it is built a hundred thousand times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

if TYPE_CHECKING:
    from becket import Event

__all__ = ["delta", "frame", "head"]

_END: Final = b"}\n\n"


def frame(kind: str, at: Event | None, **members: Any) -> bytes:
    """One event.

    Args:
        kind: Its type.
        at: The event of the run that it comes of, which gives its time; in the protocol in milliseconds.
        members: Its members. One that is None is left out, except a `value`: elsewhere the protocol has no null.
    """
    given = {name: value for name, value in members.items() if value is not None or name == "value"}
    if at is not None:
        given["timestamp"] = int(at.time * 1000)
    return b"data: %b\n\n" % to_json({"type": kind, **given})


def head(kind: str, **members: str) -> bytes:
    """How each event of a kind begins that carries a delta."""
    return b'data: %b,"delta":' % to_json({"type": kind, **members})[:-1]


def delta(begun: bytes, text: str) -> bytes:
    """The event that begins like this and carries the text."""
    return begun + to_json(text) + _END
