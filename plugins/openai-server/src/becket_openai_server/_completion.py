"""An answer in one piece: a `chat.completion` object, once the run is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket import (
    MessageAdded,
    Reasoning,
    RunFailed,
    RunFinished,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)

from becket_openai_server._answer import (
    Failure,
    Lines,
    as_json,
    completion_id,
    dumps,
    finish_reason,
    unsaid_output,
    usage_object,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from becket import Event, Message, RunInfo

    from becket_openai_server._settings import Settings

__all__ = ["CompletionEncoder"]


class CompletionEncoder:
    """Writes the completion of one run. See `becket.wires.Encoder`.

    It is made of whole messages: what an attempt has said that was made again is not in it.

    Args:
        run: The run.
        settings: What is shown besides the text.
    """

    media_type = "application/json"
    done = False

    def __init__(self, run: RunInfo, settings: Settings) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {"cache-control": "no-store"}
        self._run = run
        self._settings = settings
        self._lines = Lines()
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._events: list[Any] = []
        self._acted = False

    def encode(self, event: Event, /) -> bytes:
        """Nothing, but for the last event."""
        match event:
            case ToolStarted() | ToolProgress() | ToolFinished():
                self._take_tool(event)
            case MessageAdded(parent_run_id=None, message=message) if message.role == "assistant":
                self._take(message)
            case RunFinished(parent_run_id=None):
                return self._finished(event)
            case RunFailed(parent_run_id=None):
                failure = Failure(event, acted=self._acted)
                self.status, self.headers = failure.status, failure.headers
                return failure.body
        return b""

    @staticmethod
    def finish() -> bytes:
        """Nothing stands at the end."""
        return b""

    @staticmethod
    def beat() -> bytes:
        """Nothing: with the first byte there is a status, and it is not known yet."""
        return b""

    def _take(self, message: Message) -> None:
        self._lines.name(message)
        if message.text:
            self._texts.append(message.text)
        if self._settings.reasoning:
            self._thoughts += (block.text for block in message.content if isinstance(block, Reasoning) and block.text)

    def _take_tool(self, event: ToolStarted | ToolProgress | ToolFinished) -> None:
        self._acted = True
        if self._settings.tools == "events":
            self._events.append(as_json(event))
        elif self._settings.tools == "reasoning" and (line := self._lines.of(event)):
            self._thoughts.append(line)

    def _finished(self, event: RunFinished) -> bytes:
        result = event.result
        # Structured output stands alone: programs parse it, and what was said on the way to it is none.
        said = "\n\n".join(self._texts) if result.output is None else unsaid_output(result) or result.text
        message: dict[str, Any] = {"role": "assistant", "content": said, "refusal": None}
        if self._thoughts:
            message["reasoning_content"] = "\n\n".join(self._thoughts)
        aside: dict[str, Any] = {"stop_reason": result.stop_reason}
        if self._events:
            aside["events"] = self._events
        reason = finish_reason(result.stop_reason)
        return dumps(
            {
                "id": completion_id(self._run),
                "object": "chat.completion",
                "created": int(event.time),
                "model": self._run.agent,
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
                "usage": usage_object(result.usage),
                "becket": aside,
            }
        ).encode()
