"""OpenAI's own clients, and becket's, talk to agents behind a server that listens."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import openai
import pytest
from anyio import to_thread
from becket import Agent, Backoff, Image, Message, ModelOptions, ProviderError, Runtime, Text, ToolResult, tool
from becket.testing import Scenarios, ScriptedProvider, calls, text
from becket.testing.scenarios import FLOOD
from becket_openai import Endpoint, OpenAIProvider
from becket_openai_server import OpenAIServer, Settings
from becket_serve import ServeLimits, app
from becket_serve.testing import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from becket import Event, RunInfo

pytestmark = pytest.mark.anyio

ENDING = ["text", "tools", "progress", "reasoning", "asks", "nested", "malformed", "unicode"]
PATIENCE = 10.0
PNG = "iVBORw0KGgo="


def expected(name: str) -> str:
    """The client cannot be asked, so what would be asked about is denied."""
    return "The answer: denied" if name == "asks" else Scenarios.text(name)


class Watch:
    """A sink that tells another thread how far the run is that began last."""

    name = "watch"
    required = False

    def __init__(self) -> None:
        self.holding = threading.Event()
        self.over = threading.Event()

    def open(self, run: RunInfo, /) -> Watch:
        self.holding.clear()
        self.over.clear()
        return self

    def with_argument(self, argument: str, /) -> Watch:
        raise NotImplementedError

    def emit(self, event: Event, /) -> None:
        if event.type in ("tool_started", "text_delta"):
            self.holding.set()

    def close(self) -> None:
        self.over.set()


@dataclass
class Served:
    """A server with two agents: `scenarios`, and `echo it`, whose model keeps what it was asked."""

    url: str = ""
    scenarios: Scenarios = field(default_factory=Scenarios)
    echo: ScriptedProvider = field(default_factory=lambda: ScriptedProvider(lambda request: text("heard")))
    watch: Watch = field(default_factory=Watch)

    def agents(self, settings: Settings) -> list[Agent]:
        runtime = Runtime(plugins=[OpenAIServer(settings)], discover=False)
        return [
            self.scenarios.agent.replace(runtime=runtime, sinks=[self.watch]),
            Agent(
                self.echo,
                name="echo it",
                system_prompt="You listen.",
                options=ModelOptions(max_tokens=500, extra={"top_k": 5}),
                retry=None,
                runtime=runtime,
            ),
        ]

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="unused", max_retries=0)

    def asynchronous(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="unused", max_retries=0)


def made(settings: Settings) -> Iterator[Served]:
    served = Served()
    with serving(app(served.agents(settings))) as served.url:
        yield served


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    yield from made(Settings())


@pytest.fixture(scope="module")
def open_served() -> Iterator[Served]:
    """One that shows all there is."""
    yield from made(Settings(reasoning=True, tools="events"))


@pytest.fixture(scope="module")
def seen_by_node(served: Served, judge: Callable[..., Any]) -> Any:
    """What the client for node saw, in one process."""
    return judge("openai.mjs", served.url)


def asked(prompt: str, **members: Any) -> dict[str, Any]:
    return {"model": "scenarios", "messages": [{"role": "user", "content": prompt}], **members}


class TestSyncClient:
    @pytest.mark.parametrize("name", ENDING)
    def test_a_stream(self, served: Served, name: str) -> None:
        with served.client() as client:
            chunks = list(
                client.chat.completions.create(**asked(name), stream=True, stream_options={"include_usage": True})
            )
        *shown, last = chunks
        assert "".join(chunk.choices[0].delta.content or "" for chunk in shown) == expected(name)
        assert shown[-1].choices[0].finish_reason == "stop"
        assert last.usage is not None
        assert last.usage.total_tokens > 10

    @pytest.mark.parametrize("name", ENDING)
    def test_an_answer_in_one_piece(self, served: Served, name: str) -> None:
        with served.client() as client:
            found = client.chat.completions.create(**asked(name))
        assert found.choices[0].message.content == expected(name)
        assert found.choices[0].finish_reason == "stop"
        assert found.model == "scenarios"

    @pytest.mark.parametrize("stream", [True, False])
    def test_an_error_before_the_first_text_is_a_status(self, served: Served, stream: bool) -> None:
        with (
            served.client() as client,
            pytest.raises(openai.APIStatusError, match="the service is overloaded") as caught,
        ):
            client.chat.completions.create(**asked("fails first"), stream=stream)
        assert (caught.value.status_code, caught.value.code, caught.value.type) == (502, "overloaded", "server_error")

    def test_an_error_midway_is_raised_after_the_text(self, served: Served) -> None:
        shown = ""
        with served.client() as client, pytest.raises(openai.APIError, match="the line was cut") as caught:
            for chunk in client.chat.completions.create(**asked("fails midway"), stream=True):
                shown += chunk.choices[0].delta.content or ""
        assert shown == "so far "
        assert not isinstance(caught.value, openai.APIStatusError)
        assert caught.value.code == "provider_error"

    def test_closing_the_stream_ends_the_run(self, served: Served) -> None:
        before = served.scenarios.cleaned
        with served.client() as client, client.chat.completions.create(**asked("held"), stream=True) as stream:
            assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "so far "]
        assert served.watch.over.wait(PATIENCE)
        assert served.scenarios.cleaned == before + 1
        assert served.scenarios.waiting == 0

    def test_a_comment_begins_an_answer_that_takes_its_time(self) -> None:
        """It opens the stream while a tool runs, and the client passes it over."""
        served = Served()
        application = app(served.agents(Settings()), limits=ServeLimits(heartbeat=0.05))
        with serving(application) as served.url, served.client() as client:
            with client.chat.completions.create(**asked("idle tool"), stream=True) as stream:
                assert stream.response.status_code == 200
                assert served.watch.holding.wait(PATIENCE)
            assert served.watch.over.wait(PATIENCE)
        assert (served.scenarios.cleaned, served.scenarios.waiting) == (1, 0)

    def test_a_flood(self, served: Served) -> None:
        """Read past the client's typed objects, each of which takes it 200 microseconds."""
        with (
            served.client() as client,
            client.chat.completions.with_streaming_response.create(**asked("flood"), stream=True) as response,
        ):
            lines = sum(line.startswith('data: {"id"') and '"content":"x"' in line for line in response.iter_lines())
        assert lines == FLOOD

    def test_the_clients_accumulator(self, served: Served) -> None:
        with served.client() as client, client.chat.completions.stream(**asked("tools")) as stream:
            found = stream.get_final_completion()
        assert found.choices[0].message.content == "Both are done."
        assert found.choices[0].finish_reason == "stop"

    def test_the_models(self, served: Served) -> None:
        with served.client() as client:
            assert [model.id for model in client.models.list()] == ["scenarios", "echo it"]
            assert client.models.retrieve("echo it").owned_by == "becket"
            with pytest.raises(openai.NotFoundError) as caught:
                client.models.retrieve("nobody")
            assert caught.value.code == "model_not_found"

    def test_a_model_that_is_not_there(self, served: Served) -> None:
        with served.client() as client, pytest.raises(openai.NotFoundError, match="nobody") as caught:
            client.chat.completions.create(**{**asked("text"), "model": "nobody"})
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")

    def test_what_is_not_supported(self, served: Served) -> None:
        with served.client() as client, pytest.raises(openai.BadRequestError, match="tools of the client") as caught:
            client.chat.completions.create(
                **asked("text"), tools=[{"type": "function", "function": {"name": "x", "parameters": {}}}]
            )
        assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "tools")

    def test_what_is_no_request(self, served: Served) -> None:
        with served.client() as client, pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model="scenarios", messages=[{"role": "nobody"}])  # type: ignore[typeddict-item]
        assert (caught.value.status_code, caught.value.param) == (422, "messages")
        assert caught.value.type == "invalid_request_error"
        assert "role" in caught.value.message

    def test_a_token_is_the_clients_key(self) -> None:
        token = "correct-horse-battery"  # noqa: S105  of this test alone
        agents = Served().agents(Settings())
        with serving(app(agents, tokens=[token])) as url:
            with openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as client:
                with pytest.raises(openai.AuthenticationError) as caught:
                    client.chat.completions.create(**asked("text"))
                assert caught.value.code == "invalid_api_key"
                with pytest.raises(openai.AuthenticationError):
                    client.models.list()
            with openai.OpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0) as client:
                assert client.chat.completions.create(**asked("text")).choices[0].message.content == "Hello, world."

    def test_what_was_said_comes_to_the_model(self, served: Served) -> None:
        """Instructions after the agent's own, history, the image; how the model is to answer, laid over the agent's."""
        with served.client() as client:
            client.chat.completions.create(
                model="echo it",
                messages=[
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "one"},
                    {"role": "assistant", "content": "two"},
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "three"},
                            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                        ],
                    },
                ],
                temperature=0.5,
                stop=["end"],
                seed=3,
                user="me",
                metadata={"a": "b"},
                store=False,
            )
        request = served.echo.requests[-1]
        assert request.system == "You listen.\n\nBe brief."
        assert list(request.messages)[:3] == [
            Message("user", (Text("one"),)),
            Message("assistant", (Text("two"),)),
            Message("user", (Text("three"), Image("image/png", PNG))),
        ]
        assert request.options == ModelOptions(
            temperature=0.5, max_tokens=500, stop=("end",), seed=3, extra={"top_k": 5}
        )

    def test_a_conversation_with_calls_goes_on(self, served: Served) -> None:
        call = {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"one": 1}'}}
        conversation: list[Any] = [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "a", "content": "two"},
        ]
        with served.client() as client:
            answer = client.chat.completions.create(model="echo it", messages=conversation)
        assert answer.choices[0].message.content == "heard"
        last = served.echo.requests[-1].messages[2]
        assert last.tool_results == (ToolResult("a", "success", (Text("two"),)),)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # its default transport is asyncio's
