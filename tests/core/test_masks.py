"""Text of events is masked before anybody sees it, and before it is folded into the history."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from becket import (
    Agent,
    Allow,
    ConfigError,
    DecisionMade,
    DecisionRequested,
    Document,
    ErrorInfo,
    Extension,
    ExtensionDelta,
    Image,
    Json,
    MemoryLog,
    Message,
    MessageAdded,
    ModelFinished,
    OutputPartial,
    PluginError,
    PluginEvent,
    PluginFailed,
    ProviderError,
    Reasoning,
    ReasoningDelta,
    RetryScheduled,
    RunFailed,
    RunStarted,
    Runtime,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolContext,
    ToolError,
    ToolProgress,
    ToolResult,
    ToolStarted,
    UnknownEvent,
    hookimpl,
    tool,
)
from becket._masked import mask_event
from becket._masking import _Masking
from becket.content import AgentResult, MalformedArguments, Usage
from becket.events import RunFinished, ToolFinished
from becket.masks import Mask
from becket.plugins import Contribution, Plugin
from becket.testing import ListSink, ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

SECRET = "hunter2!"  # noqa: S105  what the tests hide
SHOWN = "[masked: x]"


class Word:
    """A mask of one word."""

    def __init__(self, word: str = SECRET, shown: str = SHOWN, name: str = "word") -> None:
        self.name = name
        self.word = word
        self.shown = shown

    def mask(self, text: str, /) -> str:
        return text.replace(self.word, self.shown)

    def open(self) -> WordStream:
        return WordStream(self)


class WordStream:
    def __init__(self, mask: Word) -> None:
        self._mask = mask
        self._held = ""

    def feed(self, fragment: str, /) -> str:
        text = self._mask.mask(self._held + fragment)
        keep = next((n for n in range(len(self._mask.word) - 1, 0, -1) if text.endswith(self._mask.word[:n])), 0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> str:
        return self._held


class Masking:
    """A plugin with masks."""

    def __init__(self, *masks: Any) -> None:
        self._masks = masks

    @hookimpl
    def register_masks(self) -> Any:
        return self._masks


def runtime(*masks: Any, plugins: Any = ()) -> Runtime:
    return Runtime(plugins=[Masking(*(masks or (Word(),))), *plugins], discover=False)


class Seen:
    """What an agent's sink, handler, reader and log have got."""

    def __init__(self) -> None:
        self.sink = ListSink()
        self.views: list[dict[str, Any]] = []
        self.read: list[Any] = []
        self.log = MemoryLog()

    async def run(self, provider: Any, prompt: Any = "go", masks: tuple[Any, ...] = (), **options: Any) -> None:
        plugins = options.pop("plugins", ())
        given = Runtime(
            plugins=[Masking(*(masks or (Word(),))), *plugins], discover=False, make_log=lambda run: self.log
        )
        agent = Agent(
            provider,
            sinks=[self.sink],
            callback_handler=lambda **view: self.views.append(view),
            runtime=given,
            **options,
        )
        async with agent.stream_async(prompt) as events:
            async for event in events:
                self.read.append(event)

    @property
    def types(self) -> list[str]:
        return self.sink.types

    def text(self, kind: type = TextDelta, field: str = "text", block: int | None = None) -> str:
        return "".join(
            getattr(event, field)
            for event in self.read
            if isinstance(event, kind) and (block is None or event.block == block)
        )

    def of(self, kind: type) -> Any:
        return next(event for event in self.read if isinstance(event, kind))

    def hides(self, secret: str = SECRET) -> bool:
        raw = json.dumps(secret)[1:-1]
        events = [event.to_json().decode() for event in (*self.read, *self.sink.events)]
        views = [repr(view) for view in self.views]
        return not any(secret in one or raw in one for one in events + views)


def pieces(whole: str, size: int = 1) -> Iterator[str]:
    return (whole[at : at + size] for at in range(0, len(whole), size))


