"""A plugin whose models do what the tests of the command need, and whose tools misbehave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import anyio
from becket import ConfigError, ModelFinished, ModelInfo, ProviderError, Usage, hookimpl, tool
from becket.testing import ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from becket import Event, ModelEvent, ModelRequest, RunInfo


def say(what: str) -> None:
    sys.stderr.write(f"{what}\n")
    sys.stderr.flush()


@tool(effect="none")
def ready() -> str:
    """Be there."""
    return "ready"


@tool(effect="read")
async def sleeper() -> None:
    """Sleep until cancelled."""
    say("SLEEPING")
    try:
        await anyio.sleep_forever()
    finally:
        say("CLEANED UP")


@tool(effect="read")
def stuck() -> None:
    """Block a thread for longer than any test."""
    say("STUCK")
    time.sleep(600)


@tool(effect="read")
async def blocker() -> None:
    """Block the event loop for longer than any test."""
    say("BLOCKING")
    time.sleep(600)  # noqa: ASYNC251  the mistake that a second Ctrl-C must be able to end


@tool(effect="read")
async def napper() -> str:
    """Block the event loop until it is interrupted."""
    before = signal.getsignal(signal.SIGINT)
    taken: list[int] = []

    def take(number: int, frame: Any) -> None:
        taken.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, take)
    say("NAPPING")
    while not taken:
        signal.pause()
    signal.signal(signal.SIGINT, before)
    return "woken"


@tool(effect="read")
async def quitter() -> None:
    """Raise what only Ctrl-C should."""
    raise KeyboardInterrupt


@tool(effect="read")
def threaded_quitter() -> None:
    """Raise it in a thread."""
    raise KeyboardInterrupt


@tool(effect="read")
async def stubborn() -> None:
    """Take long to clean up."""
    say("RUNNING")
    try:
        await anyio.sleep_forever()
    finally:
        say("NOT YET")
        with anyio.CancelScope(shield=True):
            await anyio.sleep_forever()


@tool(effect="none")
def printer() -> str:
    """Print, as it should not, and start a program that does."""
    print("printed by a tool")  # noqa: T201  the mistake that must not spoil the answer
    subprocess.run([sys.executable, "-c", "print('printed by a program')"], check=True)
    return "printed"


@tool(effect="write")
def writer() -> str:
    """Change something."""
    return "written"


@tool(effect="write")
def note(words: str, place: str = "here") -> str:
    """Note something down."""
    return f"noted {words} {place}"


@tool
def unsaid() -> str:
    """Do something that nobody has said."""
    return "done, whatever it is"


@tool(effect="read", reach="network")
def remote() -> str:
    """Ask another machine."""
    return "answered"


def tools_of(request: ModelRequest) -> list[Any]:
    return text(" ".join(spec.name for spec in request.tools))


def said(request: ModelRequest) -> list[Any]:
    return text("system=", request.system, " prompt=", request.messages[-1].text)


def told(request: ModelRequest) -> list[Any]:
    return text(
        *(f"{block.text}\n" for message in request.messages for block in message.content if block.type == "tool_result")
    )


def options(request: ModelRequest) -> list[Any]:
    return text(f"{request.options.temperature} {request.options.max_tokens}")


def model(name: str, *scripts: Any) -> tuple[str, ScriptedProvider]:
    return name, ScriptedProvider(*scripts, name="fake", model=name)


NAMES = (
    *("ready", "sleeper", "stuck", "blocker", "napper", "quitter", "threaded_quitter"),
    *("stubborn", "printer", "writer", "unsaid", "remote"),
)

MODELS = dict(
    [
        model("hello", text("Hello, ", "world.")),
        model("lines", lambda request: text(*(f"line {n}\n" for n in range(100_000)))),
        model("tools", tools_of),
        model("said", said),
        model("options", options),
        model("fails", [ProviderError("the service is down", provider="fake")]),
        model("steers", [ValueError("boom\nsecond \x1b[31mline")]),
        model("breaks", [ValueError("a bug in a provider")]),
        model("exits", [SystemExit(7)]),
        model("refuses", [ConfigError("no model of that name")]),
        model("cut", text("Hel", stop=ModelFinished("max_tokens", Usage(1, 1)))),
        model("filtered", text("H", stop=ModelFinished("content_filtered", Usage(1, 1)))),
        model("notes", calls(("note", {"words": "w" * 300}), ("note", {"words": "again"})), told),
        model("hides", calls(("note", {"words": "a\u200b\U000e0041\ufe0f\u202e\x1b[2Jb", "place": "c"})), told),
        model("long", calls(("note", {"words": "w" * 2_000, "place": "there"})), told),
        model("misnotes", calls(("note", {"word": "w"})), told),
        model("forever", calls(("ready", {}))),
        *(model(name, calls((name, {})), text("done")) for name in NAMES),
    ]
)


class Fake:
    name = "fake"
    default_model: str | None = None

    def models(self) -> list[ModelInfo]:
        return [ModelInfo(name, f"the script {name}") for name in sorted(MODELS)]

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        return MODELS[request.model].stream(request)

    async def aclose(self) -> None:
        if os.environ.get("FAKE_CLOSE") == "fails":
            raise OSError("it is stuck")
        if os.environ.get("FAKE_CLOSE") == "hangs":
            say("CLOSING")
            await anyio.sleep_forever()


class Types:
    """Prints the type of each event."""

    name = "fake"
    required = False

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def open(self, run: RunInfo) -> Types:
        if self.prefix == "broken ":
            raise OSError("there is no room")
        self.stdout = sys.stdout
        return self

    def with_argument(self, argument: str) -> Types:
        return Types(f"{argument} ")

    def emit(self, event: Event) -> None:
        self.stdout.write(f"{self.prefix}{event.type}\n")

    def close(self) -> None:
        pass


@hookimpl
def register_sinks() -> list[Types]:
    return [Types()]


@hookimpl
def register_providers() -> list[Fake]:
    return [Fake()]


@hookimpl
def register_tools() -> list[Any]:
    return [
        ready,
        sleeper,
        stuck,
        blocker,
        napper,
        quitter,
        threaded_quitter,
        stubborn,
        printer,
        writer,
        note,
        unsaid,
        remote,
    ]
