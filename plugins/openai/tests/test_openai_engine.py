"""A real engine: llama.cpp's own server with a small model's real weights, asked over HTTP in runs of becket.

What a model of this size says is of no use, and the same each time at temperature 0; what is tested is that all of it
arrives, that nothing of it is mixed up, and that the engine stops when nobody waits for it any more.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import openai
import pytest
from anyio import to_thread
from becket import (
    Agent,
    Image,
    Limits,
    Message,
    MessageAdded,
    ModelOptions,
    ProviderError,
    RunFinished,
    Runtime,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    tool,
)
from becket_openai import OpenAIProvider
from becket_openai._settings import Endpoint
from becket_wire import Client
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.anyio

SCRIPT = Path(__file__).with_name("openai_engine.py")
START_SECONDS = 60.0
QUESTION = "What is the capital of France?"
SHORT = ModelOptions(temperature=0, seed=1, max_tokens=12)
ENDLESS = ModelOptions(temperature=0, seed=1, max_tokens=2000, extra={"ignore_eos": True})
"""More than the engine writes in 15 s."""
IDLE_SECONDS = 5.0
"""In which it must have stopped, although so much was asked for; it takes some 20 ms."""


@dataclass
class Engine:
    """The server in its process.

    Attributes:
        url: Where it listens.
        process: Its process.
    """

    url: str
    process: subprocess.Popen[str]


@contextmanager
def started(log: Path) -> Iterator[Engine]:
    """An engine, which ends with the block."""
    with (
        log.open("wb") as written,
        subprocess.Popen(  # noqa: S603  our own interpreter and file
            [sys.executable, SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=written, text=True
        ) as process,
    ):
        patience = threading.Timer(START_SECONDS, process.kill)
        patience.start()
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        patience.cancel()
        assert url, f"the engine did not start: {log.read_text(errors='replace')}"
        try:
            yield Engine(url, process)
        finally:
            process.kill()  # it has nothing to put away


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with started(tmp_path_factory.mktemp("engine") / "log") as running:
        yield running


@pytest.fixture
async def provider(engine: Engine) -> AsyncIterator[OpenAIProvider]:
    async with calling(engine) as made:
        yield made


@asynccontextmanager
async def calling(engine: Engine, model: str = "smollm2") -> AsyncIterator[OpenAIProvider]:
    """A provider of the engine's model."""
    made = OpenAIProvider("llamacpp", base_url=f"{engine.url}/v1", endpoint=Endpoint(default_model=model))
    yield made
    await made.aclose()


def agent(provider: OpenAIProvider, options: ModelOptions = SHORT, **more: Any) -> Agent:
    """With no second try, behind which a failure could hide."""
    return Agent(provider, options=options, retry=None, runtime=Runtime(discover=False), **more)


@dataclass
class Judged:
    """What OpenAI's own client makes of an answer."""

    text: str
    deltas: int
    usage: tuple[int, int]
    stop: str | None


def judged(engine: Engine, messages: list[Any], **options: Any) -> Judged:
    """The same asked by OpenAI's own client; the one that blocks, since the other leaves a generator open on trio."""
    text, stop, usage = [], None, (0, 0)
    with openai.OpenAI(base_url=f"{engine.url}/v1", api_key="none") as client:
        stream = client.chat.completions.create(
            model="smollm2", messages=messages, stream=True, stream_options={"include_usage": True}, **options
        )
        for chunk in stream:
            for choice in chunk.choices:
                text.append(choice.delta.content or "")
                stop = choice.finish_reason or stop
            if chunk.usage is not None:
                usage = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
    return Judged("".join(text), len([piece for piece in text if piece]), usage, stop)


def same(engine: Engine, *messages: tuple[str, str], **options: Any) -> Judged:
    """The same messages, with the same options as `SHORT` and others."""
    written = [{"role": role, "content": content} for role, content in messages]
    return judged(engine, written, **{"temperature": 0, "seed": 1, "max_tokens": 12, **options})


