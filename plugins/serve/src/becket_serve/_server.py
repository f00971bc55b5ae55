"""uvicorn, stopped as this server is to be stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

import click
import uvicorn
from anyio import to_thread
from becket import BecketError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from becket import Agent
    from starlette.applications import Starlette

__all__ = ["Server"]

_LEAVING: Final = 5.0
"""Seconds that answers have to be sent to their ends, once their runs are over."""


class Server(uvicorn.Server):
    """Serves one application of becket's.

    The first SIGINT or SIGTERM stops it: it accepts nobody, lets runs finish for a while, cancels the others, and sends
    what they have said at last. The second one ends the process at once.

    SIGUSR1 has the agent made anew; where that fails, the one before is served on. Routes stay as they are. (SIGHUP,
    which others take for it, comes also when a terminal is closed, and a server that was started there is to end with
    it.)

    Args:
        app: What `becket_serve.app` has made.
        renewed: Makes the agent anew, in a worker thread; None for a server whose agent stays.
    """

    def __init__(self, app: Starlette, *, renewed: Callable[[], Agent] | None = None) -> None:
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
        self._renewed = renewed
        self._wanted = False
        self._signalled = False
        logging.getLogger("uvicorn.error").addFilter(_is_news)

    async def on_tick(self, counter: int) -> bool:
        """Do what is to be done now and then, ten times a second."""
        if self._wanted and self._renewed is not None:
            self._wanted = False
            await self._renew(self._renewed)
        return await super().on_tick(counter)

    async def _renew(self, made: Callable[[], Agent]) -> None:
        from becket_serve._app import served

        try:
            agent = await to_thread.run_sync(made)
            unserved = served(self._app).unserved(agent)
            served(self._app).renew(agent)
        except Exception as error:  # noqa: BLE001  whatever is wrong with it: there is one that works
            said = f"{error}" if isinstance(error, BecketError) else f"{type(error).__name__}: {error}"
            click.echo(f"becket: the agent cannot be made anew, and the one before is served on: {said}", err=True)
        else:
            later = f"; routes need a restart, so these have none yet: {', '.join(unserved)}" if unserved else ""
            click.echo(f"becket: {agent.name} ({agent.model}) was made anew, for new runs{later}", err=True)

    def handle_renewal(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  a handler's
        """Have it made anew."""
        self._wanted = True

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
        handlers: dict[int, Any] = dict.fromkeys((signal.SIGINT, signal.SIGTERM), self.handle_exit)
        if self._renewed is not None and hasattr(signal, "SIGUSR1"):
            handlers[signal.SIGUSR1] = self.handle_renewal
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
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
