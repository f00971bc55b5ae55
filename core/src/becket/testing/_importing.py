"""What happens while a plugin is imported and asked for what it contributes, seen from a process of its own.

`observed` runs this file as a program, with JSON on standard input. Nothing of `becket.testing` is imported here: what
a plugin imports is to be counted as its own, unless `becket` itself brings it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Ear", "Observed", "Phase", "observed"]

_KINDS: Final = {
    "socket.connect": "network",
    "socket.bind": "network",
    "socket.getaddrinfo": "network",
    "socket.gethostbyname": "network",
    "socket.gethostbyaddr": "network",
    "socket.sendto": "network",
    "socket.sendmsg": "network",
    "open": "file",
    "os.listdir": "file",
    "os.scandir": "file",
    "os.mkdir": "file",
    "os.remove": "file",
    "os.rename": "file",
    "os.rmdir": "file",
    "shutil.rmtree": "file",
    "sqlite3.connect": "file",
    "tempfile.mkdtemp": "file",
    "tempfile.mkstemp": "file",
    "subprocess.Popen": "process",
    "os.exec": "process",
    "os.fork": "process",
    "os.posix_spawn": "process",
    "os.system": "process",
    "os.chdir": "environment",
    "os.putenv": "environment",
    "os.unsetenv": "environment",
    "time.sleep": "wait",
}
"""Audit events, by what they are signs of; https://docs.python.org/3/library/audit_events.html"""

_PROGRAM: Final = "import runpy, sys; runpy.run_path(sys.argv[1])['main']()"

_PHASES: Final = (b'{"importing": ', b'{"registering": ')
_TAIL: Final = 2000
"""Characters of what a process has said at its end, that are told."""

_CODE: Final = (".py", ".pyc", ".pyi")
_METADATA: Final = (".dist-info", ".egg-info")


class Phase(TypedDict):
    """What was seen: importing, or registering.

    `touched` are pairs of a kind and a sentence; `changed` are sentences; `error` is empty where nothing was raised.
    """

    seconds: float
    touched: list[tuple[str, str]]
    changed: list[str]
    error: str


class Observed(TypedDict):
    """Both phases; `adds` is what two runtimes in a row were given, by kind."""

    importing: Phase
    registering: Phase
    adds: list[dict[str, list[str]]]


def observed(plugin: str, *, table: Mapping[str, Any], path: Sequence[str], patience: float) -> Observed:
    """What happens while a plugin is imported and registered, in a process of its own.

    That the process ends otherwise, or does not end in time, is the error of the phase in which it is then.
    """
    asked = json.dumps({"plugin": plugin, "table": dict(table), "path": list(path)})
    try:
        done = subprocess.run(  # noqa: S603  our own program
            [sys.executable, "-P", "-c", _PROGRAM, __file__],
            input=asked.encode(),
            capture_output=True,
            timeout=patience,
            check=False,
        )
        said = (done.stderr or done.stdout).decode(errors="replace").strip()[-_TAIL:]
        told, ended = done.stdout, f"the process ended with {done.returncode}: {said}"
    except subprocess.TimeoutExpired as expired:
        told, ended = expired.output or b"", f"it did not end within {patience:g} s"
    found: Observed = {"importing": _unseen(ended), "registering": _unseen(ended), "adds": []}
    for line in told.splitlines():
        if line.startswith(_PHASES):  # what a plugin writes past sys.stdout is none of them
            found.update(json.loads(line))
    return found


def _unseen(error: str) -> Phase:
    return {"seconds": 0.0, "touched": [], "changed": [], "error": error}


class Ear:
    """Takes down audit events, while it is open: what is done with the network, files, processes, and waiting."""

    def __init__(self) -> None:
        self.open = False
        self.touched: dict[tuple[str, str], None] = {}

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        kind = _KINDS.get(event) if self.open else None
        if kind is None or threading.current_thread() is not threading.main_thread():
            return
        self.open = False
        try:
            if not _machinery(event, arguments):
                self.touched[kind, f"{_told(event, arguments)} at {_place()}"] = None
        finally:
            self.open = True


