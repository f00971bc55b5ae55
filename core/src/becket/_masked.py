"""Events, and the values in them, with each text passed through a function. What may be shared is built anew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from becket.content import Extension, Image, Json, MalformedArguments, Message, Reasoning, Text, ToolCall, ToolResult
from becket.events import (
    DecisionMade,
    DecisionRequested,
    Event,
    ExtensionDelta,
    MessageAdded,
    OutputPartial,
    PluginEvent,
    PluginFailed,
    RetryScheduled,
    RunFailed,
    RunFinished,
    RunStarted,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    UnknownEvent,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import DataclassInstance

    from becket._values import JsonValue

__all__ = ["Said", "mask_event", "masked_call"]

V = TypeVar("V", bound="DataclassInstance")

Said: TypeAlias = "Callable[[str], str]"
"""What makes of a text the one that may be shown."""


def mask_event(event: Event, said: Said) -> None:
    """Pass the texts of an event that is no delta through `said`; its own fields are set, and no value in them.

    The message of the tools' results is left as it is: it is made of results that were events before, and is compared
    with them.
    """
    change = _CHANGES.get(type(event))
    if change is not None:
        change(event, said)


def _run_started(event: Any, said: Said) -> None:
    event.prompt = tuple(_message(message, said) for message in event.prompt)


def _message_added(event: Any, said: Said) -> None:
    if not any(isinstance(block, ToolResult) for block in event.message.content):
        event.message = _message(event.message, said)


def _tool_started(event: Any, said: Said) -> None:
    event.call = masked_call(event.call, said)


def _tool_finished(event: Any, said: Said) -> None:
    event.result = _block(event.result, said)


def _decision_requested(event: Any, said: Said) -> None:
    event.why, event.schema = said(event.why), _json(event.schema, said)
    if event.call is not None:
        event.call = masked_call(event.call, said)


def _decision_made(event: Any, said: Said) -> None:
    event.by, event.reason = said(event.by), said(event.reason)


def _retry_scheduled(event: Any, said: Said) -> None:
    event.reason = said(event.reason)


def _output_partial(event: Any, said: Said) -> None:
    event.value = _json(event.value, said)


def _data(event: Any, said: Said) -> None:
    event.data = _json(event.data, said)


def _plugin_failed(event: Any, said: Said) -> None:
    event.error = said(event.error)


def _run_finished(event: Any, said: Said) -> None:
    result = event.result
    message = None if result.message is None else _message(result.message, said)
    event.result = _changed(result, message=message, output=_json(result.output, said))


def _run_failed(event: Any, said: Said) -> None:
    error = event.error
    event.error = _changed(error, message=said(error.message), code=error.code and said(error.code))


_CHANGES: Final[dict[type, Callable[[Any, Said], None]]] = {
    RunStarted: _run_started,
    ExtensionDelta: _data,
    MessageAdded: _message_added,
    ToolStarted: _tool_started,
    ToolProgress: _data,
    ToolFinished: _tool_finished,
    DecisionRequested: _decision_requested,
    DecisionMade: _decision_made,
    RetryScheduled: _retry_scheduled,
    OutputPartial: _output_partial,
    PluginEvent: _data,
    PluginFailed: _plugin_failed,
    RunFinished: _run_finished,
    RunFailed: _run_failed,
    UnknownEvent: _data,
}


def masked_call(call: ToolCall, said: Said) -> ToolCall:
    """The call, the same object where nothing is changed."""
    malformed = call.malformed
    if malformed is not None:
        malformed = MalformedArguments(said(malformed.text), said(malformed.reason))
    return _changed(call, tool=said(call.tool), arguments=_json(call.arguments, said), malformed=malformed)


def _message(message: Message, said: Said) -> Message:
    return _changed(message, content=tuple(_block(block, said) for block in message.content))


def _block(block: Any, said: Said) -> Any:  # noqa: PLR0911  one for each kind of block
    match block:
        case Text():
            return _changed(block, text=said(block.text))
        case Json():
            return _changed(block, value=_json(block.value, said))
        case ToolCall():
            return masked_call(block, said)
        case ToolResult():
            return _changed(block, content=tuple(_block(item, said) for item in block.content))
        case Reasoning():
            text = said(block.text)
            return block if text == block.text else replace(block, text=text, signature=None)
        case Extension():
            return _changed(block, data=_json(block.data, said))
        case Image():
            return _changed(block, url=block.url and said(block.url))
        case _:  # a Document
            return _changed(block, url=block.url and said(block.url), name=said(block.name))


def _changed(of: V, **fields: Any) -> V:
    """`of` with these fields; itself where it has them."""
    if all(getattr(of, name) == given for name, given in fields.items()):
        return of
    return replace(of, **fields)


def _json(raw: JsonValue, said: Said) -> JsonValue:
    if isinstance(raw, str):
        return said(raw)
    if isinstance(raw, dict):
        return {said(key): _json(item, said) for key, item in raw.items()}
    if isinstance(raw, list):
        return [_json(item, said) for item in raw]
    if raw is None or isinstance(raw, bool):
        return raw
    text = str(raw)
    shown = said(text)
    return raw if shown == text else shown