class Slots:
    """What the engine says that it is doing.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._url = f"{engine.url}/slots"
        self._client = Client("engine")

    async def busy(self) -> int:
        """How many answers it is writing now."""
        slots = msgspec.json.decode(await self._client.get_json(self._url, headers={}))
        return sum(slot["is_processing"] for slot in slots)

    async def become(self, busy: int) -> None:
        """Wait until it is writing so many. The engine takes its time to answer, so that this does not spin."""
        while await self.busy() != busy:
            pass

    async def aclose(self) -> None:
        await self._client.aclose()


@pytest.fixture
async def slots(engine: Engine) -> AsyncIterator[Slots]:
    """Of an engine that has nothing to do at first, and at last."""
    made = Slots(engine)
    with anyio.fail_after(IDLE_SECONDS):
        await made.become(0)
    yield made
    await made.aclose()


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "stop", "theirs_is"), [(30, "end_turn", "stop"), (4, "max_tokens", "length")])
async def test_an_answer_is_the_one_that_openais_client_gets(
    engine: Engine, provider: OpenAIProvider, limit: int, stop: str, theirs_is: str
) -> None:
    """Each token of it in a delta of its own, and the same usage."""
    fresh: dict[str, Any] = {"cache_prompt": False}  # what is in the cache already is calculated in other batches
    mine = agent(provider, replace(SHORT, max_tokens=limit, extra=fresh))
    deltas = [event.text async for event in mine.stream_async(QUESTION) if isinstance(event, TextDelta)]
    result = await mine.invoke_async(QUESTION)
    theirs = await to_thread.run_sync(lambda: same(engine, ("user", QUESTION), max_tokens=limit, extra_body=fresh))
    assert "".join(deltas) == result.text == theirs.text
    assert len(deltas) == theirs.deltas > 1
    assert (result.usage.input_tokens, result.usage.output_tokens) == theirs.usage
    assert (result.stop_reason, theirs.stop) == (stop, theirs_is)


async def test_the_first_words_are_there_while_the_engine_writes_the_rest(
    provider: OpenAIProvider, slots: Slots
) -> None:
    started_with, busy = "", 0
    async for event in agent(provider, replace(ENDLESS, max_tokens=100)).stream_async(QUESTION):
        if isinstance(event, TextDelta) and not started_with:
            started_with, busy = event.text, await slots.busy()
    assert started_with
    assert busy == 1


async def test_a_system_prompt_and_a_stop_sequence_are_the_engines_as_well(
    engine: Engine, provider: OpenAIProvider
) -> None:
    told = agent(provider, replace(SHORT, max_tokens=40, stop=(",",)), system_prompt="You are a pirate.")
    result = await told.invoke_async(QUESTION)
    theirs = await to_thread.run_sync(
        lambda: same(engine, ("system", "You are a pirate."), ("user", QUESTION), max_tokens=40, stop=[","])
    )
    assert result.text == theirs.text != ""
    assert "," not in result.text
    assert (theirs.stop, result.stop_reason) == ("stop", "end_turn")  # this server does not tell one from the other


async def test_a_session_goes_on_where_it_was(engine: Engine, provider: OpenAIProvider) -> None:
    """The third question is asked with all that was said before."""
    session = agent(provider).session("talk")
    said = []
    for question in ("Hello.", "Who are you?", "And why?"):
        said += [("user", question), ("assistant", (await session.invoke_async(question)).text)]
    theirs = await to_thread.run_sync(lambda: same(engine, *said[:-1]))
    assert said[-1][1] == theirs.text
    assert [message.text for message in await session.messages()] == [text for _, text in said]
    # The engine has read the beginning already: the requests are the same, byte for byte, as far as they go.
    usage = (await session.invoke_async("Go on.")).usage
    assert usage.cached_tokens > usage.input_tokens / 2


async def test_one_run_after_the_other_is_answered(provider: OpenAIProvider) -> None:
    """Without a pause; this server closes the connection after each stream, and does not say so."""
    for _ in range(10):
        assert (await agent(provider, replace(SHORT, max_tokens=2)).invoke_async(QUESTION)).text


async def test_twenty_runs_at_once_get_an_answer_each(provider: OpenAIProvider, slots: Slots) -> None:
    """Each the one that it was asked for: a grammar of its own holds the model to it."""
    texts: dict[int, str] = {}

    async def run(number: int) -> None:
        mine = replace(SHORT, max_tokens=20, extra={"grammar": f'root ::= "This is run {number}."'})
        texts[number] = (await agent(provider, mine).invoke_async("Which run is this?")).text

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(run, number)
    assert texts == {number: f"This is run {number}." for number in range(20)}
    assert await slots.busy() == 0


# -- stopped -----------------------------------------------------------------------------------------------------------


async def test_the_engine_stops_when_the_reader_leaves(provider: OpenAIProvider, slots: Slots) -> None:
    async with agent(provider, ENDLESS).stream_async(QUESTION) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                assert await slots.busy() == 1
                break
    with anyio.fail_after(IDLE_SECONDS):
        await slots.become(0)


async def test_the_engine_stops_when_a_run_is_cancelled(provider: OpenAIProvider, slots: Slots) -> None:
    """What there was of the answer is kept, and the next run of the session goes on from it."""
    session = agent(provider, ENDLESS).session("talk")
    text, last = "", None
    async with session.stream_async(QUESTION) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                text += event.text
                events.cancel()
            last = event
    assert isinstance(last, RunFinished)
    assert last.result.stop_reason == "cancelled"
    with anyio.fail_after(IDLE_SECONDS):
        await slots.become(0)
    answer = (await session.messages())[-1]
    assert (answer.text, answer.interrupted) == (text, True)
    session = agent(provider).session("talk")
    assert (await session.invoke_async("Go on.")).stop_reason == "max_tokens"


async def test_the_engine_stops_when_the_task_is_cancelled(provider: OpenAIProvider, slots: Slots) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(agent(provider, ENDLESS).invoke_async, QUESTION)
        await slots.become(1)
        group.cancel_scope.cancel()
    with anyio.fail_after(IDLE_SECONDS):
        await slots.become(0)


async def test_twenty_runs_that_are_left_leave_the_engine_idle(provider: OpenAIProvider, slots: Slots) -> None:
    """Those that wait for a slot as well."""
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(agent(provider, ENDLESS).invoke_async, QUESTION)
        await slots.become(4)
        group.cancel_scope.cancel()
    with anyio.fail_after(IDLE_SECONDS):
        await slots.become(0)


async def test_a_run_ends_at_its_time_limit(provider: OpenAIProvider, slots: Slots) -> None:
    result = await agent(provider, ENDLESS, limits=Limits(seconds=0.5)).invoke_async(QUESTION)
    assert result.stop_reason == "limit_time"
    assert result.message is not None
    assert result.message.interrupted
    assert result.text
    with anyio.fail_after(IDLE_SECONDS):
        await slots.become(0)


# -- tools and structured output ---------------------------------------------------------------------------------------


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def sums(*pairs: tuple[int, int]) -> list[Message]:
    """A conversation in which sums were done by the tool. A model of this size calls it after such examples only."""
    said: list[Message] = []
    for a, b in pairs:
        call = ToolCall(f"sum-{a}-{b}", "add", {"a": a, "b": b})
        said += [
            Message("user", (Text(f"What is {a} plus {b}?"),)),
            Message("assistant", (call,)),
            Message("user", (ToolResult(call.id, "success", (Text(str(a + b)),)),)),
            Message("assistant", (Text(f"It is {a + b}."),)),
        ]
    return said


@pytest.mark.parametrize("choice", ["auto", "any"])
async def test_a_tool_is_called_and_its_result_read(provider: OpenAIProvider, choice: str) -> None:
    """The arguments come in pieces, held to the schema by the engine's grammar."""
    options = replace(SHORT, max_tokens=60, tool_choice=choice)
    calculating = agent(provider, options, tools=[add], limits=Limits(cycles=1 if choice == "any" else 2))
    pieces, calls, results, finished = 0, [], [], None
    async for event in calculating.stream_async("What is 20 plus 30?", history=sums((1, 6), (7, 4))):
        match event:
            case ToolCallDelta():
                pieces += 1
            case MessageAdded(message=Message() as message):
                calls += message.tool_calls
                results += message.tool_results
            case RunFinished(result=result):
                finished = result
    assert pieces > 1
    assert [(call.tool, call.arguments) for call in calls] == [("add", {"a": 20, "b": 30})]
    assert [(result.call_id, result.text) for result in results] == [(calls[0].id, "50")]
    assert finished is not None
    if choice == "auto":
        assert (finished.text, finished.stop_reason) == ("It is 50.", "end_turn")