ANSWER = f"the word is {SECRET}, or {SECRET[:4]} hunter"
MASKED = f"the word is {SHOWN}, or {SECRET[:4]} hunter"


@pytest.mark.anyio
@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
async def test_a_secret_in_any_pieces_is_shown_to_nobody_and_is_not_in_the_history(size: int) -> None:
    seen, provider = Seen(), ScriptedProvider(text(*pieces(ANSWER, size)))
    await seen.run(provider)
    assert seen.text() == MASKED
    assert seen.hides()
    assert provider.requests[0].messages[-1] == Message("assistant", (Text(MASKED),))
    assert seen.read[-1].result.text == MASKED


@pytest.mark.anyio
async def test_what_cannot_become_a_secret_is_not_delayed() -> None:
    seen = Seen()
    await seen.run(ScriptedProvider(text("one ", "two h", "three ", "hun", "t", "ing", "")))
    assert [event.text for event in seen.read if isinstance(event, TextDelta)] == [
        "one ",
        "two ",
        "hthree ",
        "hunting",
        "",
    ]


@pytest.mark.anyio
async def test_the_prompt_is_masked_in_the_history_that_the_model_is_sent() -> None:
    seen, provider = Seen(), ScriptedProvider(text("ok"))
    await seen.run(provider, f"my word is {SECRET}")
    assert provider.requests[0].messages[0] == Message("user", (Text(f"my word is {SHOWN}"),))
    assert seen.hides()


@pytest.mark.anyio
async def test_blocks_are_shown_in_their_order_and_what_was_held_back_with_them() -> None:
    seen = Seen()
    script = [
        ReasoningDelta("I know hun", 0),
        ReasoningDelta("ter2", 0),
        TextDelta("say hunt", 1),
        TextDelta("er", 2),
        ToolCallDelta("c", "nothing", '{"a": "', 3),
        ToolCallDelta("c", "nothing", "hunter", 3),
        PluginEvent("p", "note"),
        ToolCallDelta("c", "nothing", '2!"}', 3),
        ModelFinished("tool_use", Usage()),
    ]
    await seen.run(ScriptedProvider(script, text("done")))
    deltas = [
        (event.type, event.block, getattr(event, "text", None) or getattr(event, "fragment", None))
        for event in seen.read
        if event.type.endswith("_delta")
    ]
    assert deltas == [
        ("reasoning_delta", 0, "I know "),
        ("reasoning_delta", 0, "hunter2"),
        ("text_delta", 1, "say "),
        ("text_delta", 1, "hunt"),
        ("text_delta", 2, "er"),
        ("tool_call_delta", 3, '{"a": "'),
        ("tool_call_delta", 3, SHOWN + '"}'),
        ("text_delta", 0, "done"),
    ]
    assert seen.of(MessageAdded).message.tool_calls[0].arguments == {"a": SHOWN}
    assert seen.hides()


@pytest.mark.anyio
async def test_arguments_of_calls_that_come_in_turns_are_masked_each_on_its_own() -> None:
    seen = Seen()
    one, two = json.dumps({"q": SECRET}), json.dumps({"q": f"no {SECRET}"})
    script = [
        delta
        for a, b in zip(pieces(one.ljust(len(two))), pieces(two), strict=True)
        for delta in (ToolCallDelta("1", "nothing", a, 1), ToolCallDelta("2", "nothing", b, 2))
    ]
    await seen.run(ScriptedProvider([*script, ModelFinished("tool_use", Usage())], text("done")))
    assert seen.hides()
    assert [call.arguments["q"] for call in seen.of(MessageAdded).message.tool_calls] == [SHOWN, f"no {SHOWN}"]


