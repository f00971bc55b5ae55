"""The UI message stream of the Vercel AI SDK as a wire: what `useChat` sends and reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket import hookimpl

from becket_aisdk._wire import AiSdkWire

if TYPE_CHECKING:
    from becket.wires import AnyWire

__all__ = ["AiSdkWire", "register_wires"]


@hookimpl
def register_wires() -> list[AnyWire]:
    """The wire `aisdk`, at `/aisdk`."""
    return [AiSdkWire()]