async def test_a_tool_that_is_named_is_the_one_that_is_called(provider: OpenAIProvider) -> None:
    """The examples call another; this server would let the model choose where the name is sent to it."""
    options = replace(SHORT, max_tokens=60, tool_choice="multiply")
    named = agent(provider, options, tools=[add, multiply], limits=Limits(cycles=1))
    calls = [
        call
        async for event in named.stream_async("What is 20 plus 30?", history=sums((1, 6), (7, 4)))
        if isinstance(event, MessageAdded)
        for call in event.message.tool_calls
    ]
    assert [(call.tool, call.arguments.keys()) for call in calls] == [("multiply", {"a", "b"})]


class Town(BaseModel):
    """A town."""

    name: str
    inhabitants: int
    is_capital: bool


async def test_an_output_is_held_to_its_schema(provider: OpenAIProvider) -> None:
    """By the engine's grammar: a model of this size does not write JSON of itself."""
    result = await agent(provider, replace(SHORT, max_tokens=120)).invoke_async("Tell me about Paris.", output=Town)
    assert isinstance(result.output, Town)
    assert result.cycles == 1
    assert result.message is not None
    assert not result.message.tool_calls


# -- errors ------------------------------------------------------------------------------------------------------------


async def test_the_engines_model_is_listed(provider: OpenAIProvider) -> None:
    assert [model.name for model in await provider.list_models()] == ["smollm2"]


