"""The events of one run, and of those nested in it, as events of AG-UI 1.0."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from becket import (
    CycleFinished,
    CycleStarted,
    DecisionMade,
    DecisionRequested,
    MessageAdded,
    ModelFinished,
    ModelStarted,
    OutputPartial,
    PluginEvent,
    ReasoningDelta,
    RetryScheduled,
    RunFailed,
    RunFinished,
    RunStarted,
    TextDelta,
    ToolCallDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    Usage,
)
from becket.wires import EventStreamEncoder

from becket_agui._before import Before
from becket_agui._frames import delta, frame
from becket_agui._members import interrupt, token_usage
from becket_agui._names import OWN
from becket_agui._speaker import Speaker

if TYPE_CHECKING:
    from becket import Event, RunInfo

    from becket_agui._request import RunAgentInput

__all__ = ["AgUiEncoder"]

_VERSION: Final = "1.0"

_WHOLE: Final = frozenset({"end_turn", "max_tokens", "stop_sequence", "content_filtered"})
"""Stop reasons that are the model's. Those of a run that was stopped, by somebody or by a limit, are the others."""


class AgUiEncoder(EventStreamEncoder):
    """Writes one answer.

    It may begin in the middle of a run, whose interrupt a client has answered: what is not open is opened when
    something is said in it, and what the client was told before is looked up in what it sends.

    Args:
        body: The request.
        run: The run.
    """

    def __init__(self, body: RunAgentInput, run: RunInfo) -> None:
        self._body = body
        self._run = run
        self._before = Before(body.messages)
        self._speakers: dict[str, Speaker] = {}
        self._over: set[str] = set()
        self._begun = self._ended = False
        self._usage: dict[str, Usage] = {}
        self._text_of = ""  # the run whose text came last, while that is open
        self._text = b""

    def encode(self, event: Event, /) -> bytes:
        """The events of the protocol that `event` is."""
        if type(event) is TextDelta and event.run_id == self._text_of and event.text:
            return delta(self._text, event.text)
        step = _STEPS.get(type(event))
        if step is None or self._ended or event.run_id in self._over:
            return b""
        self._text_of = ""
        return b"".join(self._told(event, step))

    def finish(self) -> bytes:
        """The end of an answer whose events end before its run does; else nothing is left to say."""
        if self._ended:
            return b""
        self._ended = True
        return frame("RUN_ERROR", None, message="the events of this run end before the run does", code="cut_off")

    def _told(self, event: Event, step: _Step) -> Iterator[bytes]:
        if not self._begun:
            self._begun = True
            yield self._started(event)
        speaker = self._speakers.get(event.run_id)
        if speaker is None:
            if event.run_id == self._run.run_id:
                speaker = Speaker(event.run_id)
            else:
                call, tool = self._call_above(event) or (None, "")
                speaker = Speaker(event.run_id, tool or (event.agent if isinstance(event, RunStarted) else "agent"))
                yield self._introduced(event, speaker.name, call)
            self._speakers[event.run_id] = speaker
        yield from step(self, speaker, event)

    def _started(self, event: Event) -> bytes:
        return frame(
            "RUN_STARTED",
            event,
            threadId=self._body.thread_id,
            runId=self._body.run_id,
            parentRunId=self._body.parent_run_id,
            protocolVersion=_VERSION,
            metadata={OWN: {"runId": self._run.run_id, "agent": self._run.agent}},
        )

    def _call_above(self, event: Event) -> tuple[str, str] | None:
        """The call that a nested run is the work of, and its tool."""
        above, called = event.parent_run_id, event.parent_call_id
        if above is None or called is None:
            return None
        speaker = self._speakers.get(above)
        known = {} if speaker is None else speaker.calls
        return known.get(called) or self._before.call(above, called)

    def _introduced(self, event: Event, name: str, call: str | None) -> bytes:
        """A nested run has begun, or goes on."""
        above = event.parent_run_id
        return frame(
            "SUBAGENT_STARTED",
            event,
            subagentRunId=event.run_id,
            name=name,
            parentSubagentRunId=above if above in self._speakers and above != self._run.run_id else None,
            parentToolCallId=call,
        )

    def _model_finished(self, speaker: Speaker, event: ModelFinished) -> Iterator[bytes]:
        model = event.model or speaker.model
        self._usage[model] = self._usage.get(model, Usage()) + event.usage
        return iter(())

    def _text_delta(self, speaker: Speaker, event: TextDelta) -> Iterator[bytes]:
        if event.text:
            yield from speaker.say(event)
            self._text_of, self._text = speaker.run_id, speaker.text

    def _decision(self, speaker: Speaker, event: DecisionRequested) -> Iterator[bytes]:
        """What is asked ends the answer: who answers it sends another request. What the host is asked is only told."""
        asked = interrupt(event)
        if event.asked_of == "approver":
            yield from speaker.remark(event, f"{OWN}.{event.type}", asked)
            return
        for one in self._open():
            yield from one.close(event, suspended=True)
            if one.name:
                own = {"interruptIds": [event.request_id]} if one is speaker else {}
                yield one.frame("SUBAGENT_FINISHED", event, outcome={"type": "suspended", **own})
        if speaker.name:
            asked["subagentRunId"] = speaker.run_id
        yield self._finished(event, outcome={"type": "interrupt", "interrupts": [asked]})
        self.done = True

    def _run_finished(self, speaker: Speaker, event: RunFinished) -> Iterator[bytes]:
        result = event.result
        whole = result.stop_reason in _WHOLE
        if speaker.name:
            yield from speaker.close(event)
            self._over.add(speaker.run_id)
            if whole:
                yield speaker.frame("SUBAGENT_FINISHED", event, result=result.output)
            else:
                stopped = f"the run was stopped: {result.stop_reason}"
                yield speaker.frame("SUBAGENT_ERROR", event, message=stopped, code=result.stop_reason)
            return
        for one in self._open():
            yield from one.close(event)
            if one.name:
                yield one.frame("SUBAGENT_ERROR", event, message="the run above ended first", code="cut_off")
        yield self._finished(
            event,
            outcome={"type": "success" if whole else "cancelled"},
            result=result.output if whole else None,
            metadata={OWN: {"stopReason": result.stop_reason, "cycles": result.cycles}},
        )

    def _run_failed(self, speaker: Speaker, event: RunFailed) -> Iterator[bytes]:
        error = event.error
        said = {"message": error.message, "code": error.code or error.kind}
        if speaker.name:
            yield from speaker.close(event)
            self._over.add(speaker.run_id)
            yield speaker.frame("SUBAGENT_ERROR", event, **said)
        else:  # ends all that is open
            self._ended = True
            yield frame("RUN_ERROR", event, **said, usage=token_usage(self._usage))

    def _open(self) -> Iterator[Speaker]:
        """The runs that the client was told of and that have not ended, the innermost first."""
        return (one for one in reversed(self._speakers.values()) if one.run_id not in self._over)

    def _finished(self, event: Event, **members: Any) -> bytes:
        self._ended = True
        body = self._body
        return frame(
            "RUN_FINISHED",
            event,
            threadId=body.thread_id,
            runId=body.run_id,
            usage=token_usage(self._usage),
            **members,
        )


