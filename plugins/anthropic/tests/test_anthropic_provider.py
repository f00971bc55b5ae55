"""The provider as a host uses it: keys, addresses, headers, errors, the list of models, runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
import anyio
import pytest
from becket import (
    Agent,
    ConfigError,
    ListingProvider,
    Message,
    ModelInfo,
    ModelOptions,
    ModelRequest,
    Output,
    Provider,
    ProviderError,
    Runtime,
    SchemaProvider,
    Text,
    ToolFinished,
    load_config,
    tool,
)
from becket.testing import LoopbackServer, Played
from becket_anthropic import AnthropicProvider, Endpoint, Settings
from pydantic import BaseModel, SecretStr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from becket import ModelEvent

pytestmark = pytest.mark.anyio

SONNET = "claude-sonnet-5-5"
KEY = "sk-ant-secret-0123456789"


def sse(*events: dict[str, Any], **more: Any) -> Played:
    return Played.sse(*events, **more)


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    begun = {"type": "content_block_start", "index": index, "content_block": start}
    pieces = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return [begun, *pieces, {"type": "content_block_stop", "index": index}]


def answered(*blocks: list[dict[str, Any]], stop: str = "end_turn") -> Played:
    start = {"id": "msg_1", "usage": {"input_tokens": 10, "output_tokens": 1}}
    end = {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 5}}
    events = [event for one in blocks for event in one]
    return sse({"type": "message_start", "message": start}, *events, end, {"type": "message_stop"})


def text(value: str, index: int = 0) -> list[dict[str, Any]]:
    return block(index, {"type": "text", "text": ""}, {"type": "text_delta", "text": value})


def refused(kind: str, message: str, status: int, **headers: str) -> Played:
    body: Any = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_7"}
    return Played.json(body, status=status, headers={"request-id": "req_7", **headers})


HELLO = answered(text("Hello!"))


def question(model: str = "claude-sonnet-5-5", **options: Any) -> ModelRequest:
    return ModelRequest(model, [Message("user", (Text("Hello?"),))], options=ModelOptions(**options))


async def asked(provider: AnthropicProvider, request: ModelRequest | None = None) -> list[ModelEvent]:
    stream: AsyncIterator[ModelEvent] = provider.stream(request or question())
    try:
        return [event async for event in stream]
    finally:
        await provider.aclose()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


class TestKeys:
    async def test_a_missing_key_is_told_at_the_first_call(self) -> None:
        """With the variable, the key of the configuration, and the page of the docs."""
        provider = AnthropicProvider()
        with pytest.raises(ConfigError) as caught:
            await asked(provider)
        for word in ("ANTHROPIC_API_KEY", "api_key", "[plugins.anthropic]", "docs/reference/plugins/anthropic.md"):
            assert word in str(caught.value)
        with pytest.raises(ConfigError, match="no key"):
            await provider.list_models()

    async def test_the_environment_is_read_at_the_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with LoopbackServer(HELLO) as server:
            provider = AnthropicProvider()
            monkeypatch.setenv("ANTHROPIC_BASE_URL", f" {server.url}/\n")
            monkeypatch.setenv("ANTHROPIC_API_KEY", f"{KEY}\n")
            await asked(provider)
            monkeypatch.delenv("ANTHROPIC_API_KEY")
            monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token")
            await asked(provider)
        first, second = (received.headers for received in server.requests)
        assert first["x-api-key"] == KEY
        assert "authorization" not in first
        assert second["authorization"] == "Bearer token"
        assert "x-api-key" not in second

    async def test_another_service_is_not_given_the_key_of_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        async with LoopbackServer(HELLO) as server:
            await asked(AnthropicProvider("local", base_url=server.url))
        assert KEY not in str(server.requests[0].headers)

    async def test_a_key_of_its_own_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "other")
        async with LoopbackServer(HELLO) as server:
            await asked(AnthropicProvider(base_url=server.url, auth_token=SecretStr(KEY)))
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert "x-api-key" not in server.requests[0].headers

    async def test_a_header_of_the_configuration_may_be_the_key(self) -> None:
        endpoint = Endpoint(headers={"Authorization": SecretStr("Custom abc"), "X-Team": SecretStr("red")})
        async with LoopbackServer(HELLO) as server:
            await asked(AnthropicProvider(base_url=server.url, endpoint=endpoint))
        headers = server.requests[0].headers
        assert (headers["authorization"], headers["x-team"]) == ("Custom abc", "red")

    async def test_an_empty_header_stands_for_no_key(self) -> None:
        """As one whose environment variable is empty."""
        endpoint = Endpoint(headers={"Authorization": SecretStr("")})
        with pytest.raises(ConfigError, match="no key"):
            await asked(AnthropicProvider(endpoint=endpoint))

    @pytest.mark.parametrize("key", ["", "two words", "schlüssel", "line\nend"])
    async def test_what_can_be_no_key_is_told_without_showing_it(self, key: str) -> None:
        with pytest.raises(ConfigError, match=r"api_key (is no key|holds what no header)") as caught:
            await asked(AnthropicProvider(api_key=key or " "))
        assert not key or key not in str(caught.value)

    async def test_the_key_stands_in_no_error_and_no_repr(self) -> None:
        reply = refused("authentication_error", f"invalid x-api-key: {KEY}", 401)
        async with LoopbackServer(reply) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY)
            with pytest.raises(ProviderError) as caught:
                await asked(provider)
        assert KEY not in str(caught.value) + repr(caught.value) + repr(provider) + repr(provider._endpoint)


class TestHeaders:
    @pytest.mark.parametrize(
        ("options", "version"),
        [
            ({}, "2026-10-21"),
            ({"temperature": 0.0}, "2023-06-01"),
            ({"top_p": 0.5}, "2023-06-01"),
            ({"extra": {"top_k": 5}}, "2023-06-01"),
        ],
    )
    async def test_the_version_is_one_that_takes_what_is_asked(self, options: Any, version: str) -> None:
        """The newer one refuses to be told how to sample."""
        async with LoopbackServer(HELLO) as server:
            await asked(AnthropicProvider(base_url=server.url, api_key=KEY), question(**options))
            await asked(
                AnthropicProvider(base_url=server.url, api_key=KEY, endpoint=Endpoint(version="2030-01-01")),
                question(**options),
            )
        assert [received.headers["anthropic-version"] for received in server.requests] == [version, "2030-01-01"]

    async def test_betas_of_the_configuration_and_of_the_call_are_sent_together(self) -> None:
        endpoint = Endpoint(betas=("a-1", "b-2"))
        async with LoopbackServer(HELLO) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY, endpoint=endpoint)
            await asked(provider, question(extra={"betas": ["b-2", "c-3"]}))
        assert server.requests[0].headers["anthropic-beta"] == "a-1,b-2,c-3"
        assert "betas" not in server.requests[0].json

    @pytest.mark.parametrize("betas", ["a-1", [1], ["a\nb"]])
    async def test_betas_that_are_none_are_told(self, betas: Any) -> None:
        with pytest.raises(ConfigError, match="betas"):
            await asked(AnthropicProvider(api_key=KEY), question(extra={"betas": betas}))

    @pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/gateway"])
    async def test_an_address_is_taken_with_and_without_its_version(self, path: str) -> None:
        async with LoopbackServer(HELLO) as server:
            await asked(AnthropicProvider(base_url=f"{server.url}{path}", api_key=KEY))
        assert server.requests[0].path == ("/gateway/v1/messages" if "gateway" in path else "/v1/messages")

    async def test_an_address_of_the_environment_that_is_none_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", "localhost")
        wanted = r"'localhost/v1/messages', which is no http or https URL.*ANTHROPIC_BASE_URL"
        with pytest.raises(ConfigError, match=wanted):
            await asked(AnthropicProvider(api_key=KEY))


class TestErrors:
    @pytest.mark.parametrize(
        ("kind", "status", "retryable", "advice"),
        [
            ("invalid_request_error", 400, False, ""),
            ("authentication_error", 401, False, "ANTHROPIC_API_KEY"),
            ("billing_error", 402, False, "billing"),
            ("permission_error", 403, False, "workspace"),
            ("not_found_error", 404, False, "becket models anthropic"),
            ("request_too_large", 413, False, "32 MB"),
            ("rate_limit_error", 429, True, ""),
            ("api_error", 500, True, ""),
            ("timeout_error", 504, True, ""),
            ("overloaded_error", 529, True, ""),
        ],
    )
    async def test_an_error_of_the_service_says_what_it_said_and_what_next(
        self, kind: str, status: int, *, retryable: bool, advice: str
    ) -> None:
        async with LoopbackServer(refused(kind, "model: no good", status)) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY)
            with pytest.raises(ProviderError) as caught:
                await asked(provider)
        error = caught.value
        assert f"anthropic answered {status} ({kind}): model: no good (request req_7)" in str(error)
        assert advice in str(error)
        assert (error.status, error.code, error.retryable) == (status, kind, retryable)
        assert (error.provider, error.request_id) == ("anthropic", "req_7")

    async def test_the_service_says_how_long_to_wait(self) -> None:
        reply = refused("rate_limit_error", "slow down", 429, **{"retry-after": "7"})
        async with LoopbackServer(reply) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY)
            with pytest.raises(ProviderError) as caught:
                await asked(provider)
        assert caught.value.retry_after == 7

    @pytest.mark.parametrize(("said", "retryable"), [("true", True), ("false", False)])
    async def test_the_services_own_word_on_trying_again_counts(self, said: str, *, retryable: bool) -> None:
        status = 400 if retryable else 529
        async with LoopbackServer(refused("api_error", "no", status, **{"x-should-retry": said})) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY)
            with pytest.raises(ProviderError) as caught:
                await asked(provider)
        assert caught.value.retryable == retryable

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"error": "no such model"}, "no such model"),
            ({"error": {"message": "upstream is down", "code": 500}}, "upstream is down"),
            ({"detail": "who are you"}, "who are you"),
        ],
    )
    async def test_an_error_document_of_a_gateway_is_told(self, body: Any, message: str) -> None:
        async with LoopbackServer(Played.json(body, status=500)) as server:
            provider = AnthropicProvider("gateway", base_url=server.url)
            with pytest.raises(ProviderError, match=f"gateway answered 500.*{message}"):
                await asked(provider)

    async def test_an_error_with_the_status_of_success_is_an_error(self) -> None:
        async with LoopbackServer(refused("overloaded_error", "Overloaded", 200)) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY)
            with pytest.raises(ProviderError, match="Overloaded") as caught:
                await asked(provider)
        assert (caught.value.retryable, caught.value.status) == (True, 529)

    async def test_a_wrong_address_is_told_with_where_it_is_set(self) -> None:
        page = Played([b"<html>"], headers={"content-type": "text/html"})
        async with LoopbackServer(page) as server:
            with pytest.raises(ProviderError, match="ANTHROPIC_BASE_URL"):
                await asked(AnthropicProvider(base_url=server.url, api_key=KEY))
            with pytest.raises(ProviderError, match=r"base_url in \[plugins\.anthropic\.endpoints\.mine\]"):
                await asked(AnthropicProvider("mine", base_url=server.url))


class TestModels:
    PAGES = (
        {
            "data": [
                {"id": "claude-b", "display_name": "Claude B", "type": "model", "max_tokens": 5},
                {"id": "claude-a"},
            ],
            "has_more": True,
            "last_id": "claude a",
        },
        {"data": [{"id": "claude-0", "display_name": "Claude 0"}], "has_more": False, "last_id": "claude-0"},
    )

    async def test_all_pages_are_read(self) -> None:
        async with LoopbackServer(*map(Played.json, self.PAGES)) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY)
            models = await provider.list_models()
            await provider.aclose()
        assert models == [ModelInfo("claude-b", "Claude B"), ModelInfo("claude-a"), ModelInfo("claude-0", "Claude 0")]
        first, second = server.requests
        assert (first.method, first.path) == ("GET", "/v1/models?limit=1000")
        assert second.path == "/v1/models?limit=1000&after_id=claude%20a"
        assert first.headers["x-api-key"] == KEY

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_the_official_client_reads_the_same(self) -> None:
        async with (
            LoopbackServer(*map(Played.json, self.PAGES)) as server,
            anthropic.AsyncAnthropic(api_key=KEY, base_url=server.url) as client,
        ):
            found = [model.id async for model in client.models.list(limit=1000)]
        assert found == ["claude-b", "claude-a", "claude-0"]
        assert [received.path for received in server.requests] == [
            "/v1/models?limit=1000",
            "/v1/models?limit=1000&after_id=claude%20a",
        ]

    @pytest.mark.parametrize("body", [{"models": []}, [], {"data": [{"name": "x"}]}])
    async def test_what_is_no_list_of_models_is_told(self, body: Any) -> None:
        async with LoopbackServer(Played.json(body)) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY)
            with pytest.raises(ProviderError, match="list of models that cannot be read"):
                await provider.list_models()
            await provider.aclose()

    async def test_a_list_without_end_is_not_read_for_ever(self) -> None:
        async with LoopbackServer(Played.json(self.PAGES[0])) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY)
            assert len(await provider.list_models()) == 40
            await provider.aclose()

    async def test_a_provider_that_was_given_no_model_says_so(self) -> None:
        """Before anything is sent."""
        async with LoopbackServer(HELLO) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY)
            with pytest.raises(ConfigError, match=r"'anthropic' was given no model; make it with default_model="):
                await Agent(provider).invoke_async("Hello?")
            await provider.aclose()
        assert server.requests == []

    def test_none_is_known_without_asking_but_the_default(self) -> None:
        assert AnthropicProvider().models() == []
        assert AnthropicProvider().default_model is None
        provider = AnthropicProvider(endpoint=Endpoint(default_model="claude-haiku-5-5"))
        assert provider.models() == [ModelInfo("claude-haiku-5-5")]
        assert provider.default_model == "claude-haiku-5-5"


async def test_what_is_not_known_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """By the log, for as long as the provider lives."""
    start = {"type": "message_start", "message": {"id": "msg_1"}}
    reply = sse(start, {"type": "hint"}, {"type": "hint"}, {"type": "message_stop"})
    async with LoopbackServer(reply) as server:
        provider = AnthropicProvider(base_url=server.url, api_key=KEY)
        for _ in range(2):
            await asked(provider)
    (record,) = caplog.records
    assert record.name == "becket.anthropic"
    assert record.getMessage().startswith("anthropic sent the event 'hint', which this version")


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Person(BaseModel):
    name: str
    age: int


class TestRuns:
    async def test_thinking_goes_back_as_it_came(self) -> None:
        """The second request has the thinking, its signature, and the call's result."""
        called = answered(
            block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "I add."},
                {"type": "signature_delta", "signature": "c2ln"},
            ),
            block(
                1,
                {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}},
                {"type": "input_json_delta", "partial_json": '{"a": 42, "b": 7}'},
            ),
            stop="tool_use",
        )
        async with LoopbackServer(called, answered(text("49"))) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY, default_model=SONNET, caching="off")
            agent = Agent(provider, tools=[add])
            result = await agent.invoke_async("42 + 7?")
            await provider.aclose()
        first, second = (received.json["messages"] for received in server.requests)
        assert second[: len(first)] == first
        assert second[1:] == [
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "I add.", "signature": "c2ln"},
                    {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 42, "b": 7}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "49"}]},
        ]
        assert (result.text, result.cycles, result.usage.input_tokens) == ("49", 2, 20)

    async def test_structured_output_is_asked_for_by_a_schema(self) -> None:
        async with LoopbackServer(answered(text('{"name": "Ada", "age": 36}'))) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY, default_model=SONNET)
            agent = Agent(provider, output=Output(Person))
            result = await agent.invoke_async("Who?")
            await provider.aclose()
        assert result.output == Person(name="Ada", age=36)
        asked_for = server.requests[0].json["output_config"]["format"]
        assert asked_for["type"] == "json_schema"
        assert asked_for["schema"]["additionalProperties"] is False

    async def test_two_results_come_back_in_one_message(self) -> None:
        calls = [
            block(index, {"type": "tool_use", "id": f"toolu_{index}", "name": "add", "input": {"a": index, "b": 1}})
            for index in range(2)
        ]
        async with LoopbackServer(answered(*calls, stop="tool_use"), answered(text("1 and 2"))) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY, default_model=SONNET, caching="off")
            agent = Agent(provider, tools=[add])
            events = [event async for event in agent.stream_async("?")]
            await provider.aclose()
        assert len([event for event in events if isinstance(event, ToolFinished)]) == 2
        results = server.requests[1].json["messages"][-1]["content"]
        assert [(one["tool_use_id"], one["content"]) for one in results] == [("toolu_0", "1"), ("toolu_1", "2")]


