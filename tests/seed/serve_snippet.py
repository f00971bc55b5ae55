"""A process that serves the page's FastAPI snippet, with a scripted model as the default of its runtime.

    python serve_snippet.py LISTENING_SOCKET CHANNEL

Both are descriptors of sockets. What the model does depends on the prompt; over the channel it says what it has
reached, and waits for a word from whoever started the process.
"""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import uvicorn
from anyio.lowlevel import checkpoint
from becket import Runtime, TextDelta, hookimpl, set_default_runtime
from becket.testing import ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from becket import ModelRequest
    from becket.testing import Step

SNIPPET = Path(__file__).parent / "snippets" / "fastapi_server.py"


class Scripted:
    """A plugin whose model follows the script that the prompt names."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel

    @hookimpl
    def register_providers(self) -> list[ScriptedProvider]:
        return [ScriptedProvider(self.script)]

    def script(self, request: ModelRequest) -> Iterable[Step]:
        prompt = request.messages[0].text
        if prompt == "use the calculator" and len(request.messages) == 1:
            return calls(("calculator", {"expression": "42 + 7"}))
        if prompt == "fail":
            return [*text("so far ")[:1], ConnectionError("the line was cut")]
        if prompt == "flood":
            return self.flood()
        if prompt == "Hello":
            first, last, end = text("first ", "last")
            return [first, self.hold, last, end]
        return text(f"{request.messages[-1].content[0].text}.")  # type: ignore[union-attr]  # the tool's result

    def flood(self) -> Iterator[Step]:
        """Text without an end, until the stream is closed; the pieces come one by one, as from a network."""
        try:
            while True:
                yield checkpoint
                yield TextDelta("x" * 10_000)
        finally:
            self.say("cleaned up")

    async def hold(self) -> None:
        """Wait for a word, and say when the waiting has ended, however it has."""
        self.say("waiting")
        try:
            await anyio.wait_readable(self.channel)
            self.channel.recv(100)
        finally:
            self.say("cleaned up")

    def say(self, word: str) -> None:
        self.channel.sendall(f"{word}\n".encode())


def main() -> None:
    listening, channel = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    set_default_runtime(Runtime(plugins=[Scripted(channel)], discover=False))
    spec = importlib.util.spec_from_file_location("fastapi_server", SNIPPET)
    assert spec is not None
    assert spec.loader is not None
    snippet: Any = importlib.util.module_from_spec(spec)
    sys.modules["fastapi_server"] = snippet  # where pydantic looks for the names in annotations
    spec.loader.exec_module(snippet)
    uvicorn.Server(uvicorn.Config(snippet.app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
