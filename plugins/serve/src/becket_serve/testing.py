"""For tests: a server that really listens."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["serving"]

_PATIENCE: Final = 30.0
"""Seconds that a server has to come up, and to go down."""


@contextlib.contextmanager
def serving(app: Any, *, backend: Literal["asyncio", "trio"] = "asyncio") -> Iterator[str]:
    """Serve an ASGI application on a free port of 127.0.0.1, in a thread, as long as the block lasts.

    Args:
        app: The application.
        backend: The event loop: asyncio with uvicorn, trio with hypercorn, which must be installed.

    Yields:
        The address, as `http://127.0.0.1:PORT`; it answers already.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with _uvicorn(app, listening):
            yield address


@contextlib.contextmanager
def _uvicorn(app: Any, listening: socket.socket) -> Iterator[None]:
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="becket_serve.testing")
    thread.start()
    try:
        yield  # the socket listens: what connects now waits until the server takes it
    finally:
        server.should_exit = True
        thread.join(_PATIENCE)
        if thread.is_alive():
            server.force_exit = True
            thread.join(_PATIENCE)
