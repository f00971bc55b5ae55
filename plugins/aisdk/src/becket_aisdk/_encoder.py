"""The answer: a run's events as chunks of the UI message stream, version 1.

What each chunk may say is the SDK's `uiMessageChunkSchema`; what the client makes of it, its `processUIMessageStream`.
One run is one message, one cycle one step, and a call of a tool one part, of the type `dynamic-tool`: the frontend need
not know the tools.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from becket import (
    CycleFinished,
    CycleStarted,
    DecisionMade,
    DecisionRequested,
    MessageAdded,
    ModelFinished,
    OutputPartial,
    PluginEvent,
    ReasoningDelta,
    RetryScheduled,
    RunFailed,
    RunFinished,
    TextDelta,
    ToolCallDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from becket.wires import EventStreamEncoder

from becket_aisdk._calls import Calls, seal
from becket_aisdk._chunks import DONE, chunk, fragments, quoted
from becket_aisdk._nested import NestedRuns

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import Event, RunInfo, StopReason

    from becket_aisdk._earlier import EarlierAnswer

__all__ = ["ChunkEncoder"]

_FINISH: Final[dict[StopReason, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "content_filtered": "content-filter",
    "interrupted": "tool-calls",
}
"""The SDK's reasons; for all that it has no word for, `other`. becket's own is in the metadata."""


class ChunkEncoder(EventStreamEncoder):
    """Writes one answer.

    Args:
        run: The run.
        earlier: What the client has of it, where it goes on with an answer.
    """

    headers = MappingProxyType({**EventStreamEncoder.headers, "x-vercel-ai-ui-message-stream": "v1"})

    def __init__(self, run: RunInfo, earlier: EarlierAnswer | None = None) -> None:
        self._run = run
        self._earlier = earlier
        self._begun = False
        self._ended = False
        self._in_step = False
        self._open: dict[tuple[str, int], str] = {}
        self._seals: dict[str, tuple[str, str]] = {}
        self._block: int | None = None
        self._head = ""
        self._output: object = None
        if earlier is None:
            self._calls = Calls()
            self._nested = NestedRuns(run.run_id, self._calls.name)
        else:
            self._calls = earlier.calls
            self._nested = NestedRuns(run.run_id, self._calls.name, earlier.nested)

    def encode(self, event: Event, /) -> bytes:
        """The chunks that tell of one event. A piece of the text that goes on comes first: nothing is as frequent."""
        if type(event) is TextDelta and event.block == self._block and event.parent_run_id is None and event.text:
            return f"{self._head}{quoted(event.text)}}}\n\n".encode()
        begin = b"" if self._begun else self._begin()
        if event.parent_run_id is not None:
            return begin + self._below(event)
        write = self._writers.get(type(event))
        return begin if write is None else begin + write(self, event)

    def finish(self) -> bytes:
        """The end of the stream; and of the message, where the run has not come to its own."""
        begin = b"" if self._begun else self._begin()
        if self._ended:
            return DONE
        if self.done:
            pending: dict[str, object] = {"pending": self._calls.pending}
            return begin + self._end_step() + _finish("tool-calls", pending) + DONE
        left = self._end_blocks() + self._calls.lost() + self._end_step()
        return begin + left + chunk("abort", {"reason": "the server ends the stream"}) + _finish("other", {}) + DONE

    def _begin(self) -> bytes:
        self._begun = True
        run, earlier = self._run, self._earlier
        if earlier is not None:
            message_id = earlier.message_id or run.run_id
            return chunk("start", {"messageId": message_id, "messageMetadata": {"pending": None}})
        metadata: dict[str, object] = {"runId": run.run_id, "agent": run.agent, "model": run.model}
        if run.session_id is not None:
            metadata["sessionId"] = run.session_id
        return chunk("start", {"messageId": run.run_id, "messageMetadata": metadata})

    # -- steps, and the blocks in them --------------------------------------------------------------------------------

    def _cycle_started(self, event: CycleStarted) -> bytes:
        self._in_step = True
        self._calls.begin(event.cycle)
        return chunk("start-step")

    def _cycle_finished(self, _: CycleFinished) -> bytes:
        return self._end_blocks() + self._calls.cut() + self._end_step()

    def _end_step(self) -> bytes:
        """A step that an earlier answer has begun has ended with that."""
        in_step, self._in_step = self._in_step, False
        return chunk("finish-step") if in_step else b""

    def _text(self, event: TextDelta) -> bytes:
        """A fragment of a block that is not the one that came last."""
        if not event.text:
            return b""  # a block without any stands in no message
        start = b""
        if (name := self._open.get(("text", event.block))) is None:
            name = self._open["text", event.block] = f"text-{event.cycle}-{event.block}"
            start = self._end_reasoning() + chunk("text-start", {"id": name})
        self._block, self._head = event.block, fragments("text-delta", "id", name, "delta")
        return start + f"{self._head}{quoted(event.text)}}}\n\n".encode()

    def _reasoning(self, event: ReasoningDelta) -> bytes:
        start = b""
        if (name := self._open.get(("reasoning", event.block))) is None:
            if not (event.text or event.signature or event.redacted):
                return b""
            name = self._open["reasoning", event.block] = f"reasoning-{event.cycle}-{event.block}"
            start = self._end_reasoning(but=event.block) + chunk("reasoning-start", {"id": name})
        if event.signature or event.redacted:
            signature, redacted = self._seals.get(name, ("", ""))
            self._seals[name] = (signature + (event.signature or ""), redacted + (event.redacted or ""))
        if not event.text:
            return start
        return start + f"{fragments('reasoning-delta', 'id', name, 'delta')}{quoted(event.text)}}}\n\n".encode()

    def _call(self, event: ToolCallDelta) -> bytes:
        return self._end_reasoning() + self._calls.delta(event)

    def _model_finished(self, _: ModelFinished) -> bytes:
        return self._end_blocks()

    def _end_blocks(self) -> bytes:
        """What is open may be added to until its message is whole: blocks of text can take turns."""
        self._block = None
        return b"".join(self._end_block(key) for key in list(self._open))

    def _end_reasoning(self, *, but: int | None = None) -> bytes:
        """The model has thought to its end where it goes on to something else; a frontend folds the thoughts then."""
        ended = [(kind, block) for kind, block in self._open if kind == "reasoning" and block != but]
        return b"".join(map(self._end_block, ended))

    def _end_block(self, key: tuple[str, int]) -> bytes:
        name = self._open.pop(key)
        return chunk(f"{key[0]}-end", {"id": name, **seal(*self._seals.pop(name, ("", "")))})

    def _message(self, event: MessageAdded) -> bytes:
        return self._calls.added(event.message) + self._calls.cut() if event.message.role == "assistant" else b""

    # -- tools, and what is decided on them ---------------------------------------------------------------------------

    def _tool_started(self, event: ToolStarted) -> bytes:
        return self._calls.started(event.call)

    def _tool_progress(self, event: ToolProgress) -> bytes:
        return self._calls.progress(event)

    def _tool_finished(self, event: ToolFinished) -> bytes:
        written = self._calls.finished(event.result)
        self.done = self._calls.blocked
        return written

    def _decision_requested(self, event: DecisionRequested) -> bytes:
        call, nested = event.call, event.parent_run_id is not None
        what: dict[str, object] = {
            "kind": event.kind,
            "runId": event.run_id,
            "agent": self._nested.agent(event.run_id) if nested else self._run.agent,
            "deadline": event.deadline,
        }
        if call is not None:
            what |= {"toolCallId": call.id, "toolName": call.tool, "input": call.arguments}
        if event.asked_of == "approver":
            return b"" if nested or call is None else self._calls.asked_elsewhere(event, call, what)
        if nested:
            written = self._calls.asked_below(event, self._nested.root_call(event), what)
        else:
            written = b"" if call is None else self._calls.asked(event, call, what)
            if self._output is not None:  # it may have been taken back with the step
                written += self._structured(self._output)
        self.done = self._calls.blocked
        return written

    def _decision_made(self, event: DecisionMade) -> bytes:
        written = self._calls.decided(event)
        self.done = self._calls.blocked
        return written

    def _below(self, event: Event) -> bytes:
        """An event of a nested run."""
        if type(event) is DecisionRequested:
            return self._decision_requested(event)
        if type(event) is DecisionMade:
            return self._decision_made(event)
        return self._nested.encode(event)

    # -- what stands beside them --------------------------------------------------------------------------------------

    def _retry(self, event: RetryScheduled) -> bytes:
        taken_back = b""
        if event.call_id is None and (self._open or self._calls.written):
            self._open.clear()
            self._seals.clear()
            self._block = None
            self._calls.take_back()
            taken_back = chunk("reset-step")
        said: dict[str, object] = {"reason": event.reason, "delay": event.delay_s, "attempt": event.next_attempt}
        if event.call_id is not None:
            said["toolCallId"] = event.call_id
        return taken_back + chunk("data-retry", {"data": said, "transient": True})

    def _partial(self, event: OutputPartial) -> bytes:
        return self._structured(event.value)

    def _structured(self, value: object) -> bytes:
        self._output = value
        return chunk("data-output", {"id": self._run.run_id, "data": value})

    def _plugin_event(self, event: PluginEvent) -> bytes:
        said: dict[str, object] = {"plugin": event.plugin, "name": event.name, "data": event.data}
        return chunk("data-plugin-event", {"data": said, "transient": True})

    # -- the end ------------------------------------------------------------------------------------------------------

    def _run_finished(self, event: RunFinished) -> bytes:
        self._ended = True
        result = event.result
        output = b""
        if result.output is not None and result.output != self._output:
            output = self._structured(result.output)
        abort = chunk("abort", {"reason": "the run was cancelled"}) if result.stop_reason == "cancelled" else b""
        metadata: dict[str, object] = {
            "stopReason": result.stop_reason,
            "cycles": result.cycles,
            "usage": {
                "inputTokens": result.usage.input_tokens,
                "outputTokens": result.usage.output_tokens,
                "totalTokens": result.usage.total_tokens,
                "inputTokenDetails": {"cacheReadTokens": result.usage.cached_tokens},
                "outputTokenDetails": {"reasoningTokens": result.usage.reasoning_tokens},
            },
        }
        if result.cost is not None:
            metadata["cost"] = result.cost
        return output + abort + _finish(_FINISH.get(result.stop_reason, "other"), metadata)

    def _run_failed(self, event: RunFailed) -> bytes:
        self._ended = True
        error = event.error
        metadata: dict[str, object] = {
            "stopReason": "error",
            "error": {"kind": error.kind, "code": error.code, "retryable": error.retryable},
        }
        # First: a chat reads nothing after the error.
        said = chunk("message-metadata", {"messageMetadata": metadata})
        return said + chunk("error", {"errorText": error.message}) + _finish("error", {})

    # What is not there says nothing to a client: the model's turn begins, a plugin fails that the run can do without.
    _writers: Final[dict[type, Callable[[ChunkEncoder, Any], bytes]]] = {
        CycleStarted: _cycle_started,
        TextDelta: _text,
        ReasoningDelta: _reasoning,
        ToolCallDelta: _call,
        ModelFinished: _model_finished,
        MessageAdded: _message,
        ToolStarted: _tool_started,
        ToolProgress: _tool_progress,
        ToolFinished: _tool_finished,
        DecisionRequested: _decision_requested,
        DecisionMade: _decision_made,
        RetryScheduled: _retry,
        OutputPartial: _partial,
        PluginEvent: _plugin_event,
        CycleFinished: _cycle_finished,
        RunFinished: _run_finished,
        RunFailed: _run_failed,
    }


def _finish(reason: str, metadata: dict[str, object]) -> bytes:
    return chunk("finish", {"finishReason": reason} | ({"messageMetadata": metadata} if metadata else {}))