class TestAsyncClient:
    @pytest.mark.parametrize("name", ENDING)
    async def test_a_stream(self, served: Served, name: str) -> None:
        async with served.asynchronous() as client:
            stream = await client.chat.completions.create(**asked(name), stream=True)
            assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == expected(name)

    async def test_many_at_once(self, served: Served) -> None:
        found: dict[str, str | None] = {}
        async with served.asynchronous() as client, anyio.create_task_group() as tasks:

            async def ask(name: str) -> None:
                answer = await client.chat.completions.create(**asked(name))
                found[name] = answer.choices[0].message.content

            for name in ENDING:
                tasks.start_soon(ask, name)
        assert found == {name: expected(name) for name in ENDING}

    @pytest.mark.parametrize("stream", [True, False])
    async def test_an_error_before_the_first_text_is_a_status(self, served: Served, stream: bool) -> None:
        async with served.asynchronous() as client:
            with pytest.raises(openai.InternalServerError, match="the service is overloaded"):
                await client.chat.completions.create(**asked("fails first"), stream=stream)

    async def test_an_error_midway_is_raised(self, served: Served) -> None:
        async with served.asynchronous() as client:
            stream = await client.chat.completions.create(**asked("fails midway"), stream=True)
            with pytest.raises(openai.APIError, match="the line was cut"):
                [chunk async for chunk in stream]

    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("name", ["held", "idle tool"])
    async def test_a_client_that_gives_up_ends_the_run(self, served: Served, name: str, stream: bool) -> None:
        """While a tool runs idle too, when nothing was answered yet, not even a status."""
        before = served.scenarios.cleaned
        served.watch.holding.clear()

        async def ask() -> None:
            answer: Any = await client.chat.completions.create(**asked(name), stream=stream)
            async for _ in answer:
                pass

        async with served.asynchronous() as client, anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            assert await to_thread.run_sync(served.watch.holding.wait, PATIENCE)
            tasks.cancel_scope.cancel()
        assert await to_thread.run_sync(served.watch.over.wait, PATIENCE)
        assert served.scenarios.cleaned == before + 1
        assert served.scenarios.waiting == 0


