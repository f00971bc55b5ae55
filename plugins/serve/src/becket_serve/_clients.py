"""Who a client is: the token it has, or what the host says of it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import inspect
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from becket import RequestError

from becket_serve._settings import checked_tokens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.requests import HTTPConnection

__all__ = ["SUBPROTOCOL", "Authenticate", "Clients"]

Authenticate: TypeAlias = "Callable[[HTTPConnection], str | Awaitable[str | None] | None]"
"""Says who has sent a request: any name that is the client's alone, or None for nobody that may."""

SUBPROTOCOL: Final = "bearer."
"""How a page in a browser, which can set no header, gives its token to a WebSocket: as a subprotocol, in base64url."""

_EVERYBODY: Final = "everybody"


class Clients:
    """Tells clients apart, and refuses those that have no token.

    Args:
        tokens: The tokens; none for no need of one.
        authenticate: Asked instead of looking at tokens.
    """

    def __init__(self, tokens: Iterable[object], authenticate: Authenticate | None) -> None:
        self._digests = [_digest(token) for token in checked_tokens(tokens)]
        self._authenticate = authenticate

    @property
    def need_token(self) -> bool:
        """Whether a request needs a bearer token."""
        return bool(self._digests) and self._authenticate is None

    @property
    def are_told_apart(self) -> bool:
        """Whether not everybody is served."""
        return bool(self._digests) or self._authenticate is not None

    async def who(self, connection: HTTPConnection) -> str:
        """A name for the client, which says nothing of its token.

        Raises:
            RequestError: It may not, status 401.
        """
        if self._authenticate is not None:
            return await self._named(self._authenticate, connection)
        if not self._digests:
            return _EVERYBODY
        given = _digest(_token(connection))
        found = [digest for digest in self._digests if hmac.compare_digest(digest, given)]  # all of them, each time
        if not found:
            raise _refused("the request has no token that is known; send 'Authorization: Bearer <token>'")
        return found[0].hex()[:16]

    @staticmethod
    async def _named(authenticate: Authenticate, connection: HTTPConnection) -> str:
        said: Any = authenticate(connection)
        name = await said if inspect.isawaitable(said) else said
        if name is None:
            raise _refused("the request does not come from a client that is known")
        return _digest(f"name {name}").hex()[:16]


def _refused(message: str) -> RequestError:
    return RequestError(message, status=401, code="unauthorized")


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), person=b"becket-serve").digest()


def _token(connection: HTTPConnection) -> str:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if connection.scope["type"] == "websocket":
        for offered in connection.scope.get("subprotocols", ()):
            if offered.startswith(SUBPROTOCOL):
                return _decoded(offered.removeprefix(SUBPROTOCOL))
    return ""


def _decoded(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeError, ValueError):
        return ""
