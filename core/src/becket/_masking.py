"""The masks of one run: all text of its events passes through them before anybody sees it, and before it is folded.

Deltas come in fragments, and a secret may be split over any number of them. So each block that is being streamed has
a stream of each mask, which holds back what may still become a secret; it is shown as one more delta of its block:

- when a delta of another block comes, or an extension, for text and reasoning, so that blocks are in their order. The
  arguments of tool calls are read by their call's id, and several services send those of one cycle in turns: their
  streams go on;
- when the model call is over: the message must have it;
- before whatever else has its place after it. Events of plugins and partial output may come between any two deltas of
  a block and have no place of their own: they end nothing.

A model call that is made again drops what was held back: nobody has seen it, as nobody is to see the rest of that
attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from becket._inprocess import InProcessEffects
from becket._log import logger
from becket._masked import Said, mask_event, masked_call
from becket.errors import BecketError, PluginError
from becket.events import (
    Event,
    ExtensionDelta,
    OutputPartial,
    PluginEvent,
    PluginFailed,
    ReasoningDelta,
    RetryScheduled,
    RunFailed,
    TextDelta,
    ToolCallDelta,
    ToolProgress,
    ToolStarted,
    UnknownEvent,
)
from becket.masks import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from becket._plan import RunPlan
    from becket.content import ToolCall
    from becket.masks import Mask, MaskStream
    from becket.plugins import Contribution
    from becket.turn import Turn

__all__ = ["WITHHELD", "MaskedEffects"]

WITHHELD: Final = "[withheld]"
"""What stands for a text that no mask could look at."""

_BETWEEN: Final = frozenset({PluginEvent, OutputPartial, PluginFailed, UnknownEvent})


class MaskedEffects(InProcessEffects):
    """The effects of a run that has masks; one without has nothing of this on its path."""

    def __init__(self, plan: RunPlan, turn: Turn, *rest: Any, **options: Any) -> None:
        self._masking = _Masking(plan.masks, plan.tools)
        super().__init__(plan, turn, *rest, **options)

    def emit(self, event: Event) -> bool:
        """Mask `event`, and emit what is to be shown: what was held back, and the event, if there is anything in it."""
        held, shown = self._masking.take(event)
        emit, room = super().emit, True
        try:
            for delta in held:
                room = emit(delta) and room
        finally:  # whatever a callback handler does: a run that is being closed must get on
            if shown is not None:
                room = emit(shown) and room
        self._fail()
        return room

    def release(self) -> None:
        """Emit what was held back."""
        emit = super().emit
        for delta in self._masking.rest():
            emit(delta)
        self._fail()

    def _fail(self) -> None:
        failure, self._masking.failure = self._masking.failure, None
        if failure is not None:
            raise failure


class _Masking:
    """What the masks make of the events of one run. Pure: it is given events, and gives those to emit.

    Args:
        masks: The masks, in order: each gets what the one before has left.
        tools: The names of the tools that there are; a name that a model has made up is masked.

    Attributes:
        failure: What to fail the run with, where a mask has failed. Nothing is shown from then on.
    """

    def __init__(self, masks: Sequence[Contribution[Mask]], tools: Container[str]) -> None:
        self.failure: PluginError | None = None
        self._masks = masks
        self._tools = tools
        self._said: str | None = None  # by the failure, once there is one
        self._block: _Text | _Reasoning | None = None  # the one that is being streamed
        self._calls: dict[str, _Call] = {}
        self._started: dict[str, ToolCall] = {}

    def take(self, event: Event) -> tuple[Sequence[Event], Event | None]:
        """The deltas to emit first, and the event as it may be shown; None where all of it is held back."""
        if self._said is not None:
            return (), self._withheld(event)
        try:
            if type(event) is TextDelta:  # by far the most frequent
                block = self._block
                if type(block) is _Text and block.number == event.block:
                    given, event.text = event.text, (shown := block.feed(event.text))  # type: ignore[misc]
                    return (), event if shown or not given else None
            return self._taken(event)
        except PluginError as failed:
            self._break(failed)
            return (), self._withheld(event)

    def rest(self) -> Sequence[Event]:
        """What was held back, as deltas: the model has said all that it will."""
        try:
            return list(self._ended())
        except PluginError as failed:
            self._break(failed)
            return ()

    # -- deltas ----------------------------------------------------------------------------------------------------

    def _taken(self, event: Any) -> tuple[Sequence[Event], Event | None]:
        kind = type(event)
        if kind is ToolCallDelta:
            return list(self._left()), self._call_delta(event)
        if kind is TextDelta or kind is ReasoningDelta:
            return self._delta(event)
        if kind is RetryScheduled:
            self._forget()
        held = () if kind in _BETWEEN else list(self._left() if kind is ExtensionDelta else self._ended())
        self._finished_text(event)
        return held, event

    def _delta(self, event: Any) -> tuple[Sequence[Event], Event | None]:
        held: Sequence[Event] = ()
        block = self._block
        made: type[_Text | _Reasoning] = _Text if type(event) is TextDelta else _Reasoning
        if type(block) is not made or block.number != event.block:
            held = list(self._left())
            block = self._block = made(event.block, self._open())
        given = event.text
        event.text = block.feed(given)
        if isinstance(block, _Reasoning):
            return held, block.sealed(event, given)
        return held, event if event.text or not given else None

    def _call_delta(self, event: Any) -> Event | None:
        if event.tool not in self._tools:
            event.tool = self._whole(event.tool)
        block, given = self._calls.get(event.call_id), event.fragment
        first = block is None
        if block is None:
            block = self._calls[event.call_id] = _Call(event.block, self._open(), event.call_id, event.tool)
        event.fragment = block.feed(given)
        return event if event.fragment or first or not given else None

    def _left(self) -> Iterator[Event]:
        """The rest of the block of text or reasoning that was being streamed: another block's turn has come."""
        block, self._block = self._block, None
        if block is not None:
            yield from block.rest()

    def _ended(self) -> Iterator[Event]:
        """The rest of every block."""
        yield from self._left()
        calls, self._calls = self._calls, {}
        for block in calls.values():
            yield from block.rest()

    def _forget(self) -> None:
        self._block = None
        self._calls = {}

    # -- finished text ---------------------------------------------------------------------------------------------

    def _finished_text(self, event: Event) -> None:
        if isinstance(event, ToolProgress):
            self._share(event, self._whole)
        mask_event(event, self._so_far if isinstance(event, OutputPartial) else self._whole)
        if isinstance(event, ToolStarted):
            self._started[event.call.id] = event.call

    def _share(self, event: ToolProgress, said: Said) -> None:
        """Give the mapping face the call as it was shown."""
        shared: ToolCall | None = getattr(event, "_shared", None)
        if shared is not None:
            event.share(self._started.get(event.call_id) or masked_call(shared, said))

    def _whole(self, text: str) -> str:
        for source in self._masks:
            text = _guarded(source, "mask", source.item.mask, text)
        return text

    def _so_far(self, text: str) -> str:
        """What may be shown of a text that may go on."""
        return self._open().feed(text)

    def _open(self) -> _Streams:
        return _Streams([(source, _opened(source)) for source in self._masks])

    # -- a mask that fails -----------------------------------------------------------------------------------------

    def _break(self, failed: PluginError) -> None:
        self.failure = failed
        self._said = str(failed)
        self._forget()
        logger.error("%s", failed)  # without the mask's own exception: it may quote what must not be seen

    def _withheld(self, event: Event) -> Event | None:
        """The event without its texts; none of a delta, which is nothing without them."""
        if isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta | ExtensionDelta):
            return None
        if isinstance(event, RunFailed) and event.error.message == self._said:
            return event
        if isinstance(event, ToolProgress):
            self._share(event, _withhold)
        mask_event(event, _withhold)
        return event


