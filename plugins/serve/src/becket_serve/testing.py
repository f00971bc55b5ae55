"""For tests: a server that really listens."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["serving"]

_PATIENCE: Final = 30.0
"""Seconds that a server has to come up, and to go down."""

_GRACE: Final = 5
"""Seconds that requests have to end when the server is stopped."""


@contextlib.contextmanager
def serving(app: Any, *, backend: Literal["asyncio", "trio"] = "asyncio") -> Iterator[str]:
    """Serve an ASGI application on a free port of 127.0.0.1, in a thread, as long as the block lasts.

    Args:
        app: The application.
        backend: The event loop: asyncio, with uvicorn; or trio, with hypercorn, which must be installed.

    Yields:
        The address, as `http://127.0.0.1:PORT`; it can be called already.

    Raises:
        RuntimeError: The server has not come up, or not gone down.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with _uvicorn(app, listening) if backend == "asyncio" else _hypercorn(app, listening):
            yield address  # the socket listens: who connects now waits until the server takes it


@contextlib.contextmanager
def _in_thread(run: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001  the test is to get it
            failed.append(error)

    thread = threading.Thread(target=work, name="becket_serve.testing")
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(_PATIENCE)
        if thread.is_alive():
            raise RuntimeError(f"the server has not gone down within {_PATIENCE:g} s")
        if failed:
            raise RuntimeError("the server has failed") from failed[0]


@contextlib.contextmanager
def _uvicorn(app: Any, listening: socket.socket) -> Iterator[None]:
    import uvicorn

    config = uvicorn.Config(
        app, log_config=None, access_log=False, ws="websockets-sansio", timeout_graceful_shutdown=_GRACE
    )
    server = uvicorn.Server(config)

    def stop() -> None:
        server.should_exit = True

    with _in_thread(lambda: server.run(sockets=[listening]), stop):
        yield


@contextlib.contextmanager
def _hypercorn(app: Any, listening: socket.socket) -> Iterator[None]:
    import trio
    from hypercorn.config import Config
    from hypercorn.trio import serve

    config = Config()
    config.bind = [f"fd://{os.dup(listening.fileno())}"]
    config.loglevel = "WARNING"
    config.graceful_timeout = _GRACE
    config.shutdown_timeout = _PATIENCE
    up = threading.Event()
    stops: list[Callable[[], None]] = []

    async def main() -> None:
        stopped, token = trio.Event(), trio.lowlevel.current_trio_token()
        stops.append(lambda: token.run_sync_soon(stopped.set))
        up.set()
        await serve(app, config, shutdown_trigger=stopped.wait, mode="asgi")

    def stop() -> None:
        if up.wait(_PATIENCE):
            with contextlib.suppress(trio.RunFinishedError):
                stops[0]()

    with _in_thread(lambda: trio.run(main), stop):
        yield