class TestTheSeedsShape:
    """`async for event in agent.stream_async(...)`, and events as mappings."""

    CALL = answered(
        block(
            0,
            {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"a": 42, "b": 7}'},
        ),
        stop="tool_use",
    )

    async def test_a_tool_cycle_has_the_keys_that_it_says(self) -> None:
        async with LoopbackServer(self.CALL, answered(text("It is 49."))) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY, default_model=SONNET)
            seen: list[Any] = []
            async for event in Agent(provider, tools=[add]).stream_async("42 + 7?"):
                if "data" in event:
                    seen.append(event["data"])
                elif "current_tool_use" in event:
                    seen.append(event["current_tool_use"]["input"])
                elif "result" in event:
                    seen.append(str(event["result"]))
            await provider.aclose()
        assert seen == ["", '{"a": 42, "b": 7}', "It is 49.", "It is 49."]

    async def test_a_break_in_the_middle_closes_the_connection(self) -> None:
        """The server sees it before the reply's end."""
        whole = answered(text("Once upon a time"))
        endless = Played([*list(whole.pieces)[:3], anyio.sleep_forever], headers=whole.headers)
        async with LoopbackServer(self.CALL, endless) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY, default_model=SONNET)
            stream = Agent(provider, tools=[add]).stream_async("42 + 7?")
            async for event in stream:
                if "data" in event:
                    break
            del event, stream
            await server.requests[1].gone()
            await provider.aclose()
            await server.emptied()
        assert len(server.requests) == 2


