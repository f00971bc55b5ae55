"""What the encoders make of each scenario, without a server: streams of chunks, and completions in one piece."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from becket import Agent, Limits, ModelFinished, ProviderError, Runtime, TextDelta, Usage, load_config, tool
from becket.testing import Scenarios, ScriptedProvider, calls, text
from becket_openai_server import ChatCompletions, OpenAIServer, Settings, SettingsError
from openai.types.chat import ChatCompletion, ChatCompletionChunk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from becket import AgentStream, Event, StopReason
    from becket.testing import Step

pytestmark = pytest.mark.anyio

ENDING = [name for name in Scenarios.names if name not in ("held", "idle tool", "fails first", "fails midway", "flood")]
OPEN = {"reasoning": True, "tools": "events"}


@dataclass
class Answer:
    """What was written, and taken apart again.

    Attributes:
        status: The HTTP status.
        headers: The headers.
        media_type: The content type.
        body: All of it.
        chunks: The chunks of a stream, validated by OpenAI's own types.
        error: The error object, or None.
        completed: Whether a stream has come to `[DONE]`.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = ""
    body: bytes = b""
    chunks: list[ChatCompletionChunk] = field(default_factory=list)
    error: Any = None
    completed: bool = False

    @property
    def completion(self) -> ChatCompletion:
        """What is not a stream, validated by OpenAI's own types."""
        return ChatCompletion.model_validate_json(self.body)

    @property
    def text(self) -> str:
        if not self.chunks:
            return self.completion.choices[0].message.content or ""
        return "".join(chunk.choices[0].delta.content or "" for chunk in self.chunks if chunk.choices)

    @property
    def finish(self) -> str | None:
        if not self.chunks:
            return self.completion.choices[0].finish_reason
        ends = [chunk.choices[0].finish_reason for chunk in self.chunks if chunk.choices]
        assert ends[:-1] == [None] * (len(ends) - 1)
        return ends[-1]

    @property
    def thoughts(self) -> str:
        """The reasoning: no member that OpenAI has."""
        said = [chunk.choices[0].delta for chunk in self.chunks if chunk.choices]
        return "".join((one.model_extra or {}).get("reasoning_content", "") for one in said or self._messages())

    def _messages(self) -> list[Any]:
        return [choice.message for choice in self.completion.choices]

    @property
    def asides(self) -> list[Any]:
        """What stands beside the choices."""
        whole: list[Any] = [*self.chunks] or [self.completion]
        return [one.model_extra["becket"] for one in whole if one.model_extra]


async def answered(
    agent: Agent,
    prompt: str = "go",
    *,
    settings: Any = None,
    wire: Any = None,
    usage: bool = False,
    stream: bool = True,
    beat: bool = False,
    seen: Callable[[Event, AgentStream[Any]], None] = lambda event, run: None,
) -> Answer:
    wire = wire or ChatCompletions(Settings(**(settings or {})))
    body = wire.request_model.model_validate(
        {
            "messages": [{"role": "user", "content": prompt}],
            "stream": stream,
            "stream_options": {"include_usage": usage},
        }
    )
    asked = wire.read(body)
    run = agent.stream_async(asked.prompt)
    encoder = wire.open(body, run.info)
    answer = Answer()
    pieces = [encoder.beat()] if beat else []
    try:
        async with run:
            async for event in run:
                pieces.append(encoder.encode(event))
                seen(event, run)
    except (ProviderError, ZeroDivisionError):
        pass  # the encoder has written it
    answer.body = b"".join([*pieces, encoder.finish()])
    answer.status, answer.headers, answer.media_type = encoder.status, dict(encoder.headers), encoder.media_type
    if answer.media_type == "text/event-stream":
        take_apart(answer)
    else:
        answer.error = json.loads(answer.body).get("error")
    return answer


def take_apart(answer: Answer) -> None:
    assert answer.body.endswith(b"\n\n")
    for event in answer.body.decode().split("\n\n")[:-1]:
        assert not answer.completed, "something comes after [DONE]"
        assert len(event.splitlines()) == 1  # by the rules of Python, which has more line breaks than the format
        if event == ":":
            continue
        data = event.removeprefix("data: ")
        if data == "[DONE]":
            answer.completed = True
        elif "error" in (found := json.loads(data)):
            answer.error = found["error"]
        else:
            answer.chunks.append(ChatCompletionChunk.model_validate(found))


@tool(effect="none")
async def shout(what: str) -> str:
    """Shout."""
    return what.upper()


def scripted(*scripts: Any, schema: bool = False, **options: Any) -> Agent:
    model = ScriptedProvider(*scripts, schema=schema)
    return Agent(model, retry=None, runtime=Runtime(discover=False), **options)