async def test_any_name_is_answered_by_the_one_model_that_is_loaded(engine: Engine) -> None:
    """As this server has it."""
    async with calling(engine, "another") as provider:
        assert (await agent(provider).invoke_async(QUESTION)).text


async def test_a_request_that_is_too_long_fails_in_the_engines_words(provider: OpenAIProvider) -> None:
    with pytest.raises(ProviderError) as caught:
        await agent(provider).invoke_async("long " * 3000)
    error = caught.value
    assert "exceeds the available context size (2048 tokens), try increasing it" in str(error)
    assert (error.status, error.code, error.retryable) == (400, "exceed_context_size_error", False)


async def test_an_image_for_a_model_that_reads_text_fails_in_the_engines_words(provider: OpenAIProvider) -> None:
    """At once: the status is that of a failure that passes, 500, and this one does not."""
    image = Message("user", (Image("image/png", "aGk="), Text("What is this?")))
    with pytest.raises(ProviderError, match="image input is not supported") as caught:
        await agent(provider).invoke_async(image)
    assert caught.value.status == 500
    assert not caught.value.retryable


async def test_an_engine_that_is_killed_leaves_what_it_wrote(tmp_path: Path) -> None:
    """In the history, as interrupted; the error says that another try may help, and none is made by itself."""
    with started(tmp_path / "log") as engine:
        async with calling(engine) as provider:
            session = agent(provider, ENDLESS).session("talk")
            text = ""
            with pytest.raises(ProviderError) as caught:
                async for event in session.stream_async(QUESTION):
                    if isinstance(event, TextDelta):
                        text += event.text
                        engine.process.send_signal(signal.SIGKILL)
            assert caught.value.retryable
            assert caught.value.provider == "llamacpp"
            answer = (await session.messages())[-1]
            assert (answer.text, answer.interrupted) == (text, True)
            with pytest.raises(ProviderError, match=re.escape(engine.url.removeprefix("http://"))) as caught:
                await agent(provider).invoke_async(QUESTION)
            assert caught.value.retryable