@pytest.mark.anyio
async def test_an_escaped_secret_is_found_when_the_call_is_assembled() -> None:
    seen = Seen()
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in SECRET)
    script = [
        ToolCallDelta("c", "nothing", f'{{"{escaped}": ["{escaped}", 1]}}', 1),
        ModelFinished("tool_use", Usage()),
    ]
    await seen.run(ScriptedProvider(script, text("done")))
    assert seen.of(MessageAdded).message.tool_calls[0].arguments == {SHOWN: [SHOWN, 1]}


@pytest.mark.anyio
async def test_a_tool_that_a_model_has_made_up_is_masked_by_its_name() -> None:
    seen = Seen()
    await seen.run(ScriptedProvider(calls((SECRET, {})), text("done")))
    assert seen.of(ToolCallDelta).tool == SHOWN
    assert seen.hides()


@pytest.mark.anyio
async def test_the_seal_of_reasoning_stays_where_its_text_does() -> None:
    seen = Seen()
    script = [
        ReasoningDelta("plain h", 0),
        ReasoningDelta("", 0),
        ReasoningDelta("", 0, signature="se"),
        ReasoningDelta("", 0, signature="al"),
        ReasoningDelta("hunter", 1),
        ReasoningDelta("2!", 1),
        ReasoningDelta("", 1, signature="broken", redacted="opaque"),
        TextDelta("ok", 2),
        ModelFinished("end_turn"),
    ]
    await seen.run(ScriptedProvider(script))
    assert seen.of(MessageAdded).message.content == (
        Reasoning("plain h", "seal"),
        Reasoning(SHOWN, None, "opaque"),
        Text("ok"),
    )


@pytest.mark.anyio
async def test_what_a_tool_reports_returns_and_raises_is_masked() -> None:
    @tool(effect="none")
    async def tell(ctx: ToolContext[Any], how: str) -> Any:
        """Tell the word."""
        ctx.progress({"so far": [SECRET, None, True, 1.5]})
        if how == "raise":
            raise ToolError(f"no: {SECRET}")
        return [Text(SECRET), Json({SECRET: SECRET}), Image("image/png", url=f"https://x/{SECRET}")]

    seen, provider = (
        Seen(),
        ScriptedProvider(calls(("tell", {"how": "raise"}), ("tell", {"how": SECRET})), text("done")),
    )
    await seen.run(provider, tools=[tell])
    results = [event.result for event in seen.read if isinstance(event, ToolFinished)]
    assert {result.call_id: result.content for result in results} == {
        "call-1": (Text(f"no: {SHOWN}"),),
        "call-2": (Text(SHOWN), Json({SHOWN: SHOWN}), Image("image/png", url=f"https://x/{SHOWN}")),
    }
    assert provider.requests[1].messages[2].content == tuple(sorted(results, key=lambda result: result.call_id))
    assert [view["tool_stream_event"]["data"] for view in seen.views if "tool_stream_event" in view] == [
        {"so far": [SHOWN, None, True, 1.5]}
    ] * 2
    assert seen.hides()


@pytest.mark.anyio
async def test_a_hook_may_put_the_real_secret_into_the_call_and_it_is_shown_masked() -> None:
    got: list[str] = []

    @tool(effect="none")
    async def use(ctx: ToolContext[Any], key: str) -> str:
        """Use a key."""
        got.append(key)
        ctx.progress("on it")
        return key

    class Putting:
        @hookimpl
        def before_tool_call(self, call: ToolCall) -> ToolCall:
            return ToolCall(call.id, call.tool, {"key": SECRET})

    seen = Seen()
    await seen.run(ScriptedProvider(calls(("use", {"key": "mine"})), text("done")), tools=[use], plugins=[Putting()])
    assert got == [SECRET]
    assert seen.of(ToolStarted).call.arguments == {"key": SHOWN}
    progress = next(view for view in seen.views if "tool_stream_event" in view)
    assert progress["tool_stream_event"]["tool_use"]["input"] == {"key": SHOWN}
    assert seen.hides()


