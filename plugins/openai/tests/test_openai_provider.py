"""The provider over HTTP, and in a run: what a host and a user see."""

from __future__ import annotations

import subprocess
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import becket_openai
import pytest
from becket import (
    Agent,
    ConfigError,
    Message,
    ModelInfo,
    ModelRequest,
    ProviderError,
    Runtime,
    Text,
    TextDelta,
    hookimpl,
    load_config,
    tool,
)
from becket.providers import ListingProvider, SchemaProvider
from becket.testing import LoopbackServer, Played
from becket_openai import OpenAIProvider
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from becket import ModelEvent

pytestmark = pytest.mark.anyio


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def said(text: str) -> Played:
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}
    return Played.sse(chunk(content=text), chunk("stop"), usage, "[DONE]")


def calls(name: str, arguments: str) -> Played:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return Played.sse(chunk(tool_calls=[call]), chunk("tool_calls"), "[DONE]")


HELLO = said("Hello")


def request(model: str = "m") -> ModelRequest:
    return ModelRequest(model, [Message("user", (Text("Hi"),))])


async def asked(provider: OpenAIProvider) -> list[ModelEvent]:
    stream: AsyncIterator[ModelEvent] = provider.stream(request())
    return [event async for event in stream]


async def refused(status: int, body: Any, name: str = "vllm", **headers: str) -> ProviderError:
    """The error that an error document comes to."""
    async with LoopbackServer(Played.json(body, status=status, headers=headers)) as server:
        provider = OpenAIProvider(name, base_url=server.url, api_key="sk-0123456789")
        with pytest.raises(ProviderError) as caught:
            await asked(provider)
        await provider.aclose()
    return caught.value


def test_it_is_all_that_a_provider_can_be() -> None:
    provider = OpenAIProvider()
    assert isinstance(provider, SchemaProvider)
    assert isinstance(provider, ListingProvider)


async def test_an_error_document_is_told_in_the_services_own_words() -> None:
    """With its code, its status, the id of the request and how long to wait."""
    error = await refused(
        429,
        {"error": {"message": "Rate limit reached for gpt-5", "type": "requests", "code": "rate_limit_exceeded"}},
        **{"retry-after": "7", "x-request-id": "req_1"},
    )
    assert "vllm answered 429 (rate_limit_exceeded): Rate limit reached for gpt-5 (request req_1)" in str(error)
    assert (error.status, error.code, error.request_id) == (429, "rate_limit_exceeded", "req_1")
    assert (error.retryable, error.retry_after) == (True, 7.0)


async def test_a_quota_that_is_used_up_is_not_waited_for() -> None:
    """It has the status of a rate limit."""
    error = await refused(429, {"error": {"message": "No money", "code": "insufficient_quota"}})
    assert not error.retryable


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"object": "error", "message": "too long", "type": "BadRequestError", "code": 400}, "too long"),
        ({"detail": [{"msg": "extra fields"}]}, '[{"msg": "extra fields"}]'),
        ({"message": "Unprocessable", "request_id": "x"}, "Unprocessable"),
        ([{"error": {"code": 400, "message": "no key", "status": "INVALID_ARGUMENT"}}], "no key"),
        ({"error": "model 'x' not found"}, "model 'x' not found"),
        ({"error": {"code": 400, "message": "No", "metadata": {"raw": "it is down"}}}, "No: it is down"),
    ],
)
async def test_other_servers_have_other_documents(body: Any, words: str) -> None:
    error = await refused(400, body)
    assert words in str(error)
    assert not error.retryable


async def test_a_busy_server_that_calls_every_error_a_bad_request_is_asked_again() -> None:
    """The status says more than such a word."""
    error = await refused(503, {"error": {"message": "Loading model", "type": "invalid_request_error"}})
    assert error.retryable


async def test_an_error_with_the_status_of_success_is_one() -> None:
    """It says itself whether it passes."""
    error = await refused(200, {"error": {"message": "No capacity", "code": 503}})
    assert "vllm answered 503 (503): No capacity" in str(error)
    assert (error.status, error.retryable) == (503, True)


@pytest.mark.parametrize("document", ["null", '"no"', "{}", "[]", '{"error": null}', "<oops", "[" * 100_000])
async def test_what_is_no_error_document_is_quoted(document: str) -> None:
    """The status decides."""
    reply = Played([document.encode()], 503, {"content-type": "application/json"}, "length")
    async with LoopbackServer(reply) as server:
        provider = OpenAIProvider("vllm", base_url=server.url)
        with pytest.raises(ProviderError, match="vllm answered 503") as caught:
            await asked(provider)
        await provider.aclose()
    assert caught.value.retryable


