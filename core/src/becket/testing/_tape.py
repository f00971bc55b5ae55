"""The file of a recording: a journal of events, whose `model_started` events say what the model was asked.

The first line is that of a journal, with two fields more: the version of the recording, and how many events follow.
An event has fields more that other readers of journals do not look at:

- `model_started`: `request`, what the provider was given, and `failure`, how it failed, where it did. Of a later
  request of a run, `same` names what is as it was before, and `messages` says how many of them were `kept`.
- `run_started`: `inside`, where it was started inside of another run.
- `tool_call_delta`: `given_id`, the call's id as the provider gave it, where the run had to give it another. The text
  of such a refusal names it, so the calls of that run keep their names.
- `tool_finished`: `raw`, what the tool gave, where a hook has made something else of it.

What would be another one each time is not in there: times and durations are left out, and runs, calls and requests are
named in the order in which they come. So a recording made anew differs from the old one in what has changed.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from becket.content import ResultBlock, Text
from becket.errors import ConfigError, ProtocolError, ProviderError
from becket.events import ModelEvent, ModelFinished, event_from_json
from becket.testing._compare import CallNames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from becket.content import ToolResult
    from becket.testing._secrets import Secrets

__all__ = ["ModelCall", "RecordedRun", "Row", "ToolRecord", "lines_of", "read", "runs_of", "write"]

Row: TypeAlias = dict[str, Any]
"""An event as JSON, with what a recording adds to it."""

VERSION: Final = 1

_JOURNAL: Final = "becket_journal"  # what becket-journal calls its header; core knows no plugin, but the format is one

_STAMP: Final = ("run_id", "seq", "time", "cycle", "attempt", "parent_run_id", "parent_call_id")

_FLEETING: Final = frozenset({"time", "duration_s", "first_token_s", "deadline", "delay_s", "response_id"})

_ENDS: Final = ("end_turn", "max_tokens", "stop_sequence", "content_filtered", "tool_use")
"""The stop reasons that a model gives; with another one, the run has ended its answer."""


@dataclass(slots=True, eq=False)
class ModelCall:
    """A recorded model call.

    Attributes:
        line: Its line in the file.
        cycle: The cycle of its run.
        request: What was asked, as JSON; None where that was not recorded.
        events: What the provider yielded; a `ModelFinished` last where the answer was whole.
        failure: What it raised, or None. With neither, the run had ended before the answer did.
    """

    line: int
    cycle: int
    request: Any = None
    events: list[ModelEvent] = field(default_factory=list)
    failure: Row | None = None

    @property
    def whole(self) -> bool:
        """Whether the answer came to its end."""
        return bool(self.events) and isinstance(self.events[-1], ModelFinished)

    def error(self) -> ProviderError:
        """The failure, anew."""
        return ProviderError(**(self.failure or {}))


@dataclass(slots=True, eq=False)
class ToolRecord:
    """A recorded tool call.

    Attributes:
        line: Its line in the file.
        tool: The tool.
        arguments: Those that it was called with.
        progress: What it reported.
        made: Whether it came to its end; else the run had ended before.
        failed: Whether what it gave is an error.
        content: What it gave.
    """

    line: int
    tool: str
    arguments: Any
    progress: list[Any] = field(default_factory=list)
    made: bool = False
    failed: bool = False
    content: tuple[ResultBlock, ...] = ()

    @property
    def text(self) -> str:
        """What the model was told of an error."""
        return "".join(block.text for block in self.content if isinstance(block, Text))


@dataclass(slots=True, eq=False)
class RecordedRun:
    """A recorded run.

    Attributes:
        name: Its id in the file.
        agent: The agent's name.
        model: The model, as `provider:model`.
        nested: Whether it was started inside of another one.
        models: Its model calls, in order.
        tools: Its tool calls, by cycle and call.
    """

    name: str
    agent: str = "agent"
    model: str = "recorded:model"
    nested: bool = False
    models: list[ModelCall] = field(default_factory=list)
    tools: dict[tuple[int, str], ToolRecord] = field(default_factory=dict)


# -- reading -------------------------------------------------------------------------------------------------------


def read(path: Path, *, requests: bool = True) -> list[RecordedRun]:
    """The runs of a recording.

    Args:
        path: The file.
        requests: Whether it must be known what was asked: a plain journal does not say.

    Raises:
        ConfigError: It cannot be read, is no recording, is damaged, or is of a newer version.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the recording {str(path)!r} cannot be read: {error.strerror or error}") from error
    rows = [_row(path, number, line) for number, line in enumerate(data.splitlines(), 1) if line.strip()]
    header = rows.pop(0) if rows and rows[0]["type"] == _JOURNAL else {}
    _check_header(path, header, len(rows), requests=requests)
    runs = runs_of(rows, first=2 if header else 1)
    if "recording" in header:  # the other calls were answered by a hook, which will answer again
        for run in runs:
            run.models = [call for call in run.models if call.request is not None]
    return runs


