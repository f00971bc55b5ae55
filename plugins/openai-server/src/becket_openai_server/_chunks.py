"""An answer as a stream of `chat.completion.chunk` objects, as its text comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from becket import (
    MessageAdded,
    ModelStarted,
    ReasoningDelta,
    RunFailed,
    RunFinished,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from becket.wires import EventStreamEncoder

from becket_openai_server._answer import (
    Failure,
    Lines,
    as_json,
    completion_id,
    dumps,
    finish_reason,
    quoted,
    unsaid_output,
    usage_object,
)
from becket_openai_server._errors import failure_object

if TYPE_CHECKING:
    from becket import Event, RunInfo

    from becket_openai_server._settings import Settings

__all__ = ["ChunkEncoder"]

_PARAGRAPH: Final = "\n\n"
"""Stands between what a model has said before it called tools, and what it says after."""


class ChunkEncoder(EventStreamEncoder):
    """Writes the chunks of one run.

    Nothing is written before there is something to show: a run that fails until then is answered with an HTTP status.

    Args:
        run: The run.
        settings: What is shown besides the text.
        usage: Whether the last chunk has the usage.
    """

    def __init__(self, run: RunInfo, settings: Settings, *, usage: bool) -> None:
        self._run = run
        self._settings = settings
        self._usage = usage
        self._lines = Lines()
        self._head = ""  # what stands before the choices; empty until the first chunk
        self._content = ""  # a chunk up to its text
        self._tail = '},"finish_reason":null}]' + self._end()
        self._flowing = False  # whether the next text goes on from the last
        self._said = False
        self._thinking = False  # as `_flowing`, of reasoning
        self._thought = False
        self._sent = False  # whether there is a status that cannot be taken back
        self._acted = False

    def encode(self, event: Event, /) -> bytes:
        """The chunks of an event. The first lines are the path of a token."""
        if event.__class__ is TextDelta and self._flowing and event.parent_run_id is None:
            return f"{self._content}{quoted(event.text)}{self._tail}".encode()
        if isinstance(event, ToolStarted | ToolProgress | ToolFinished):
            return self._tool(event)
        return b"" if event.parent_run_id is not None else self._other(event)

    def beat(self) -> bytes:
        """A comment."""
        self._sent = True
        return super().beat()

    def _other(self, event: Event) -> bytes:
        match event:
            case TextDelta(text=text) if text:
                return self._text(text, event.time)
            case ReasoningDelta(text=text) if text and self._settings.reasoning:
                return self._reasoning(text, event.time)
            case ModelStarted():
                self._flowing = self._thinking = False
            case MessageAdded(message=message):
                self._lines.name(message)
            case RunFinished():
                return self._finished(event)
            case RunFailed():
                return self._failed(event)
        return b""

    # -- chunks ------------------------------------------------------------------------------------------------------

    def _begun(self, time: float) -> bytes:
        """The first chunk, where it was not sent yet; OpenAI's has the role, and text that is empty."""
        if self._head:
            return b""
        self._sent = True
        run = self._run
        about = {
            "id": completion_id(run),
            "object": "chat.completion.chunk",
            "created": int(time),
            "model": run.agent,
        }
        self._head = f'data: {dumps(about)[:-1]},"choices":['
        self._content = f'{self._head}{{"index":0,"delta":{{"content":'
        return self._chunk({"role": "assistant", "content": ""})

    def _chunk(self, delta: dict[str, Any], *, finish: str | None = None, aside: dict[str, Any] | None = None) -> bytes:
        """A chunk that is no fragment of text."""
        choice = dumps({"index": 0, "delta": delta, "finish_reason": finish})
        return f"{self._head}{choice}]{self._end(aside)}".encode()

    def _end(self, aside: dict[str, Any] | None = None) -> str:
        """What stands after the choices. Where the usage is wanted, each chunk but the last has an empty one."""
        usage = ',"usage":null' if self._usage else ""
        beside = f',"becket":{dumps(aside)}' if aside else ""
        return f"{usage}{beside}}}\n\n"

    def _text(self, text: str, time: float) -> bytes:
        """Text that a model call begins with."""
        gap = _PARAGRAPH if self._said else ""
        self._said = self._flowing = True
        return self._begun(time) + f"{self._content}{quoted(gap + text)}{self._tail}".encode()

    def _reasoning(self, text: str, time: float) -> bytes:
        gap = "" if self._thinking or not self._thought else _PARAGRAPH
        self._thought = self._thinking = True
        return self._begun(time) + self._chunk({"reasoning_content": gap + text})

    def _tool(self, event: ToolStarted | ToolProgress | ToolFinished) -> bytes:
        self._acted = True
        if self._settings.tools == "events":
            return self._begun(event.time) + self._chunk({}, aside={"event": as_json(event)})
        if self._settings.tools == "reasoning" and (line := self._lines.of(event)):
            self._thinking = False
            return self._reasoning(line, event.time)
        return b""

    # -- ends --------------------------------------------------------------------------------------------------------

    def _finished(self, event: RunFinished) -> bytes:
        result = event.result
        pieces = [self._begun(event.time)]
        if output := unsaid_output(result):
            self._flowing = False
            pieces.append(self._text(output, event.time))
        reason = finish_reason(result.stop_reason)
        pieces.append(self._chunk({}, finish=reason, aside={"stop_reason": result.stop_reason}))
        if self._usage:
            pieces.append(f'{self._head}],"usage":{dumps(usage_object(result.usage))}}}\n\n'.encode())
        pieces.append(b"data: [DONE]\n\n")
        return b"".join(pieces)

    def _failed(self, event: RunFailed) -> bytes:
        """An error: OpenAI's clients raise it. No `[DONE]` comes after it, which others would take for a good end."""
        if self._sent:
            return f"data: {dumps({'error': failure_object(event.error)})}\n\n".encode()
        failure = Failure(event, acted=self._acted)
        self.media_type, self.status, self.headers = failure.media_type, failure.status, failure.headers
        return failure.body
