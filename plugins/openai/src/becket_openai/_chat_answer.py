"""The answer of chat completions as it comes in: chunks become events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec
from becket import ExtensionDelta, ModelFinished, ReasoningDelta, TextDelta, Usage

from becket_openai._chat_calls import CallDelta, Calls, Function
from becket_openai._chat_extras import Extras
from becket_openai._errors import details

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket import ModelEvent, StopReason

    from becket_openai._api import Failures

__all__ = ["ChatAnswer"]

_REASONING, _TEXT, _REFUSAL, _CALLS = range(4)  # numbers of blocks, the calls' from there on


class _Delta(msgspec.Struct, gc=False):
    content: str | list[Any] | None = None
    reasoning_content: str | None = None  # DeepSeek, llama.cpp, LM Studio
    reasoning: Any = None  # OpenRouter, vLLM, Ollama; a text
    refusal: str | None = None
    tool_calls: list[CallDelta] | None = None
    function_call: Function | None = None  # of before there were several
    reasoning_details: list[dict[str, Any]] | None = None  # OpenRouter; see `Extras`
    extra_content: Any = None  # Google; as above

    def is_plain(self) -> bool:
        """Whether there is nothing but content."""
        return (
            self.tool_calls is None
            and self.reasoning_content is None
            and self.reasoning is None
            and self.refusal is None
            and self.function_call is None
            and self.reasoning_details is None
            and self.extra_content is None
        )


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    index: int | None = 0
    finish_reason: str | None = None
    stop_reason: Any = None  # vLLM: the text at which it stopped


class _InputDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek

    def counted(self) -> Usage:
        """The same in becket's terms."""
        given, written, inner = self.prompt_tokens or 0, self.completion_tokens or 0, self.completion_tokens_details
        cached = self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None
        thought = (inner.reasoning_tokens if inner else None) or 0
        if thought and self.total_tokens == given + written + thought:
            written += thought  # Google's and xAI's imitations do not count it among what was written
        return Usage(given, written, cached or self.prompt_cache_hit_tokens or 0, thought)


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None
    id: Any = None
    object: str | None = None
    message: Any = None  # of an error that is not wrapped: vLLM's
    code: Any = None


_STOPS: Final[dict[str, StopReason]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "content_filtered",
    # Other words of servers like it: Mistral's, and those of the engines behind gateways.
    "model_length": "max_tokens",
    "max_tokens": "max_tokens",
    "safety": "content_filtered",
}
_FAILED: Final = frozenset({"error", "abort", "insufficient_system_resource"})  # OpenRouter, vLLM, DeepSeek

_decode = msgspec.json.Decoder(_Chunk).decode


