"""The runs that are nested in the calls of an answer. The format has no such thing: they are data parts of its message.

=========================  =====================================================================================
`data-nested-run`          a run, and the text of its finished messages; replaced as it goes on
`data-nested-tool`         a call of a tool in one; replaced as it goes on
`data-nested-text`         a fragment of its text; `transient`: for `onData`, and not kept in the message
=========================  =====================================================================================
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from becket import (
    MessageAdded,
    RunFailed,
    RunFinished,
    RunStarted,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)

from becket_aisdk._chunks import chunk, quoted
from becket_aisdk._outputs import output_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from becket import Event

__all__ = ["NESTED_RUN", "NESTED_TOOL", "NestedRuns"]

NESTED_RUN: Final = "data-nested-run"
NESTED_TOOL: Final = "data-nested-tool"


class NestedRuns:
    """The runs below one.

    Args:
        run_id: The run that was asked for.
        name: What the client calls a call of that run.
        known: The data of the parts that the client has from an answer before, by their ids.
    """

    def __init__(
        self,
        run_id: str,
        name: Callable[[str], str],
        known: Mapping[str, dict[str, object]] = MappingProxyType({}),
    ) -> None:
        self._run_id = run_id
        self._name = name
        self._data = dict(known)

    def root_call(self, event: Event) -> str:
        """The call of the run that was asked for, in which the run of `event` is nested."""
        if event.parent_run_id == self._run_id:
            return self._name(event.parent_call_id or "")
        above = self._data.get(event.parent_run_id or "", {})
        return str(above.get("toolCallId", event.parent_call_id))

    def agent(self, run_id: str) -> str:
        """The name of the agent that makes a nested run; empty where it is not known."""
        return str(self._data.get(run_id, {}).get("agent", ""))

    def encode(self, event: Event) -> bytes:
        """The parts that tell of an event of a nested run; empty for most kinds."""
        write = self._writers.get(type(event))
        return b"" if write is None else write(self, event)

    def _started(self, event: RunStarted) -> bytes:
        data: dict[str, object] = {
            "runId": event.run_id,
            "parentRunId": event.parent_run_id,
            "toolCallId": self.root_call(event),
            "agent": event.agent,
            "model": event.model,
            "state": "running",
            "text": "",
        }
        return self._part(NESTED_RUN, event.run_id, data)

    def _text(self, event: TextDelta) -> bytes:
        # Written by hand: there may be as many of these as of the answer's own fragments.
        data = f'"runId":{quoted(event.run_id)},"delta":{quoted(event.text)}'
        return f'data: {{"type":"data-nested-text","data":{{{data}}},"transient":true}}\n\n'.encode()

    def _message(self, event: MessageAdded) -> bytes:
        if event.message.role != "assistant" or not event.message.text:
            return b""
        before = str(self._data.get(event.run_id, {}).get("text", ""))
        return self._run(event, {"text": f"{before}\n\n{event.message.text}" if before else event.message.text})

    def _finished(self, event: RunFinished) -> bytes:
        return self._over(event, {"state": "finished", "stopReason": event.result.stop_reason})

    def _failed(self, event: RunFailed) -> bytes:
        return self._over(event, {"state": "failed", "errorText": event.error.message})

    def _over(self, event: Event, changes: Mapping[str, object]) -> bytes:
        written = self._run(event, changes)
        del self._data[event.run_id]  # a run may have thousands below it
        return written

    def _run(self, event: Event, changes: Mapping[str, object]) -> bytes:
        known = self._data.get(event.run_id, {"runId": event.run_id})
        return self._part(NESTED_RUN, event.run_id, {**known, **changes})

    def _tool_started(self, event: ToolStarted) -> bytes:
        call = event.call
        whole: dict[str, object] = {"toolName": call.tool, "input": call.arguments, "state": "running"}
        return self._tool(event, call.id, whole)

    def _tool_progress(self, event: ToolProgress) -> bytes:
        return self._tool(event, event.call_id, {"output": event.data, "preliminary": True})

    def _tool_finished(self, event: ToolFinished) -> bytes:
        result = event.result
        outcome: dict[str, object] = {"state": result.status, "output": output_of(result.content)}
        written = self._tool(event, result.call_id, outcome | {"preliminary": False})
        del self._data[_name(event, result.call_id)]  # as above: what tools return may be long
        return written

    def _tool(self, event: Event, call_id: str, changes: Mapping[str, object]) -> bytes:
        name = _name(event, call_id)
        known = self._data.get(name, {"runId": event.run_id, "toolCallId": call_id})
        return self._part(NESTED_TOOL, name, {**known, **changes})

    def _part(self, kind: str, name: str, data: dict[str, object]) -> bytes:
        self._data[name] = data
        return chunk(kind, {"id": name, "data": data})

    _writers: Final[dict[type, Callable[[NestedRuns, Any], bytes]]] = {
        RunStarted: _started,
        TextDelta: _text,
        MessageAdded: _message,
        RunFinished: _finished,
        RunFailed: _failed,
        ToolStarted: _tool_started,
        ToolProgress: _tool_progress,
        ToolFinished: _tool_finished,
    }


def _name(event: Event, call_id: str) -> str:
    """What the part of a call is called: ids of calls are those of their message alone."""
    return f"{event.run_id}:{event.cycle}:{call_id}"
