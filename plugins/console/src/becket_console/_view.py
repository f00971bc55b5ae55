"""What is shown: the words for each event of a run, and which of them a person wants to see."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from becket import (
    CycleStarted,
    DecisionMade,
    DecisionRequested,
    MessageAdded,
    ModelFinished,
    ModelStarted,
    PluginEvent,
    PluginFailed,
    ReasoningDelta,
    RetryScheduled,
    RunFailed,
    RunFinished,
    RunStarted,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)

from becket_console._safe import call_head, preview, result_preview
from becket_console._screen import Row
from becket_console._words import counted, failure, moment, span, stop, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import Event, RunInfo

    from becket_console._screen import Screen, Span, Tone

__all__ = ["Level", "View"]

Level: TypeAlias = Literal["quiet", "normal", "verbose"]
"""`quiet`: the answer, and what goes wrong. `normal`: also cycles, reasoning and tools. `verbose`: also model calls."""

_NOTE_EVERY_S = 1.0
"""In plain output, the progress of a tool is a line; more often than this it would bury the rest."""

_ENDINGS: dict[str, tuple[Tone, str, str, str]] = {
    "success": ("good", "+", "->", "done"),
    "error": ("bad", "x", "failed:", "failed"),
    "interrupted": ("warn", "!", "interrupted:", "interrupted"),
    "denied": ("bad", "-", "denied:", "denied"),
}
"""How a call ended: its tone, its mark on a terminal, its word before a result and without one."""


@dataclass(slots=True)
class _Call:
    """A tool call that is not answered yet."""

    call: ToolCall
    since: float | None = None
    alike: bool = False
    noted_at: float | None = None


@dataclass(slots=True)
class _Branch:
    """One run of the tree: the one that is watched, or one that a tool of it started."""

    run_id: str
    label: str
    indent: str
    model: str
    started: float
    attempt: int = 0
    spoke: bool = False
    thought: bool = False
    thought_block: int = 0
    tools: int = 0
    calls: dict[str, _Call] = field(default_factory=dict)
    writing: dict[str, int] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    held_tone: Tone = "plain"


class View:
    """Shows one run, and the runs nested in it, on a screen."""

    def __init__(self, screen: Screen, run: RunInfo, *, level: Level, label: str) -> None:
        """Show `run`. With a `label` it shares the screen with others: its text comes in whole lines, not streamed."""
        self._screen = screen
        self._run_id = run.run_id
        self._level = level
        self._limits = (2000, 2000) if level == "verbose" else (100, 200)
        self._root = _Branch(run.run_id, label, "", run.model, 0.0)
        self._branches = {run.run_id: self._root}
        self._waiting: set[str] = set()
        self._show = self._shown_events()

    def show(self, event: Event) -> None:
        """Show one event; quick where it is a fragment of text."""
        self._screen.now = event.time
        show = self._show.get(type(event))
        if show is not None:
            show(event)
        if self._screen.rows:
            self._screen.redraw()

    def close(self) -> None:
        """The run is over: show what is held of it, and leave nothing of it in the live block."""
        self._show = {}
        for branch in self._branches.values():
            self._drop_rows(branch)
            self._flush(branch)
        self._screen.redraw(hard=True)
        for request_id in list(self._waiting):
            self._release(request_id)

    def _shown_events(self) -> dict[type, Callable[[Any], None]]:
        """What shows each type of event; a type that is missing is not shown (`output_partial`, an unknown event)."""
        show: dict[type, Callable[[Any], None]] = {
            RunStarted: self._run_started,
            CycleStarted: self._cycle_started,
            ModelStarted: self._model_started,
            TextDelta: self._text,
            ModelFinished: self._model_finished,
            MessageAdded: self._message_added,
            DecisionRequested: self._decision_requested,
            DecisionMade: self._decision_made,
            RetryScheduled: self._retry_scheduled,
            PluginFailed: self._plugin_failed,
            RunFinished: self._run_finished,
            RunFailed: self._run_failed,
        }
        if self._level != "quiet":
            show |= {
                ReasoningDelta: self._reasoning,
                ToolCallDelta: self._tool_call,
                ToolStarted: self._tool_started,
                ToolProgress: self._tool_progress,
                ToolFinished: self._tool_finished,
                PluginEvent: self._plugin_event,
            }
        return show

    # The run and its cycles

    def _run_started(self, event: RunStarted) -> None:
        branch = self._branch(event)
        branch.started = event.time
        branch.model = event.model
        if branch is not self._root:
            self._name(branch, event.agent)
        self._unless_quiet(branch, ("dim", f"run {event.agent} on {event.model}"))

    def _cycle_started(self, event: CycleStarted) -> None:
        branch = self._branch(event)
        branch.attempt = event.attempt
        branch.spoke = branch.thought = False
        self._unless_quiet(branch, ("dim", f"cycle {event.cycle}"))

    def _run_finished(self, event: RunFinished) -> None:
        branch = self._branch(event)
        reason = event.result.stop_reason
        self._end_message(branch)
        self._drop_rows(branch)
        if reason == "end_turn":
            self._unless_quiet(branch, ("good", "done"), f" in {self._closing(branch, event)}")
        else:
            self._line(branch, ("warn", stop(reason)), f" after {self._closing(branch, event)}")
        self._leave(branch)

    def _run_failed(self, event: RunFailed) -> None:
        branch = self._branch(event)
        self._end_message(branch)
        self._drop_rows(branch)
        self._line(branch, ("bad", failure(event.error)), f" ({self._closing(branch, event)})")
        self._leave(branch)

    def _closing(self, branch: _Branch, event: RunFinished | RunFailed) -> str:
        """The time, the tools and the tokens of a run."""
        parts = [span(event.time - branch.started)]
        if branch.tools:
            parts.append(counted(branch.tools, "tool call"))
        if isinstance(event, RunFinished) and event.result.usage.total_tokens:
            parts.append(counted(event.result.usage.total_tokens, "token"))
        return ", ".join(parts)

    def _leave(self, branch: _Branch) -> None:
        if branch is not self._root:
            del self._branches[branch.run_id]

    # The model

    def _model_started(self, event: ModelStarted) -> None:
        branch = self._branch(event)
        self._note_attempt(branch, event)
        branch.model = event.model
        if self._level == "verbose":
            offered = f", tools: {', '.join(event.tools)}" if event.tools else ""
            self._line(branch, ("dim", f"model {event.model}, {counted(event.messages, 'message')}{offered}"))

    def _text(self, event: TextDelta) -> None:
        # The path that is taken a hundred times a second.
        root = self._root
        if event.run_id == self._run_id and event.attempt == root.attempt and not root.label:
            root.spoke = True
            self._screen.answer(event.text)
            return
        branch = self._branch(event)
        self._note_attempt(branch, event)
        branch.spoke = True
        self._say(branch, event.text, nested=event.parent_run_id is not None)

    def _reasoning(self, event: ReasoningDelta) -> None:
        branch = self._branch(event)
        self._note_attempt(branch, event)
        branch.thought = True
        if event.redacted is not None:
            self._line(branch, ("dim", "reasoning, redacted by the service"))
        if not event.text:
            return
        if self._streams(branch):
            if event.block != branch.thought_block:  # thoughts of their own, which bring no line end
                self._screen.end_thought()
            self._screen.thought(event.text)
        else:
            self._hold(branch, "dim", event.text)
        branch.thought_block = event.block

    def _say(self, branch: _Branch, text: str, *, nested: bool) -> None:
        """Show text of a model: at once where its run has the screen for itself, else line by line among the rest."""
        if self._streams(branch):
            self._screen.answer(text)
        elif self._level != "quiet" if nested else self._screen.answers:
            self._hold(branch, "plain", text)

    def _tool_call(self, event: ToolCallDelta) -> None:
        if not self._screen.live:
            return
        branch = self._branch(event)
        length = branch.writing.get(event.call_id)
        branch.writing[event.call_id] = (length or 0) + len(event.fragment)
        key = (event.run_id, event.call_id)
        if length is None:
            self._screen.rows[key] = Row(branch.label + event.tool, event.time, indent=branch.indent)
            self._screen.redraw(hard=True)
        elif key in self._screen.rows:
            self._screen.rows[key].note = counted(branch.writing[event.call_id], "character")

    def _model_finished(self, event: ModelFinished) -> None:
        branch = self._branch(event)
        self._end_message(branch)
        if self._level == "verbose":
            self._line(branch, ("dim", _answered(event)))
        if event.confidence is not None:
            self._unless_quiet(branch, ("dim", f"confidence {event.confidence:.2f}"))

    def _message_added(self, event: MessageAdded) -> None:
        branch, message = self._branch(event), event.message
        if message.role != "assistant":
            return
        for call in message.tool_calls:
            branch.calls[call.id] = _Call(call)
        if message.text and not branch.spoke:
            # A log that was compacted has lost its deltas, and has the message still.
            self._say(branch, message.text, nested=event.parent_run_id is not None)
            self._end_message(branch)
        branch.spoke = branch.thought = False

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        branch = self._branch(event)
        if event.call_id is None:
            self._end_message(branch)
            what = "model call"
        else:
            running = branch.calls.get(event.call_id) or _Call(ToolCall(event.call_id, event.call_id))
            what = f"tool {self._called(running)}"
        self._line(branch, ("warn", f"{what} failed: {event.reason}; next attempt in {span(event.delay_s)}"))

    def _note_attempt(self, branch: _Branch, event: ModelStarted | TextDelta | ReasoningDelta) -> None:
        """Say that the model is asked again, and that what it said before does not count."""
        if event.attempt > branch.attempt > 0:
            self._end_message(branch)
            void = "; what it said above is void" if branch.spoke or branch.thought else ""
            self._line(branch, ("warn", f"retrying, attempt {event.attempt}{void}"))
            branch.spoke = branch.thought = False
        branch.attempt = event.attempt

    def _end_message(self, branch: _Branch) -> None:
        """End the lines that a model has left open, and forget the calls that it has not finished writing."""
        if self._streams(branch):
            self._screen.end_thought()
            self._screen.end_answer()
        else:
            self._flush(branch)
        if branch.writing:
            for call_id in branch.writing:
                self._screen.rows.pop((branch.run_id, call_id), None)
            branch.writing.clear()
            self._screen.redraw(hard=True)

    # Tools

    def _tool_started(self, event: ToolStarted) -> None:
        branch, call = self._branch(event), event.call
        running = _Call(call, event.time)
        for other in branch.calls.values():
            if other.since is not None and other.call.tool == call.tool:
                other.alike = running.alike = True
        branch.calls[call.id] = running
        head = call_head(call, self._limits[0])
        if not self._screen.live:
            self._line(branch, f"tool {head}")
            return
        self._screen.rows[event.run_id, call.id] = Row(branch.label + head, event.time, indent=branch.indent)
        self._screen.redraw(hard=True)

    def _tool_progress(self, event: ToolProgress) -> None:
        branch = self._branch(event)
        note = preview(event.data, self._limits[1])
        row = self._screen.rows.get((event.run_id, event.call_id))
        if row is not None:
            row.note = note
            return
        running = branch.calls.get(event.call_id)
        if self._screen.live or running is None:
            return
        if running.noted_at is None or not 0 <= event.time - running.noted_at < _NOTE_EVERY_S:
            running.noted_at = event.time
            self._line(branch, f"tool {self._called(running)}: {note}")

    def _tool_finished(self, event: ToolFinished) -> None:
        branch, result = self._branch(event), event.result
        running = branch.calls.pop(result.call_id, None) or _Call(ToolCall(result.call_id, result.call_id))
        self._screen.rows.pop((event.run_id, result.call_id), None)
        branch.tools += 1
        tone, mark, verb, alone = _ENDINGS[result.status]
        answer = result_preview(result, self._limits[1])
        verb, took = (f"{verb} " if answer else alone), f" ({moment(event.duration_s)})"
        if self._screen.live:
            head = call_head(running.call, self._limits[0])
            self._line(branch, (tone, f"{mark} "), head, ("dim", f" {verb}"), answer, ("dim", took))
        else:
            self._line(branch, f"tool {self._called(running)} {verb}{answer}{took}")

    def _called(self, running: _Call) -> str:
        """A call's name in plain lines; with its arguments, where calls of the same tool ran beside it."""
        return call_head(running.call, self._limits[0]) if running.alike else running.call.tool

    # Decisions and plugins

    def _decision_requested(self, event: DecisionRequested) -> None:
        branch = self._branch(event)
        what = f" for {call_head(event.call, self._limits[1])}" if event.call is not None else ""
        why = f": {event.why}" if event.why else ""
        # Whoever answers is likely to be asked on this very terminal.
        self._waiting.add(event.request_id)
        self._screen.holds += 1
        self._line(branch, ("warn", f"decision needed, {event.kind}{what}{why}"))

    def _decision_made(self, event: DecisionMade) -> None:
        self._release(event.request_id)
        by = f" by {event.by}" if event.by else ""
        why = f": {event.reason}" if event.reason else ""
        self._unless_quiet(self._branch(event), ("dim", f"decision: {event.outcome}{by}{why}"))

    def _release(self, request_id: str) -> None:
        if request_id in self._waiting:
            self._waiting.remove(request_id)
            self._screen.holds -= 1

    def _plugin_event(self, event: PluginEvent) -> None:
        branch = self._branch(event)
        what = branch.model if branch.model.startswith(f"{event.plugin}:") else event.plugin
        match event:
            case PluginEvent(name="loading"):
                self._line(branch, ("dim", f"loading {what} ..."))
                return
            case PluginEvent(name="loaded", data={"seconds": int() | float() as seconds}):
                self._line(branch, ("dim", f"loaded {what} in {moment(seconds)}"))
                return
        data = "" if event.data is None else f" {preview(event.data, self._limits[1])}"
        self._line(branch, ("dim", f"{event.plugin}: {event.name}{data}"))

    def _plugin_failed(self, event: PluginFailed) -> None:
        source = f" ({event.distribution})" if event.distribution else ""
        self._line(self._branch(event), ("bad", f"plugin {event.plugin}{source} failed in {event.hook}: {event.error}"))

    # Runs, and where their lines go

    def _branch(self, event: Event) -> _Branch:
        """The run that the event belongs to; one that is not known yet hangs below the run that started it."""
        branch = self._branches.get(event.run_id)
        if branch is None:
            parent = self._branches.get(event.parent_run_id or "", self._root)
            branch = _Branch(event.run_id, "", parent.indent + "  ", "", event.time)
            self._branches[event.run_id] = branch
        return branch

    def _name(self, branch: _Branch, agent: str) -> None:
        """Label a nested run by its agent, and by a number where several of that agent run at once."""
        taken = {other.label for other in self._branches.values()}
        names = (f"[{agent}{f' {number}' if number > 1 else ''}] " for number in itertools.count(1))
        branch.label = next(name for name in names if name not in taken)

    def _streams(self, branch: _Branch) -> bool:
        return branch is self._root and not branch.label

    def _line(self, branch: _Branch, *spans: Span) -> None:
        if branch.held:
            self._flush(branch)
        self._screen.line(branch.indent, ("strong", branch.label), *spans)

    def _unless_quiet(self, branch: _Branch, *spans: Span) -> None:
        if self._level != "quiet":
            self._line(branch, *spans)

    def _hold(self, branch: _Branch, tone: Tone, text: str) -> None:
        """Show text in whole lines, so that several runs can speak at once."""
        if tone != branch.held_tone:
            self._flush(branch)
            branch.held_tone = tone
        *lines, rest = text.split("\n")
        for line in lines:
            branch.held.append(line)
            self._flush(branch)
        if rest:
            branch.held.append(rest)

    def _flush(self, branch: _Branch) -> None:
        """Show what is held of a line."""
        if not branch.held:
            return
        text, branch.held = "".join(branch.held), []
        self._screen.line(branch.indent, ("strong", branch.label), (branch.held_tone, text))

    def _drop_rows(self, branch: _Branch) -> None:
        for key in [key for key in self._screen.rows if key[0] == branch.run_id]:
            del self._screen.rows[key]


def _answered(event: ModelFinished) -> str:
    """How a model's answer ended, what it took, and how long."""
    first = "" if event.first_token_s is None else f", first after {moment(event.first_token_s)}"
    by = f" ({event.model} has answered)" if event.model else ""
    return f"model stopped{by}: {event.stop_reason}, {tokens(event.usage)}{first}, {moment(event.duration_s)}"