class TestSettings:
    @pytest.mark.parametrize(
        ("given", "complaint"),
        [
            ({"caching": "10m"}, "caching is '10m'; it is one of: 'off', '5m', '1h'"),
            ({"default_max_tokens": 0}, "default_max_tokens is 0"),
            ({"api_key": SecretStr("a"), "auth_token": SecretStr("b")}, "both an api_key and an auth_token"),
            ({"read_seconds": 0}, "read_seconds is 0"),
            ({"base_url": "api.anthropic.com"}, "base_url is 'api.anthropic.com'"),
            ({"base_url": "http://[::1"}, "base_url is 'http://[::1'"),
            ({"base_url": "https://me:pw@example.org"}, "has a name or password in it"),
            ({"betas": "a-1"}, "betas is the text 'a-1'"),
            ({"betas": ("a\nb",)}, "betas is 'a\\nb', which no header"),
            ({"version": "2026\n"}, "version is '2026\\n', which no header"),
            ({"headers": {"x": SecretStr("a\r\nb")}}, "headers has 'x'"),
        ],
    )
    def test_a_setting_that_is_none_is_told(self, given: Any, complaint: str) -> None:
        with pytest.raises(ConfigError) as caught:
            Endpoint(**given)
        assert complaint in str(caught.value)

    def test_an_endpoint_says_where_it_is(self) -> None:
        with pytest.raises(ConfigError, match=r"endpoints\.mine has no base_url"):
            Settings(endpoints={"mine": Endpoint()})

    async def test_endpoints_of_the_configuration_are_providers(self, tmp_path: Path) -> None:
        async with LoopbackServer(HELLO) as server:
            config = tmp_path / "becket.toml"
            config.write_text(
                f"""
                [plugins.anthropic]
                api_key = "{KEY}"
                caching = "off"
                betas = ["a-1"]

                [plugins.anthropic.endpoints.gateway]
                base_url = "{server.url}"
                auth_token = "token"
                """,
                encoding="utf-8",
            )
            async with Runtime(config=load_config(config, project=False), allow=["anthropic"]) as runtime:
                result = await Agent("gateway:claude-x", runtime=runtime).invoke_async("Hello?")
        assert result.text == "Hello!"
        assert server.requests[0].headers["authorization"] == "Bearer token"
        assert "anthropic-beta" not in server.requests[0].headers

    def test_the_table_that_its_page_shows_can_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        page = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
        (table,) = re.findall(r"^```toml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
        config = tmp_path / "becket.toml"
        config.write_text(table.replace("\n# ", "\n"), encoding="utf-8")
        monkeypatch.setenv("MY_KEY", KEY)
        monkeypatch.setenv("GATEWAY_TOKEN", "token")
        runtime = Runtime(config=load_config(config, project=False), allow=["anthropic"], strict=True)
        own, gateway = runtime.providers.find("anthropic"), runtime.providers.find("gateway")
        assert isinstance(own, AnthropicProvider)
        assert isinstance(gateway, AnthropicProvider)
        assert own.default_model == "claude-haiku-5-5"
        assert own._endpoint.headers == {"x-team": SecretStr("red")}
        assert own._endpoint.caching == "1h"
        assert gateway._endpoint.auth_token == SecretStr("token")
        assert gateway._endpoint.caching == "5m"

    def test_it_is_what_the_protocols_say(self) -> None:
        provider = AnthropicProvider()
        assert isinstance(provider, Provider)
        assert isinstance(provider, SchemaProvider)
        assert isinstance(provider, ListingProvider)

    @pytest.mark.parametrize(
        ("model", "takes"),
        [
            ("claude-sonnet-4-5", True),
            ("claude-opus-5-5", True),
            ("claude-opus-4-1", False),
            ("claude-3-5-haiku-latest", False),
            ("kimi-k3", False),
        ],
    )
    def test_the_model_decides_how_output_is_asked_for(self, model: str, *, takes: bool) -> None:
        assert [AnthropicProvider().takes_schema(model, with_tools=tools) for tools in (True, False)] == [takes, takes]


def test_importing_it_and_making_a_provider_is_cheap() -> None:
    """Nothing of HTTP, and no pydantic, before a model is called."""
    code = (
        "import sys, becket_anthropic as plugin; plugin.register_providers(config=plugin.Settings()); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules} "
        "& {'aiohttp', 'httpcore2', 'ssl', 'pydantic', 'msgspec', 'asyncio'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split() == []


class TestThinkingThatNoLongerFits:
    """The newest models refuse a history in which something before their thinking was changed."""

    MESSAGE = (
        "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation."
        ' Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
    )

    async def test_it_is_left_out_and_the_answer_comes(self, caplog: pytest.LogCaptureFixture) -> None:
        refusal = refused("invalid_request_error", self.MESSAGE, 400)
        async with LoopbackServer(refusal, HELLO) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY)
            request = question(extra={"betas": ["a-1"], "thinking": {"type": "adaptive", "display": "summarized"}})
            for _ in range(2):
                events = await asked(provider, request)
                assert [event.type for event in events] == ["text_delta", "model_finished"]
        first, second, later = server.requests
        assert first.json["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert second.json["thinking"] == first.json["thinking"] | {
            "block_binding": {"prefix_mismatch_behavior": "drop_block"}
        }
        assert second.headers["anthropic-beta"] == "a-1,thinking-binding-controls-2026-08-01"
        assert second.json["messages"] == first.json["messages"]
        assert later.body == second.body, "the rest of the run says it at once"
        (record,) = caplog.records
        assert "no longer fits" in record.getMessage()

    async def test_a_host_that_says_nothing_of_thinking_gets_what_is_the_default_of_these_models(self) -> None:
        async with LoopbackServer(refused("invalid_request_error", self.MESSAGE, 400), HELLO) as server:
            await asked(AnthropicProvider(base_url=server.url, api_key=KEY))
        assert server.requests[1].json["thinking"]["type"] == "adaptive"

    @pytest.mark.parametrize(
        "thinking",
        [{"type": "disabled"}, {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "error"}}],
    )
    async def test_a_host_that_wants_the_error_has_it(self, thinking: Any) -> None:
        async with LoopbackServer(refused("invalid_request_error", self.MESSAGE, 400)) as server:
            provider = AnthropicProvider(base_url=server.url, api_key=KEY)
            with pytest.raises(ProviderError, match="bound to a different conversation"):
                await asked(provider, question(extra={"thinking": thinking}))
        assert len(server.requests) == 1

    async def test_a_service_that_refuses_again_is_not_asked_for_ever(self) -> None:
        async with LoopbackServer(refused("invalid_request_error", self.MESSAGE, 400)) as server:
            with pytest.raises(ProviderError, match="bound to a different conversation"):
                await asked(AnthropicProvider(base_url=server.url, api_key=KEY))
        assert len(server.requests) == 2
