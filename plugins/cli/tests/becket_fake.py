"""A plugin whose models do what the tests of the command need, and whose tools misbehave."""

import os
import subprocess
import sys
import time

import anyio

from becket import ConfigError, ModelFinished, ModelInfo, ProviderError, Usage, hookimpl, tool
from becket.testing import ScriptedProvider, calls, text


def say(what):
    print(what, file=sys.stderr, flush=True)


@tool(effect="none")
def ready() -> str:
    """Be there."""
    return "ready"


@tool(effect="read")
async def sleeper() -> str:
    """Sleep until cancelled."""
    say("SLEEPING")
    try:
        await anyio.sleep_forever()
    finally:
        say("CLEANED UP")


@tool(effect="read")
def stuck() -> str:
    """Block a thread for longer than any test."""
    say("STUCK")
    time.sleep(600)


@tool(effect="read")
async def blocker() -> str:
    """Block the event loop for longer than any test."""
    say("BLOCKING")
    time.sleep(600)


@tool(effect="read")
async def stubborn() -> str:
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
    print("printed by a tool")
    subprocess.run([sys.executable, "-c", "print('printed by a program')"], check=True)
    return "printed"


@tool(effect="write")
def writer() -> str:
    """Change something."""
    return "written"


@tool(effect="read", reach="network")
def remote() -> str:
    """Ask another machine."""
    return "answered"


def tools_of(request):
    return text(" ".join(spec.name for spec in request.tools))


def said(request):
    return text("system=", request.system, " prompt=", request.messages[-1].text)


def options(request):
    return text(f"{request.options.temperature} {request.options.max_tokens}")


def model(name, *scripts):
    return name, ScriptedProvider(*scripts, name="fake", model=name)


MODELS = dict([
    model("hello", text("Hello, ", "world.")),
    model("lines", lambda request: text(*(f"line {n}\n" for n in range(100_000)))),
    model("tools", tools_of),
    model("said", said),
    model("options", options),
    model("fails", [ProviderError("the service is down", provider="fake")]),
    model("breaks", [ValueError("a bug in a provider")]),
    model("exits", [SystemExit(7)]),
    model("refuses", [ConfigError("no model of that name")]),
    model("cut", text("Hel", stop=ModelFinished("max_tokens", Usage(1, 1)))),
    model("filtered", text("H", stop=ModelFinished("content_filtered", Usage(1, 1)))),
    model("forever", calls(("ready", {}))),
    *(
        model(name, calls((name, {})), text("done"))
        for name in ("ready", "sleeper", "stuck", "blocker", "stubborn", "printer", "writer")
    ),
])


class Fake:
    name = "fake"
    default_model = None

    def models(self):
        return [ModelInfo(name, f"the script {name}") for name in sorted(MODELS)]

    def stream(self, request):
        return MODELS[request.model].stream(request)

    async def aclose(self):
        if os.environ.get("FAKE_CLOSE") == "fails":
            raise OSError("it is stuck")
        if os.environ.get("FAKE_CLOSE") == "hangs":
            say("CLOSING")
            await anyio.sleep_forever()


class Types:
    """Prints the type of each event."""

    name = "fake"
    required = False

    def __init__(self, prefix=""):
        self.prefix = prefix

    def open(self, run):
        self.stdout = sys.stdout
        return self

    def with_argument(self, argument):
        return Types(f"{argument} ")

    def emit(self, event):
        self.stdout.write(f"{self.prefix}{event.type}\n")

    def close(self):
        pass


@hookimpl
def register_sinks():
    return [Types()]


@hookimpl
def register_providers():
    return [Fake()]


@hookimpl
def register_tools():
    return [ready, sleeper, stuck, blocker, stubborn, printer, writer, remote]
