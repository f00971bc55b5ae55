"""`becket serve`: a real process, called as the pages call it, and stopped as people stop it."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from becket import ConfigError
from becket_serve import Settings
from becket_serve._command import serve_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BECKET = str(Path(sys.executable).with_name("becket"))
PATIENCE = 30.0  # seconds; a test that is about to fail waits no longer
TOKEN = "the-token-of-the-one"  # noqa: S105  of the tests

PLUGIN = """
import os
import sys

import anyio
from becket import hookimpl, tool
from becket.testing import ScriptedProvider, calls, text


async def hold():
    try:
        await anyio.sleep_forever()
    finally:
        os.write(2, b"cleaned up\\n")


async def hang():
    with anyio.CancelScope(shield=True):
        os.write(2, b"hangs\\n")
        await anyio.sleep_forever()


@tool(effect="write")
def change() -> str:
    return "changed"


def script(request):
    prompt = request.messages[0].text
    first, end = text("so far ")
    if prompt == "held":
        return [first, hold, end]
    if prompt == "hangs":
        return [first, hang, end]
    if prompt == "change" and len(request.messages) == 1:
        return calls(("change", {}))
    return text(request.system or "Hello, ", "world.")


@hookimpl
def register_providers():
    return [ScriptedProvider(script, name="acted")]


@hookimpl
def register_tools():
    return [change]