@pytest.mark.parametrize(("name", "variable"), [("openai", "OPENAI_API_KEY"), ("my-box", "MY_BOX_API_KEY")])
async def test_a_wrong_key_is_told_with_where_it_is_set_and_never_shown(name: str, variable: str) -> None:
    """Also where the service quotes it."""
    error = await refused(401, {"error": {"message": "Incorrect key: sk-0123456789", "code": "invalid_api_key"}}, name)
    assert f'api_key = {{ env = "{variable}" }}' in str(error)
    assert "0123456789" not in str(error)
    assert not error.retryable


@pytest.mark.parametrize(("body", "words"), [(b"", "it gives no reason"), (b"Bad  key\n", "Bad key")])
async def test_a_key_that_is_refused_without_a_document_is_told_with_where_it_is_set(body: bytes, words: str) -> None:
    """As by a proxy before the service."""
    async with LoopbackServer(Played([body], 401, {"content-type": "text/plain"}, "length")) as server:
        provider = OpenAIProvider("vllm", base_url=server.url)
        with pytest.raises(ProviderError, match=rf"401 \(Unauthorized\): {words}; set .*VLLM_API_KEY"):
            await asked(provider)
        await provider.aclose()


@pytest.mark.parametrize(
    "words",
    [
        "registry.ollama.ai/library/gemma3:latest does not support tools",
        "No endpoints found that support tool use. To learn more about provider routing, visit: https://x.test",
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        "tools param requires --jinja flag",
    ],
)
async def test_a_model_without_tools_is_told_in_the_vendors_words_and_with_what_to_do(words: str) -> None:
    error = await refused(400, {"error": {"message": words}})
    assert words in str(error)
    assert "offer it none (Agent(tools=[]), becket run -t none)" in str(error)


async def test_a_connection_serves_one_call_after_the_other() -> None:
    async with LoopbackServer(HELLO) as server:
        provider = OpenAIProvider("vllm", base_url=server.url)
        for _ in range(3):
            await asked(provider)
        assert server.connections == 1
        await provider.aclose()


async def test_a_stream_that_is_left_open_after_its_end_is_not_waited_for() -> None:
    """Some servers keep it so."""
    async with LoopbackServer(
        Played.sse(chunk(content="Hello"), chunk("stop"), "[DONE]", anyio.sleep_forever)
    ) as server:
        provider = OpenAIProvider("vllm", base_url=server.url)
        with anyio.fail_after(5):
            assert (await asked(provider))[0] == TextDelta("Hello", 1)
        await server.requests[0].gone()
        await provider.aclose()


async def test_closing_the_stream_lets_go_of_the_connection() -> None:
    async with LoopbackServer(Played.sse(chunk(content="Hello"), anyio.sleep_forever)) as server:
        provider = OpenAIProvider("vllm", base_url=server.url)
        stream: Any = provider.stream(request())
        async with aclosing(stream):
            await anext(stream)
        await server.requests[0].gone()
        await provider.aclose()


async def test_the_models_of_a_service_are_listed_by_name() -> None:
    models = [{"id": "b", "owned_by": "me", "x": 1}, {"id": "a/1", "name": "One"}, {"id": "c"}]
    async with LoopbackServer(Played.json({"object": "list", "data": models})) as server:
        provider = OpenAIProvider("openrouter", base_url=f"{server.url}/api/v1", api_key="k")
        assert await provider.list_models() == [ModelInfo("a/1", "One"), ModelInfo("b", "me"), ModelInfo("c")]
        await provider.aclose()
    (asked_for,) = server.requests
    assert (asked_for.method, asked_for.path) == ("GET", "/api/v1/models")
    assert asked_for.headers["authorization"] == "Bearer k"


async def test_a_list_of_models_that_is_none_is_told() -> None:
    async with LoopbackServer(Played.json({"models": []})) as server:
        provider = OpenAIProvider("vllm", base_url=server.url)
        with pytest.raises(ProviderError, match="vllm answered with no list of models"):
            await provider.list_models()
        await provider.aclose()


def test_what_is_known_without_asking_is_the_default_model() -> None:
    assert OpenAIProvider().models() == []
    own = OpenAIProvider("box", endpoint=becket_openai.Endpoint(default_model="m"))
    assert (own.default_model, own.models()) == ("m", [ModelInfo("m")])


@tool(effect="none")
def upper(text: str) -> str:
    """Make a text upper case."""
    return text.upper()


async def test_a_run_calls_tools_and_answers() -> None:
    """Two cycles, and what the service is sent in the second."""
    async with LoopbackServer(calls("upper", '{"text": "hi"}'), said("It is HI.")) as server:
        provider = OpenAIProvider("ollama", base_url=f"{server.url}/v1")
        async with Runtime(plugins=[Plugin(provider)], discover=False) as runtime:
            result = await Agent("ollama:qwen3", [upper], runtime=runtime).invoke_async("Shout hi")
    assert result.text == "It is HI."
    assert result.usage.input_tokens == 9
    assert [message["role"] for message in server.requests[1].json["messages"]] == ["user", "assistant", "tool"]
    assert server.requests[1].json["messages"][2] == {"role": "tool", "tool_call_id": "call_1", "content": "HI"}


