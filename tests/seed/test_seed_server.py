"""The page's server: its FastAPI snippet behind a real uvicorn, called with the page's curl line."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(shutil.which("curl") is None, reason="the page calls its server with curl"),
    pytest.mark.skipif(sys.platform == "win32", reason="sockets are handed to the server by their descriptors"),
]

PATIENCE = 30.0  # seconds; a test that is about to fail waits no longer


@dataclass
class Server:
    """The snippet's server in a process of its own.

    Attributes:
        port: Where it listens.
        channel: To and from the scripted model.
        words: What the model says, line by line.
    """

    port: int
    channel: socket.socket
    words: IO[str]

    def heard(self) -> str:
        """The next word of the model."""
        return self.words.readline().rstrip("\n")

    @contextmanager
    def curl(self, prompt: str) -> Iterator[subprocess.Popen[bytes]]:
        """The page's curl line, with another port and `-N`, which keeps curl from holding back what has come."""
        data, header = json.dumps({"prompt": prompt}), "Content-Type: application/json"
        line = ["curl", "-sN", f"localhost:{self.port}/stream", "-d", data, "-H", header]
        running = subprocess.Popen(line, stdout=subprocess.PIPE, env=os.environ | {"NO_PROXY": "*"})  # noqa: S603  our own words
        try:
            yield running
        finally:
            running.kill()
            running.communicate()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that listens already, so that nobody has to ask whether it does."""
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listening, ours.makefile() as words:
        ours.settimeout(PATIENCE)
        numbers = [str(listening.fileno()), str(theirs.fileno())]
        launcher = Path(__file__).parent / "serve_snippet.py"
        process = subprocess.Popen(  # noqa: S603  our own words
            [sys.executable, "-W", "error", str(launcher), *numbers],
            pass_fds=[listening.fileno(), theirs.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield Server(listening.getsockname()[1], ours, words)
            process.terminate()
            said = process.communicate(timeout=PATIENCE)[1]
        finally:
            process.kill()
            process.communicate()
    assert said == "", "the server complained"


def read(curl: subprocess.Popen[bytes], count: int) -> bytes:
    """The first `count` bytes that curl prints."""
    assert curl.stdout is not None
    return curl.stdout.read(count)


def test_the_first_text_arrives_before_the_last_is_made(server: Server) -> None:
    with server.curl("Hello") as curl:
        assert read(curl, 6) == b"first "
        assert server.heard() == "waiting"
        server.channel.sendall(b"go on")
        assert curl.communicate(timeout=PATIENCE)[0] == b"last"
        assert curl.returncode == 0


def test_the_answer_may_need_a_tool(server: Server) -> None:
    with server.curl("use the calculator") as curl:
        assert curl.communicate(timeout=PATIENCE)[0] == b"49."


def test_an_error_arrives_as_the_text_that_the_snippet_makes_of_it(server: Server) -> None:
    with server.curl("fail") as curl:
        assert curl.communicate(timeout=PATIENCE)[0] == b"so far Error: the line was cut"


def test_a_client_that_goes_away_ends_the_run(server: Server) -> None:
    """The run's model has cleaned up; the server goes on."""
    with server.curl("Hello") as curl:
        assert read(curl, 6) == b"first "
        assert server.heard() == "waiting"
        curl.kill()
        assert server.heard() == "cleaned up"
    with server.curl("use the calculator") as curl:
        assert curl.communicate(timeout=PATIENCE)[0] == b"49."


def test_a_client_that_goes_away_while_text_flows_ends_the_run(server: Server) -> None:
    """The generator then stands at its `yield`, which nobody cancels: it ends since nobody holds it."""
    with server.curl("flood") as curl:
        assert read(curl, 6) == b"x" * 6
        curl.kill()
        assert server.heard() == "cleaned up"
    with server.curl("use the calculator") as curl:
        assert curl.communicate(timeout=PATIENCE)[0] == b"49."