@pytest.mark.anyio
async def test_who_is_asked_sees_the_call_masked() -> None:
    asked: list[DecisionRequested] = []

    @tool(effect="write")
    async def write(what: str) -> str:
        """Write."""
        return what

    def approve(request: DecisionRequested) -> Allow:
        asked.append(request)
        return Allow(f"because {SECRET}")

    seen = Seen()
    await seen.run(ScriptedProvider(calls(("write", {"what": SECRET})), text("ok")), tools=[write], approver=approve)
    assert asked[0].call == ToolCall("call-1", "write", {"what": SHOWN})
    assert seen.of(DecisionMade).reason == f"because {SHOWN}"
    assert seen.hides()


@pytest.mark.anyio
async def test_an_error_is_masked_as_an_event_and_raised_as_it_is() -> None:
    seen, error = Seen(), ProviderError(f"bad key {SECRET}")
    with pytest.raises(ProviderError) as caught:
        await seen.run(ScriptedProvider([TextDelta("so far hunter"), error]))
    assert caught.value is error
    assert seen.read[-1].error.message == f"bad key {SHOWN}"
    assert seen.of(MessageAdded).message == Message("assistant", (Text("so far hunter"),), interrupted=True)
    assert seen.text() == "so far hunter"
    assert seen.hides()


@pytest.mark.anyio
async def test_what_is_held_back_is_kept_when_the_run_is_cancelled() -> None:
    provider = ScriptedProvider([TextDelta("kept h"), TextDelta("unter"), anyio.sleep_forever])
    agent = Agent(provider, runtime=runtime())
    texts = []
    async with agent.stream_async("go") as events:
        async for event in events:
            if isinstance(event, TextDelta):
                texts.append(event.text)
                events.cancel()
    assert texts in (["kept ", "hunter"], ["kept ", "h"])
    assert event.result.message.text == "".join(texts)


@pytest.mark.anyio
async def test_a_model_call_is_made_again_where_all_it_said_was_held_back() -> None:
    busy = ProviderError(f"busy {SECRET}", retryable=True)

    class Now:
        def delay(self, error: ProviderError, attempt: int, /) -> float | None:
            return 0.0

    seen = Seen()
    provider = ScriptedProvider(lambda request: [TextDelta("hunt"), busy] if request.key[2] == 1 else text("fine"))
    await seen.run(provider, retry=Now())
    assert seen.text() == "fine"
    assert seen.of(RetryScheduled).reason == f"busy {SHOWN}"


@pytest.mark.anyio
async def test_masks_follow_one_another_in_their_order() -> None:
    seen = Seen()
    second = Word("[masked: x]ing", "[masked: y]", "second")
    await seen.run(ScriptedProvider(text(*pieces(f"{SECRET}ing {SECRET}"))), masks=(Word(), second))
    assert seen.text() == "[masked: y] [masked: x]"


def test_every_other_event_is_masked_and_shared_values_are_not_changed() -> None:
    word = Word()
    call = ToolCall("1", SECRET, {"a": {"b": [SECRET, 12345, None]}})
    bad = ToolCall("2", "t", malformed=MalformedArguments(f"{{{SECRET}", f"no {SECRET}"))
    result = ToolResult("1", "success", (Document("text/plain", SECRET, name=SECRET),))
    message = Message(
        "assistant", (Reasoning(SECRET, "seal"), Reasoning("ok", "seal"), call, bad, Extension("p", {SECRET: [SECRET]}))
    )
    untouched = Message("user", (Text("plain"), Image("image/png", "aGk="), result))
    events: list[Any] = [
        RunStarted("a", "m", (message, Message("user", (Text("plain"),)))),
        MessageAdded(message),
        MessageAdded(Message("user", (result,))),
        MessageAdded(Message("user", (Text(f"again, without {SECRET}"),))),
        DecisionRequested("id", "approve_tool", call, SECRET, {SECRET: 1}),
        DecisionRequested("id", "other"),
        DecisionMade("id", "deny", SECRET, reason=SECRET),
        OutputPartial([SECRET]),
        PluginEvent("p", "e", {SECRET: SECRET}),
        PluginFailed("p", "h", SECRET),
        RunFinished(AgentResult("end_turn", message, output={"o": SECRET})),
        RunFinished(AgentResult("end_turn")),
        RunFailed(ErrorInfo("E", SECRET, code=f"no_{SECRET}")),
        ExtensionDelta("p", {"x": SECRET}),
        UnknownEvent("later", {"type": "later", "x": SECRET}),
    ]
    for event in events:
        mask_event(event, word.mask)
    assert call == ToolCall("1", SECRET, {"a": {"b": [SECRET, 12345, None]}})
    hidden = [event.to_json().decode() for event in events]
    assert [at for at, line in enumerate(hidden) if SECRET in line] == [2]  # made of results that were events before
    assert events[1].message.content[0] == Reasoning(SHOWN, None)
    assert events[1].message.content[1] == Reasoning("ok", "seal")
    same = RunStarted("a", "m", (untouched,))
    mask_event(same, Word("nowhere").mask)
    assert same.prompt[0] is untouched


