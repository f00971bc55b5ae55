"""The engine's package sends usage counts and writes an id file by default. The worker does neither; this proves it.

Each proof has its control: the same worker with its precautions taken out, and the same observer, which then sees both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
from becket_local import _worker
from becket_local.engine import COMMAND, Engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

# Loaded by every Python process that finds it: notes each use of a socket before anything else may refuse it.
OBSERVER = """
import os, sys
def note(event, arguments):
    if event.startswith("socket."):
        with open(os.environ["OBSERVED"], "a") as file:
            file.write(event + "\\n")
sys.addaudithook(note)
"""

CONTROL = f"""
import os, runpy
for name in ("NEEDLE_TELEMETRY", "DO_NOT_TRACK"):
    del os.environ[name]
worker = runpy.run_path({_worker.__file__!r})
worker["main"].__globals__.update(PRIVACY={{}}, refuse_network=lambda event, arguments: None)
worker["main"]()
"""

TOOLS = '[{"name": "now", "description": "Tell the time.", "parameters": {"type": "object", "properties": {}}}]'


@dataclass
class Observed:
    """What was seen of a worker.

    Attributes:
        home: The home directory it was given.
        posts: How many usage counts have arrived.
        arrived: Set with the first.
    """

    folder: Path
    posts: list[bytes] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)

    @property
    def home(self) -> list[str]:
        return [str(path.relative_to(self.folder / "home")) for path in sorted((self.folder / "home").rglob("*"))]

    @property
    def sockets(self) -> list[str]:
        file = self.folder / "sockets"
        return file.read_text().split() if file.exists() else []


@pytest.fixture
def observed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Observed]:
    """Observes the workers that are started from here on."""
    seen = Observed(tmp_path)
    for name in ("home", "observer"):
        (tmp_path / name).mkdir()
    (tmp_path / "observer" / "sitecustomize.py").write_text(OBSERVER)

    class Counts(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.posts.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()
            seen.arrived.set()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Counts) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("NEEDLE_TELEMETRY_URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "observer"))
        monkeypatch.setenv("OBSERVED", str(tmp_path / "sockets"))
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
        # Either would switch the counts off by itself, and hide that we do not.
        for name in ("CI", "NEEDLE_TELEMETRY", "DO_NOT_TRACK"):
            monkeypatch.delenv(name, raising=False)
        yield seen
        server.shutdown()
        thread.join()


async def ask(engine: Engine, times: int) -> None:
    await engine.load()
    async with engine.turn() as turn:
        assert turn is not None
        for number in range(times):
            await turn.respond(run=str(number), system="", tools=TOOLS, texts=["what time is it?"])


async def test_the_worker_opens_no_socket_and_leaves_the_home_directory_as_it_was(observed: Observed) -> None:
    engine = Engine()
    await ask(engine, 3)  # a count would be sent while the next answer is computed
    await engine.aclose()
    assert (observed.sockets, observed.home, observed.posts) == ([], [], [])


async def test_without_its_precautions_the_same_worker_would_have_done_both(observed: Observed) -> None:
    engine = Engine([sys.executable, "-P", "-c", CONTROL])
    await ask(engine, 1)
    assert observed.arrived.wait(30)
    await engine.aclose()
    assert "socket.connect" in observed.sockets
    assert ".cactus_needle/telemetry_id" in observed.home


def test_a_socket_is_refused_in_the_worker() -> None:
    with pytest.raises(PermissionError, match=r"uses no network; refused: socket.connect"):
        _worker.refuse_network("socket.connect", ())
    _worker.refuse_network("open", ())


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace, which sees native code too")
def test_the_worker_makes_no_system_call_for_a_socket(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-e", "trace=socket,connect,execve", "-o", str(trace), *COMMAND]
    request = '{"run": "1", "system": "", "tools": "[]", "texts": ["hello"]}\n'
    with subprocess.Popen(  # noqa: S603 -- ourselves
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **_worker.PRIVACY}
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request)
        process.stdin.flush()
        assert '"response"' in process.stdout.readline()
        process.stdin.close()
    calls = trace.read_text()
    assert "execve(" in calls  # it did watch
    assert "socket(" not in calls
    assert "connect(" not in calls
