"""What the tests of the command share: a real plugin on disk, and the real command in a process of its own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BECKET = str(Path(sys.executable).with_name("becket"))


@pytest.fixture(scope="session", autouse=True)
def _signals() -> Iterator[None]:
    """Ctrl-C means something to the commands started here, also where a shell has started the tests in the background.

    It has them ignore these signals then, and so do the processes that they start.
    """
    ignored = [number for number in (signal.SIGINT, signal.SIGQUIT) if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def install(folder: Path, name: str, source: str, *, version: str = "1.0", requires: str = "") -> None:
    """Put a distribution `becket-<name>` with one module, which is its plugin, into `folder`."""
    (folder / f"becket_{name}.py").write_text(source, encoding="utf-8")
    info = folder / f"becket_{name}-{version}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: becket-{name}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata + (f"Requires-Dist: {requires}\n" if requires else ""), encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[becket]\n{name} = becket_{name}\n", encoding="utf-8")


class Command:
    """The command `becket`, in an environment of its own.

    Attributes:
        path: The program.
        site: A folder on the path; what is installed there is found.
        env: The environment variables.
    """

    path = BECKET

    def __init__(self, site: Path, *shared: Path, cache: Path) -> None:
        self.site = site
        # PYTHONUNBUFFERED would hide a missing flush; without compiled modules each process takes a second.
        own = ("BECKET", "COVERAGE_", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "NO_COLOR", "FORCE_COLOR")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        path = [str(folder) for folder in (site, *shared)] + [self.env.get("PYTHONPATH", "")]
        self.env |= {
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "PYTHONPYCACHEPREFIX": str(cache),
            "XDG_CONFIG_HOME": str(site.parent / "config"),  # and not that of whoever runs the tests
            "XDG_CACHE_HOME": str(site.parent / "cache"),
            "PYTHONWARNINGS": "error",
            "COLUMNS": "80",
            "TERM": "xterm-256color",
        }

    def install(self, name: str, source: str, **more: str) -> None:
        """Install a plugin for this test alone."""
        install(self.site, name, source, **more)

    def __call__(self, *arguments: str | bytes, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run `becket` with these arguments to its end."""
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "encoding": "utf-8", "env": self.env, "timeout": 60}
        options |= more
        if "input" in options:
            del options["stdin"]
        return subprocess.run([BECKET, *arguments], capture_output=True, check=False, **options)  # noqa: S603  ours

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        """What bash makes of a line; `becket` in it is the command."""
        path = f"{Path(BECKET).parent}{os.pathsep}{self.env['PATH']}"
        return subprocess.run(  # noqa: S603  our own line
            ["/bin/bash", "-c", line],
            capture_output=True,
            text=True,
            check=False,
            env=self.env | {"PATH": path},
            timeout=60,
        )

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the same environment."""
        return subprocess.run(  # noqa: S603  our own code
            [sys.executable, *arguments], capture_output=True, text=True, check=False, env=self.env, timeout=60
        )

    def start(self, *arguments: str, program: tuple[str, ...] = (BECKET,), **more: Any) -> subprocess.Popen[str]:
        """Start `becket`, or another program, with these arguments, as the leader of a process group of its own."""
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options |= {"encoding": "utf-8", "env": self.env, "process_group": 0} | more
        return subprocess.Popen([*program, *arguments], **options)  # noqa: S603  as above


class OnTerminal:
    """The command on a terminal of its own, as its controlling one.

    Attributes:
        seen: What has come out of it.
    """

    def __init__(self, becket: Command, *arguments: str) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.execve(becket.path, [becket.path, *arguments], becket.env)  # noqa: S606  it is the fork's own
        self.seen = ""

    def read_until(self, word: str) -> None:
        while word not in self.seen:
            piece = self._read()
            assert piece, f"{word!r} never came; what did:\n{self.seen}"

    def read(self) -> None:
        while self._read():
            pass

    def _read(self) -> str:
        try:
            piece = os.read(self._master, 4096).decode("utf-8", "replace")
        except OSError:  # how Linux says that nobody holds the other end any more
            return ""
        self.seen += piece
        return piece

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        self.read()
        os.close(self._master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture(scope="session")
def _fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fake")
    install(folder, "fake", Path(__file__).with_name("becket_fake.py").read_text(encoding="utf-8"))
    past = time.time() - 3600  # an index trusts no folder that has just been changed
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (past, past))
    return folder


@pytest.fixture
def becket(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, _fake: Path) -> Command:
    """The command, with the plugin `fake` installed."""
    site = tmp_path / "site"
    site.mkdir()
    return Command(site, _fake, cache=tmp_path_factory.getbasetemp() / "compiled")


@pytest.fixture
def on_terminal(becket: Command) -> Callable[..., OnTerminal]:
    """Starts the command on a terminal."""
    return lambda *arguments: OnTerminal(becket, *arguments)


@pytest.fixture
def read_until() -> Callable[[Any, str], str]:
    """Reads a stream up to the line that holds a word; fails where the stream ends before it."""

    def read(stream: Iterator[str], word: str) -> str:
        seen = ""
        for line in stream:
            seen += line
            if word in line:
                return seen
        pytest.fail(f"{word!r} never came; what did:\n{seen}")

    return read
