"""From a request to a run: what it asks for beyond an agent is refused, and its messages become becket's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from becket import ConfigError, ModelOptions
from becket.wires import RunRequest

from becket_openai_server._conversation import conversation
from becket_openai_server._errors import refused

if TYPE_CHECKING:
    from becket_openai_server._request import ChatRequest

__all__ = ["read"]

_OWN_TOOLS: Final = (
    "tools of the client are not supported: the agent behind this model has tools of its own, and calls them on the "
    "server; leave it out"
)
_FOR_TOOLS: Final = "it chooses among tools of the client, which are not supported; leave it out"
_PROBABILITIES: Final = "an agent's answer has no log probabilities; leave it out"
_TEXT: Final = "answers are text alone; leave it out"

_UNSUPPORTED: Final[tuple[tuple[str, tuple[object, ...], str], ...]] = (
    ("n", (1,), "a run gives one answer; leave it out, and send as many requests as you want answers"),
    ("tools", ([],), _OWN_TOOLS),
    ("functions", ([],), _OWN_TOOLS),
    ("tool_choice", ("auto", "none"), _FOR_TOOLS),
    ("function_call", ("auto", "none"), _FOR_TOOLS),
    (
        "response_format",
        ("text",),
        "answers of a given form are not supported; leave it out, and ask for the form in a message",
    ),
    ("logprobs", (False,), _PROBABILITIES),
    ("top_logprobs", (0,), _PROBABILITIES),
    ("modalities", (["text"], []), _TEXT),
    ("audio", (), _TEXT),
    ("web_search_options", (), "the agent behind this model searches where it has a tool for it; leave it out"),
    ("moderation", (), "an answer has no such results; leave it out"),
)
"""What cannot be had: the parameter, values of it that ask for nothing and that front ends do send, and why."""


def read(body: ChatRequest) -> RunRequest:
    """The run that a request asks for.

    Raises:
        RequestError: It asks for what an agent does not give.
    """
    for param, harmless, why in _UNSUPPORTED:
        given = getattr(body, param)
        if (
            given is not None and getattr(given, "type", given) not in harmless
        ):  # a response_format is known by its type
            raise refused(f"{param}: {why}", param=param, code="unsupported_parameter")
    told = conversation(body.messages)
    return RunRequest(
        prompt=told.prompt,
        history=told.history,
        agent=body.model or None,
        instructions=told.instructions,
        options=_options(body),
    )


def _options(body: ChatRequest) -> ModelOptions | None:
    """What the request says about sampling; None where it says nothing, so that the agent's own options hold."""
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    longest = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    try:
        options = ModelOptions(
            temperature=body.temperature, top_p=body.top_p, max_tokens=longest, stop=stop, seed=body.seed
        )
    except ConfigError as error:
        raise refused(str(error), code="invalid_value") from error
    return None if options == ModelOptions() else options