def test_a_number_is_masked_as_it_is_written() -> None:
    event = PluginEvent("p", "e", [12345678, 1.25, True])
    mask_event(event, Word("12345678").mask)
    assert event.data == [SHOWN, 1.25, True]


def test_partial_output_shows_of_its_texts_only_what_is_decided() -> None:
    masking = _Masking([Contribution(Word(), Plugin("p", None, None, "p"))], {})
    held, shown = masking.take(OutputPartial({"key": "say hunter", "done": "yes"}))
    assert not held
    assert shown == OutputPartial({"key": "say ", "done": "yes"})


@pytest.mark.anyio
async def test_arguments_that_are_cut_off_are_quoted_with_what_was_held_back() -> None:
    seen = Seen()
    script = [ToolCallDelta("c", "nothing", '{"a": "hunter', 1), ModelFinished("max_tokens")]
    await seen.run(ScriptedProvider(script, text("done")))
    assert [event.fragment for event in seen.read if isinstance(event, ToolCallDelta)] == ['{"a": "', "hunter"]
    malformed = seen.of(MessageAdded).message.tool_calls[0].malformed
    assert malformed.text == '{"a": "hunter'


def test_progress_of_a_call_that_nobody_has_seen_is_shared_masked() -> None:
    masking = _Masking([Contribution(Word(), Plugin("p", None, None, "p"))], {"t"})
    event = ToolProgress("1", SECRET)
    assert masking.take(event)[1] == ToolProgress("1", SHOWN)
    assert event["tool_stream_event"] == {"tool_use": {"toolUseId": "1"}, "data": SHOWN}
    event.share(ToolCall("1", "t", {"a": SECRET}))
    masking.take(event)
    assert event["tool_stream_event"]["tool_use"] == {"toolUseId": "1", "name": "t", "input": {"a": SHOWN}}


# -- failing closed ----------------------------------------------------------------------------------------------------


def exit_() -> Any:
    raise SystemExit(3)


class Failing(Word):
    """Fails at one of its parts, once it is asked for the given text."""

    def __init__(self, part: str, how: Callable[[], Any], when: str = "") -> None:
        super().__init__()
        self.part, self.how, self.when = part, how, when

    def mask(self, text: str, /) -> Any:
        return self.how() if self.part == "mask" and self.when in text else super().mask(text)

    def open(self) -> Any:
        if self.part == "open":
            return self.how()
        stream = super().open()
        part = getattr(stream, self.part, None)
        if part is not None:
            setattr(stream, self.part, lambda *given: self.how() if self.when in "".join(given) else part(*given))
        return stream


def boom() -> Any:
    raise ValueError(f"cannot read {SECRET}")


FAILS = "the mask 'word' of the plugin 'Masking' failed in {}: it raised ValueError; nothing is shown"


