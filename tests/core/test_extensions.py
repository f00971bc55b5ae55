"""Extensions: what one model service wants back unchanged, from the provider's event to its next request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from becket import (
    Agent,
    ConfigError,
    Extension,
    ExtensionDelta,
    Message,
    MessageAdded,
    ModelFinished,
    PluginEvent,
    ProtocolError,
    ProviderError,
    Reasoning,
    ReasoningDelta,
    RunFinished,
    Runtime,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    hookimpl,
    tool,
)
from becket.testing import ListSink, Recording, ScriptedProvider, text

if TYPE_CHECKING:
    from pathlib import Path

    from becket import Event

pytestmark = pytest.mark.anyio

SEAL = {"thought_signature": "c2VhbA==", "parts": [1, None, {"deep": True}]}


@tool(effect="none")
async def echo(word: str = "nothing") -> str:
    """Say it again."""
    return word


def make(provider: Any, *plugins: object, **options: Any) -> Agent:
    return Agent(provider, [echo], runtime=Runtime(plugins=plugins, discover=False), **options)


async def read(agent: Agent, events: list[Event] | None = None) -> list[Event]:
    events = [] if events is None else events
    async with agent.stream_async("go") as stream:
        async for event in stream:
            events.append(event)
    return events


def content_of(events: list[Event]) -> tuple[Any, ...]:
    """The content of the first message of the assistant."""
    return next(one.message.content for one in events if isinstance(one, MessageAdded))


async def test_it_stands_in_the_message_where_it_came() -> None:
    script = [
        ReasoningDelta("hm", 0),
        ExtensionDelta("scripted", "after the thought", 0),
        TextDelta("one", 1),
        ExtensionDelta("scripted", SEAL, 2),
        ExtensionDelta("scripted", None, 2),
        TextDelta(" and one", 1),
        ModelFinished("end_turn"),
    ]
    assert content_of(await read(make(ScriptedProvider(script)))) == (
        Reasoning("hm"),
        Extension("scripted", "after the thought"),
        Text("one and one"),
        Extension("scripted", SEAL),
        Extension("scripted", None),
    )


async def test_it_comes_back_to_the_provider_in_the_next_call_of_the_run_and_in_the_next_run_of_the_session() -> None:
    asked = [ExtensionDelta("scripted", SEAL), ToolCallDelta("c", "echo", "{}", 1), ModelFinished("tool_use")]
    provider = ScriptedProvider(asked, text("done"))
    session = make(provider).session("chat")
    await session.invoke_async("go")
    await session.invoke_async("and now?")
    kept = Message("assistant", (Extension("scripted", SEAL), ToolCall("c", "echo")))
    assert provider.requests[1].messages[1] == kept
    assert provider.requests[2].messages[1] == kept


async def test_a_reader_of_the_mapping_sees_nothing_of_it() -> None:
    views: list[dict[str, Any]] = []
    script = [ExtensionDelta("scripted", SEAL), TextDelta("hi"), ModelFinished("end_turn")]
    events = await read(make(ScriptedProvider(script), callback_handler=lambda **view: views.append(view)))
    assert [dict(one) for one in events if isinstance(one, ExtensionDelta)] == [{}]
    [added] = [view["message"] for view in views if "message" in view]
    assert added == {"role": "assistant", "content": [{"text": "hi"}]}


async def test_it_is_in_the_json_of_events_and_of_messages() -> None:
    events = await read(make(ScriptedProvider([ExtensionDelta("p", SEAL, 3), ModelFinished("end_turn")])))
    rows = [json.loads(event.to_json()) for event in events]
    delta = next(row for row in rows if row["type"] == "extension_delta")
    assert (delta["provider"], delta["data"], delta["block"]) == ("p", SEAL, 3)
    added = next(row for row in rows if row["type"] == "message_added")
    assert added["message"]["content"] == [{"type": "extension", "provider": "p", "data": SEAL}]


async def test_its_text_is_cleaned_and_tuples_become_lists() -> None:
    script = [ExtensionDelta("p\udfff", {"\ud800": ("\ud800",)}), ModelFinished("end_turn")]  # type: ignore[dict-item]
    events = await read(make(ScriptedProvider(script)))
    assert content_of(events) == (Extension("p\ufffd", {"\ufffd": ["\ufffd"]}),)


async def test_what_is_no_json_is_the_providers_fault() -> None:
    live: Any = object()
    with pytest.raises(ProtocolError, match="the extension that the provider 'scripted' yielded holds no JSON value"):
        await read(make(ScriptedProvider([ExtensionDelta("scripted", live), ModelFinished("end_turn")])))


async def test_in_an_interrupted_message_it_is_kept_like_the_blocks_around_it() -> None:
    events: list[Event] = []
    script = [
        TextDelta("half"),
        ExtensionDelta("scripted", SEAL, 1),
        ToolCallDelta("c", "echo", "{", 2),
        ProviderError("gone"),
    ]
    with pytest.raises(ProviderError):
        await read(make(ScriptedProvider(script)), events)
    [message] = [one.message for one in events if isinstance(one, MessageAdded)]
    assert message == Message("assistant", (Text("half"), Extension("scripted", SEAL)), interrupted=True)


async def test_an_interrupted_message_is_not_made_of_it_alone() -> None:
    """Another service would be sent an empty message, and would refuse the history."""
    events: list[Event] = []
    with pytest.raises(ProviderError):
        await read(make(ScriptedProvider([ExtensionDelta("scripted", SEAL), ProviderError("gone")])), events)
    assert not any(isinstance(one, MessageAdded) for one in events)


async def test_a_call_is_not_made_again_after_it() -> None:
    """It is folded as every delta is, and cannot be taken back."""
    provider = ScriptedProvider([ExtensionDelta("scripted", SEAL), ProviderError("gone", retryable=True)])
    with pytest.raises(ProviderError):
        await read(make(provider))
    assert len(provider.requests) == 1


async def test_a_run_that_is_cancelled_after_it_keeps_it() -> None:
    script = [TextDelta("half"), ExtensionDelta("scripted", SEAL, 1), anyio.sleep_forever]
    stream = make(ScriptedProvider(script)).stream_async("go")
    events: list[Event] = []
    async with stream:
        async for event in stream:
            events.append(event)
            if isinstance(event, ExtensionDelta):
                stream.cancel()
    end = events[-1]
    assert isinstance(end, RunFinished)
    assert end.result.message == Message("assistant", (Text("half"), Extension("scripted", SEAL)), interrupted=True)


async def test_a_host_gives_it_in_a_history() -> None:
    provider = ScriptedProvider(text("ok"))
    history = [Message("user", (Text("hi"),)), Message("assistant", (Extension("p", ("\ud800",)), Text("hello")))]
    await make(provider).invoke_async("go", history=history)
    assert provider.requests[0].messages[1] == Message("assistant", (Extension("p", ["\ufffd"]), Text("hello")))


@pytest.mark.parametrize(
    ("broken", "message"),
    [(Extension("p", object()), "is no JSON"), (Extension(7, {}), "provider is 7")],  # type: ignore[arg-type]
    ids=["data", "provider"],
)
async def test_one_that_is_none_is_refused_in_a_history(broken: Extension, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        await make(ScriptedProvider(text("ok"))).invoke_async(
            "go", history=[Message("user", (Text("hi"),)), Message("assistant", (broken,))]
        )


async def test_a_hook_may_answer_with_it() -> None:
    class Answers:
        @hookimpl
        def before_model_call(self) -> list[Any]:
            return [ExtensionDelta("p", SEAL), TextDelta("made"), ModelFinished("end_turn", Usage(1, 1))]

    events = await read(make(ScriptedProvider(text("unused")), Answers()))
    assert content_of(events) == (Extension("p", SEAL), Text("made"))


async def test_it_is_recorded_and_replayed(tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    script = [TextDelta("hi"), ExtensionDelta("scripted", SEAL, 1), ModelFinished("end_turn", response_id="resp_1")]
    with Recording(path, record=True):
        recorded = content_of(await read(make(ScriptedProvider(script))))
    assert b"resp_1" not in path.read_bytes()  # another one each time
    sink = ListSink()
    with Recording(path):
        await read(make(ScriptedProvider([ProviderError("never asked")]), sinks=[sink]))
    assert content_of(sink.events) == recorded == (Text("hi"), Extension("scripted", SEAL))


# -- masks -------------------------------------------------------------------------------------------------------------


class Hides:
    """Hides one word, and holds back what may still become it."""

    name = "hides"

    def mask(self, given: str) -> str:
        return given.replace("hunter2", "[hidden]")

    def open(self) -> Any:
        return _Hiding(self)


class _Hiding:
    def __init__(self, of: Hides) -> None:
        self._of = of
        self._held = ""

    def feed(self, fragment: str) -> str:
        whole = self._of.mask(self._held + fragment)
        keep = next(size for size in range(7, -1, -1) if whole.endswith("hunter2"[:size]))
        self._held = whole[len(whole) - keep :]
        return whole[: len(whole) - keep]

    def end(self) -> str:
        return self._held


class Fails(Hides):
    """Fails at one word."""

    def mask(self, given: str) -> str:
        if "seal" in given:
            raise ValueError
        return given


class Masks:
    def __init__(self, mask: Any) -> None:
        self._mask = mask

    @hookimpl
    def register_masks(self) -> list[Any]:
        return [self._mask]


async def test_masks_pass_over_its_text_and_it_keeps_its_place() -> None:
    """What was held back of the text before it is shown before it; the calls that stream beside it go on."""
    script = [
        ToolCallDelta("c", "echo", '{"word": "hunt', 0),
        TextDelta("so hun", 1),
        ExtensionDelta("scripted", {"found": "hunter2"}, 2),
        PluginEvent("p", "note"),
        ToolCallDelta("c", "echo", 'er2"}', 0),
        ModelFinished("tool_use"),
    ]
    events = await read(make(ScriptedProvider(script, text("ok")), Masks(Hides())))
    shown = [one.type for one in events if one.type.endswith("_delta")][:5]
    assert shown == ["tool_call_delta", "text_delta", "text_delta", "extension_delta", "tool_call_delta"]
    assert content_of(events) == (
        ToolCall("c", "echo", {"word": "[hidden]"}),
        Text("so hun"),
        Extension("scripted", {"found": "[hidden]"}),
    )
    assert not any(b"hunter2" in one.to_json() for one in events)


async def test_where_a_mask_fails_nothing_of_it_is_shown_or_kept() -> None:
    events: list[Event] = []
    script = [ExtensionDelta("scripted", {"seal": "x"}), ExtensionDelta("scripted", {"seal": "x"}), *text("hi")]
    with pytest.raises(Exception, match="the mask 'hides'"):
        await read(make(ScriptedProvider(script), Masks(Fails())), events)
    assert not any(isinstance(one, ExtensionDelta | MessageAdded) for one in events)
