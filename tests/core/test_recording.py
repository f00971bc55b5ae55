"""What is recorded of runs, and what a replay of it gives, on both event loops."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from becket import (
    Agent,
    Allow,
    Backoff,
    ConfigError,
    Deny,
    Event,
    Image,
    Json,
    Limits,
    Message,
    ModelFinished,
    ModelInfo,
    ModelOptions,
    ModelRequest,
    ProviderError,
    ReasoningDelta,
    RunInfo,
    Runtime,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolContext,
    ToolError,
    ToolResult,
    Usage,
    hookimpl,
    tool,
)
from becket.testing import ListSink, Recording, ReplayError, ReplayProvider, ScriptedProvider, calls, text
from becket.testing._recorder import Recorder
from becket.testing._secrets import Secrets
from becket.testing._tape import lines_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.anyio

made: list[str] = []
"""The calls that tools have really been given."""


@pytest.fixture(autouse=True)
def nothing_made_yet() -> None:
    made.clear()


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    made.append(city)
    return f"rain in {city}"


@tool(effect="none")
def double(number: int) -> int:
    """Twice the number."""
    made.append(str(number))
    return 2 * number


def make(provider: Any, *tools: Any, plugins: Sequence[object] = (), **options: Any) -> Agent:
    return Agent(provider, tools, runtime=Runtime(discover=False, plugins=plugins), **options)


async def events_of(agent: Agent, prompt: Any = "go", **options: Any) -> list[Event]:
    async with agent.stream_async(prompt, **options) as events:
        return [event async for event in events]


def essence(events: Sequence[Event]) -> list[Any]:
    """Events without what is another one in every run."""
    fleeting = {"run_id", "time", "duration_s", "first_token_s", "delay_s"}
    return [
        {name: item for name, item in json.loads(event.to_json()).items() if name not in fleeting} for event in events
    ]


def unordered(events: Sequence[Event]) -> list[str]:
    """What happened, where the order of what happens at once is chance, and so are the names of requests."""
    chance = {"seq", "request_id"}
    rows = [{name: item for name, item in row.items() if name not in chance} for row in essence(events)]
    return sorted(map(json.dumps, rows))


def content(path: Path) -> bytes:
    return path.read_bytes()


def beside(path: Path) -> list[Path]:
    """What is in the folder of the file; nothing where there is no folder."""
    return list(path.parent.glob("*"))


def damage(path: Path, change: Any) -> None:
    path.write_bytes(change(path.read_bytes()))


def damage_folder(path: Path) -> None:
    path.mkdir(parents=True)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Silent:
    """A model that must not be called."""

    name = "scripted"
    default_model: str | None = "model"

    def models(self) -> Sequence[ModelInfo]:
        return []

    def stream(self, request: ModelRequest, /) -> AsyncIterator[Any]:
        raise AssertionError("the model is called in a replay")

    async def aclose(self) -> None:
        pass


RAIN = (calls(("weather", {"city": "Paris"})), text("It will ", "be ", "rain."))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recordings" / "it.ndjson"


# -- the same again ------------------------------------------------------------------------------------------------


async def test_a_replay_gives_the_same_events_and_calls_neither_model_nor_tool(path: Path) -> None:
    with Recording(path, record=True):
        recorded = await events_of(make(ScriptedProvider(*RAIN), weather))
    assert made == ["Paris"]
    with Recording(path):
        replayed = await events_of(make(Silent(), weather))
    assert made == ["Paris"]
    assert essence(replayed) == essence(recorded)
    assert [event.text for event in replayed if isinstance(event, TextDelta)] == ["It will ", "be ", "rain."]


async def test_a_recording_made_anew_of_the_same_is_the_same_file(path: Path) -> None:
    written = []
    for prefix in ("toolu_x7", "toolu_q9"):  # services name each call anew
        provider = ScriptedProvider(calls(("weather", {"city": "Paris"}), prefix=prefix), text("rain"))
        with Recording(path, record=True):
            await make(provider, weather).invoke_async("go")
        written.append(content(path))
    assert written[0] == written[1]


def test_a_sync_call_is_recorded_and_replayed(path: Path) -> None:
    with Recording(path, record=True):
        make(ScriptedProvider(*RAIN), weather)("go")
    with Recording(path):
        assert make(Silent(), weather)("go").text == "It will be rain."


async def test_parallel_calls_get_their_own_results_and_report_their_progress(path: Path) -> None:
    @tool
    async def fetch(page: int, ctx: ToolContext[object]) -> list[Any]:
        made.append(str(page))
        ctx.progress({"page": page})
        return [Text(f"page {page}"), Json({"n": page}), Image("image/png", "aGk=")]

    provider = ScriptedProvider(calls(("fetch", {"page": 1}), ("fetch", {"page": 2})), text("ok"))
    with Recording(path, record=True):
        recorded = await events_of(make(provider, fetch))
    made.clear()
    with Recording(path):
        replayed = await events_of(make(Silent(), fetch))
    assert made == []
    assert unordered(replayed) == unordered(recorded)


async def test_reasoning_is_replayed_with_its_seal(path: Path) -> None:
    script = [ReasoningDelta("hm", 0), ReasoningDelta(signature="seal"), TextDelta("so", 1), ModelFinished("end_turn")]
    with Recording(path, record=True):
        recorded = await events_of(make(ScriptedProvider(script)))
    with Recording(path):
        assert essence(await events_of(make(Silent()))) == essence(recorded)


async def test_several_runs_at_once_follow_each_its_own(path: Path) -> None:
    def echo(request: ModelRequest) -> list[Any]:
        return text(f"you said {request.messages[-1].text}")

    with Recording(path, record=True):
        for prompt in ("one", "two", "two", "three"):
            await make(ScriptedProvider(echo)).invoke_async(prompt)
    agent = make(Silent())
    said: list[str] = []

    async def ask(prompt: str) -> None:
        said.append((await agent.invoke_async(prompt)).text)

    with Recording(path):
        async with anyio.create_task_group() as tasks:
            for prompt in ("three", "two", "one", "two"):
                tasks.start_soon(ask, prompt)
    assert sorted(said) == ["you said one", "you said three", "you said two", "you said two"]


async def test_a_history_with_calls_of_other_names_is_the_same_history(path: Path) -> None:
    def history(call_id: str) -> list[Message]:
        return [
            Message("user", (Text("weather?"),)),
            Message("assistant", (ToolCall(call_id, "weather", {"city": "Rome"}),)),
            Message("user", (ToolResult(call_id, "success", (Text("sun"),)),)),
            Message("assistant", (Text("sun"),)),
        ]

    with Recording(path, record=True):
        await make(ScriptedProvider(*RAIN), weather).invoke_async("go", history=history("a"))
    with Recording(path):
        await make(Silent(), weather).invoke_async("go", history=history("b"))


# -- failures ------------------------------------------------------------------------------------------------------


async def test_a_retried_failure_is_replayed_without_waiting(path: Path) -> None:
    busy = ProviderError("busy", status=503, retryable=True, retry_after=0.0)
    provider = ScriptedProvider(lambda request: [busy] if request.key[2] == 1 else text("there"))
    with Recording(path, record=True):
        recorded = await events_of(make(provider, retry=Backoff(first=0.001)))
    with Recording(path), anyio.fail_after(5):
        replayed = await events_of(make(Silent(), retry=Backoff(first=1000.0, most=1000.0)))
    assert essence(replayed) == essence(recorded)


async def test_a_failure_after_some_text_is_replayed_as_the_same_error(path: Path) -> None:
    gone = ProviderError("overloaded", status=529, retryable=True, retry_after=3.5)
    agent = make(ScriptedProvider([TextDelta("half"), gone]), retry=None)
    with Recording(path, record=True), pytest.raises(ProviderError):
        await agent.invoke_async("go")
    sink = ListSink()
    with Recording(path), pytest.raises(ProviderError, match="overloaded") as caught:
        await make(Silent(), retry=None, sinks=[sink]).invoke_async("go")
    error = caught.value
    assert (error.status, error.retryable, error.retry_after, error.provider) == (529, True, 3.5, "scripted")
    assert [event.text for event in sink.events if isinstance(event, TextDelta)] == ["half"]


async def test_a_failed_tool_is_replayed_as_what_the_model_read_of_it(path: Path) -> None:
    @tool
    def fail(how: str) -> str:
        made.append(how)
        if how == "said":
            raise ToolError("no such city")
        raise KeyError(how)

    script = (calls(("fail", {"how": "said"})), calls(("fail", {"how": "not"})), text("ok"))
    with Recording(path, record=True):
        recorded = await events_of(make(ScriptedProvider(*script), fail))
    made.clear()
    with Recording(path):
        assert essence(await events_of(make(Silent(), fail))) == essence(recorded)
    assert made == []


async def test_a_time_limit_of_a_tool_is_replayed(path: Path) -> None:
    @tool(timeout=0.01)
    async def hang() -> str:
        await anyio.sleep_forever()
        return ""

    with Recording(path, record=True):
        recorded = await events_of(make(ScriptedProvider(calls(("hang", {})), text("ok")), hang))
    with Recording(path):
        assert essence(await events_of(make(Silent(), hang))) == essence(recorded)


async def test_arguments_that_do_not_fit_are_refused_again(path: Path) -> None:
    script = (calls(("weather", {"town": "Paris"}), ("nothing", {})), text("ok"))
    with Recording(path, record=True):
        recorded = await events_of(make(ScriptedProvider(*script), weather))
    with Recording(path):
        assert unordered(await events_of(make(Silent(), weather))) == unordered(recorded)


async def test_an_id_that_a_service_gives_twice_is_refused_again(path: Path) -> None:
    twice = [
        ToolCallDelta("same", "weather", '{"city":"A"}', 1),
        ToolCallDelta("same", "weather", '{"city":"B"}', 2),
        ToolCallDelta("", "weather", '{"city":"C"}', 3),
        ModelFinished("tool_use"),
    ]
    with Recording(path, record=True):
        await make(ScriptedProvider(twice, text("ok")), weather).invoke_async("go")
    assert sorted(made) == ["A", "C"]
    with Recording(path):
        assert (await make(Silent(), weather).invoke_async("go")).text == "ok"


async def test_a_reader_that_leaves_leaves_again(path: Path) -> None:
    async def leave(agent: Agent) -> None:
        async with agent.stream_async("go") as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break

    script = [TextDelta("one"), anyio.sleep_forever, TextDelta("two"), ModelFinished("end_turn")]
    with Recording(path, record=True):
        await leave(make(ScriptedProvider(script)))
    with Recording(path):
        await leave(make(Silent()))


async def test_an_answer_that_was_cut_off_is_not_waited_for_without_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("becket.testing.replay.PATIENCE", 0.01)
    script = [TextDelta("one"), anyio.sleep_forever]
    with Recording(path, record=True):
        result = await make(ScriptedProvider(script)).invoke_async("go", limits=Limits(seconds=0.05))
    assert result.stop_reason == "limit_time"
    with pytest.raises(ReplayError, match="has no end"), Recording(path):
        await make(Silent()).invoke_async("go")


async def test_a_silence_that_was_given_up_is_replayed_as_the_error_that_it_was(path: Path) -> None:
    limits = Limits(silence_seconds=0.02)
    with Recording(path, record=True), pytest.raises(ProviderError, match="sent nothing"):
        await make(ScriptedProvider([anyio.sleep_forever]), retry=None, limits=limits).invoke_async("go")
    with Recording(path), pytest.raises(ProviderError, match="sent nothing"):
        await make(Silent(), retry=None).invoke_async("go")


async def test_what_is_no_answer_of_a_service_is_not_recorded(path: Path) -> None:
    agent = make(ScriptedProvider([KeyError("bug")]))
    with pytest.raises(ConfigError, match="raised KeyError"), Recording(path, record=True), pytest.raises(KeyError):
        await agent.invoke_async("go")
    assert beside(path) == []


async def test_a_provider_that_breaks_its_contract_is_told_so_by_the_run(path: Path) -> None:
    class Wrong(Silent):
        def stream(self, request: ModelRequest, /) -> Any:
            return None

    with Recording(path, record=True), pytest.raises(Exception, match="no async iterator"):
        await make(Wrong()).invoke_async("go")


async def test_a_provider_that_is_no_generator_is_recorded(path: Path) -> None:
    class Steps:
        def __init__(self) -> None:
            self.left = [TextDelta("hi"), ModelFinished("end_turn")]

        def __aiter__(self) -> Steps:
            return self

        async def __anext__(self) -> Any:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    class Stepping(Silent):
        supports = "everything"

        def stream(self, request: ModelRequest, /) -> Any:
            return Steps()

    with Recording(path, record=True):
        assert (await make(Stepping()).invoke_async("go")).text == "hi"
    with Recording(path):
        assert (await make(Stepping()).invoke_async("go")).text == "hi"


# -- hooks, policies and tools that run ----------------------------------------------------------------------------


async def test_a_tool_without_effect_runs_in_a_replay(path: Path) -> None:
    script = (calls(("double", {"number": 4})), text("8"))
    for record in (True, False):
        with Recording(path, record=record):
            await make(ScriptedProvider(*script) if record else Silent(), double).invoke_async("go")
    assert made == ["4", "4"]


async def test_it_can_be_said_which_tools_run(path: Path) -> None:
    script = (calls(("double", {"number": 4}), ("weather", {"city": "Rome"})), text("8"))
    for record in (True, False):
        with Recording(path, record=record, real_tools=["weather"]):
            await make(ScriptedProvider(*script) if record else Silent(), double, weather).invoke_async("go")
    assert sorted(made) == ["4", "Rome", "Rome"]


async def test_a_tool_that_runs_and_gives_something_else_is_noticed(path: Path) -> None:
    @tool(effect="none")
    def dice() -> int:
        made.append("")
        return len(made)

    with Recording(path, record=True):
        await make(ScriptedProvider(calls(("dice", {})), text("ok")), dice).invoke_async("go")
    told = pytest.raises(ReplayError, match=r"(?s)model call 2 .* do it again.*-.*1.*\+.*2")
    with told, Recording(path, hint="do it again"):
        await make(Silent(), dice).invoke_async("go")


async def test_hooks_and_policies_are_at_work_in_a_replay_as_in_the_recording(path: Path) -> None:
    class Rewriting:
        @hookimpl
        def before_tool_call(self, call: ToolCall) -> ToolCall:
            return ToolCall(call.id, call.tool, {"city": "Rome"})

        @hookimpl
        def after_tool_call(self, call: ToolCall, result: ToolResult) -> ToolResult:
            return ToolResult(result.call_id, result.status, (Text(result.text.upper()),))

        @hookimpl
        def approve_tool(self, call: ToolCall) -> Allow | Deny:
            return Deny("never") if call.tool == "double" else Allow()

        @hookimpl
        def system_prompt(self) -> str:
            return "Be brief."

    script = (calls(("weather", {"city": "Paris"}), ("double", {"number": 1})), text("ok"))
    with Recording(path, record=True):
        recorded = await events_of(make(ScriptedProvider(*script), weather, double, plugins=[Rewriting()]))
    assert made == ["Rome"]
    with Recording(path):
        replayed = await events_of(make(Silent(), weather, double, plugins=[Rewriting()]))
    assert made == ["Rome"]

    assert unordered(replayed) == unordered(recorded)
    (first,) = [row["request"] for row in rows_of(path) if "request" in row and "same" not in row["request"]]
    assert first["system"] == "Be brief."


async def test_an_answer_that_a_hook_gives_is_given_by_it_again(path: Path) -> None:
    class Answering:
        @hookimpl
        def before_model_call(self, request: ModelRequest) -> list[Any] | None:
            return [*calls(("weather", {"city": "Paris"}))] if len(request.messages) == 1 else None

    with Recording(path, record=True):
        await make(ScriptedProvider(text("rain")), weather, plugins=[Answering()]).invoke_async("go")
    with Recording(path):
        result = await make(Silent(), weather, plugins=[Answering()]).invoke_async("go")
    assert (result.text, made) == ("rain", ["Paris"])


async def test_an_agent_in_a_tool_is_not_asked_where_the_tools_result_is_recorded(path: Path) -> None:
    def asking(provider: Any) -> Agent:
        inner = make(provider, name="inner")

        @tool
        async def ask(question: str) -> str:
            made.append(question)
            return (await inner.invoke_async(question)).text

        return make(provider, ask)

    provider = ScriptedProvider(
        lambda request: (
            text("inside") if request.messages[0].text == "what?" else calls(("ask", {"question": "what?"}))
        ),
        text("ok"),
    )
    with Recording(path, record=True):
        await asking(provider).invoke_async("go")
    assert len({row["run_id"] for row in rows_of(path)[1:]}) == 2
    with Recording(path):
        assert (await asking(Silent()).invoke_async("go")).text == "ok"
    assert made == ["what?"]


async def test_an_agent_that_is_a_tool_runs_and_what_it_asks_is_replayed(path: Path) -> None:
    def asking(provider: Any) -> Agent:
        inner = make(provider, weather, name="inner")
        return make(provider, inner.as_tool("ask", "Answers questions."))

    def script(request: ModelRequest) -> list[Any]:
        if len(request.messages) > 1:
            return text("ra", "in")
        asked = request.messages[0].text
        return RAIN[0] if asked == "what?" else calls(("ask", {"prompt": "what?"}), ("ask", {"prompt": "what?"}))

    with Recording(path, record=True):
        recorded = await events_of(asking(ScriptedProvider(script)))
    assert made == ["Paris", "Paris"]
    with Recording(path):
        replayed = await events_of(asking(Silent()))
    assert made == ["Paris", "Paris"]
    chance = {"parent_run_id", "parent_call_id"}
    one, other = ([json.loads(row) for row in unordered(events)] for events in (replayed, recorded))
    assert [row.keys() & chance for row in one] == [row.keys() & chance for row in other]
    assert [row for row in one if not row.keys() & chance] == [row for row in other if not row.keys() & chance]


@dataclass
class Report:
    """The weather."""

    city: str
    rain: bool


async def test_structured_output_is_replayed_with_its_repair_and_what_came_of_it_by_and_by(path: Path) -> None:
    script = [calls(("final_output", {"city": "Paris"})), calls(("final_output", {"city": "Paris", "rain": True}))]
    with Recording(path, record=True):
        recorded = await events_of(make(ScriptedProvider(*script), output=Report))
    with Recording(path):
        assert essence(await events_of(make(Silent(), output=Report))) == essence(recorded)
    assert (await make(ReplayProvider.from_file(path), output=Report).invoke_async("go")).output == Report(
        "Paris", True
    )


async def test_a_call_that_was_made_again_is_replayed_as_what_came_of_it(path: Path) -> None:
    @tool(idempotent=True)
    def look() -> str:
        made.append("")
        if len(made) == 1:
            raise ToolError("not yet", retryable=True)
        return "there"

    retry = Backoff(first=0.001)
    with Recording(path, record=True):
        await make(ScriptedProvider(calls(("look", {})), text("ok")), look, retry=retry).invoke_async("go")
    assert len(made) == 2
    with Recording(path):
        assert (await make(Silent(), look, retry=retry).invoke_async("go")).text == "ok"
    by_order = ReplayProvider.from_file(path, match="order")
    assert (await make(by_order, look, retry=retry).invoke_async("go")).text == "ok"


# -- what is missed ------------------------------------------------------------------------------------------------


async def record_rain(path: Path) -> None:
    with Recording(path, record=True):
        await make(ScriptedProvider(*RAIN), weather).invoke_async("go")


async def test_another_prompt_is_told_with_its_difference_and_what_to_do(path: Path) -> None:
    await record_rain(path)
    with pytest.raises(ReplayError) as caught, Recording(path, hint="run it again with --record"):
        await make(Silent(), weather).invoke_async("stay")
    said = str(caught.value)
    assert str(path) in said
    assert "the nearest is run-1 (agent 'agent'), line 4; run it again with --record" in said
    assert '-          "text": "go",\n+          "text": "stay",' in said


async def test_another_prompt_is_no_becket_error_that_a_host_would_fall_back_from(path: Path) -> None:
    await record_rain(path)
    recording = Recording(path)
    swallowed = contextlib.suppress(Exception)  # by the code under test
    with pytest.raises(ReplayError, match="no recorded run begins"), recording, swallowed:
        await make(Silent(), weather).invoke_async("stay")
    assert recording.missed is not None


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"system_prompt": "Be brief."}, '+  "system": "Be brief."'),
        ({"options": ModelOptions(temperature=0.5)}, '+    "temperature": 0.5'),
    ],
)
async def test_other_options_are_another_request(path: Path, changed: dict[str, Any], line: str) -> None:
    await record_rain(path)
    with pytest.raises(ReplayError) as caught, Recording(path):
        await make(Silent(), weather, **changed).invoke_async("go")
    assert line in str(caught.value)


async def test_another_model_and_other_tools_are_another_request(path: Path) -> None:
    await record_rain(path)
    other = Silent()
    other.default_model = "bigger"
    with pytest.raises(ReplayError) as caught, Recording(path):
        await make(other).invoke_async("go")
    assert '+  "model": "scripted:bigger"' in str(caught.value)
    assert '-      "name": "weather",' in str(caught.value)


async def test_a_long_difference_is_cut_short(path: Path) -> None:
    await record_rain(path)
    with pytest.raises(ReplayError, match=r"and \d+ lines more"), Recording(path):
        await make(Silent(), weather).invoke_async("\n".join(map(str, range(500))))


async def test_a_run_that_goes_on_for_longer_than_recorded_is_told(path: Path) -> None:
    with Recording(path, record=True):
        await make(ScriptedProvider(*RAIN), weather).invoke_async("go", limits=Limits(cycles=1))
    with pytest.raises(ReplayError, match=r"model call 2 of run-1 .* is one more than were recorded"), Recording(path):
        await make(Silent(), weather).invoke_async("go")


async def test_more_runs_than_were_recorded_are_told(path: Path) -> None:
    await record_rain(path)
    agent = make(Silent(), weather)
    with pytest.raises(ReplayError, match="no run is recorded that has not been replayed"), Recording(path):
        await agent.invoke_async("go")
        await agent.invoke_async("go")


async def test_a_recording_that_is_not_there_is_told_when_it_is_needed(path: Path) -> None:
    with Recording(path):
        pass
    with pytest.raises(ReplayError, match=r"there is no recording .*: it is not there; record it") as caught:  # noqa: SIM117
        with Recording(path):
            await make(Silent()).invoke_async("go")
    assert "+++ now" not in str(caught.value)  # there is nothing to compare with


async def test_model_calls_that_are_not_made_are_told(path: Path) -> None:
    await record_rain(path)
    with pytest.raises(ReplayError, match=r"were not made: 2 of run-1 \(agent 'agent'\)"), Recording(path):
        pass
    with pytest.raises(ReplayError, match=r"were not made: 1 of run-1 \(agent 'agent'\)"), Recording(path):
        await make(Silent(), weather).invoke_async("go", limits=Limits(cycles=1))


async def test_other_arguments_of_a_tool_fail_the_run_and_not_the_call_alone(path: Path) -> None:
    class Rewriting:
        @hookimpl
        def before_tool_call(self, call: ToolCall) -> ToolCall:
            return ToolCall(call.id, call.tool, {"city": "Rome"})

    await record_rain(path)
    with pytest.raises(ReplayError, match=r"(?s)tool 'weather' in cycle 1 .*-.*Paris.*\+.*Rome"), Recording(path):
        await make(Silent(), weather, plugins=[Rewriting()]).invoke_async("go")
    assert made == ["Paris"]


async def test_a_call_that_was_denied_when_it_was_recorded_is_told(path: Path) -> None:
    class Denying:
        @hookimpl
        def approve_tool(self) -> Deny:
            return Deny("no")

    twice = calls(("weather", {"city": "Paris"}), ("weather", {"city": "Rome"}))
    with Recording(path, record=True):
        await make(ScriptedProvider(twice, text("ok")), weather, plugins=[Denying()]).invoke_async("go")
    with pytest.raises(ReplayError, match="'weather' is made, and no such call was recorded"), Recording(path):
        await make(Silent(), weather).invoke_async("go")


async def test_a_call_for_which_no_model_was_asked_is_told(path: Path) -> None:
    class Answering:
        @hookimpl
        def before_model_call(self, request: ModelRequest) -> list[Any] | None:
            return [*calls(("weather", {"city": "Oslo"}))] if len(request.messages) == 1 else None

    await record_rain(path)
    with pytest.raises(ReplayError, match="'weather' is made, and no such call was recorded"), Recording(path):
        await make(Silent(), weather, plugins=[Answering()]).invoke_async("go")


# -- the file ------------------------------------------------------------------------------------------------------


async def test_nothing_is_written_where_the_block_raises(path: Path) -> None:
    await record_rain(path)
    before = content(path)
    with pytest.raises(ZeroDivisionError), Recording(path, record=True):
        await make(ScriptedProvider(text("else"))).invoke_async("go")
        raise ZeroDivisionError
    assert content(path) == before
    assert beside(path) == [path]


async def test_a_recording_of_no_run_is_no_file(path: Path) -> None:
    await record_rain(path)
    with Recording(path, record=True):
        pass
    assert beside(path) == []


async def test_one_recording_is_open_at_a_time(path: Path) -> None:
    told = pytest.raises(ConfigError, match="another recording is open")
    with Recording(path, record=True), told, Recording(path):
        pass
    await record_rain(path)


async def test_a_history_is_in_the_file_once(path: Path) -> None:
    script = [calls(("weather", {"city": "x" * 1000})) for _ in range(20)]
    with Recording(path, record=True):
        await make(ScriptedProvider(*script, text("ok")), weather).invoke_async("go")
    assert len(content(path)) < 20 * 15_000
    with Recording(path):
        await make(Silent(), weather).invoke_async("go")


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        (lambda data: data[:-40], "is damaged: line 20 is no event"),
        (lambda data: data[: data.rindex(b"\n", 0, -1) + 1], "damaged: it has 18 events, and its first line says 19"),
        (lambda data: data.replace(b'"recording":1', b'"recording":2'), "of version 2, and this becket knows 1"),
        (lambda data: data.replace(b'"version":1', b'"version":2', 1), "upgrade becket"),
        (lambda data: data.replace(b'"recording":1,', b""), "it does not say what the model was asked"),
        (lambda data: b"", "it does not say what the model was asked"),
        (lambda data: b"name: weather\n", "line 1 is no event"),
        (lambda data: b"[1]\n", "line 1 is no event: it is no JSON object with a type"),
        (lambda data: data.replace(b'"fragment"', b'"frag"').replace(b'"tool":"weather"', b'"t":1'), "is damaged"),
    ],
)
async def test_a_file_that_is_no_whole_recording_is_refused(path: Path, changed: Any, error: str) -> None:
    await record_rain(path)
    damage(path, changed)
    with pytest.raises(ConfigError, match=error):
        Recording(path)


async def test_a_file_that_cannot_be_read_or_written_is_told(path: Path) -> None:
    path = path.parent / "of" / "folder"
    damage_folder(path)
    with pytest.raises(ConfigError, match="cannot be read: "):
        Recording(path)
    with pytest.raises(ConfigError, match="cannot be written: "), Recording(path, record=True):
        await make(ScriptedProvider(text("ok"))).invoke_async("go")
    assert beside(path) == [path]  # nothing was left that was begun


async def test_what_takes_down_a_run_is_no_sink_to_configure_and_leaves_other_runs_alone(path: Path) -> None:
    recorder = Recorder()
    plan = recorder.between(make(Silent())._resolved(), "run", inside=False)
    (sink,) = plan.sinks
    with pytest.raises(ConfigError, match="takes no argument"):
        sink.with_argument("x")
    observer: Any = sink.open(RunInfo("run", "agent", "scripted:model"))
    observer.emit(TextDelta("of a run nested in it", run_id="other"))
    assert recorder.events == []


async def test_what_stands_for_a_provider_is_asked_like_it(path: Path) -> None:
    class Able(Silent):
        answers_in = "json"

    plan: Any = Recorder().between(make(Able())._resolved(), "run", inside=False)
    assert (plan.provider.name, plan.provider.answers_in) == ("scripted", "json")


async def test_what_the_masks_of_a_runtime_do_not_show_is_not_in_the_file(path: Path) -> None:
    class Held:
        def __init__(self) -> None:
            self.text = ""

        def feed(self, fragment: str, /) -> str:
            self.text += fragment
            return ""

        def end(self) -> str:
            return Shy().mask(self.text)

    class Shy:
        name = "shy"

        def mask(self, text: str, /) -> str:
            return text.replace("hush", "[masked]")

        def open(self) -> Held:
            return Held()

    class Plugin:
        @hookimpl
        def register_masks(self) -> list[Shy]:
            return [Shy()]

        @hookimpl
        def after_tool_call(self, result: ToolResult) -> ToolResult:
            return ToolResult(result.call_id, result.status, (Text(f"it gave {result.text}"),))

    script = (calls(("weather", {"city": "hush"})), text("a hu", "sh b"))
    options: Any = {"system_prompt": "say hush", "plugins": [Plugin()]}
    with Recording(path, record=True):
        await make(ScriptedProvider(*script), weather, **options).invoke_async("hush now")
    assert b"hush" not in content(path)
    with Recording(path):
        assert (await make(Silent(), weather, **options).invoke_async("hush now")).text == "a [masked] b"


async def test_the_runs_above_a_run_have_their_names_in_the_file_too() -> None:
    rows = [
        {"type": "tool_started", "run_id": "a1", "call": {"type": "tool_call", "id": "x7", "tool": "ask"}},
        {"type": "run_started", "run_id": "b2", "parent_run_id": "a1", "parent_call_id": "x7"},
    ]
    _, above, below = [json.loads(line) for line in lines_of(rows, Secrets())]
    assert (above["run_id"], above["call"]["id"]) == ("run-1", "call-1")
    assert (below["run_id"], below["parent_run_id"], below["parent_call_id"]) == ("run-2", "run-1", "call-1")


# -- a model that answers from a recording -------------------------------------------------------------------------


async def test_a_replay_provider_is_the_recorded_model_and_leaves_tools_alone(path: Path) -> None:
    await record_rain(path)
    provider = ReplayProvider.from_file(path)
    agent = make(provider, weather)
    assert (agent.model, provider.models()[0].name) == ("scripted:model", "model")
    assert provider.unused()
    assert (await agent.invoke_async("go")).text == "It will be rain."
    assert (made, provider.unused()) == (["Paris", "Paris"], "")
    await provider.aclose()


async def test_a_replay_provider_is_strict(path: Path) -> None:
    await record_rain(path)
    with pytest.raises(ReplayError, match="no recorded run begins"):
        await make(ReplayProvider.from_file(path), weather).invoke_async("stay")


async def test_a_replay_provider_answers_in_order_whatever_it_is_asked(path: Path) -> None:
    await record_rain(path)
    provider = ReplayProvider.from_file(path, match="order", name="other", model="small")
    agent = make(provider, weather)
    assert agent.model == "other:small"
    assert (await agent.invoke_async("stay")).text == "It will be rain."
    with pytest.raises(ReplayError, match="no run is recorded that has not been replayed"):
        await agent.invoke_async("stay")


async def test_a_replay_provider_answers_from_the_events_of_any_run() -> None:
    busy = ProviderError("busy", retryable=True)
    provider = ScriptedProvider(lambda request: [busy] if request.key[2] == 1 else RAIN[0], RAIN[1])
    sink = ListSink()
    await make(provider, weather, sinks=[sink], retry=Backoff(first=0.001)).invoke_async("go")
    again = ReplayProvider.from_events(sink.events)
    assert (await make(again, weather, retry=Backoff(first=0.001)).invoke_async("go")).text == "It will be rain."


async def test_a_replay_provider_answers_from_the_journal_of_any_run(path: Path, tmp_path: Path) -> None:
    await record_rain(path)
    damage(path, lambda data: data.partition(b"\n")[2])  # the events alone, as `becket run --json` prints them
    provider = ReplayProvider.from_file(path, match="order")
    assert (await make(provider, weather).invoke_async("stay")).text == "It will be rain."


async def test_a_failure_in_a_plain_journal_is_replayed_as_far_as_it_says() -> None:
    sink = ListSink()
    with pytest.raises(ProviderError):
        await make(ScriptedProvider([ProviderError("gone")]), sinks=[sink], retry=None).invoke_async("go")
    with pytest.raises(ProviderError, match="gone"):
        await make(ReplayProvider.from_events(sink.events)).invoke_async("go")


async def test_a_replay_provider_of_nothing_and_one_of_another_kind() -> None:
    assert ReplayProvider.from_events([]).name == "recorded"
    with pytest.raises(ConfigError, match="match is 'loose'"):
        ReplayProvider([], source="x", match="loose")  # type: ignore[arg-type]


async def test_events_of_a_tool_without_its_begin_are_damage() -> None:
    sink = ListSink()

    @tool
    def report(ctx: ToolContext[object]) -> str:
        ctx.progress(1)
        return "ok"

    await make(ScriptedProvider(calls(("report", {})), text("ok")), report, sinks=[sink]).invoke_async("go")
    rest = [event for event in sink.events if event.type != "tool_started"]
    with pytest.raises(ConfigError, match="is damaged"):
        ReplayProvider.from_events(rest)


async def test_usage_and_stop_reason_are_those_recorded(path: Path) -> None:
    script = [TextDelta("x"), ModelFinished("max_tokens", Usage(3, 4), confidence=0.5)]
    with Recording(path, record=True):
        await make(ScriptedProvider(script)).invoke_async("go")
    result = await make(ReplayProvider.from_file(path)).invoke_async("go")
    assert (result.stop_reason, result.usage) == ("max_tokens", Usage(3, 4))


async def test_what_a_provider_keeps_for_the_next_call_is_not_recorded(tmp_path: Path) -> None:
    """It may be no JSON, such as the messages that it has encoded."""

    class Keeping(ScriptedProvider):
        async def stream(self, request: ModelRequest) -> AsyncIterator[Any]:
            request.kept[self] = object()
            async for event in super().stream(request):
                yield event

    agent = Agent(Keeping(*RAIN), [weather], runtime=Runtime(discover=False))
    for record in (True, False):
        with Recording(tmp_path / "kept.ndjson", record=record):
            assert (await agent.invoke_async("hi")).text == "It will be rain."