@pytest.mark.anyio
@pytest.mark.parametrize("part", ["open", "feed", "end"])
async def test_a_stream_that_fails_ends_the_run_without_showing_its_text(part: str) -> None:
    seen = Seen()
    with pytest.raises(PluginError, match=FAILS.format(part)) as caught:
        await seen.run(ScriptedProvider(text("the word is hunt", "er2!", " and so on")), masks=(Failing(part, boom),))
    assert (caught.value.plugin, caught.value.hook) == ("Masking", f"mask.{part}")
    assert isinstance(caught.value.__cause__, ValueError)
    assert seen.read[-1] == seen.sink.events[-1]
    assert seen.read[-1].error.message == str(caught.value)
    assert seen.types.count("run_failed") == 1
    assert seen.hides()


@pytest.mark.anyio
async def test_a_mask_that_fails_at_an_event_withholds_its_texts_and_fails_the_run() -> None:
    @tool(effect="none")
    async def tell() -> str:
        """Tell."""
        return f"boom {SECRET}"

    seen = Seen()
    with pytest.raises(PluginError, match=FAILS.format("mask")):
        await seen.run(
            ScriptedProvider(calls(("tell", {}))), tools=[tell], masks=(Failing("mask", boom, f"boom {SECRET}"),)
        )
    assert seen.of(ToolFinished).result == ToolResult("call-1", "success", (Text("[withheld]"),))
    assert seen.types[-3:] == ["message_added", "cycle_finished", "run_failed"]
    assert seen.hides()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda: None, "it returned a NoneType, and no text"),
        (exit_, "it raised SystemExit"),
        (lambda: raise_(ToolError("a reason in words")), "a reason in words"),
    ],
    ids=["no text", "exit", "own words"],
)
@pytest.mark.parametrize("part", ["mask", "feed"])
async def test_what_is_no_text_and_what_is_said_on_purpose(part: str, how: Any, said: str) -> None:
    seen = Seen()
    with pytest.raises(PluginError, match=said):
        await seen.run(ScriptedProvider(text(SECRET)), masks=(Failing(part, how),))
    assert seen.hides()


def raise_(error: Exception) -> Any:
    raise error


@pytest.mark.anyio
async def test_a_run_that_fails_with_something_else_meanwhile_still_has_its_end() -> None:
    """The mask fails while the run is closed after another error: that error's text is withheld too."""
    seen = Seen()
    script = [TextDelta("h"), ProviderError(f"bad key {SECRET}")]
    with pytest.raises(ProviderError):
        await seen.run(ScriptedProvider(script), masks=(Failing("end", boom),))
    assert seen.read[-1] == RunFailed(ErrorInfo("ProviderError", "[withheld]", provider="scripted"), **stamp(seen))
    assert seen.hides()


def stamp(seen: Seen) -> dict[str, Any]:
    last = seen.read[-1]
    return {name: getattr(last, name) for name in ("run_id", "seq", "time", "cycle", "attempt")}


@pytest.mark.anyio
async def test_progress_after_a_failure_shows_nothing() -> None:
    @tool(effect="none")
    async def tell(ctx: ToolContext[Any]) -> AsyncIterator[str]:
        """Tell."""
        ctx.progress(f"boom {SECRET}")
        ctx.progress(SECRET)
        yield SECRET

    seen = Seen()
    with pytest.raises(PluginError):
        await seen.run(ScriptedProvider(calls(("tell", {}))), tools=[tell], masks=(Failing("mask", boom, "boom"),))
    assert seen.hides()


@pytest.mark.anyio
async def test_a_handler_that_raises_at_what_was_held_back_does_not_keep_the_run_from_its_end() -> None:
    def handler(**view: Any) -> None:
        if view.get("data") == "hunt":
            raise RuntimeError("handler")

    sink = ListSink()
    agent = Agent(
        ScriptedProvider([TextDelta("hunt"), ProviderError("down")]),
        callback_handler=handler,
        sinks=[sink],
        runtime=runtime(),
    )
    with pytest.raises(ProviderError):
        await agent.invoke_async("go")
    assert sink.types[-5:] == ["text_delta", "model_finished", "message_added", "cycle_finished", "run_failed"]