class ChatAnswer:
    """One answer; see `becket_openai._api.Answer`.

    Args:
        provider: The provider's name.
        model: The model that is asked.
        failures: Makes the errors.

    Attributes:
        done: Whether the stream has said that it is complete.
    """

    __slots__ = (
        "_calls",
        "_extras",
        "_failures",
        "_id",
        "_provider",
        "_reason",
        "_refused",
        "_stopped_at",
        "_usage",
        "done",
    )

    def __init__(self, provider: str, model: str, failures: Failures) -> None:
        self._provider = provider
        self._failures = failures
        self._extras = Extras(model)
        self._id: Any = None
        self._calls = Calls(_CALLS)
        self._reason: str | None = None
        self._stopped_at: Any = None
        self.done = False
        self._refused = False
        self._usage = _Usage()

    def take(self, data: bytes, /) -> Sequence[ModelEvent]:
        """The events of one chunk; this is the path of a token."""
        if self.done:
            return ()
        try:
            chunk = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            if data == b"[DONE]":
                self.done = True
                return ()
            chunk = self._decoded_otherwise(data, error)
        choices = chunk.choices
        if choices and chunk.usage is None and chunk.error is None:
            choice = choices[0]
            delta = choice.delta
            if delta is not None and not choice.finish_reason and not choice.index:
                content = delta.content
                if content.__class__ is str and content and delta.is_plain():
                    return (TextDelta(content, _TEXT),)
        return self._take_other(chunk)

    def _take_other(self, chunk: _Chunk) -> Sequence[ModelEvent]:
        """The events of a chunk that is not a fragment of text alone."""
        if chunk.usage is not None or chunk.error is not None:
            self._aside(chunk)
        if not chunk.choices:
            return self._without_choices(chunk)
        choice = chunk.choices[0]
        if choice.index:  # of several answers, which only `extra` can ask for
            return ()
        events = () if choice.delta is None else self._events(choice.delta)
        return events if not choice.finish_reason else [*events, *self._end(chunk, choice)]

    def finish(self) -> ModelFinished:
        """The stop reason and the usage."""
        if self._reason is None and not self.done:
            raise self._failures.cut_off("its finish reason")
        response_id = self._id if isinstance(self._id, str) and self._id else None
        return ModelFinished(self._stop(), self._usage.counted(), response_id=response_id)

    def _aside(self, chunk: _Chunk) -> None:
        """Take what a chunk says besides its choices."""
        self._usage = chunk.usage or self._usage
        if chunk.error:
            raise self._failures.broken(details(chunk.error))

    def _without_choices(self, chunk: _Chunk) -> Sequence[ModelEvent]:
        if chunk.object == "error":
            raise self._failures.broken(details({"message": chunk.message, "code": chunk.code}))
        return ()

    def _events(self, delta: _Delta) -> Sequence[ModelEvent]:
        """The events of a chunk, in the order in which a model writes what may be in it."""
        content = delta.content
        if delta.reasoning_details is not None or delta.extra_content is not None:
            self._extras.take(delta.reasoning_details, delta.extra_content)
        events: list[ModelEvent] = []
        if thought := delta.reasoning_content or (delta.reasoning if isinstance(delta.reasoning, str) else ""):
            events.append(ReasoningDelta(thought, _REASONING))
        if isinstance(content, list):
            events += _parts(content)
        elif content:
            events.append(TextDelta(content, _TEXT))
        if delta.refusal:
            self._refused = True
            events.append(TextDelta(delta.refusal, _REFUSAL))
        if delta.tool_calls:
            events += [self._calls.take(call) for call in delta.tool_calls]
        if delta.function_call is not None:
            events.append(self._calls.take(CallDelta(index=0, function=delta.function_call)))
        return events

    def _end(self, chunk: _Chunk, choice: _Choice) -> Sequence[ModelEvent]:
        """The event of what is to be kept, once all of the answer is there but its usage."""
        if choice.finish_reason in _FAILED:
            raise self._failures.broken(details(f"the service gave up ({choice.finish_reason})"))
        again = self._reason is not None
        self._reason, self._stopped_at, self._id = choice.finish_reason, choice.stop_reason, chunk.id
        extras = None if again else self._extras.data(self._calls)
        return () if extras is None else (ExtensionDelta(self._provider, extras, _CALLS + self._calls.made),)

    def _stop(self) -> StopReason:
        reason = _STOPS.get((self._reason or "stop").lower(), "end_turn")
        if self._refused:
            return "content_filtered"
        if reason in ("end_turn", "tool_use"):
            if self._calls.made:
                return "tool_use"  # some servers end every answer with `stop`
            return "stop_sequence" if isinstance(self._stopped_at, str) else "end_turn"
        return reason

    def _decoded_otherwise(self, data: bytes, error: Exception) -> _Chunk:
        """A chunk that msgspec does not take: JSON has halves of surrogate pairs, in which some servers cut emoji."""
        try:
            return msgspec.convert(json.loads(data), _Chunk)
        except (ValueError, msgspec.MsgspecError, RecursionError):
            raise self._failures.unreadable(data, error) from error


def _parts(content: list[Any]) -> list[ModelEvent]:
    """Content that is a list of parts, as Mistral's reasoning models write it."""
    events: list[ModelEvent] = []
    for part in content:
        match part:
            case {"type": "text", "text": str(text)}:
                events.append(TextDelta(text, _TEXT))
            case {"type": "thinking", "thinking": list(thoughts)}:
                said = [thought.get("text", "") for thought in thoughts if isinstance(thought, dict)]
                events.append(ReasoningDelta("".join(map(str, said)), _REASONING))
    return events
