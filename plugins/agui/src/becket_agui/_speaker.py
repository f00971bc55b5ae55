"""One run of a stream, as far as the client has been told of it: what is open, and how it is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from becket_agui._frames import delta, frame, head
from becket_agui._members import result_content
from becket_agui._names import DISCARDED, OWN, call_name, message_name, thought_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from becket import (
        CycleStarted,
        Event,
        MessageAdded,
        ModelStarted,
        ReasoningDelta,
        RetryScheduled,
        TextDelta,
        ToolCallDelta,
        ToolFinished,
        ToolProgress,
    )

__all__ = ["Speaker"]


class Speaker:
    """What the client was told of one run.

    Nothing is begun before there is something to say in it: so what is told is in order whatever it begins with, as in
    an answer that goes on with a run.

    Args:
        run_id: The run.
        name: What a run is called that is nested in the one that was asked for: after the tool that it is the work of,
            which whoever reads the next answer knows as well. What it says is marked as its own. Empty for the other.

    Attributes:
        run_id: As above.
        name: As above.
        model: The model that was called last, as `provider:model`.
        calls: The names of its calls and their tools, by the ids of the calls in becket.
        text: How the deltas of the text begin that is open; empty where none is.
    """

    __slots__ = (
        "_attempt",
        "_message",
        "_open_calls",
        "_seal",
        "_step",
        "_tag",
        "_thought",
        "calls",
        "model",
        "name",
        "run_id",
        "text",
    )

    def __init__(self, run_id: str, name: str = "") -> None:
        self.run_id = run_id
        self.name = name
        self.model = ""
        self.calls: dict[str, tuple[str, str]] = {}
        self.text = b""
        self._tag: dict[str, Any] = {"subagentRunId": run_id} if name else {}
        self._attempt = (0, 0)
        self._message = ""
        self._step: str | None = None
        self._thought: tuple[int, str, bytes] | None = None
        self._seal: dict[str, str] = {}
        self._open_calls: dict[str, bytes] = {}

    def frame(self, kind: str, at: Event, **members: Any) -> bytes:
        """An event of this run's."""
        return frame(kind, at, **members, **self._tag)

    def remark(self, at: Event, name: str, value: Any) -> Iterator[bytes]:
        """Something that the protocol has no word for."""
        yield self.frame("CUSTOM", at, name=name, value=value)

    def begin_step(self, event: CycleStarted) -> Iterator[bytes]:
        """A cycle, which is a step."""
        yield from self.close(event)
        self._step = f"{self.name}: cycle {event.cycle}" if self.name else f"cycle {event.cycle}"
        yield self.frame("STEP_STARTED", event, stepName=self._step)

    def begin_message(self, event: ModelStarted) -> Iterator[bytes]:
        """A model call."""
        self.model = event.model
        yield from self._turn_to(event)

    def say(self, event: TextDelta) -> Iterator[bytes]:
        """A fragment of text."""
        yield from self._turn_to(event)
        yield from self._end_thought(event)
        if not self.text:
            yield self.frame("TEXT_MESSAGE_START", event, messageId=self._message, role="assistant")
            self.text = head("TEXT_MESSAGE_CONTENT", messageId=self._message)
        yield delta(self.text, event.text)

    def think(self, event: ReasoningDelta) -> Iterator[bytes]:
        """A fragment of reasoning, or of what seals it."""
        yield from self._turn_to(event)
        if self._thought is not None and self._thought[0] != event.block:
            yield from self._end_thought(event)
        if self._thought is None:
            name = thought_name(self._message, event.block)
            self._thought = event.block, name, head("REASONING_MESSAGE_CONTENT", messageId=name)
            yield self.frame("REASONING_START", event, messageId=name)
            yield self.frame("REASONING_MESSAGE_START", event, messageId=name, role="reasoning")
        if event.text:
            yield delta(self._thought[2], event.text)
        for kind, fragment in (("signature", event.signature), ("redacted", event.redacted)):
            if fragment is not None:
                self._seal[kind] = self._seal.get(kind, "") + fragment

    def call(self, event: ToolCallDelta) -> Iterator[bytes]:
        """A fragment of a tool call."""
        yield from self._turn_to(event)
        yield from self._end_thought(event)
        begun = self._open_calls.get(event.call_id)
        if begun is None:
            name = call_name(self.run_id, event.cycle, event.call_id)
            self.calls[event.call_id] = name, event.tool
            begun = self._open_calls[event.call_id] = head("TOOL_CALL_ARGS", toolCallId=name)
            yield self.frame(
                "TOOL_CALL_START", event, toolCallId=name, toolCallName=event.tool, parentMessageId=self._message
            )
        if event.fragment:
            yield delta(begun, event.fragment)

    def add(self, event: MessageAdded) -> Iterator[bytes]:
        """The message that all of this was; or results, which were told of one by one."""
        yield from self._end_message(event, kept={call.id for call in event.message.tool_calls})

    def report(self, event: ToolProgress) -> Iterator[bytes]:
        """What a tool reports: each report takes the place of the one before."""
        name = call_name(self.run_id, event.cycle, event.call_id)
        yield self.frame(
            "ACTIVITY_SNAPSHOT",
            event,
            messageId=f"{name}-progress",
            activityType=f"{OWN}.tool_progress",
            content={"toolCallId": name, "data": event.data},
        )

    def answer(self, event: ToolFinished) -> Iterator[bytes]:
        """The result of a tool."""
        result = event.result
        name = call_name(self.run_id, event.cycle, result.call_id)
        yield self.frame(
            "TOOL_CALL_RESULT",
            event,
            messageId=f"{name}-result",
            toolCallId=name,
            content=result_content(result),
            role="tool",
            metadata=None if result.status == "success" else {OWN: {"status": result.status}},
        )

    def retry(self, event: RetryScheduled) -> Iterator[bytes]:
        """A call that failed and is made again."""
        value: dict[str, Any] = {"reason": event.reason, "delaySeconds": event.delay_s}
        if event.call_id is not None:
            value["toolCallId"] = call_name(self.run_id, event.cycle, event.call_id)
        yield from self.remark(event, f"{OWN}.{event.type}", value)

    def close(self, at: Event, *, suspended: bool = False) -> Iterator[bytes]:
        """Close all that is open. A call that is open still is in no message, and never will be unless it goes on."""
        yield from self._end_message(at, kept=None if suspended else ())
        if self._step is not None:
            yield self.frame("STEP_FINISHED", at, stepName=self._step)
            self._step = None

    def _turn_to(self, event: Event) -> Iterator[bytes]:
        """Close what another model call has said; where that is made again, it does not count."""
        attempt = event.cycle, event.attempt
        if attempt != self._attempt:
            yield from self._end_message(event, discarded=event.cycle == self._attempt[0])
            self._attempt = attempt
            self._message = message_name(self.run_id, event.cycle, event.attempt)

    def _end_message(
        self, at: Event, *, discarded: bool = False, kept: Collection[str] | None = None
    ) -> Iterator[bytes]:
        """Close what the model has said.

        Args:
            at: The event that closes it.
            discarded: Whether none of it counts.
            kept: The calls that count, None for all: one that was broken off does not.
        """
        mark = DISCARDED if discarded else None
        yield from self._end_thought(at, mark)
        if self.text:
            yield self.frame("TEXT_MESSAGE_END", at, messageId=self._message, metadata=mark)
            self.text = b""
        for call_id in self._open_calls:
            lost = DISCARDED if kept is not None and call_id not in kept else mark
            yield self.frame("TOOL_CALL_END", at, toolCallId=self.calls[call_id][0], metadata=lost)
        self._open_calls = {}

    def _end_thought(self, at: Event, mark: dict[str, Any] | None = None) -> Iterator[bytes]:
        if self._thought is None:
            return
        _, name, _ = self._thought
        self._thought = None
        yield self.frame("REASONING_MESSAGE_END", at, messageId=name, metadata=mark)
        if self._seal:
            sealed, self._seal = to_json(self._seal).decode(), {}
            yield self.frame("REASONING_ENCRYPTED_VALUE", at, subtype="message", entityId=name, encryptedValue=sealed)
        yield self.frame("REASONING_END", at, messageId=name)