async def scenario(name: str, **options: Any) -> Answer:
    """Where a call would be asked about, nobody is there."""
    return await answered(Scenarios().agent.replace(approver=None), name, **options)


def expected(name: str) -> str:
    return "The answer: denied" if name == "asks" else Scenarios.text(name)


class TestStreams:
    @pytest.mark.parametrize("name", ENDING)
    async def test_the_content_is_the_answers_text(self, name: str) -> None:
        """And nothing else: tools, reasoning and nested runs are not for who asks for text."""
        found = await scenario(name)
        assert found.text == expected(name)
        assert (found.finish, found.completed, found.error) == ("stop", True, None)
        assert not found.thoughts
        assert all(chunk.choices[0].delta.tool_calls is None for chunk in found.chunks)
        assert (found.status, found.media_type) == (200, "text/event-stream")

    async def test_what_the_chunks_are_called(self) -> None:
        found = await scenario("text")
        first = found.chunks[0]
        assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
        assert first.model == "scenarios"
        assert first.id.startswith("chatcmpl-")
        assert abs(first.created - time.time()) < 60
        assert {(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in found.chunks} == {
            (first.id, first.created, "scenarios", "chat.completion.chunk")
        }
        assert found.asides == [{"stop_reason": "end_turn"}]

    async def test_the_usage_comes_last_where_it_is_asked_for(self) -> None:
        """Summed over the cycles. Each chunk before it has an empty one, as OpenAI's have."""
        found = await scenario("tools", usage=True)
        *others, last = found.chunks
        assert last.choices == []
        assert last.usage is not None
        assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (20, 4, 24)
        assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in others)
        assert all("usage" not in chunk.model_fields_set for chunk in (await scenario("tools")).chunks)

    async def test_cached_and_reasoning_tokens_are_details(self) -> None:
        step = [TextDelta("x"), ModelFinished("end_turn", Usage(10, 20, 3, 4))]
        found = await answered(scripted(step), usage=True)
        usage = found.chunks[-1].usage
        assert usage is not None
        assert usage.prompt_tokens_details is not None
        assert usage.completion_tokens_details is not None
        assert usage.prompt_tokens_details.cached_tokens == 3
        assert usage.completion_tokens_details.reasoning_tokens == 4

    async def test_each_fragment_is_a_chunk(self) -> None:
        found = await scenario("unicode")
        assert len(found.chunks) == 7 + 2

    @pytest.mark.parametrize("stream", [True, False])
    async def test_what_is_said_around_calls_stands_in_paragraphs(self, stream: bool) -> None:
        agent = scripted([TextDelta("I look "), TextDelta("it up."), *calls(("nothing", {}))], text("It is ", "42."))
        assert (await answered(agent, stream=stream)).text == "I look it up.\n\nIt is 42."

    async def test_without_text_there_is_an_empty_answer(self) -> None:
        found = await answered(scripted([ModelFinished("end_turn")]))
        assert (found.text, found.finish, len(found.chunks)) == ("", "stop", 2)