class TestNodeClient:
    @pytest.mark.parametrize("name", ENDING)
    def test_a_stream(self, seen_by_node: Any, name: str) -> None:
        seen = seen_by_node["streamed"][name]
        assert seen["text"] == expected(name)
        assert (seen["roles"], seen["finish"], seen["calls"], seen["reasoning"]) == (["assistant"], ["stop"], 0, "")
        assert seen["usage"]["total_tokens"] > 10
        assert "error" not in seen

    @pytest.mark.parametrize("name", ENDING)
    def test_an_answer_in_one_piece(self, seen_by_node: Any, name: str) -> None:
        seen = seen_by_node["whole"][name]
        assert (seen["text"], seen["finish"], seen["object"]) == (expected(name), "stop", "chat.completion")

    @pytest.mark.parametrize("name", ENDING)
    def test_its_accumulator(self, seen_by_node: Any, name: str) -> None:
        assert seen_by_node["accumulated"][name] == {"text": expected(name), "finish": "stop"}

    def test_an_error_before_the_first_text_is_a_status(self, seen_by_node: Any) -> None:
        for form in ("streamed", "whole", "accumulated"):
            error = seen_by_node[form]["fails first"]["error"]
            assert (error["status"], error["api"], error["code"]) == (502, True, "overloaded")
            assert "the service is overloaded" in error["message"]

    def test_an_error_midway_is_raised_after_the_text(self, seen_by_node: Any) -> None:
        seen = seen_by_node["streamed"]["fails midway"]
        assert (seen["text"], seen["finish"]) == ("so far ", [])
        assert (seen["error"]["name"], seen["error"]["message"]) == ("APIError", "the line was cut")
        assert seen_by_node["accumulated"]["fails midway"]["error"]["message"] == "the line was cut"
        assert seen_by_node["whole"]["fails midway"]["error"]["status"] == 502

    def test_a_flood(self, seen_by_node: Any) -> None:
        seen = seen_by_node["flood"]
        assert (seen["text"], seen["others"], seen["finish"]) == (FLOOD, "", ["stop"])

    def test_leaving_the_loop_ends_the_run(self, seen_by_node: Any, served: Served) -> None:
        assert seen_by_node["held"] == "so far "
        assert served.watch.over.wait(PATIENCE)
        assert served.scenarios.waiting == 0

    def test_the_models(self, seen_by_node: Any) -> None:
        assert [model["id"] for model in seen_by_node["models"]] == ["scenarios", "echo it"]
        assert seen_by_node["model"]["id"] == "echo it"
        assert seen_by_node["noModel"]["status"] == 404

    def test_what_is_refused(self, seen_by_node: Any) -> None:
        unknown, tools = seen_by_node["unknown"], seen_by_node["tools"]
        assert (unknown["status"], unknown["code"], unknown["param"]) == (404, "model_not_found", "model")
        assert (tools["status"], tools["param"]) == (400, "tools")
        assert "tools of the client" in tools["message"]