class _Streams:
    """One text on its way through the streams of all masks."""

    __slots__ = ("_each",)

    def __init__(self, each: list[tuple[Contribution[Mask], MaskStream]]) -> None:
        self._each = each

    def feed(self, text: str) -> str:
        """What may be shown now.

        Raises:
            PluginError: A mask has failed.
        """
        for source, stream in self._each:
            try:
                text = stream.feed(text)
            except (Exception, SystemExit) as error:  # whatever it is: nothing may be shown unmasked
                raise _failure(source, "feed", error) from error
            if type(text) is not str:
                raise _no_text(source, "feed", text)
        return text

    def end(self) -> str:
        """What was held back.

        Raises:
            PluginError: A mask has failed.
        """
        rest = ""
        for source, stream in self._each:
            shown = _guarded(source, "feed", stream.feed, rest) if rest else ""
            rest = shown + _guarded(source, "end", stream.end)
        return rest


class _Block:
    """A block that is being streamed."""

    __slots__ = ("_streams", "feed", "number")

    def __init__(self, number: int, streams: _Streams) -> None:
        self.number = number
        self.feed = streams.feed
        self._streams = streams


class _Text(_Block):
    __slots__ = ()

    def rest(self) -> Iterator[Event]:
        if rest := self._streams.end():
            yield TextDelta(rest, self.number)


