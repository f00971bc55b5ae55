"""One answer of Gemini, from the chunks of its stream to events: decisions only, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from becket import ExtensionDelta, ModelFinished, ReasoningDelta, TextDelta, ToolCallDelta, Usage

from becket_google._chunks import decode
from becket_google._errors import in_words
from becket_google._finish import FILTERED, STOPS, failure
from becket_google._partial import PartialCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from becket import ModelEvent, ProviderError, StopReason
    from becket_wire import ErrorDetails

    from becket_google._chunks import Candidate, Chunk, FunctionCall, Part, UsageMetadata

__all__ = ["Answer", "Failures"]

_WHOLE: Final = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
"""Parts of what the service does itself: they go back as they are, and nobody is shown them."""

_MEDIA: Final = ("inlineData", "fileData")


class Failures(Protocol):
    """Words errors of a stream; a `becket_wire.Reply` does."""

    def broken(self, error: ErrorDetails) -> ProviderError:
        """The error that the stream carries."""
        ...

    def cut_off(self, what: str) -> ProviderError:
        """The error of a stream that ended too early."""
        ...

    def unreadable(self, data: bytes, error: Exception) -> ProviderError:
        """The error of an event that is not what it should be."""
        ...


class Answer:
    """Reads one answer.

    Gemini's signatures of its thoughts, which it wants back where they stood, become extensions behind the block that
    they seal: `{"thoughtSignature": …, "chars": n}` for the part that the last n characters of the text before came in,
    `{"thoughtSignature": …, "call": id}` for the call before, and `{"part": …}` for a part as a whole, with `"note":
    true` where the text before it is ours and only tells of it.

    Args:
        failures: Words errors.
        provider: The provider's name, for extensions.
        own_id: What the ids of calls begin with to which the service gives none; a number follows.
        unknown: Called with the kind of a part that is skipped, being none that is known.
    """

    __slots__ = (
        "_block",
        "_calls",
        "_failures",
        "_finish",
        "_kind",
        "_open",
        "_own_id",
        "_provider",
        "_response_id",
        "_said",
        "_stop",
        "_unknown",
        "_usage",
    )

    def __init__(self, failures: Failures, *, provider: str, own_id: str, unknown: Callable[[str], object]) -> None:
        self._failures = failures
        self._provider = provider
        self._own_id = own_id
        self._unknown = unknown
        self._block = -1
        self._kind: bool | None = None  # of the text that the next may join: whether it is a thought
        self._open: PartialCall | None = None
        self._calls = 0
        self._said = False
        self._stop: StopReason | None = None
        self._finish: Candidate | None = None
        self._usage: UsageMetadata | None = None
        self._response_id: str | None = None

    def take(self, data: bytes) -> list[ModelEvent]:
        """What one event of the stream says; this is the path of a token.

        Raises:
            ProviderError: It is an error, or cannot be read.
        """
        try:
            chunk = decode(data)
        except (ValueError, RecursionError) as error:  # msgspec's own is a ValueError, and so is that of UTF-8
            return self._take_other(data, error)
        if chunk.usage_metadata is not None:
            self._usage = chunk.usage_metadata
        events: list[ModelEvent] = []
        for which, candidate in enumerate(chunk.candidates or ()):
            if candidate.index:
                continue  # a second answer, where more were asked for
            if candidate.content is not None:
                self._take_parts(candidate.content.parts or (), data, which, events)
            if candidate.finish_reason is not None:
                self._ended(candidate, events)
        if not chunk.candidates or self._response_id is None:
            self._take_rest(chunk, events)
        return events

    def finish(self) -> ModelFinished:
        """The end of the answer, once the stream has ended.

        Raises:
            ProviderError: The stream ended before the answer did, or the answer is none.
        """
        if self._stop is None:
            raise self._failures.cut_off("a finishReason")
        if self._finish is not None and (error := failure(self._finish)) is not None:
            raise self._failures.broken(error)
        stop = "tool_use" if self._calls and self._stop == "end_turn" else self._stop
        return ModelFinished(stop, _usage(self._usage), response_id=self._response_id)

    # -- the parts -------------------------------------------------------------------------------------------------

    def _begin(self, kind: bool | None) -> int:
        """Begin a block; `kind` is that of the text that may follow in it, None for none."""
        self._block += 1
        self._kind = kind
        self._said = self._said or kind is False
        return self._block

    def _extend(self, data: dict[str, Any]) -> ExtensionDelta:
        return ExtensionDelta(self._provider, data, self._begin(None))

    def _take_parts(self, parts: Sequence[Part], data: bytes, which: int, events: list[ModelEvent]) -> None:
        for at, part in enumerate(parts):
            if part.text and part.thought_signature is None and part.function_call is None:
                events.append(self._text(part.text, thought=part.thought is True))
            else:
                self._take_part(part, data, (which, at), events)

    def _text(self, text: str, *, thought: bool) -> TextDelta | ReasoningDelta:
        if self._kind is not thought:
            self._begin(thought)
        return ReasoningDelta(text, self._block) if thought else TextDelta(text, self._block)

    def _take_part(self, part: Part, data: bytes, at: tuple[int, int], events: list[ModelEvent]) -> None:
        """A part that is no plain text."""
        if part.function_call is not None:
            self._take_call(part.function_call, part.thought_signature, data, events)
            return
        try:
            plain = {} if part.text is not None else _plain_part(data, at)
        except (ValueError, RecursionError) as error:  # what is not read typed was not looked at before
            raise self._failures.unreadable(data, error) from error
        if kinds := sorted(plain.keys() - {"thought", "thoughtSignature"}):
            self._take_plain(part, plain, kinds, events)
        else:
            self._take_signed(part, events)

    def _take_signed(self, part: Part, events: list[ModelEvent]) -> None:
        """Text with a signature, which may be empty; it is a part of its own, and what follows begins another."""
        text, thought, signature = part.text or "", part.thought is True, part.thought_signature
        if text:
            events.append(self._text(text, thought=thought))
        if signature is None:
            return
        if thought:
            whole = {"text": text, "thought": True, "thoughtSignature": signature}
            events.append(self._extend({"part": whole}))
        else:
            events.append(self._extend({"thoughtSignature": signature, "chars": len(text)}))

    def _take_plain(self, part: Part, plain: dict[str, Any], kinds: list[str], events: list[ModelEvent]) -> None:
        """A part of another kind than text and calls."""
        if any(kind in plain for kind in _WHOLE):
            events.append(self._extend({"part": plain}))
        elif kind := next((kind for kind in _MEDIA if kind in plain), None):
            if part.thought:  # a draft, which is not sent back unless it is sealed
                if part.thought_signature is not None:
                    events.append(self._extend({"part": plain}))
                return
            events.append(TextDelta(_note(plain[kind]), self._begin(False)))
            events.append(self._extend({"part": plain, "note": True}))
        else:
            self._unknown(", ".join(kinds))

    def _take_call(self, call: FunctionCall, signature: str | None, data: bytes, events: list[ModelEvent]) -> None:
        if call.will_continue is not None or call.partial_args is not None or (self._open and not call.name):
            self._take_piece(call, signature, data, events)
            return
        self._close_call(events)
        if not call.name:
            raise self._failures.unreadable(data, ValueError("a functionCall without a name"))
        try:
            arguments = bytes(call.args).decode()
        except UnicodeDecodeError as error:
            raise self._failures.unreadable(data, error) from error
        call_id = self._name_call(call)
        fragment = "{}" if arguments in ("", "null") else arguments
        events.append(ToolCallDelta(call_id, call.name, fragment, self._begin(None)))
        if signature is not None:
            events.append(self._extend({"thoughtSignature": signature, "call": call_id}))

    def _take_piece(self, call: FunctionCall, signature: str | None, data: bytes, events: list[ModelEvent]) -> None:
        """A piece of a call; its arguments are shown once they are complete, since their pieces are no text of JSON."""
        if call.name:
            self._close_call(events)
            self._open = PartialCall(self._name_call(call), call.name, self._begin(None))
            events.append(ToolCallDelta(self._open.call_id, call.name, "", self._open.block))
        if self._open is None:
            raise self._failures.unreadable(data, ValueError("a piece of a functionCall that was not begun"))
        try:
            self._open.take(call)
        except ValueError as error:
            raise self._failures.unreadable(data, error) from error
        if signature is not None:
            events.append(self._extend({"thoughtSignature": signature, "call": self._open.call_id}))
        if not call.will_continue:
            self._close_call(events)

    def _close_call(self, events: list[ModelEvent]) -> None:
        """The arguments of the call that came in pieces, if there is one."""
        call, self._open = self._open, None
        if call is not None:
            events.append(ToolCallDelta(call.call_id, call.tool, call.arguments(), call.block))

    def _name_call(self, call: FunctionCall) -> str:
        self._calls += 1
        return call.id or f"{self._own_id}{self._calls}"

    # -- the rest --------------------------------------------------------------------------------------------------

    def _ended(self, candidate: Candidate, events: list[ModelEvent]) -> None:
        """The answer has ended; some models say so in every chunk, and go on."""
        self._close_call(events)
        reason = candidate.finish_reason or ""
        self._finish = candidate
        self._stop = STOPS.get(reason, "end_turn")
        if reason in FILTERED:
            self._tell(f"The answer was withheld by the service: {reason}", candidate.finish_message, events)

    def _take_rest(self, chunk: Chunk, events: list[ModelEvent]) -> None:
        """What the first chunk says, and those without an answer."""
        if chunk.error is not None:
            raise self._failures.broken(in_words(chunk.error))
        if chunk.response_id is not None:
            self._response_id = chunk.response_id
        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason is not None:
            self._stop = "content_filtered"
            self._tell(
                f"The prompt was blocked by the service: {feedback.block_reason}",
                feedback.block_reason_message,
                events,
            )

    def _tell(self, what: str, why: str | None, events: list[ModelEvent]) -> None:
        """Say what was held back, where the answer says nothing itself."""
        if not self._said:
            events.append(TextDelta(f"[{what}{f' ({why})' if why else ''}]", self._begin(False)))
            self._kind = None

    def _take_other(self, data: bytes, error: Exception) -> list[ModelEvent]:
        """An event that is no chunk: a list of chunks, as without `alt=sse`, or nothing that can be read."""
        if data == b"[DONE]":  # the service sends none, but those that stand between may
            return []
        try:
            items = msgspec.json.decode(data, type=list[msgspec.Raw])
        except (ValueError, RecursionError):
            raise self._failures.unreadable(data, error) from error
        return [event for item in items if bytes(item)[:1] == b"{" for event in self.take(bytes(item))]


def _plain_part(data: bytes, at: tuple[int, int]) -> dict[str, Any]:
    """A part with all that it holds, by its candidate and its place there; parts of these kinds are few."""
    which, place = at
    part: dict[str, Any] = msgspec.json.decode(data)["candidates"][which]["content"]["parts"][place]
    return part


def _note(media: Any) -> str:
    """What a reader is shown of an image or another file of the answer."""
    kind = media.get("mimeType", "a file") if isinstance(media, dict) else "a file"
    return f"[{kind}]"


def _usage(counted: UsageMetadata | None) -> Usage:
    if counted is None:
        return Usage()
    thoughts = counted.thoughts_token_count or 0
    return Usage(
        input_tokens=(counted.prompt_token_count or 0) + (counted.tool_use_prompt_token_count or 0),
        output_tokens=(counted.candidates_token_count or 0) + thoughts,
        cached_tokens=counted.cached_content_token_count or 0,
        reasoning_tokens=thoughts,
    )
