"""Reading the body of a request: JSON, bounded, and of the type that the route takes."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from becket import RequestError

from becket_serve._problems import not_fitting

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from starlette.requests import Request

__all__ = ["read_body"]


async def read_body(request: Request, adapter: TypeAdapter[Any], limit: int) -> Any:
    """The body, validated.

    Raises:
        RequestError: It is not JSON by its content type (415), too long (413), no JSON (400), or does not fit (422).
        ClientDisconnect: The client has gone before it was whole.
    """
    from pydantic import ValidationError

    _check_type(request)
    data = await _read(request, limit)
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        raise not_fitting(error) from error


def _check_type(request: Request) -> None:
    given = request.headers.get("content-type", "")
    kind, _, parameters = given.partition(";")
    kind = kind.strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        # Also what keeps a form on another site's page from posting: a browser asks before it sends JSON.
        raise _unsupported(f"the content type is {given[:100]!r}; it must be application/json")
    charset = parameters.lower().replace(" ", "").replace('"', "")
    if "charset=" in charset and "charset=utf-8" not in charset:
        raise _unsupported(f"the content type is {given[:100]!r}; JSON is in UTF-8")
    if (coding := request.headers.get("content-encoding", "identity").lower()) != "identity":
        raise _unsupported(f"the body is encoded as {coding[:100]!r}; send it as it is")


def _unsupported(message: str) -> RequestError:
    return RequestError(message, status=415, code="unsupported_media_type")


async def _read(request: Request, limit: int) -> bytes:
    said = request.headers.get("content-length", "")
    if said.isdecimal() and (len(said) > _DIGITS or int(said) > limit):
        raise _too_long(limit)
    pieces: list[bytes] = []
    size = 0
    async with aclosing(request.stream()) as stream:
        async for piece in stream:
            size += len(piece)
            if size > limit:
                raise _too_long(limit)
            pieces.append(piece)
    return b"".join(pieces)


_DIGITS: Final = 20
"""More than any length has; Python limits how long a number it reads."""


def _too_long(limit: int) -> RequestError:
    return RequestError(
        f"the body has more than {limit:,} bytes, which is what this server takes",
        status=413,
        code="body_too_long",
        members={"limit": limit},
    )