class _Call(_Block):
    __slots__ = ("_call_id", "_tool")

    def __init__(self, number: int, streams: _Streams, call_id: str, tool: str) -> None:
        super().__init__(number, streams)
        self._call_id = call_id
        self._tool = tool

    def rest(self) -> Iterator[Event]:
        if rest := self._streams.end():
            yield ToolCallDelta(self._call_id, self._tool, rest, self.number)


class _Reasoning(_Block):
    """Its seal waits until the text is decided: a text that was changed has none, since it would not fit."""

    __slots__ = ("_changed", "_pending", "_seal")

    def __init__(self, number: int, streams: _Streams) -> None:
        super().__init__(number, streams)
        self._pending = ""  # what has come and was not shown
        self._changed = False
        self._seal: str | None = None

    def sealed(self, event: ReasoningDelta, given: str) -> ReasoningDelta | None:
        """The delta without its seal, which is kept; None where nothing else is in it."""
        self._compare(given, event.text)
        delta: Any = event
        if event.signature is not None:
            self._seal = (self._seal or "") + event.signature
            delta.signature = None
        elif not given:
            return event
        return event if event.text or event.redacted is not None else None

    def _compare(self, given: str, shown: str) -> None:
        pending = self._pending + given
        self._changed = self._changed or not pending.startswith(shown)
        self._pending = "" if self._changed else pending[len(shown) :]

    def rest(self) -> Iterator[Event]:
        rest = self._streams.end()
        self._compare("", rest)
        seal = None if self._changed else self._seal
        if rest or seal is not None:
            yield ReasoningDelta(rest, self.number, signature=seal)


def _opened(source: Contribution[Mask]) -> MaskStream:
    try:
        return source.item.open()
    except (Exception, SystemExit) as error:  # as above
        raise _failure(source, "open", error) from error


def _guarded(source: Contribution[Mask], part: str, call: Callable[..., Any], *given: str) -> str:
    """The text that a part of a mask makes.

    Raises:
        PluginError: It raised, or made none.
    """
    try:
        text = call(*given)
    except (Exception, SystemExit) as error:  # as above
        raise _failure(source, part, error) from error
    if type(text) is not str:
        raise _no_text(source, part, text)
    return text


def _no_text(source: Contribution[Mask], part: str, given: object) -> PluginError:
    return _failure(source, part, TypeError(), f"it returned a {type(given).__name__}, and no text")


def _failure(source: Contribution[Mask], part: str, error: BaseException, said: str = "") -> PluginError:
    """What a run fails with. Only what was raised with the words of becket is quoted: any other may hold the text."""
    plugin, mask = source.plugin, source.item
    if isinstance(mask, Refusal):
        what = f"the masks of the plugin {plugin.name!r} cannot be used: {mask.reason}"
    else:
        why = said or (str(error) if isinstance(error, BecketError) else f"it raised {type(error).__name__}")
        what = f"the mask {mask.name!r} of the plugin {plugin.name!r} failed in {part}: {why}"
    return PluginError(
        f"{what}; nothing is shown that it has not seen, so this run is over; mend it, or leave it out with "
        f"-p no:{plugin.name}",
        plugin=plugin.name,
        distribution=plugin.title if plugin.distribution else None,
        hook=f"mask.{part}",
    )


def _withhold(text: str) -> str:
    return WITHHELD if text else text