"""


class Server:
    """The process.

    Attributes:
        process: It.
        url: Its address, once it is up.
        routes: What it says of its routes then.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.url = self.routes = ""

    def said(self, word: str) -> str:
        """The next line of standard error that has this word."""
        assert self.process.stderr is not None
        seen = []
        for line in self.process.stderr:
            seen.append(line)
            if word in line:
                return line
        pytest.fail(f"{word!r} never came; what did: {seen}")

    def post(self, path: str, content: Any, **headers: str) -> http.client.HTTPResponse:
        """An answer, of which at least the head has come."""
        host = self.url.partition("//")[2]
        connection = http.client.HTTPConnection(host, timeout=PATIENCE)
        given = {"content-type": "application/json", **headers}
        connection.request("POST", path, json.dumps(content), given)
        response = connection.getresponse()
        self.connections.append(connection)
        return response

    connections: list[http.client.HTTPConnection]

    def end(self) -> tuple[int, str]:
        """The exit code, and the rest of standard error."""
        rest = self.process.communicate(timeout=PATIENCE)[1]
        return self.process.returncode, rest


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """With a plugin that has a model for these tests, and the settings of nobody."""
    site = tmp_path / "site"
    info = site / "becket_acted-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "becket_acted.py").write_text(PLUGIN, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: becket-acted\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[becket]\nacted = becket_acted\n", encoding="utf-8")
    env = {name: given for name, given in os.environ.items() if not name.startswith(("BECKET", "COVERAGE_", "OPENAI_"))}
    return env | {
        "PYTHONPATH": str(site),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PYTHONWARNINGS": "error",
        "NO_PROXY": "*",
    }


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a `becket serve` that does not come up."""

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603  our own command
            [BECKET, "serve", "-m", "acted:model", *arguments],
            capture_output=True,
            check=False,
            encoding="utf-8",
            env=environment | env,
            cwd=tmp_path,
            timeout=PATIENCE,
        )

    return run


@pytest.fixture
def serve(environment: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """Starts `becket serve`; at the end of the block nothing is left of it."""

    @contextmanager
    def serve(*arguments: str, **env: str) -> Iterator[Server]:
        process = subprocess.Popen(  # noqa: S603  as above
            [BECKET, "serve", "-m", "acted:model", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=environment | env,
            cwd=tmp_path,
            process_group=0,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  tests run in a shell's background
        )
        server = Server(process)
        server.connections = []
        try:
            found = re.search(r"(http://\S+) \((.+)\)", server.said("is served at"))
            server.url, server.routes = found.groups()  # type: ignore[union-attr]
            yield server
        finally:
            process.kill()
            process.communicate()
            for connection in server.connections:
                connection.close()

    return serve


def test_it_says_in_one_line_where_it_is(serve: Callable[..., Any]) -> None:
    """With the port that it has chosen; and Ctrl-C is how it ends well."""
    with serve() as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:[1-9][0-9]*", server.url)
        assert re.fullmatch(r"POST /stream, /events, /.+; WebSocket /.+", server.routes)
        response = server.post("/stream", {"prompt": "hi"})
        assert (response.status, response.read()) == (200, b"Hello, world.")
        server.process.send_signal(signal.SIGINT)
        assert server.end() == (0, "")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page calls its server with curl")
def test_the_curl_line_of_the_page_works_and_killing_it_ends_the_run(serve: Callable[..., Any]) -> None:
    with serve("--system", "The system says: ") as server:
        line = ["curl", "-sN", f"{server.url}/stream", "-H", "Content-Type: application/json", "-d"]
        done = subprocess.run(  # noqa: S603  our own words
            [*line, '{"prompt": "Hello"}'], capture_output=True, check=True, timeout=PATIENCE
        )
        assert done.stdout == b"The system says: world."
        curl = subprocess.Popen([*line, '{"prompt": "held"}'], stdout=subprocess.PIPE)  # noqa: S603  as above
        assert curl.stdout is not None
        assert curl.stdout.read(7) == b"so far "
        curl.kill()
        curl.communicate()
        server.said("cleaned up")
        assert server.post("/stream", {"prompt": "hi"}).read() == b"The system says: world."


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_cancels_after_a_while_and_the_client_is_told(
    serve: Callable[..., Any], environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    config = tmp_path / "becket.toml"
    config.write_text("[plugins.serve.limits]\ngrace = 0.2\n", encoding="utf-8")
    with serve(BECKET_CONFIG=str(config)) as server:
        response = server.post("/events", {"prompt": "held"})
        assert b"run_started" in response.readline() + response.readline()
        server.process.send_signal(number)
        events = [json.loads(line[6:]) for line in response.read().split(b"\n") if line.startswith(b"data: ")]
        assert events[-1]["type"] == "run_finished"
        assert events[-1]["result"]["stop_reason"] == "cancelled"
        assert server.end() == (0, "cleaned up\n")


@pytest.mark.parametrize("prompt", ["held", "hangs"])
def test_the_second_signal_ends_at_once(serve: Callable[..., Any], prompt: str) -> None:
    """Whatever goes on, and whether it would clean up or not."""
    with serve() as server:
        response = server.post("/events", {"prompt": prompt})
        if prompt == "hangs":
            server.said("hangs")
        server.process.send_signal(signal.SIGINT)
        assert b"run_started" in response.readline() + response.readline()
        while socket_is_open(server.url):  # the first one has been taken
            pass
        server.process.send_signal(signal.SIGINT)
        assert server.end()[0] == 130


def socket_is_open(url: str) -> bool:
    host, _, port = url.partition("//")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def test_sigusr1_has_new_runs_take_what_is_there_then(serve: Callable[..., Any], tmp_path: Path) -> None:
    """A run that goes on keeps what it began with, and a conversation what was said in it."""
    config = tmp_path / "becket.toml"
    config.write_text('system_prompt = "Before: "\n[plugins.serve.limits]\ngrace = 0.2\n', encoding="utf-8")
    with serve(BECKET_CONFIG=str(config)) as server:
        assert server.post("/stream", {"prompt": "hi", "session_id": "one"}).read() == b"Before: world."
        held = server.post("/events", {"prompt": "held"})
        assert b"run_started" in held.readline() + held.readline()
        config.write_text('system_prompt = "After: "\n', encoding="utf-8")
        server.process.send_signal(signal.SIGUSR1)
        assert server.said("anew") == "becket: agent (acted:model) was made anew, for new runs\n"
        # As the first prompt of a conversation, this one would have a tool called.
        assert server.post("/stream", {"prompt": "change", "session_id": "one"}).read() == b"After: world."
        server.process.send_signal(signal.SIGINT)
        assert b"run_finished" in held.read()
        assert server.end() == (0, "cleaned up\n")


WIRE = """
from becket import hookimpl
from becket.wires import EventStreamEncoder, RunRequest, server_sent_event


