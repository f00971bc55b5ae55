"""The provider over HTTP, against a server on this machine."""

from __future__ import annotations

import logging
import subprocess
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from becket import ConfigError, Message, ModelFinished, ModelInfo, ModelRequest, ProviderError, Runtime, Text, TextDelta
from becket.providers import ListingProvider, SchemaProvider
from becket.testing import LoopbackServer, Played
from becket_google import GoogleProvider, Settings

if TYPE_CHECKING:
    from becket import ModelEvent

pytestmark = pytest.mark.anyio

HELLO = Message("user", (Text("hello"),))
MODEL = "gemini-2.5-flash"
ANSWER = (
    {"candidates": [{"content": {"parts": [{"text": "Hel"}], "role": "model"}}], "responseId": "r-1"},
    {"candidates": [{"content": {"parts": [{"text": "lo"}], "role": "model"}, "finishReason": "STOP"}]},
)
PLAYED = Played.sse(*ANSWER)
VARIABLES = (
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_GEMINI_BASE_URL",
    "GOOGLE_VERTEX_BASE_URL",
    "GOOGLE_GENAI_API_VERSION",
    "GOOGLE_GENAI_USE_ENTERPRISE",
    "GOOGLE_GENAI_USE_VERTEXAI",
)


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a user who has set nothing."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


async def events(provider: GoogleProvider, model: str = MODEL, **more: Any) -> list[ModelEvent]:
    """The events of one model call; its connections are closed after it."""
    try:
        async with aclosing(provider.stream(ModelRequest(model, (HELLO,), **more))) as stream:  # type: ignore[type-var]  # it is a generator
            return [event async for event in stream]
    finally:
        await provider.aclose()


async def test_an_answer_comes_as_deltas_and_an_end() -> None:
    async with LoopbackServer(PLAYED) as server:
        assert await events(GoogleProvider(api_key="test-key", base_url=server.url)) == [
            TextDelta("Hel"),
            TextDelta("lo"),
            ModelFinished("end_turn", response_id="r-1"),
        ]


async def test_the_key_goes_in_a_header_and_never_in_the_url() -> None:
    async with LoopbackServer(PLAYED) as server:
        await events(GoogleProvider(api_key="secret-key", base_url=f"{server.url}/"))
        (request,) = server.requests
        assert request.path == "/v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
        assert request.headers["x-goog-api-key"] == "secret-key"
        assert request.headers["content-type"] == "application/json"
        assert request.json == {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}


@pytest.mark.parametrize(
    "given",
    [
        {"read_seconds": 0},
        {"total_seconds": float("nan")},
        {"api_key": "a\nb"},
        {"headers": {"x-a": "1\r\nx-b: 2"}},
        {"base_url": "generativelanguage.googleapis.com"},
        {"base_url": "http://[x"},
        {"base_url": "https://me:pw@a.example"},
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(given.get("headers", given)))):
        Settings(**given)


@pytest.mark.parametrize(
    ("set_to", "key"),
    [
        ({"GEMINI_API_KEY": "gemini"}, "gemini"),
        ({"GOOGLE_API_KEY": "google"}, "google"),
        ({"GEMINI_API_KEY": "gemini", "GOOGLE_API_KEY": "google"}, "google"),
        ({"GEMINI_API_KEY": "gemini", "GOOGLE_API_KEY": ""}, "gemini"),
        ({"GEMINI_API_KEY": " gemini\n"}, "gemini"),
    ],
)
async def test_the_key_is_found_as_by_googles_own_client(
    monkeypatch: pytest.MonkeyPatch, set_to: dict[str, str], key: str
) -> None:
    for variable, value in set_to.items():
        monkeypatch.setenv(variable, value)
    async with LoopbackServer(PLAYED) as server:
        await events(GoogleProvider(base_url=server.url))
        assert server.requests[0].headers["x-goog-api-key"] == key


async def test_no_key_is_an_error_that_says_where_to_put_one() -> None:
    """At the first call: a provider that nobody uses needs none."""
    provider = GoogleProvider(headers={"x-team": "blue"})
    with pytest.raises(ConfigError) as caught:
        await events(provider)
    for word in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "api_key", "[plugins.google]", "https://ai.google.dev/"):
        assert word in str(caught.value)


async def test_a_gateway_may_want_another_header_in_place_of_the_key() -> None:
    async with LoopbackServer(PLAYED) as server:
        await events(GoogleProvider(base_url=server.url, headers={"Authorization": "Bearer t"}))
        assert server.requests[0].headers["authorization"] == "Bearer t"
        assert "x-goog-api-key" not in server.requests[0].headers


