"""What a client may say, and what is said to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from becket import Allow, Deny, Edit, RequestError
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, model_validator
from pydantic_core import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from becket.policies import Answer

__all__ = ["Cancel", "Decide", "Ping", "Resume", "Said", "Start", "about", "problem", "read", "said"]

_ID_CHARS: Final = 200
"""Characters of a client's own name for what it starts."""

_MOST: Final = 2**53
"""The largest number that every client has; Python limits how long a number it writes."""

_SHOWN: Final = 20
"""What is wrong with a message is told so many times at most."""

_CHARS: Final = 200
"""Characters of a name in a message that are said again."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Start(_Message):
    """Start a run."""

    type: Literal["start"]
    prompt: str = Field(min_length=1)
    id: str | None = Field(None, max_length=_ID_CHARS)
    agent: str | None = None
    session_id: str | None = None
    detach: bool = False


class Cancel(_Message):
    """End a run."""

    type: Literal["cancel"]
    run_id: str


class Decide(_Message):
    """Answer what a run asks."""

    type: Literal["decide"]
    run_id: str
    request_id: str
    outcome: Literal["allow", "deny", "edit"]
    reason: str = ""
    arguments: dict[str, JsonValue] | None = None

    @model_validator(mode="after")
    def _check_arguments(self) -> Decide:
        if (self.outcome == "edit") != (self.arguments is not None):
            raise ValueError("`arguments` go with the outcome `edit`, and with no other")
        return self

    def answer(self) -> Answer:
        """The same in becket's terms."""
        if self.arguments is not None:
            arguments: Any = self.arguments
            return Edit(arguments, self.reason)
        if self.outcome == "deny":
            return Deny(self.reason or "whoever was asked has said no")
        return Allow(self.reason)


class Resume(_Message):
    """Read on in a run."""

    type: Literal["resume"]
    run_id: str
    after: int = Field(0, ge=0, le=_MOST)


class Ping(_Message):
    """Ask whether somebody is there."""

    type: Literal["ping"]


Said: TypeAlias = Start | Cancel | Decide | Resume | Ping
"""Any of them."""

_ADAPTER: Final[TypeAdapter[Said]] = TypeAdapter(Annotated[Said, Field(discriminator="type")])


def read(message: str | bytes) -> Said:
    """What the client says.

    Raises:
        RequestError: It is no JSON (400), or not what can be said (422).
    """
    try:
        return _ADAPTER.validate_json(message)
    except ValidationError as error:
        raise _not_fitting(error) from error


def about(message: str | bytes) -> dict[str, str]:
    """What a message that cannot be read is about, so that its client knows which one it was."""
    try:
        raw = from_json(message)
    except ValueError:
        return {}
    if not isinstance(raw, dict):
        return {}
    names = {name: raw.get(name) for name in ("id", "run_id")}
    return {name: given for name, given in names.items() if isinstance(given, str) and len(given) <= _ID_CHARS}


def said(kind: str, **members: str | None) -> bytes:
    """A message to the client; members that are None are left out."""
    return to_json({"type": kind, **members}, exclude_none=True)


def problem(error: RequestError, regarding: Mapping[str, str]) -> bytes:
    """What is wrong, in the words of RFC 9457 that becket's servers use over HTTP."""
    told = {"type": "problem", **regarding, "status": error.status, "code": error.code, "detail": str(error)}
    if error.retry_after is not None:
        told["retry_after"] = error.retry_after
    return to_json({**error.members, **told}, inf_nan_mode="null")


def _not_fitting(error: ValidationError) -> RequestError:
    """Values are not said again: they may be long, or secret."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return RequestError(f"the message is no JSON: {found[0]['msg']}", code="malformed_json")
    told: list[JsonValue] = [{"at": _place(one["loc"]), "message": one["msg"][: 2 * _CHARS]} for one in found[:_SHOWN]]
    place, what = _place(found[0]["loc"]), found[0]["msg"][: 2 * _CHARS]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return RequestError(
        f"the message is none of this wire: {f'{place}: {what}' if place else what}{more}",
        status=422,
        code="invalid_message",
        members={"errors": told},
    )


def _place(loc: Sequence[str | int]) -> str:
    return ".".join(str(part)[:_CHARS] for part in loc)[: 2 * _CHARS]