class TestWhatIsShown:
    async def test_reasoning_is_sent_where_it_is_switched_on(self) -> None:
        found = await scenario("reasoning", settings={"reasoning": True})
        assert found.thoughts == "Six times seven."
        assert found.text == "It is 42."

    async def test_tools_as_lines_of_reasoning(self) -> None:
        found = await scenario("tools", settings={"tools": "reasoning"})
        lines = found.thoughts.split("\n\n")
        assert sorted(lines) == ["fast({})", "fast: fast", 'slow({"seconds":1})', "slow: slow after 1"]
        assert lines.index("fast: fast") < lines.index("slow: slow after 1")
        assert found.text == "Both are done."

    async def test_lines_say_what_was_denied_and_what_failed(self) -> None:
        denied = await scenario("asks", settings={"tools": "reasoning"})
        assert denied.thoughts.startswith("change [denied]: change was not called")
        failed = await scenario("malformed", settings={"tools": "reasoning"})
        assert failed.thoughts.startswith("fast [error]: the arguments of fast could not be read")

    @pytest.mark.parametrize("stream", [True, False])
    async def test_lines_are_short(self, stream: bool) -> None:
        agent = scripted(calls(("shout", {"what": "x" * 999})), text("so"), tools=[shout])
        called, came = (await answered(agent, settings={"tools": "reasoning"}, stream=stream)).thoughts.split("\n\n")
        assert (called[:20], called[-4:], len(called)) == ('shout({"what":"xxxxx', "xxx…)"[-4:], 208)
        assert (came[:10], came[-3:], len(came)) == ("shout: XXX", "XX…", 208)

    async def test_a_nested_runs_tools_have_no_lines(self) -> None:
        found = await scenario("nested", settings={"tools": "reasoning", "reasoning": True})
        lines = found.thoughts.split("\n\n")
        assert lines == ['helper({"prompt":"and you?"})', "helper: nested text"]

    @pytest.mark.parametrize("stream", [True, False])
    async def test_tools_as_beckets_own_events(self, stream: bool) -> None:
        """Beside choices that OpenAI's clients pass over; those of nested runs too."""
        found = await scenario("nested", settings=OPEN, stream=stream)
        assert found.text == Scenarios.text("nested")
        events = [aside["event"] for aside in found.asides[:-1]] if stream else found.asides[0]["events"]
        assert [(event["type"], "parent_call_id" in event) for event in events] == [
            ("tool_started", False),
            ("tool_started", True),
            ("tool_finished", True),
            ("tool_finished", False),
        ]

    async def test_progress_is_among_the_events(self) -> None:
        found = await scenario("progress", settings=OPEN)
        events = [aside["event"] for aside in found.asides[:-1]]
        assert [event["data"] for event in events if event["type"] == "tool_progress"][:3] == [
            {"step": 1},
            {"step": 2},
            {"step": 3},
        ]

    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize(
        "script", [calls(("final_output", {"x": 1})), text('{"x"', ": 1}")], ids=["by a tool", "as text"]
    )
    async def test_structured_output_is_the_answer_once(self, script: list[Step], stream: bool) -> None:
        """Where a model gives it by a tool, it has said nothing else."""
        agent = scripted(script, output=dict[str, int], schema=len(script) > 2)
        found = await answered(agent, stream=stream)
        assert json.loads(found.text) == {"x": 1}
        assert found.finish == "stop"

    async def test_in_one_piece_structured_output_stands_alone(self) -> None:
        """A program parses it; in a stream, what was said on the way cannot be taken back."""
        agent = scripted(
            [TextDelta("I shout."), *calls(("shout", {"what": "x"}))],
            [TextDelta("So:"), *calls(("final_output", {"x": 1}))],
            tools=[shout],
            output=dict[str, int],
        )
        assert (await answered(agent, stream=False)).text == '{"x":1}'


class TestEnds:
    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize(
        ("reason", "word"),
        [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("max_tokens", "length"),
            ("content_filtered", "content_filter"),
        ],
    )
    async def test_a_models_reasons_have_words_of_openai(self, reason: StopReason, word: str, stream: bool) -> None:
        found = await answered(scripted([TextDelta("x"), ModelFinished(reason)]), stream=stream)
        assert found.finish == word
        assert found.asides[-1]["stop_reason"] == reason

    @pytest.mark.parametrize("stream", [True, False])
    async def test_a_limit_makes_an_answer_too_short(self, stream: bool) -> None:
        """What has cut it off is told beside."""
        agent = scripted([TextDelta("x"), *calls(("a", {}))], text("y"), limits=Limits(cycles=1))
        found = await answered(agent, stream=stream)
        assert (found.text, found.finish) == ("x", "length")
        assert found.asides[-1] == {"stop_reason": "limit_cycles"}

    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("name", ["held", "idle tool"])
    async def test_so_does_a_cancellation(self, name: str, stream: bool) -> None:
        scenarios = Scenarios()

        def cancel(event: Event, run: AgentStream[Any]) -> None:
            if event.type in ("text_delta", "tool_started"):
                run.cancel()

        found = await answered(scenarios.agent, name, stream=stream, seen=cancel)
        assert (found.text, found.finish) == (Scenarios.text(name), "length")
        assert found.asides[-1] == {"stop_reason": "cancelled"}
        assert scenarios.waiting == 0

    @pytest.mark.parametrize("stream", [True, False])
    async def test_what_fails_before_the_first_text_has_a_status(self, stream: bool) -> None:
        found = await scenario("fails first", stream=stream)
        assert (found.status, found.media_type) == (502, "application/json")
        assert found.error == {
            "message": "the service is overloaded",
            "type": "server_error",
            "param": None,
            "code": "overloaded",
        }

    async def test_no_client_sees_the_end_of_a_line_in_an_error(self) -> None:
        found = await answered(scripted([TextDelta("x"), ProviderError("a\u2028b\x85c\n")]))
        assert found.error["message"] == "a\u2028b\x85c\n"

    async def test_what_fails_midway_ends_the_stream_with_an_error(self) -> None:
        """And without `[DONE]`, so that a client which does not know such an error misses the end."""
        found = await scenario("fails midway")
        assert (found.status, found.text, found.completed) == (200, "so far ", False)
        assert found.error["message"] == "the line was cut"
        assert found.finish is None

    async def test_in_one_piece_nothing_is_sent_before_the_end(self) -> None:
        found = await scenario("fails midway", stream=False)
        assert (found.status, found.error["code"]) == (502, "provider_error")

    async def test_once_a_comment_was_sent_there_is_no_status_any_more(self) -> None:
        found = await scenario("fails first", beat=True)
        assert (found.status, found.media_type) == (200, "text/event-stream")
        assert found.error["message"] == "the service is overloaded"

    async def test_a_completion_has_no_comments(self) -> None:
        """One would be its first byte, and settle its status."""
        found = await scenario("text", stream=False, beat=True)
        assert found.text == "Hello, world."

    @pytest.mark.parametrize(
        ("error", "status", "again"),
        [
            (ProviderError("busy", retryable=True), 503, "true"),
            (ProviderError("no key"), 502, "false"),
            (ZeroDivisionError("oh"), 500, "false"),
        ],
    )
    @pytest.mark.parametrize("stream", [True, False])
    async def test_the_status_tells_whose_fault_it_is(
        self, error: Exception, status: int, again: str, stream: bool
    ) -> None:
        """And the header keeps OpenAI's clients from asking again by themselves where that helps nothing."""
        found = await answered(scripted([error]), stream=stream)
        assert (found.status, found.headers["x-should-retry"]) == (status, again)
        assert found.error["message"] == str(error)

    @pytest.mark.parametrize("stream", [True, False])
    async def test_nothing_is_asked_again_once_a_tool_was_called(self, stream: bool) -> None:
        """It would be called a second time."""
        agent = scripted(calls(("shout", {"what": "x"})), [ProviderError("busy", retryable=True)], tools=[shout])
        found = await answered(agent, stream=stream)
        assert (found.status, found.headers["x-should-retry"]) == (503, "false")


