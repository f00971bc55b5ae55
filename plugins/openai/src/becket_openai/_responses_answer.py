"""The answer of the Responses API as it comes in: its events become becket's."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from becket import ModelFinished, TextDelta, ToolCallDelta, Usage

from becket_openai import _responses_events as wire
from becket_openai._errors import details
from becket_openai._responses_blocks import Blocks
from becket_openai._responses_events import ArgumentsPiece, TextPiece

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from becket import ModelEvent, StopReason

    from becket_openai._api import Failures

__all__ = ["ResponsesAnswer"]

_log = logging.getLogger("becket")

_LAST: Final = wire.Unknown("keepalive")


class ResponsesAnswer:
    """One answer; see `becket_openai._api.Answer`.

    Args:
        provider: The provider's name, for what only it reads.
        failures: Makes the errors.
        warned: The types of events that were warned of before; a new one is added.
    """

    __slots__ = (
        "_blocks",
        "_ended",
        "_failures",
        "_id",
        "_provider",
        "_usage",
        "_warned",
        "done",
    )

    def __init__(self, provider: str, failures: Failures, warned: set[str]) -> None:
        self._provider = provider
        self._failures = failures
        self._warned = warned
        self._blocks = Blocks(provider)
        self._id: str | None = None
        self._usage = Usage()
        self._ended: StopReason | None = None
        self.done = False

    def take(self, data: bytes, /) -> Sequence[ModelEvent]:
        """The events that one event of the service's comes to; this is the path of a token."""
        try:
            event = wire.decode(data)
        except (ValueError, RecursionError) as error:
            event = self._decoded_otherwise(data, error)
        kind = event.__class__
        if kind is TextPiece:
            part = self._blocks.text
            if part.index == event.index and part.at == event.at:
                text = event.text
                part.length += len(text)
                return (TextDelta(text, part.block),)
        elif kind is ArgumentsPiece:
            call = self._blocks.calls.get(event.index)
            if call is None:
                return ()  # nothing is known of it yet; its arguments come once more when it is done
            call_id, tool, part = call
            text = event.text
            part.length += len(text)
            return (ToolCallDelta(call_id, tool, text, part.block),)
        return () if self.done else self._others[kind](self, event)

    def finish(self) -> ModelFinished:
        """The stop reason and the usage."""
        if self._ended is None:
            raise self._failures.cut_off("a response.completed event")
        return ModelFinished(self._ended, self._usage, response_id=self._id)

    # -- events ----------------------------------------------------------------------------------------------------

    def _piece(self, event: TextPiece | wire.RefusalPiece | wire.SummaryPiece | wire.ThoughtPiece) -> list[ModelEvent]:
        """A fragment, after what has to stand before it."""
        return self._blocks.fragment(event.kind, event.index, event.at, event.text)

    def _whole(self, event: wire.TextDone | wire.RefusalDone | wire.SummaryDone | wire.ThoughtDone) -> list[ModelEvent]:
        """What of a whole text has not come in fragments."""
        return self._blocks.rest(event.kind, event.index, event.at, event.text)

    def _whole_call(self, event: wire.ArgumentsDone) -> list[ModelEvent]:
        return self._blocks.rest_of_call(event.index, event.text)

    def _item_added(self, event: wire.ItemAdded) -> list[ModelEvent]:
        return self._blocks.added(event.index, event.item) if event.item else []

    def _item_done(self, event: wire.ItemDone) -> list[ModelEvent]:
        return list(self._blocks.rest_of_item(event.index, event.item)) if event.item else []

    def _begun(self, event: wire.Begun) -> list[ModelEvent]:
        if event.response is not None:
            self._id = event.response.id
        return []

    def _completed(self, event: wire.Completed) -> list[ModelEvent]:
        return self._end(event.response, "completed")

    def _incomplete(self, event: wire.Incomplete) -> list[ModelEvent]:
        return self._end(event.response, "incomplete")

    def _failed(self, event: wire.Failed) -> NoReturn:
        self._fail(event.response.error or "the response failed, and nothing says why")

    def _broken(self, event: wire.StreamError) -> NoReturn:
        said = {"message": event.message, "code": event.code, "param": event.param}
        self._fail(event.error or {key: value for key, value in said.items() if value is not None})

    def _unknown(self, event: wire.Unknown) -> list[ModelEvent]:
        """Pass over an event of a type that is not read.

        Raises:
            ProviderError: It is none at all, but an error.
        """
        kind = event.type or ""
        if event.error is not None and not kind.startswith("response."):
            self._fail(event.error)
        if not kind.startswith(wire.SILENT) and kind not in self._warned:
            self._warned.add(kind)
            _log.warning(
                "the provider %r sent an event of the type %r, which becket-openai does not know; such events are "
                "skipped; a newer becket-openai may know it",
                self._provider,
                kind,
            )
        return []

    def _fail(self, error: Any) -> NoReturn:
        raise self._failures.broken(details(error))

    def _decoded_otherwise(self, data: bytes, error: Exception) -> Any:
        if data == b"[DONE]":  # of servers that end every stream so
            return _LAST
        try:
            return wire.decode_otherwise(data)
        except (ValueError, RecursionError):
            raise self._failures.unreadable(data, error) from error

    # -- the end ---------------------------------------------------------------------------------------------------

    def _end(self, response: wire.ResponseDocument, status: str) -> list[ModelEvent]:
        events = list(self._blocks.missed(response.output or []))
        self.done = True
        self._id = response.id or self._id
        if response.usage is not None:
            self._usage = _counted(response.usage)
        if (response.status or status) == "incomplete":
            reason = response.incomplete_details.reason if response.incomplete_details else None
            self._ended = "content_filtered" if reason == "content_filter" else "max_tokens"
        else:
            self._ended = "tool_use" if self._blocks.calls else "end_turn"
        if self._blocks.refused and self._ended == "end_turn":
            self._ended = "content_filtered"
        return events

    _others: ClassVar[dict[type, Callable[[Any, Any], Sequence[ModelEvent]]]] = {
        TextPiece: _piece,
        wire.RefusalPiece: _piece,
        wire.SummaryPiece: _piece,
        wire.ThoughtPiece: _piece,
        wire.TextDone: _whole,
        wire.RefusalDone: _whole,
        wire.SummaryDone: _whole,
        wire.ThoughtDone: _whole,
        wire.ArgumentsDone: _whole_call,
        wire.ItemAdded: _item_added,
        wire.ItemDone: _item_done,
        wire.Begun: _begun,
        wire.Completed: _completed,
        wire.Incomplete: _incomplete,
        wire.Failed: _failed,
        wire.StreamError: _broken,
        wire.Unknown: _unknown,
    }


def _counted(usage: wire.UsageDocument) -> Usage:
    given, written = usage.input_tokens_details, usage.output_tokens_details
    return Usage(
        usage.input_tokens or 0,
        usage.output_tokens or 0,
        (given.cached_tokens if given else None) or 0,
        (written.reasoning_tokens if written else None) or 0,
    )
