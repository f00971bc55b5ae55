"""The services of the rows over HTTP, started and stopped, and the least client that asks one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Service", "event_service", "wire_service"]


@contextlib.contextmanager
def wire_service() -> Iterator[str]:
    """`wireserver.py` in a process of its own; gives its address."""
    with _process("wireserver.py") as port:
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def event_service() -> Iterator[Service]:
    """`eventserver.py` in a process of its own."""
    with _process("eventserver.py") as port:
        yield Service(port)


@contextlib.contextmanager
def _process(name: str) -> Iterator[int]:
    script = Path(__file__).with_name(name)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 -- for the type checker
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


class Service:
    """A service on this port, as its clients see it. Each request has a connection of its own."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def cpu(self) -> float:
        """CPU seconds that it has used."""
        return float((await self.whole("GET", "/cpu")).partition(b"\r\n\r\n")[2])

    async def measure(self) -> dict[str, Any]:
        """What it says of itself."""
        measured: dict[str, Any] = json.loads((await self.whole("GET", "/measure")).partition(b"\r\n\r\n")[2])
        return measured

    async def whole(self, method: str, path: str, prompt: str = "") -> bytes:
        """All that it answers."""
        reader, writer = await self.ask(method, path, prompt)
        try:
            return await reader.read()
        finally:
            writer.close()

    async def ask(
        self, method: str, path: str, prompt: str = "", *, limit: int = 2**16
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Ask, and read nothing.

        Args:
            method: Of the request.
            path: Of the request.
            prompt: What the agent is asked.
            limit: Bytes that are taken from the socket without having been read.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=limit)
        body = json.dumps({"prompt": prompt}) if prompt else ""
        writer.write(
            f"{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        return reader, writer
