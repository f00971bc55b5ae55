"""What a stream of chunks and a completion have in common."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from becket import ToolProgress, ToolStarted

from becket_openai_server._errors import failure_object, failure_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from becket import AgentResult, Event, Message, RunFailed, RunInfo, StopReason, ToolFinished, Usage

__all__ = [
    "Failure",
    "Lines",
    "as_json",
    "completion_id",
    "dumps",
    "finish_reason",
    "quoted",
    "unsaid_output",
    "usage_object",
]

_FINISH: Final[Mapping[StopReason, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "content_filtered": "content_filter",
}
_SHOWN: Final = 200
"""Characters that a line has of arguments, or of a result."""

_text: Final = json.JSONEncoder(ensure_ascii=False).encode
_value: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_BREAKS: Final = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""No line breaks to `text/event-stream`, but to clients that split lines as Python's `str.splitlines` does."""


def quoted(text: str) -> str:
    """A text as JSON, in which no client sees the end of a line."""
    written = _text(text)
    return written if written.isascii() else _unbroken(written)


def dumps(value: Any) -> str:
    """As `quoted`, of any value that is JSON."""
    return _unbroken(_value(value))


def _unbroken(written: str) -> str:
    for character, escape in _BREAKS.items():
        if character in written:
            written = written.replace(character, escape)
    return written


def as_json(event: Event) -> Any:
    """One of becket's own events."""
    return json.loads(event.to_json())


def completion_id(run: RunInfo) -> str:
    """What the answer is called: the run can be told from it."""
    return f"chatcmpl-{run.run_id}"


def finish_reason(reason: StopReason) -> str:
    """OpenAI's word for it. Whatever has cut an answer off (a limit, a cancellation) makes it too short: `length`."""
    return _FINISH.get(reason, "length")


def usage_object(usage: Usage) -> dict[str, Any]:
    """The tokens of all model calls together."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def unsaid_output(result: AgentResult[Any]) -> str:
    """The structured output of a run as JSON, where the last message does not say it; empty where it does.

    A model that was asked for it by a tool has written it as the arguments of a call.
    """
    if result.output is None:
        return ""
    try:
        said = json.loads(result.text)
    except (ValueError, RecursionError):
        said = None
    return "" if said == result.output else dumps(result.output)


class Lines:
    """Lines for people about the calls of a run; those of nested runs are left out."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, message: Message) -> None:
        """Take the names of the tools that a message calls: a call that is denied never begins."""
        self._names.update((call.id, call.tool) for call in message.tool_calls)

    def of(self, event: ToolStarted | ToolProgress | ToolFinished) -> str:
        """A line about a call that begins or has ended; empty for nothing to say."""
        if event.parent_run_id is not None or isinstance(event, ToolProgress):
            return ""
        if isinstance(event, ToolStarted):
            return f"{event.call.tool}({_cut(dumps(event.call.arguments))})"
        result = event.result
        status = "" if result.status == "success" else f" [{result.status}]"
        return f"{self._names.get(result.call_id, result.call_id)}{status}: {_cut(result.text)}"


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class Failure:
    """An answer that has failed before it began.

    Args:
        event: What it has failed with.
        acted: Whether a tool was called.

    Attributes:
        status: Its HTTP status.
        headers: What tells OpenAI's clients whether to send the request again, which they do by themselves with every
            status from 500: not where that helps nothing, nor where a tool would be called a second time.
        body: OpenAI's object.
    """

    media_type = "application/json"

    def __init__(self, event: RunFailed, *, acted: bool) -> None:
        error = event.error
        self.status = failure_status(error)
        self.headers = {"x-should-retry": "true" if error.retryable and not acted else "false"}
        self.body = dumps({"error": failure_object(error)}).encode()
