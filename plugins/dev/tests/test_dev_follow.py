"""`becket dev` with a file that changes: a server takes it for new runs, and `--watch` runs again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BECKET = str(Path(sys.executable).with_name("becket"))

SOURCE = """
import anyio
from becket import hookimpl, tool
from becket.testing import ScriptedProvider, calls, text

@tool(effect="none")
async def number() -> str:
    return "VERSION"

@tool(effect="none")
async def wait() -> str:
    while not await anyio.Path("go on").exists():
        await anyio.sleep(0.01)
    return "waited"

def script(request):
    prompt = request.messages[0].text
    results = [part.text for message in request.messages for part in message.tool_results]
    if prompt == "held" and not results:
        return calls(("wait", {}))
    if len(results) < (2 if prompt == "held" else 1):
        return calls(("number", {}))
    return text(results[-1])

@hookimpl
def register_providers():
    return [ScriptedProvider(script, name="acted")]

@hookimpl
def register_tools():
    return [number, wait]
"""


class Process:
    """A `becket` that goes on."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def said(self, word: str) -> str:
        """The next line with this word; of the standard streams as one."""
        assert self.process.stdout is not None
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if word in line:
                return line
        pytest.fail(f"{word!r} never came; what did: {seen}")


@pytest.fixture
def started(environment: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """Starts `becket` in the folder of the test; at the end of the block nothing is left of it."""

    @contextmanager
    def started(*arguments: str) -> Iterator[Process]:
        process = subprocess.Popen(  # noqa: S603  our own command
            [BECKET, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            env=environment,
            cwd=tmp_path,
            process_group=0,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  tests run in a shell's background
        )
        try:
            yield Process(process)
        finally:
            process.kill()
            process.communicate()

    return started


def ask(url: str, prompt: str) -> Any:
    data = json.dumps({"prompt": prompt}).encode()
    request = urllib.request.Request(f"{url}/stream", data, {"content-type": "application/json"})  # noqa: S310  ours
    return urllib.request.urlopen(request, timeout=30)  # noqa: S310  ours


def write(folder: Path, version: str) -> None:
    (folder / "new").write_text(SOURCE.replace("VERSION", version), encoding="utf-8")
    (folder / "new").rename(folder / "follow.py")


def test_new_runs_have_the_new_version_and_those_that_go_on_keep_theirs(
    started: Callable[..., Any], tmp_path: Path
) -> None:
    """A version that cannot be used is said, and the one before is served on."""
    write(tmp_path, "one")
    command = ["dev", "follow.py", "--", "serve", "-m", "acted:model", "-t", "number,wait", "--port", "0"]
    with started(*command) as server:
        url = re.search(r"http://\S+", server.said("is served at"))[0]  # type: ignore[index]
        assert ask(url, "?").read() == b"one"
        request = json.dumps({"prompt": "held", "detach": True}).encode()
        held = urllib.request.Request(f"{url}/events", request, {"content-type": "application/json"})  # noqa: S310  ours
        with urllib.request.urlopen(held, timeout=30) as going_on:  # noqa: S310  ours
            while b"tool_started" not in going_on.readline():
                pass
            write(tmp_path, "two")
            assert server.said("becket: ") == "becket: follow.py has changed: version 2 is loaded\n"
            assert server.said("becket: ") == "becket: agent (acted:model) was made anew, for new runs\n"
            assert ask(url, "?").read() == b"two"
            (tmp_path / "go on").touch()
            assert b'"text":"one"' in going_on.read().replace(b" ", b"")
        (tmp_path / "follow.py").write_text("x = 1 +")
        assert server.said("becket: ") == (
            "becket: follow.py cannot be used: line 1: SyntaxError: invalid syntax. The version before is served on\n"
        )
        assert ask(url, "?").read() == b"two"
        write(tmp_path, "four")
        assert server.said("becket: ") == "becket: follow.py has changed: version 4 is loaded\n"
        server.said("anew")
        assert ask(url, "?").read() == b"four"
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0


def test_a_version_that_never_ends_to_import_stops_nothing(started: Callable[..., Any], tmp_path: Path) -> None:
    """It is said, the one before is served on, the next one is loaded, and one Ctrl-C ends it all."""
    write(tmp_path, "one")
    command = ["dev", "follow.py", "--", "serve", "-m", "acted:model", "-t", "number", "--port", "0"]
    with started(*command) as server:
        url = re.search(r"http://\S+", server.said("is served at"))[0]  # type: ignore[index]
        (tmp_path / "follow.py").write_text("while True: pass")
        assert server.said("becket: ") == (
            "becket: follow.py is still being imported. The version before is served on. If it waits for something, "
            "or is a loop without an end, mend it and save it again\n"
        )
        assert ask(url, "?").read() == b"one"
        write(tmp_path, "three")
        assert server.said("becket: ") == "becket: follow.py has changed: version 3 is loaded\n"
        server.said("anew")
        assert ask(url, "?").read() == b"three"
        pid = f"import os, pathlib\npathlib.Path({str(tmp_path / 'pid')!r}).symlink_to(str(os.getpid()))\n"
        (tmp_path / "follow.py").write_text(f"{pid}while True: pass")
        server.said("is still being imported")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(15) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").readlink().name), 0)


def test_a_version_that_hangs_in_the_server_alone_is_not_waited_for(
    started: Callable[..., Any], tmp_path: Path
) -> None:
    """One that ends where it is tried first, and not where it is served; one Ctrl-C ends the server all the same."""
    write(tmp_path, "one")
    command = ["dev", "follow.py", "--", "serve", "-m", "acted:model", "-t", "number", "--port", "0"]
    with started(*command) as server:
        server.said("is served at")
        once = SOURCE.replace("VERSION", "two") + (
            "\nimport pathlib\nif pathlib.Path('tried').exists():\n    print('hangs', flush=True)\n"
            "    while True: pass\npathlib.Path('tried').touch()\n"
        )
        (tmp_path / "follow.py").write_text(once)
        server.said("hangs")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(15) == 0


def test_a_version_that_ends_its_process_and_a_file_that_is_gone_are_said(
    started: Callable[..., Any], tmp_path: Path
) -> None:
    """The one before is served on."""
    write(tmp_path, "one")
    command = ["dev", "follow.py", "--", "serve", "-m", "acted:model", "-t", "number", "--port", "0"]
    with started(*command) as server:
        url = re.search(r"http://\S+", server.said("is served at"))[0]  # type: ignore[index]
        (tmp_path / "follow.py").write_text("import os\nos._exit(0)")
        assert server.said("becket: ") == (
            "becket: follow.py cannot be used: it ends the process that imports it, with the exit code 0. "
            "The version before is served on\n"
        )
        (tmp_path / "follow.py").unlink()
        assert server.said("becket: ") == ("becket: follow.py is not there any more. The version before is served on\n")
        assert ask(url, "?").read() == b"one"
        write(tmp_path, "three")
        assert server.said("becket: ") == "becket: follow.py has changed: version 3 is loaded\n"
        server.said("anew")
        assert ask(url, "?").read() == b"three"


def test_watch_runs_the_command_again(started: Callable[..., Any], tmp_path: Path) -> None:
    """Whenever the file has changed, a broken one included, and until Ctrl-C."""
    write(tmp_path, "one")
    command = ["dev", "--watch", "follow.py", "--", "run", "-q", "-m", "acted:model", "-t", "number", "?"]
    with started(*command) as watching:
        assert watching.said("one") == "one\n"
        watching.said("waits for a change of follow.py")
        (tmp_path / "follow.py").write_text("x = 1 +")
        watching.said("follow.py cannot be used: line 1: SyntaxError")
        watching.said("waits for a change of follow.py")
        write(tmp_path, "three")
        assert watching.said("three") == "three\n"
        watching.said("waits for a change of follow.py")
        watching.process.send_signal(signal.SIGINT)
        assert watching.process.wait(30) == 130


def test_watch_ends_with_what_it_runs(started: Callable[..., Any], tmp_path: Path) -> None:
    """Terminated, it terminates the command, and waits for its end."""
    write(tmp_path, "one")
    command = ["dev", "--watch", "follow.py", "--", "serve", "-m", "acted:model", "-t", "number", "--port", "0"]
    with started(*command) as watching:
        url = re.search(r"http://\S+", watching.said("is served at"))[0]  # type: ignore[index]
        assert ask(url, "?").read() == b"one"
        watching.process.terminate()
        assert watching.process.wait(30) == 143
        with pytest.raises(OSError, match="refused"):
            ask(url, "?")