async def test_a_header_of_the_users_replaces_ours() -> None:
    async with LoopbackServer(PLAYED) as server:
        await events(GoogleProvider(api_key="test-key", base_url=server.url, headers={"X-Goog-Api-Key": "other"}))
        assert server.requests[0].headers["x-goog-api-key"] == "other"


async def test_the_address_and_the_version_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with LoopbackServer(PLAYED) as server:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f" {server.url}/gateway\n")
        monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v9")
        await events(GoogleProvider(api_key="test-key"))
        assert server.requests[0].path.startswith("/gateway/v9/models/")


@pytest.mark.parametrize(("vertex", "version"), [(False, "v1beta"), (True, "v1beta1")])
async def test_the_beta_is_the_services_own(vertex: bool, version: str) -> None:
    async with LoopbackServer(PLAYED) as server:
        await events(GoogleProvider(api_key="test-key", base_url=server.url, api_version="beta", vertex=vertex))
        assert server.requests[0].path.startswith(f"/{version}/")


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (MODEL, "publishers/google/models/gemini-2.5-flash"),
        ("meta/llama-4", "publishers/meta/models/llama-4"),
        ("projects/p/locations/l/endpoints/7", "projects/p/locations/l/endpoints/7"),
    ],
)
async def test_vertex_ai_has_another_version_and_other_paths(model: str, path: str) -> None:
    """In its express mode, which takes an API key."""
    async with LoopbackServer(PLAYED) as server:
        await events(GoogleProvider(api_key="test-key", base_url=server.url, vertex=True), model)
        assert server.requests[0].path == f"/v1beta1/{path}:streamGenerateContent?alt=sse"


@pytest.mark.parametrize(
    ("set_to", "vertex"),
    [
        ({"GOOGLE_GENAI_USE_VERTEXAI": "True"}, True),
        ({"GOOGLE_GENAI_USE_ENTERPRISE": "1"}, True),
        ({"GOOGLE_GENAI_USE_ENTERPRISE": "false", "GOOGLE_GENAI_USE_VERTEXAI": "true"}, False),
    ],
)
async def test_the_service_may_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, set_to: dict[str, str], vertex: bool
) -> None:
    for variable, value in set_to.items():
        monkeypatch.setenv(variable, value)
    async with LoopbackServer(PLAYED) as server:
        await events(GoogleProvider(api_key="test-key", base_url=server.url))
        await events(GoogleProvider(api_key="test-key", base_url=server.url, vertex=False))
        assert [request.path.startswith("/v1beta1/publishers/") for request in server.requests] == [vertex, False]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("models/gemini-2.5-flash", "models/gemini-2.5-flash"),
        ("tunedModels/mine-1", "tunedModels/mine-1"),
        ("gemini?x#y", "models/gemini%3Fx%23y"),
    ],
)
async def test_a_models_name_is_a_part_of_the_path(model: str, path: str) -> None:
    async with LoopbackServer(PLAYED) as server:
        await events(GoogleProvider(api_key="test-key", base_url=server.url), model)
        assert server.requests[0].path == f"/v1/{path}:streamGenerateContent?alt=sse"