class Types(EventStreamEncoder):
    def encode(self, event, /):
        return server_sent_event(event.type.encode())


class Later:
    name = "later"
    path = "/later"
    media_type = "text/event-stream"
    asks = False
    request_model = dict

    def read(self, body, /):
        return RunRequest(prompt="hi")

    def open(self, body, run, /, *, accept=""):
        return Types()


@hookimpl
def register_wires():
    return [Later()]
"""


def test_a_wire_that_comes_later_is_said_to_need_a_restart(serve: Callable[..., Any], tmp_path: Path) -> None:
    """Its plugin is taken, and its route is not made: whoever has installed it would look for the fault elsewhere."""
    with serve() as server:
        assert server.post("/later", {}).status == 404
        info = tmp_path / "site" / "becket_later-1.0.dist-info"
        info.mkdir()
        (tmp_path / "site" / "becket_later.py").write_text(WIRE, encoding="utf-8")
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: becket-later\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text("[becket]\nlater = becket_later\n", encoding="utf-8")
        server.process.send_signal(signal.SIGUSR1)
        said = server.said("anew")
        assert said.endswith("for new runs; routes need a restart, so these have none yet: /later\n")
        assert server.post("/later", {}).status == 404
    with serve() as server:
        assert "/later" in server.routes
        assert server.post("/later", {}).status == 200


def test_what_cannot_be_made_anew_is_said_and_the_one_before_is_served_on(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    config = tmp_path / "becket.toml"
    config.write_text('system_prompt = "Before: "\n', encoding="utf-8")
    with serve(BECKET_CONFIG=str(config)) as server:
        assert server.post("/stream", {"prompt": "hi"}).read() == b"Before: world."
        config.write_text("policies = 7\n", encoding="utf-8")
        server.process.send_signal(signal.SIGUSR1)
        said = server.said("anew")
        assert "the one before is served on" in said
        assert "policies" in said
        assert server.post("/stream", {"prompt": "hi"}).read() == b"Before: world."


def test_a_name_stands_for_its_addresses_on_this_machine(serve: Callable[..., Any]) -> None:
    """`localhost` is two, and one of them where there is no IPv6; the port is the same."""
    with serve("--host", "localhost") as server:
        port = server.url.rpartition(":")[2]
        for address in ("127.0.0.1", "localhost"):
            server.url = f"http://{address}:{port}"
            assert server.post("/stream", {"prompt": "hi"}).read() == b"Hello, world."


def test_clients_are_asked_about_what_changes_something(serve: Callable[..., Any]) -> None:
    """The agent has the tools that are named, and no others."""
    with serve("-t", "change") as server:
        response = server.post("/events", {"prompt": "change"})
        lines, asked = b"", {}
        while not asked:
            line = response.readline()
            lines += line
            if b"decision_requested" in line:
                asked = json.loads(line[6:])
        assert b'"tools":["change"]' in lines
        told = server.post(
            f"/runs/{response.headers['run-id']}/decisions", {"request_id": asked["request_id"], "outcome": "allow"}
        )
        assert told.status == 202
        assert b"run_finished" in response.read()
    with serve() as server:
        assert b'"tools":[]' in server.post("/events", {"prompt": "hi"}).read()


def test_tokens_come_from_a_file_the_environment_and_the_configuration(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    """Each is as good as the others; without one nobody is served."""
    file, config = tmp_path / "tokens", tmp_path / "becket.toml"
    file.write_text(f"# for the one\n\n{TOKEN}-of-the-file\n  {TOKEN}-second  \n", encoding="utf-8")
    config.write_text(f'[plugins.serve]\ntokens = ["{TOKEN}-of-the-configuration"]\n', encoding="utf-8")
    env = {"BECKET_CONFIG": str(config), "BECKET_SERVE_TOKEN": f"{TOKEN}-of-the-environment"}
    with serve("--token-file", str(file), "--host", "0.0.0.0", **env) as server:  # noqa: S104  what is tested
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104  as above
        for name in ("of-the-file", "second", "of-the-configuration", "of-the-environment"):
            response = server.post("/stream", {"prompt": "hi"}, authorization=f"Bearer {TOKEN}-{name}")
            assert (response.status, response.read()) == (200, b"Hello, world.")
        assert server.post("/stream", {"prompt": "hi"}).status == 401


def test_a_token_whose_variable_is_not_set_opens_nothing(run: Callable[..., Any], tmp_path: Path) -> None:
    """Also on loopback, where a proxy may stand before it."""
    config = tmp_path / "becket.toml"
    config.write_text('[plugins.serve]\ntokens = [{ env = "TOKEN_THAT_IS_NOT_SET" }]\n', encoding="utf-8")
    done = run("--port", "0", BECKET_CONFIG=str(config))
    assert (done.returncode, done.stdout) == (3, "")
    assert "has no token in it" in done.stderr


def test_a_variable_that_is_set_to_nothing_opens_nothing(run: Callable[..., Any]) -> None:
    """As `-e BECKET_SERVE_TOKEN=$UNSET` does."""
    done = run("--port", "0", BECKET_SERVE_TOKEN=" ")  # noqa: S106  none
    assert (done.returncode, done.stdout) == (3, "")
    assert "BECKET_SERVE_TOKEN is set and empty" in done.stderr


def test_a_table_that_is_wrong_is_all_that_is_said(run: Callable[..., Any], tmp_path: Path) -> None:
    """And not that there is no such command."""
    config = tmp_path / "becket.toml"
    config.write_text("[plugins.serve.limits]\nruns = 0\n", encoding="utf-8")
    done = run("--port", "0", BECKET_CONFIG=str(config))
    assert (done.returncode, done.stdout) == (3, "")
    assert "runs is 0" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_others_can_reach_needs_a_token(run: Callable[..., Any]) -> None:
    done = run("--host", "0.0.0.0", "--port", "0")  # noqa: S104  what is tested
    assert (done.returncode, done.stdout) == (3, "")
    assert "can be reached from other machines, and there is no token" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-p", "absent"], "the plugin 'absent' is required, and it is not installed"),
        (["--no-plugins"], "there is no provider 'acted'"),
        (["--locked"], "there is no lock becket.lock"),
        (["-m", "openai:gpt-5"], "OPENAI_API_KEY"),
    ],
)
def test_what_a_run_would_be_refused_for_is_said_at_the_start(
    run: Callable[..., Any], arguments: list[str], said: str
) -> None:
    done = run("--port", "0", *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "nowhere.invalid"], "cannot listen on 'nowhere.invalid'"),
        (["--host", "192.0.2.1"], "this machine has no such address"),
        (["--token-file", "absent"], "the tokens in 'absent' cannot be read: No such file"),
        (["--token-file", "empty"], "there is no token in 'empty'"),
        (["--token-file", "binary"], "it is no text in UTF-8"),
        (["--token-file", "short"], "a token has 5 characters"),
        (["-t", "nothing"], "there is no tool 'nothing'"),
        (["--allow-origin", "example.com"], "origins has 'example.com' in it"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    """As an error of the configuration, which the program says in a line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "empty").write_text("# nothing\n", encoding="utf-8")
    (tmp_path / "short").write_text("short\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=re.escape(said)):
        serve_command(Settings()).main(["-m", "local:needle", "--port", "0", *arguments], standalone_mode=False)


def test_a_port_that_is_taken_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1 at port {port}: another program"):
            serve_command(Settings()).main(["--port", port], standalone_mode=False)


def test_a_setting_that_is_wrong_is_said_with_its_place(run: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "becket.toml"
    config.write_text("[plugins.serve.limits]\nruns = 0\n", encoding="utf-8")
    done = run("--port", "0", BECKET_CONFIG=str(config))
    assert done.returncode
    assert "plugins.serve.limits" in done.stderr
    assert "runs is 0" in done.stderr
