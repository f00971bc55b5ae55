"""Sending a request, following redirects, and reading as much of the response as is shown."""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import anyio
import httpcore2
import httpx2
from becket import ToolError

from becket_tools._answer import Answer, Content, kind_of, most_bytes, show
from becket_tools._ask import REDIRECTS, Ask, check, redirected
from becket_tools._guard import Guard, GuardedTransport, system_resolver

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

    from becket_tools._settings import HttpSettings

__all__ = ["Sender"]

_UPGRADED = 101  # the connection is no longer HTTP, so nothing of it is read


_ENCODINGS = ("gzip", "deflate")  # what is offered, and so all that a server may use


@dataclass(frozen=True, slots=True)
class _Read:
    body: bytes
    cut: bool


class Sender:
    """Sends requests under one host's settings. Making one reads the certificates of the system: some 20 ms."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._tls: ssl.SSLContext = settings.ssl_context or httpcore2.default_ssl_context()
        self._guard = Guard(settings.exemptions, settings.resolve or system_resolver)
        self._agent = f"becket-tools/{version('becket-tools')}"

    async def send(self, method: str, url: str, headers: Mapping[str, str] | None, body: str) -> Content:
        """What the server answers, as `show` has it.

        Raises:
            ToolError: There is no answer; the text says why.
        """
        ask = check(method, url, headers, body)
        settings = self._settings
        try:
            with anyio.fail_after(settings.timeout):
                return show(await self._answer(ask), settings.max_chars)
        except TimeoutError as error:
            raise ToolError(
                f"{_place(ask)} did not answer in full within {settings.timeout:g} s; try again later"
            ) from error

    async def _answer(self, first: Ask) -> Answer:
        """The response to `first`, or to where it is redirected."""
        ask = first
        async with self._client() as client:
            for _ in range(self._settings.max_redirects + 1):
                with self._explained(_place(ask)):
                    found = await self._exchange(client, ask, moved=ask is not first)
                if isinstance(found, Answer):
                    return found
                ask = found
        raise ToolError(
            f"{_place(first)} redirects more than {self._settings.max_redirects} times; ask another address"
        )

    async def _exchange(self, client: httpx2.AsyncClient, ask: Ask, *, moved: bool) -> Answer | Ask:
        """The response to `ask`, or what is to be asked instead."""
        request = client.build_request(ask.method, ask.url, headers=ask.headers, content=ask.body or None)
        async with aclosing(await client.send(request, stream=True)) as response:
            if response.status_code in REDIRECTS and "location" in response.headers:
                return redirected(ask, response.status_code, response.headers["location"])
            return await self._read(response, moved=moved)

    @contextmanager
    def _explained(self, place: str) -> Iterator[None]:
        """Say what went wrong in a sentence for the model."""
        try:
            yield
        except httpcore2.ConnectTimeout as error:
            raise ToolError(
                f"{place} could not be reached within {self._settings.connect_timeout:g} s; try again later"
            ) from error
        except httpcore2.ConnectError as error:
            raise ToolError(f"{place} could not be reached: {error}") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise ToolError(f"{place} broke off, or did not speak HTTP: {error}") from error
        except httpx2.DecodingError as error:
            raise ToolError(f"what {place} sent is not encoded as it says: {error}") from error

    def _client(self) -> httpx2.AsyncClient:
        """A client for one call: no cookie or connection is kept for the next one, which may be another user's."""
        return httpx2.AsyncClient(
            transport=GuardedTransport(self._guard, self._tls),
            trust_env=False,
            timeout=httpx2.Timeout(None, connect=self._settings.connect_timeout),
            headers={"User-Agent": self._agent, "Accept-Encoding": ", ".join(_ENCODINGS)},
        )

    async def _read(self, response: httpx2.Response, *, moved: bool) -> Answer:
        headers = {name.lower(): value for name, value in response.headers.items()}
        status = f"{response.status_code} {response.reason_phrase}".strip()
        bare = response.request.method == "HEAD" or response.status_code == _UPGRADED
        most = 0 if bare else most_bytes(kind_of(headers), self._settings.max_bytes, self._settings.max_chars)
        read = await _read_at_most(response, most) if most else _Read(b"", cut=False)
        return Answer(status, str(response.url), moved, headers, read.body, read.cut, bare)


async def _read_at_most(response: httpx2.Response, most: int) -> _Read:
    """The first `most` bytes of the body, decoded; no more is read than they take.

    Raises:
        ToolError: It is encoded otherwise than was offered, or more than once. What is encoded twice can unfold to
            gigabytes that come to nothing, within one step of the decoder, which no time limit can interrupt.
    """
    encodings = [name.lower() for name in response.headers.get_list("content-encoding", split_commas=True)]
    if len(encodings) > 1 or not {*encodings} <= {*_ENCODINGS, "identity", ""}:
        raise ToolError(f"the response is encoded as {', '.join(encodings)[:100]!r}, which this tool does not read")
    body = bytearray()
    async with aclosing(response.aiter_bytes()) as parts:
        async for part in parts:
            body += part
            if len(body) > most:
                return _Read(bytes(body[:most]), cut=True)
    return _Read(bytes(body), cut=False)


def _place(ask: Ask) -> str:
    """The origin of a request, for an error message."""
    return f"{ask.url.scheme}://{ask.url.netloc.decode('ascii')}"