class City(BaseModel):
    name: str


async def test_structured_output_is_asked_for_by_a_schema() -> None:
    async with LoopbackServer(said('{"name": "Oslo"}')) as server:
        provider = OpenAIProvider("ollama", base_url=f"{server.url}/v1")
        async with Runtime(plugins=[Plugin(provider)], discover=False) as runtime:
            result = await Agent("ollama:qwen3", output=City, runtime=runtime).invoke_async("Where?")
    assert result.output == City(name="Oslo")
    assert server.requests[0].json["response_format"]["json_schema"]["schema"]["required"] == ["name"]


async def test_a_retryable_error_before_the_first_delta_is_tried_again() -> None:
    busy = Played.json({"error": {"message": "busy", "code": "overloaded"}}, status=503, headers={"retry-after": "0"})
    async with LoopbackServer(busy, HELLO) as server:
        provider = OpenAIProvider("ollama", base_url=f"{server.url}/v1")
        async with Runtime(plugins=[Plugin(provider)], discover=False) as runtime:
            result = await Agent("ollama:qwen3", runtime=runtime).invoke_async("Hi")
    assert result.text == "Hello"
    assert len(server.requests) == 2


class Plugin:
    """A plugin with one provider."""

    def __init__(self, provider: OpenAIProvider) -> None:
        self._provider = provider

    @hookimpl
    def register_providers(self) -> list[OpenAIProvider]:
        return [self._provider]


async def test_the_configuration_names_endpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A known one at another place, and one of the user's own with a key from the environment."""
    monkeypatch.setenv("WORK_KEY", "sk-work")
    async with LoopbackServer(HELLO) as server:
        file = tmp_path / "becket.toml"
        file.write_text(
            f"""
            [plugins.openai.endpoints.ollama]
            base_url = "{server.url}/a"
            [plugins.openai.endpoints.work]
            base_url = "{server.url}/b"
            api_key = {{ env = "WORK_KEY" }}
            headers = {{ X-Team = "blue" }}
            default_model = "large"
            """
        )
        config = load_config(file)
        async with Runtime(allow=["openai"], config=config) as runtime:
            for model in ("ollama:qwen3", "work"):
                await Agent(model, runtime=runtime).invoke_async("Hi")
    ollama, work = server.requests
    assert (ollama.path, ollama.json["model"]) == ("/a/chat/completions", "qwen3")
    assert "authorization" not in ollama.headers
    assert (work.path, work.json["model"]) == ("/b/chat/completions", "large")
    assert work.headers["authorization"] == "Bearer sk-work"
    assert work.headers["x-team"] == "blue"


@pytest.mark.parametrize(
    ("table", "said_"),
    [
        ('[plugins.openai.endpoints.x]\nbase_url = "x"', "base_url is 'x'; it is a URL"),
        ('[plugins.openai.endpoints.x]\nbase_ur = "x"', "plugins.openai.endpoints.x.base_ur"),
        ('[plugins.openai]\napi = "grpc"', "plugins.openai.api"),
    ],
)
def test_a_wrong_configuration_is_told_with_its_place(table: str, said_: str, tmp_path: Path) -> None:
    file = tmp_path / "becket.toml"
    file.write_text(table)
    with pytest.raises(ConfigError) as caught:
        Runtime(allow=["openai"], config=load_config(file))
    assert said_ in str(caught.value)
    assert str(file) in str(caught.value)


async def test_a_provider_without_a_model_is_told_at_the_call() -> None:
    """Where its object is given to an agent, and nothing names one."""
    with pytest.raises(ConfigError, match=r'was given no model; make it .*or name "vllm:<model>"'):
        await Agent(OpenAIProvider("vllm")).invoke_async("Hi")


def test_importing_it_and_making_providers_is_cheap() -> None:
    """Neither the wire nor pydantic nor a decoder is imported before a model is called."""
    code = (
        "import sys, becket_openai; becket_openai.register_providers(becket_openai.Settings()); "
        "print(*sorted(sys.modules.keys() & {'aiohttp', 'httpcore2', 'msgspec', 'pydantic', 'ssl'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603  ourselves
    assert done.stdout.strip() == ""


async def test_what_the_environment_says_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is changed is used by the next one, on the same connection."""
    async with LoopbackServer(HELLO) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        provider = OpenAIProvider()
        for key in ("old", "new"):
            monkeypatch.setenv("OPENAI_API_KEY", key)
            await asked(provider)
        assert [received.headers["authorization"] for received in server.requests] == ["Bearer old", "Bearer new"]
        assert server.connections == 1
        await provider.aclose()


async def test_a_model_that_is_not_there_is_told_with_how_to_list_those_that_are() -> None:
    error = await refused(404, {"error": {"message": "The model `m` does not exist.", "code": "model_not_found"}})
    assert str(error).endswith("does not exist. 'becket models vllm' lists the models that there are")