# -- plugins -----------------------------------------------------------------------------------------------------------


def test_masks_of_plugins_are_in_the_runtime_in_the_order_of_their_hooks() -> None:
    class Last(Masking):
        @hookimpl(trylast=True)
        def register_masks(self) -> Any:
            return self._masks

    given = runtime(Word(name="b"), Word(name="a"), plugins=[Last(Word(name="last"))])
    assert [mask.item.name for mask in given.masks] == ["b", "a", "last"]
    assert given.plugins[0].adds == {"masks": ("b", "a")}
    assert isinstance(given.masks[0].item, Mask)


@pytest.mark.anyio
@pytest.mark.parametrize("given", ["raises", "no mask", "another hook"])
async def test_without_the_masks_of_a_plugin_that_has_some_no_run_goes_on(given: str) -> None:
    class Broken:
        @hookimpl
        def register_masks(self, config: object) -> Any:
            assert config is None
            if given == "raises":
                raise ValueError("no such pattern")
            return [Word()] if given == "another hook" else ["nothing"]

        @hookimpl
        def register_tools(self) -> list[Tool[..., Any]]:
            if given == "another hook":
                raise ValueError("no such tool")
            return []

    used = Runtime(plugins=[Broken()], discover=False)
    assert used.plugins[0].status == "quarantined"
    sink = ListSink()
    agent = Agent(ScriptedProvider(text("hello")), sinks=[sink], runtime=used)
    with pytest.raises(PluginError, match="the masks of the plugin 'Broken' cannot be used: its register_"):
        await agent.invoke_async(f"my word is {SECRET}")
    assert sink.types == ["run_started", "run_failed"]
    assert sink.events[0].prompt == (Message("user", (Text("[withheld]"),)),)
    with pytest.raises(ConfigError):
        used.masks[0].item.open()


@pytest.mark.anyio
async def test_a_plugin_that_is_blocked_masks_nothing() -> None:
    used = Runtime(plugins=[Masking(Word())], discover=False, block=["Masking"])
    assert used.masks == ()
    result = await Agent(ScriptedProvider(text(SECRET)), runtime=used).invoke_async("go")
    assert result.text == SECRET


@pytest.mark.anyio
async def test_what_a_nested_run_says_is_masked_as_the_run_above_has_it_whatever_runtime_it_has() -> None:
    """Its events are in the log and the stream of the run above."""
    inner = Agent(ScriptedProvider(text(*pieces(f"it is {SECRET}"))), name="inner", runtime=Runtime(discover=False))
    asks = ScriptedProvider(calls(("helper", {"prompt": f"tell {SECRET}"})), text("done"))
    seen = ListSink()
    agent = Agent(asks, [inner.as_tool("helper", "Helps.")], sinks=[seen], runtime=runtime())
    await agent.invoke_async("go")
    nested = [event for event in seen.events if event.parent_run_id is not None]
    assert "".join(event.text for event in nested if isinstance(event, TextDelta)) == f"it is {SHOWN}"
    assert SECRET not in b"".join(event.to_json() for event in seen.events).decode()


@pytest.mark.anyio
async def test_structured_output_is_masked_in_its_events_and_for_the_caller_alike() -> None:
    """It is read from the answer as the history has it."""
    model = ScriptedProvider(text(*pieces(json.dumps({"word": SECRET}), 3)), schema=True)
    seen = ListSink()
    result = await Agent(model, sinks=[seen], runtime=runtime()).invoke_async("go", output=dict[str, str])
    assert SECRET not in b"".join(event.to_json() for event in seen.events).decode()
    assert any(isinstance(event, OutputPartial) for event in seen.events)
    assert result.output == {"word": SHOWN}
