"""What the service, and those that imitate it, say when something is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from becket_wire import ErrorDetails

if TYPE_CHECKING:
    from becket_wire import Explain

__all__ = ["details", "explain", "explanation"]

_LASTING: Final = frozenset(
    {  # what comes with 429, as the rate limits do that pass, or within a stream, where there is no status
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "context_length_exceeded",
        "content_filter",
        "content_policy_violation",
        "invalid_prompt",
    }
)
_PASSING: Final = frozenset(
    {
        "engine_overloaded",
        "internal_error",
        "internal_server_error",
        "overloaded",
        "overloaded_error",
        "rate_limit_error",
        "rate_limit_exceeded",
        "server_error",
        "service_unavailable",
        "slow_down",
        "timeout",
        "tokens",  # the type of OpenAI's rate limit on tokens; `requests` that of the other
        "requests",
    }
)
_STATUSES: Final = range(400, 600)
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404
_SHOWN: Final = 300  # characters of a body that is no error document

_NO_TOOLS: Final = (
    "does not support tools",  # Ollama
    "does not support tool",
    "does not support function calling",
    "support tool use",  # OpenRouter: no endpoints found that ...
    "enable-auto-tool-choice",  # vLLM, started without a parser
    "tools param requires --jinja",  # llama.cpp, as before
    "tool calling is not supported",
)
_WITHOUT_TOOLS: Final = "choose a model that calls tools, or offer it none (Agent(tools=[]), becket run -t none)"

_NEVER: Final = ("input is not supported",)  # llama.cpp, of images and sounds, with the status of what passes


def explanation(key_advice: str, name: str) -> Explain:
    """What reads the error documents of one endpoint.

    Args:
        key_advice: What to do where the key is refused, or missing.
        name: The provider's name.
    """

    def read(status: int, body: bytes) -> ErrorDetails | None:
        said = explain(status, body)
        if status == _NOT_FOUND and said is not None and not said.advice:
            return replace(said, advice=f"'becket models {name}' lists the models that there are")
        if status != _UNAUTHORIZED:
            return said
        if said is None:  # what stands before a service refuses a key in its own way
            said = ErrorDetails(message=" ".join(body.decode("utf-8", "replace").split())[:_SHOWN])
        return replace(said, advice=said.advice or key_advice)

    return read


def explain(status: int, body: bytes) -> ErrorDetails | None:
    """What an error document says; None where it is none of this wire's."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(document, list) and document:  # as Google's imitation answers
        document = document[0]
    if not isinstance(document, dict):
        return None
    error = document.get("error")
    if error is None and document.keys() & {"message", "detail"}:  # vLLM, FastAPI, Mistral
        error = document
    return details(error, status if status in _STATUSES else None) if error else None


def details(error: Any, status: int | None = None) -> ErrorDetails:
    """What an error object says, of a document or within a stream.

    Args:
        error: The value under `error`: an object as a rule, with some servers a text.
        status: The status of the response, where it was none of success.
    """
    if not isinstance(error, dict):
        error = {"message": str(error)}
    message = _message(error)
    codes = [str(error[key]) for key in ("code", "type") if error.get(key) not in (None, "")]
    if status is None:
        status = next((int(code) for code in codes if code.isdecimal() and int(code) in _STATUSES), None)
    words = [code for code in codes if not code.isdecimal()]
    return ErrorDetails(
        message=message,
        code=next(iter(words or codes), None),
        retryable=False if any(sign in message for sign in _NEVER) else _is_retryable(words),
        status=status,
        advice=_WITHOUT_TOOLS if any(sign in message for sign in _NO_TOOLS) else "",
    )


def _is_retryable(words: list[str]) -> bool | None:
    """Whether the same request may succeed later, by the vendor's words for it; None where they do not tell.

    The code, which comes first, is more exact than the type.
    """
    for word in words:
        if word in _LASTING:
            return False
        if word in _PASSING:
            return True
    return None


def _message(error: dict[str, Any]) -> str:
    said = error.get("message") or error.get("detail") or error.get("error")
    raw = error.get("metadata")
    if isinstance(raw, dict) and isinstance(raw.get("raw"), str):  # OpenRouter: what the service behind it said
        said = f"{said}: {raw['raw']}"
    if isinstance(said, str) and said:
        return said
    return json.dumps(said or error, ensure_ascii=False)