_Step: TypeAlias = Callable[[AgUiEncoder, Speaker, Any], Iterator[bytes]]

_STEPS: Final[Mapping[type, _Step]] = MappingProxyType(
    {
        **dict.fromkeys((RunStarted, DecisionMade, ToolStarted), lambda _, __, ___: iter(())),  # that an answer begins
        CycleStarted: lambda _, speaker, event: speaker.begin_step(event),
        ModelStarted: lambda _, speaker, event: speaker.begin_message(event),
        TextDelta: AgUiEncoder._text_delta,  # noqa: SLF001  the table is the class's own
        ReasoningDelta: lambda _, speaker, event: speaker.think(event),
        ToolCallDelta: lambda _, speaker, event: speaker.call(event),
        ModelFinished: AgUiEncoder._model_finished,  # noqa: SLF001  as above
        MessageAdded: lambda _, speaker, event: speaker.add(event),
        ToolProgress: lambda _, speaker, event: speaker.report(event),
        ToolFinished: lambda _, speaker, event: speaker.answer(event),
        DecisionRequested: AgUiEncoder._decision,  # noqa: SLF001  as above
        RetryScheduled: lambda _, speaker, event: speaker.retry(event),
        OutputPartial: lambda _, speaker, event: speaker.remark(event, f"{OWN}.{event.type}", event.value),
        PluginEvent: lambda _, speaker, event: speaker.remark(event, f"{event.plugin}.{event.name}", event.data),
        CycleFinished: lambda _, speaker, event: speaker.close(event),
        RunFinished: AgUiEncoder._run_finished,  # noqa: SLF001  as above
        RunFailed: AgUiEncoder._run_failed,  # noqa: SLF001  as above
    }
)
"""What is told of an event. Those that are not in here are becket's own affair, such as a plugin that has failed."""