def _row(path: Path, number: int, line: bytes) -> Row:
    from pydantic_core import from_json

    try:
        row = from_json(line)
        if isinstance(row, dict) and isinstance(row.get("type"), str):
            return row
        why = "it is no JSON object with a type"
    except ValueError as error:
        why = str(error)
    raise ConfigError(f"{str(path)!r} is no recording, or is damaged: line {number} is no event: {why}; {_AGAIN}")


_AGAIN: Final = "restore the file, or record it anew"


def _check_header(path: Path, header: Row, events: int, *, requests: bool) -> None:
    version = header.get("recording")
    if version is None:
        if requests:
            raise ConfigError(
                f"{str(path)!r} is no recording: it does not say what the model was asked; record it anew, or answer "
                f"from it in its order with ReplayProvider.from_file(..., match='order')"
            )
        return
    if not isinstance(version, int) or version > VERSION or header.get("version") != 1:
        raise ConfigError(
            f"the recording {str(path)!r} is of version {version!r}, and this becket knows {VERSION}; upgrade becket"
        )
    if header.get("events") != events:
        raise ConfigError(
            f"the recording {str(path)!r} is damaged: it has {events} events, and its first line says "
            f"{header.get('events')!r}; {_AGAIN}"
        )


def runs_of(rows: Iterable[Row], *, first: int = 1) -> list[RecordedRun]:
    """The runs that these events are of; `first` is the line of the first of them.

    Raises:
        ConfigError: One of them is no event.
    """
    runs: dict[str, RecordedRun] = {}
    asked: dict[str, Row] = {}
    for line, row in enumerate(rows, first):
        name = str(row.get("run_id", ""))
        try:
            _take(runs.setdefault(name, RecordedRun(name)), row, line, asked)
        except (ProtocolError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"line {line} of the recording is damaged: {error}; {_AGAIN}") from error
    return list(runs.values())


def _take(run: RecordedRun, row: Row, line: int, asked: dict[str, Row]) -> None:
    """Add one event to what is known of its run."""
    match row["type"]:
        case "run_started":
            run.agent, run.model, run.nested = row["agent"], row["model"], row.get("inside", False)
        case "model_started":
            request = row.get("request")
            if request is not None:
                request = asked[run.name] = _whole(asked.get(run.name, {}), request)
            run.models.append(ModelCall(line, row["cycle"], request, failure=row.get("failure")))
        case "tool_started":
            call = row["call"]
            run.tools[row["cycle"], call["id"]] = ToolRecord(line, call["tool"], call.get("arguments", {}))
        case "tool_progress":
            run.tools[row["cycle"], row["call_id"]].progress.append(row.get("data"))
        case "tool_finished":
            _take_result(run, row)
        case _ if run.models:
            _take_answer(run.models[-1], row)


def _take_answer(call: ModelCall, row: Row) -> None:
    """Add one event to the model call that it comes after, if it is a part of it, or says how it failed."""
    match row["type"]:
        case "text_delta" | "reasoning_delta" | "tool_call_delta" | "extension_delta" | "plugin_event":
            call.events.append(_event(row))
        case "model_finished" if row["stop_reason"] in _ENDS:
            call.events.append(_event(row))
        case "retry_scheduled" if call.failure is None and not call.whole:  # else it is a tool's
            call.failure = {"message": row["reason"], "retryable": True}
        case "run_failed" if not call.whole and call.failure is None and row["error"]["kind"] == "ProviderError":
            said = {name: row["error"].get(name) for name in ("message", "provider", "retryable", "code")}
            call.failure = {name: item for name, item in said.items() if item is not None}


def _take_result(run: RecordedRun, row: Row) -> None:
    given: Any = event_from_json(json.dumps({"type": "tool_finished", "result": row.get("raw", row["result"])}))
    result: ToolResult = given.result
    record = run.tools.get((row["cycle"], result.call_id))
    if record is not None and result.status in ("success", "error"):
        record.made, record.failed, record.content = True, result.status == "error", result.content


def _event(row: Row) -> Any:
    """What a provider yields again: an event without its stamp."""
    own = {name: item for name, item in row.items() if name not in _STAMP}
    if "given_id" in own:
        own["call_id"] = own["given_id"]
    return event_from_json(json.dumps(own))


# -- requests, each as what is new in it ---------------------------------------------------------------------------