@pytest.mark.parametrize("model", ["", "../v1/other", "models/.."])
async def test_a_name_that_would_lead_elsewhere_is_refused(model: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a model"):
        await events(GoogleProvider(api_key="test-key", base_url="http://127.0.0.1:9"), model)


async def test_an_error_has_the_services_words_and_what_to_do() -> None:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    error = {"code": 400, "message": "API key not valid: wrong-key", "status": "INVALID_ARGUMENT", "details": [info]}
    async with LoopbackServer(Played.json({"error": error}, status=400)) as server:
        with pytest.raises(ProviderError) as caught:
            await events(GoogleProvider(api_key="wrong-key", base_url=server.url))
    assert (caught.value.status, caught.value.code, caught.value.retryable) == (400, "API_KEY_INVALID", False)
    assert "google answered 400 (API_KEY_INVALID): API key not valid" in str(caught.value)
    assert "check the key: GOOGLE_API_KEY" in str(caught.value)
    assert "wrong-key" not in str(caught.value)


async def test_an_error_may_come_as_a_list_and_say_how_long_to_wait() -> None:
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.5s"}
    error = {"code": 429, "message": "Too many requests", "status": "RESOURCE_EXHAUSTED", "details": [retry]}
    async with LoopbackServer(Played.json([{"error": error}], status=429)) as server:
        with pytest.raises(ProviderError, match="Too many requests") as caught:
            await events(GoogleProvider(api_key="test-key", base_url=server.url))
    assert (caught.value.status, caught.value.retryable, caught.value.retry_after) == (429, True, 3.5)


@pytest.mark.parametrize("framed", [True, False])
async def test_an_error_in_the_stream_is_raised_after_what_came(framed: bool) -> None:
    """Framed as an event, or bare between the events, as the service sends one that it came upon late."""
    error = b'{\n  "error": {"code": 503, "message": "overloaded",\n "status": "UNAVAILABLE"}\n}\n\n'
    first = b'data: {"candidates":[{"content":{"parts":[{"text":"First,"}]}}]}\n\n'
    last = b"".join(b"data: %b\n" % line for line in error.split(b"\n") if line) + b"\n" if framed else error
    seen = []
    async with LoopbackServer(Played([first, last], headers={"content-type": "text/event-stream"})) as server:
        provider = GoogleProvider(api_key="test-key", base_url=server.url)
        with pytest.raises(ProviderError, match=r"google broke off with 503 \(UNAVAILABLE\): overloaded") as caught:
            async for event in provider.stream(ModelRequest(MODEL, (HELLO,))):
                seen.append(event)  # noqa: PERF401  what came before the error counts
        await provider.aclose()
    assert (seen, caught.value.retryable) == ([TextDelta("First,")], True)


async def test_a_stream_that_is_cut_off_is_no_answer() -> None:
    async with LoopbackServer(Played.sse(ANSWER[0])) as server:
        with pytest.raises(ProviderError, match="ended without a finishReason: the answer is cut off"):
            await events(GoogleProvider(api_key="test-key", base_url=server.url))


async def test_a_second_call_uses_the_connection_again() -> None:
    async with LoopbackServer(PLAYED) as server:
        provider = GoogleProvider(api_key="test-key", base_url=server.url)
        for _ in range(2):
            async for _event in provider.stream(ModelRequest(MODEL, (HELLO,))):
                pass
        assert server.connections == 1
        await provider.aclose()
        await server.emptied()


async def test_a_stream_that_is_left_early_closes_its_connection() -> None:
    async with LoopbackServer(Played.sse(ANSWER[0], anyio.sleep_forever)) as server:
        provider = GoogleProvider(api_key="test-key", base_url=server.url)
        async with aclosing(provider.stream(ModelRequest(MODEL, (HELLO,)))) as stream:  # type: ignore[type-var]  # as above
            assert await anext(stream) == TextDelta("Hel")
        await (await server.request()).gone()
        await provider.aclose()


async def test_a_part_of_an_unknown_kind_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    odd = {"candidates": [{"content": {"parts": [{"hologram": 1}]}, "finishReason": "STOP"}]}
    with caplog.at_level(logging.WARNING, logger="becket.google"):
        async with LoopbackServer(Played.sse(odd, odd)) as server:
            provider = GoogleProvider(api_key="test-key", base_url=server.url)
            await events(provider)
            await events(provider)
    assert [record.message for record in caplog.records] == [
        "google sends parts of a kind that is not known here (hologram); they are left out"
    ]


# -- models ------------------------------------------------------------------------------------------------------------


async def test_the_services_models_are_listed_page_by_page() -> None:
    """Those that answer requests, without the prefix that the provider's name stands for."""
    first = {
        "models": [
            {"name": "models/gemini-2.5-flash", "description": "Fast.\nMore.", "displayName": "Gemini 2.5 Flash",
             "supportedGenerationMethods": ["generateContent", "countTokens"]},
            {"name": "models/text-embedding-004", "supportedGenerationMethods": ["embedContent"]},
        ],
        "nextPageToken": "a b",
    }  # fmt: skip
    last = {
        "models": [
            {"name": "models/gemma-3-27b-it", "displayName": "Gemma", "supportedGenerationMethods": ["generateContent"]}
        ]
    }
    async with LoopbackServer(Played.json(first), Played.json(last)) as server:
        provider = GoogleProvider(api_key="test-key", base_url=server.url)
        listed = await provider.list_models()
        await provider.aclose()
        assert listed == [ModelInfo("gemini-2.5-flash", "Fast."), ModelInfo("gemma-3-27b-it", "Gemma")]
        assert [request.path for request in server.requests] == [
            "/v1/models?pageSize=1000",
            "/v1/models?pageSize=1000&pageToken=a%20b",
        ]
        assert {request.headers["x-goog-api-key"] for request in server.requests} == {"test-key"}


async def test_vertex_ai_has_another_word_for_its_models() -> None:
    listing = {"publisherModels": [{"name": "publishers/google/models/gemini-2.5-flash"}]}
    async with LoopbackServer(Played.json(listing)) as server:
        provider = GoogleProvider(api_key="test-key", base_url=server.url, vertex=True)
        assert await provider.list_models() == [ModelInfo("gemini-2.5-flash")]
        await provider.aclose()
        assert server.requests[0].path == "/v1beta1/publishers/google/models?pageSize=1000"


@pytest.mark.parametrize("document", [[1], {"models": 5}])
async def test_a_list_of_something_else_is_an_error(document: Any) -> None:
    async with LoopbackServer(Played.json(document)) as server:
        provider = GoogleProvider(api_key="test-key", base_url=server.url)
        with pytest.raises(ProviderError, match="a list of models that cannot be read"):
            await provider.list_models()
        await provider.aclose()


async def test_a_list_without_an_end_is_left_at_some_point() -> None:
    async with LoopbackServer(Played.json({"nextPageToken": "again"})) as server:
        provider = GoogleProvider(api_key="test-key", base_url=server.url)
        assert await provider.list_models() == []
        await provider.aclose()


# -- the plugin --------------------------------------------------------------------------------------------------------


def test_it_is_a_provider_that_takes_schemas_and_lists_models() -> None:
    """Before Gemini 3 the service takes a schema or tools, not both."""
    provider = GoogleProvider()
    assert isinstance(provider, SchemaProvider)
    assert isinstance(provider, ListingProvider)
    assert (provider.name, provider.default_model, list(provider.models())) == ("google", None, [])
    assert [provider.takes_schema(MODEL, with_tools=tools) for tools in (False, True)] == [True, False]
    assert provider.takes_schema("gemini-3-pro-preview", with_tools=True)


async def test_it_is_configured_by_its_table(tmp_path: Any) -> None:
    """And keeps the key to itself."""
    async with LoopbackServer(PLAYED) as server:
        table = {
            "api_key": "configured",
            "base_url": server.url,
            "api_version": "v7",
            "headers": {"x-team": "blue"},
            "safety": {"HARM_CATEGORY_HARASSMENT": "BLOCK_NONE"},
        }
        runtime = Runtime(config=configured(tmp_path, table))
        provider, model = runtime.model("google:gemini-2.5-flash")
        assert "configured" not in repr(provider)
        async with aclosing(provider.stream(ModelRequest(model, (HELLO,)))) as stream:  # type: ignore[type-var]  # as above
            assert [event async for event in stream][-1] == ModelFinished("end_turn", response_id="r-1")
        await provider.aclose()
        (request,) = server.requests
        assert request.path == "/v7/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
        assert (request.headers["x-goog-api-key"], request.headers["x-team"]) == ("configured", "blue")
        assert request.json["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]


def configured(folder: Any, table: dict[str, Any]) -> Any:
    """The configuration of a user whose file has this table."""
    import json

    from becket import load_config

    lines = (f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict))
    tables = (
        f"[plugins.google.{key}]\n" + "\n".join(f"{name} = {json.dumps(item)}" for name, item in value.items())
        for key, value in table.items()
        if isinstance(value, dict)
    )
    file = folder / "becket.toml"
    file.write_text("\n".join(("[plugins.google]", *lines, *tables)))
    return load_config(file)


HEAVY = ("aiohttp", "httpcore2", "anyio", "ssl", "pydantic", "asyncio", "msgspec")


def test_its_import_and_the_making_of_a_provider_are_cheap() -> None:
    """Nothing of HTTP is imported before the first model call, and no pydantic where there is no table."""
    program = (
        "import sys, becket; before = set(sys.modules)\n"
        "import becket_google; becket_google.GoogleProvider(api_key='x')\n"
        f"print(sorted(set({HEAVY!r}) & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603  our own
    assert done.stdout.strip() == "[]"


def test_a_host_may_give_it_a_default_model() -> None:
    provider = GoogleProvider(default_model="gemini-2.5-flash")
    assert provider.default_model == "gemini-2.5-flash"
    assert [model.name for model in provider.models()] == ["gemini-2.5-flash"]
    assert GoogleProvider().default_model is None
    assert list(GoogleProvider().models()) == []