class TestWhatIsShown:
    def test_the_clients_put_up_with_events(self, open_served: Served) -> None:
        with open_served.client() as client:
            for name in ENDING:
                with client.chat.completions.stream(**asked(name)) as stream:
                    assert stream.get_final_completion().choices[0].message.content == expected(name)
                assert client.chat.completions.create(**asked(name)).choices[0].message.content == expected(name)

    def test_so_does_that_for_node(self, open_served: Served, judge: Callable[..., Any]) -> None:
        seen = judge("openai.mjs", open_served.url, "brief")
        for name in ENDING:
            assert seen["streamed"][name]["text"] == seen["whole"][name]["text"] == expected(name)
            assert seen["accumulated"][name] == {"text": expected(name), "finish": "stop"}
        assert seen["streamed"]["reasoning"]["reasoning"] == "Six times seven."


class TestServerOnTrio:
    """Nothing of the wire is asyncio's."""

    def test_the_answers_and_the_errors_are_the_same(self) -> None:
        served = Served()
        with serving(app(served.agents(Settings())), backend="trio") as served.url, served.client() as client:
            for name in ENDING:
                answer = client.chat.completions.create(**asked(name))
                assert answer.choices[0].message.content == expected(name)
                with client.chat.completions.stream(**asked(name)) as stream:
                    assert stream.get_final_completion().choices[0].message.content == expected(name)
            with pytest.raises(openai.InternalServerError, match="is overloaded"):
                client.chat.completions.create(**asked("fails first"), stream=True)
            with pytest.raises(openai.APIError, match="the line was cut"):
                list(client.chat.completions.create(**asked("fails midway"), stream=True))
            with client.chat.completions.create(**asked("held"), stream=True) as stream_held:
                next(stream_held)
            assert served.watch.over.wait(PATIENCE)
        assert (served.scenarios.cleaned, served.scenarios.waiting) == (1, 0)