def _machinery(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether Python looks for modules, and reads code or what is said of a distribution; or it is none of a file."""
    if event not in {"open", "os.listdir", "os.scandir"}:
        return False
    if sys._getframe(2).f_code.co_filename.startswith("<frozen ") or not isinstance(arguments[0], str | bytes):  # noqa: SLF001  the caller
        return True
    path = os.fsdecode(arguments[0])
    folder = os.path.dirname(path)  # noqa: PTH120  pathlib is not imported for this
    return (
        path in sys.path or path.endswith(_CODE) or folder.endswith(_METADATA) or path in {os.devnull, "/dev/urandom"}
    )


def _told(event: str, arguments: tuple[Any, ...]) -> str:
    shown = ", ".join(
        repr(argument) for argument in arguments[:2] if isinstance(argument, str | bytes | int | tuple | float)
    )
    return f"{event}({shown})"


def _place() -> str:
    """The innermost line outside of Python's own modules."""
    own = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120  pathlib is not imported for this
    frame: Any = sys._getframe(2)  # noqa: SLF001  as above
    found = frame
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith("<frozen ") and (not name.startswith(own) or "site-packages" in name):
            found = frame
            break
        frame = frame.f_back
    return f"{found.f_code.co_filename}:{found.f_lineno}"


def _state() -> dict[str, object]:
    """What of the process a library must leave alone."""
    import signal

    logging: Any = sys.modules.get("logging")
    return {
        "sys.path": tuple(sys.path),
        "sys.excepthook": sys.excepthook,
        "the handlers of the root logger": tuple(logging.root.handlers) if logging else (),
        "the handler of SIGINT": signal.getsignal(signal.SIGINT),
        "the handler of SIGTERM": signal.getsignal(signal.SIGTERM),
        "the environment": dict(os.environ),
        "the working directory": os.getcwd(),  # noqa: PTH109  as above
    }


@contextlib.contextmanager
def _phase(ear: Ear) -> Iterator[Phase]:
    seen = _unseen("")
    before, threads, ear.touched = _state(), {*threading.enumerate()}, {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        ear.open, started = True, time.process_time()
        try:
            yield seen
        except BaseException as error:  # noqa: BLE001  SystemExit too: it is told
            seen["error"] = f"{type(error).__name__}: {error}"
        finally:
            seen["seconds"], ear.open = time.process_time() - started, False
    running = [
        ("thread", f"it has started {thread.name!r}") for thread in threading.enumerate() if thread not in threads
    ]
    seen["touched"] = [*ear.touched, *running]
    seen["changed"] = [name for name, value in _state().items() if value != before[name]]
    if said := printed.getvalue().strip():
        seen["changed"].append(f"it prints {said[:200]!r}")


def _loaded(plugin: str) -> Any:
    from importlib import import_module

    module, _, name = plugin.partition(":")
    found: Any = import_module(module)
    for part in name.split(".") if name else ():
        found = getattr(found, part)
    return found() if isinstance(found, type) else found


def main() -> None:
    """Look at the plugin that standard input names, and write what was seen to standard output."""
    asked = json.load(sys.stdin)
    sys.path[:] = asked["path"]
    import logging

    import becket

    for name in becket.__all__:  # what a plugin may import of becket is not counted
        getattr(becket, name)
    becket.Runtime(discover=False)
    logger = logging.getLogger("becket")  # what becket says of a plugin, the plugin has not printed
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    ear, adds, loaded = Ear(), [], None
    if asked["table"]:  # which becket has pydantic read
        becket.warm_up()
    sys.addaudithook(ear.hear)
    with _phase(ear) as importing:
        loaded = _loaded(asked["plugin"])
    _tell({"importing": importing})  # what follows may not come to its end
    with _phase(ear) as registering:
        for _ in range(2 if loaded is not None else 0):
            config = _config(becket, loaded, asked["table"])
            (plugin,) = becket.Runtime(plugins=[loaded], discover=False, config=config).plugins
            adds.append({kind: list(names) for kind, names in plugin.adds.items()})
            registering["error"] = plugin.reason
    _tell({"registering": registering, "adds": adds})


def _tell(seen: Mapping[str, object]) -> None:
    sys.stdout.write(f"{json.dumps(seen)}\n")
    sys.stdout.flush()


def _config(becket: Any, loaded: Any, table: Mapping[str, Any]) -> Any:
    if not table:
        return None
    name = loaded.__name__ if type(loaded).__name__ == "module" else type(loaded).__name__
    return becket.config.Config.of({"plugins": {name: table}})
