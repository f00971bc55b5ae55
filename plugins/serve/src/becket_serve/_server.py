"""uvicorn, stopped as this server is to be stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

import uvicorn

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from starlette.applications import Starlette

__all__ = ["Server"]

_LEAVING: Final = 5.0
"""Seconds that answers have to be sent to their ends, once their runs are over."""


class Server(uvicorn.Server):
    """Serves one application of becket's.

    The first SIGINT or SIGTERM stops it: it accepts nobody, lets runs finish for a while, cancels the others, and sends
    what they have said at last. The second one ends the process at once.

    Args:
        app: What `becket_serve.app` has made.
    """

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="websockets-sansio",
                ws_max_size=_limits(app).body_bytes,
                timeout_graceful_shutdown=int(_LEAVING),
            )
        )
        self._app = app
        self._signalled = False
        logging.getLogger("uvicorn.error").addFilter(_is_news)

    async def shutdown(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Stop, run by run; then as uvicorn does."""
        from becket_serve._app import served

        for server in self.servers:
            server.close()
        await served(self._app).close()
        await super().shutdown(list(sockets or []))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  a handler's
        """Stop; or end."""
        if self._signalled:
            os._exit(128 + sig)  # whatever still goes on has had its time
        self._signalled = self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals. To be stopped is how a server ends, so it ends well: uvicorn would raise them again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's log says anything: not that for each WebSocket that is refused, as it should be."""
    return record.getMessage() != "ASGI callable returned without completing handshake."


def _limits(app: Starlette) -> Any:
    from becket_serve._app import served

    return served(app).runs.limits