class TestBecketAsClient:
    """An agent whose model is another becket."""

    @staticmethod
    def agent(served: Served, **options: Any) -> Agent:
        endpoint = Endpoint(base_url=f"{served.url}/v1", api_key="unused", default_model="scenarios")
        return Agent(OpenAIProvider("other", endpoint=endpoint), retry=None, runtime=Runtime(discover=False), **options)

    @pytest.mark.parametrize("name", ENDING)
    async def test_the_answer_is_the_same(self, served: Served, name: str) -> None:
        agent = self.agent(served)
        async with agent.runtime:
            found = await agent.invoke_async(name)
        assert (found.text, found.stop_reason) == (expected(name), "end_turn")
        assert found.usage.total_tokens > 10

    async def test_reasoning_is_reasoning(self, open_served: Served) -> None:
        agent = self.agent(open_served)
        async with agent.runtime, agent.stream_async("reasoning") as stream:
            said = [event.text async for event in stream if event.type == "reasoning_delta"]
        assert said == ["Six times ", "seven."]

    @pytest.mark.parametrize(("name", "status"), [("fails first", 502), ("fails midway", None)])
    async def test_its_errors_are_those_of_a_service(self, served: Served, name: str, status: int | None) -> None:
        agent = self.agent(served)
        async with agent.runtime:
            with pytest.raises(ProviderError, match=r"overloaded|the line was cut") as caught:
                await agent.invoke_async(name)
        assert caught.value.status == status

    async def test_its_own_tools_are_refused_in_words(self, served: Served) -> None:
        @tool
        async def mine() -> None:
            """Do it."""

        agent = self.agent(served, tools=[mine])
        async with agent.runtime:
            with pytest.raises(ProviderError, match="tools of the client are not supported"):
                await agent.invoke_async("text")

    async def test_it_does_not_ask_again_once_a_tool_was_called(self) -> None:
        """Though the error may pass, and a becket asks again by itself as a rule."""
        called = []

        @tool(effect="none")
        async def count() -> None:
            """Count."""
            called.append(1)

        busy = ScriptedProvider(calls(("count", {})), [ProviderError("busy", code="overloaded", retryable=True)])
        runtime = Runtime(plugins=[OpenAIServer()], discover=False)
        inner = Agent(busy, [count], name="scenarios", retry=None, runtime=runtime)
        with serving(app(inner)) as url:
            agent = self.agent(Served(url=url)).replace(retry=Backoff())
            async with agent.runtime:
                with pytest.raises(ProviderError, match="busy") as caught:
                    await agent.invoke_async("go")
        assert (caught.value.status, caught.value.retryable, called) == (503, False, [1])
