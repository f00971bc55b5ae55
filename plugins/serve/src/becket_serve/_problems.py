"""What a client gets instead of an answer: `application/problem+json`, RFC 9457."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from becket import RequestError
from becket.wires import DescribingWire
from pydantic_core import to_json
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from logging import Logger

    from becket.wires import AnyWire
    from pydantic import ValidationError

__all__ = ["MEDIA_TYPE", "Problem", "internal_error", "logger", "not_fitting", "problem"]

MEDIA_TYPE: Final = "application/problem+json"

_SHOWN: Final = 20
"""What is wrong with a body is told so many times at most."""

_CHARS: Final = 200
"""Characters of a name in a body that are said again."""


class Problem(Response):
    """An error as the answer."""

    media_type = MEDIA_TYPE


def problem(error: RequestError, wire: AnyWire | None = None, headers: Mapping[str, str] | None = None) -> Problem:
    """The answer for an error.

    Args:
        error: The error.
        wire: The wire whose client has caused it, which may have something to add.
        headers: Further headers.
    """
    status = error.status if error.status in _STATUSES else 500
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": str(error),
        "code": error.code,
        **error.members,
        **_described(error, wire),
    }
    more = {"cache-control": "no-store", **(headers or {})}  # 404 and 410 would be kept otherwise; RFC 9110, 15.1
    if error.retry_after is not None:
        more["retry-after"] = str(math.ceil(error.retry_after))
    return Problem(to_json(body, inf_nan_mode="null"), status, more)


_STATUSES: Final = frozenset(status.value for status in HTTPStatus if status >= HTTPStatus.BAD_REQUEST)


def _described(error: RequestError, wire: AnyWire | None) -> Mapping[str, Any]:
    describing: object = wire  # which a type checker would not take for both
    if not isinstance(describing, DescribingWire):
        return {}
    try:
        return dict(describing.describe(error))
    except Exception:  # noqa: BLE001  a plugin's code; the log has it
        logger().exception("%r failed to describe an error, which is told without", describing)
        return {}


def internal_error() -> RequestError:
    """What a client is told of a fault that is not its own: nothing. The log has it."""
    return RequestError("the server has failed at this request; its log says why", status=500, code="internal_error")


def not_fitting(error: ValidationError) -> RequestError:
    """The error for a body that is no JSON, or not what the route takes. Values are not said again."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return RequestError(f"the body is no JSON: {found[0]['msg']}", code="malformed_json")
    told: list[Any] = [{"at": _place(one["loc"]), "message": one["msg"][: 2 * _CHARS]} for one in found[:_SHOWN]]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return RequestError(
        f"the body is not what this route takes: {_said(told[0])}{more}; see /openapi.json",
        status=422,
        code="invalid_body",
        members={"errors": told},
    )


def _place(loc: Sequence[str | int]) -> str:
    return ".".join(str(part)[:_CHARS] for part in loc)[: 2 * _CHARS]


def _said(one: Mapping[str, str]) -> str:
    return f"{one['at']}: {one['message']}" if one["at"] else one["message"]


def logger() -> Logger:
    """The logger of this package."""
    import logging

    return logging.getLogger("becket.serve")