class TestCompletions:
    @pytest.mark.parametrize("name", ENDING)
    async def test_the_content_is_what_a_stream_has(self, name: str) -> None:
        found = await scenario(name, stream=False)
        assert found.text == expected(name)
        assert (found.status, found.media_type, found.finish) == (200, "application/json", "stop")
        message = found.completion.choices[0].message
        assert (message.role, message.refusal, message.tool_calls, found.thoughts) == ("assistant", None, None, "")

    async def test_it_has_the_usage_always(self) -> None:
        found = (await scenario("tools", stream=False)).completion
        assert found.usage is not None
        assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (20, 4)
        assert (found.model, found.object) == ("scenarios", "chat.completion")
        assert found.id.startswith("chatcmpl-")

    async def test_reasoning_is_a_member_of_the_message(self) -> None:
        assert (await scenario("reasoning", stream=False, settings=OPEN)).thoughts == "Six times seven."

    async def test_tools_as_lines_of_reasoning(self) -> None:
        found = await scenario("asks", stream=False, settings={"tools": "reasoning"})
        assert found.thoughts.startswith("change [denied]: ")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # nothing of it is the loop's, and it takes a second
async def test_a_flood_comes_in_one_piece_too() -> None:
    assert (await scenario("flood", stream=False)).text == Scenarios.text("flood")


@pytest.mark.parametrize("own", [False, True])
async def test_the_settings_are_those_of_the_configuration_or_of_the_host(own: bool, tmp_path: Path) -> None:
    """A host that gives the plugin itself blocks the installed one: there would be two wires of one name."""
    file = tmp_path / "becket.toml"
    file.write_text('[plugins.openai-server]\ntools = "reasoning"\n', encoding="utf-8")
    plugins, block = ([OpenAIServer(Settings(tools="events"))], ["openai-server"]) if own else ([], [])
    runtime = Runtime(plugins=plugins, block=block, config=load_config(file))
    found = await scenario("progress", wire=runtime.wires.find("openai"))
    assert bool(found.thoughts) is not own
    assert (len(found.asides) > 1) is own


def test_a_setting_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="tools is 'all'; it is one of: 'hidden', 'reasoning', 'events'"):
        Settings(tools="all")  # type: ignore[arg-type]


def test_the_plugin_is_light() -> None:
    """Until the first request there is no pydantic and no HTTP."""
    program = """
import sys
from becket import Runtime
from becket_openai_server import OpenAIServer
assert Runtime(plugins=[OpenAIServer()], discover=False).wires.find("openai")
heavy = {"pydantic", "starlette", "openai", "msgspec", "mimetypes", "ssl"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603  our own program