def _shortened(before: Row, request: Row) -> Row:
    """What of `request` is not as it was in the one before it in its run."""
    if not before:
        return request
    same = [name for name in request if name != "messages" and request[name] == before.get(name)]
    messages, earlier = request["messages"], before["messages"]
    kept = next((at for at, (one, other) in enumerate(zip(messages, earlier, strict=False)) if one != other), None)
    kept = min(len(messages), len(earlier)) if kept is None else kept
    new = {name: item for name, item in request.items() if name not in same}
    return {"same": same, **new, "messages": {"kept": kept, "added": messages[kept:]}}


def _whole(before: Row, request: Row) -> Row:
    """The request that `_shortened` has shortened."""
    if "same" not in request:
        return request
    whole = {name: before[name] for name in request["same"]}
    whole.update((name, item) for name, item in request.items() if name != "same")
    messages = request["messages"]
    whole["messages"] = before["messages"][: messages["kept"]] + messages["added"]
    return whole


# -- writing -------------------------------------------------------------------------------------------------------


def lines_of(rows: Sequence[Row], secrets: Secrets) -> list[bytes]:
    """The lines of a recording of these events, with their secrets masked, and what is fleeting left out."""
    for row in rows:
        secrets.learn(row)
    for pieces in _texts(rows):
        secrets.learn("".join(row[name] for row, name in pieces))
    for pieces in _texts(rows):
        texts = secrets.pieces([row[name] for row, name in pieces])
        for (row, name), text in zip(pieces, texts, strict=True):
            row[name] = text
    names = _Names({row["run_id"] for row in rows if "given_id" in row})
    rows = [secrets.masked(_named(row, names)) for row in rows]
    asked: dict[str, Row] = {}
    for row in rows:
        if "request" in row:
            before, asked[row["run_id"]] = asked.get(row["run_id"], {}), row["request"]
            row["request"] = _shortened(before, row["request"])
    header = {"type": _JOURNAL, "version": 1, "recording": VERSION, "events": len(rows)}
    return [_line(row) for row in (header, *rows)]


def _line(row: Row) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _texts(rows: Iterable[Row]) -> Iterator[list[tuple[Row, str]]]:
    """The deltas of each block, with the names of the fields that hold its text: a secret may be cut by their ends."""
    blocks: dict[Any, list[tuple[Row, str]]] = {}
    for row in rows:
        name = {"text_delta": "text", "reasoning_delta": "text", "tool_call_delta": "fragment"}.get(row["type"])
        if name is not None:
            key = (row["run_id"], row["cycle"], row["attempt"], row["type"], row["block"], row.get("call_id"))
            blocks.setdefault(key, []).append((row, name))
    yield from blocks.values()


class _Names:
    """The names of runs, calls and requests in one file; calls keep theirs in the runs that are in `telling`."""

    def __init__(self, telling: set[str]) -> None:
        self._telling = telling
        self.runs: dict[str, str] = {}
        self.calls: dict[str, CallNames] = {}
        self.requests: dict[str, str] = {}

    def run(self, run_id: str) -> str:
        """The name of a run."""
        return self.runs.setdefault(run_id, f"run-{len(self.runs) + 1}")

    def call(self, run_id: str) -> CallNames:
        """The names of the calls of a run."""
        return self.calls.setdefault(run_id, CallNames(keep=run_id in self._telling))


def _named(row: Row, names: _Names) -> Row:
    """An event with the names that it has in a file, and without what is fleeting."""
    row = {"type": row["type"], **{key: item for key, item in row.items() if key not in _FLEETING}}
    calls, parent = names.call(row["run_id"]), row.get("parent_run_id")
    if parent is not None and "parent_call_id" in row:
        row["parent_call_id"] = names.call(parent).name(row["parent_call_id"])
    if parent is not None:
        row["parent_run_id"] = names.run(parent)
    if "request_id" in row:
        row["request_id"] = names.requests.setdefault(row["request_id"], f"request-{len(names.requests) + 1}")
    if row["type"] == "retry_scheduled":
        row["delay_s"] = 0.0
    renamed: Row = calls.renamed({**row, "run_id": names.run(row["run_id"])})
    return renamed


def write(path: Path, lines: Sequence[bytes], secrets: Secrets) -> None:
    """Put a file of these lines in the place of `path`, whole.

    Raises:
        ConfigError: A secret stands in one of them, or the file cannot be written; the old one is as it was.
    """
    if left := secrets.left(b"".join(lines)):
        raise ConfigError(
            f"the recording {str(path)!r} was not written: these secrets stand in it where they cannot be masked: "
            f"{', '.join(left)}; have the test use other values"
        )
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(b"".join(lines))
            beside.replace(path)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()
    except OSError as error:
        raise ConfigError(f"the recording {str(path)!r} cannot be written: {error.strerror or error}") from error
