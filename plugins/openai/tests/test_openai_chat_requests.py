"""Conversations sent by OpenAI's own client, from parameters written by hand, and by us: the same JSON arrives."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import openai
import pytest
from becket import (
    ConfigError,
    Document,
    Extension,
    Image,
    Json,
    MalformedArguments,
    Message,
    ModelOptions,
    ModelRequest,
    OutputSpec,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from becket.testing import LoopbackServer, Played
from becket_openai import Endpoint, OpenAIProvider
from becket_openai._ids import legal_id

if TYPE_CHECKING:
    from becket.testing import Received

pytestmark = pytest.mark.anyio

LONG, BLANK = "toolu_" + 40 * "x", "id with\nblanks"
PNG = base64.b64encode(b"\x89PNG").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
DONE = Played.sse({"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]}, "[DONE]")


def user(*blocks: Any) -> Message:
    return Message("user", tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def assistant(*blocks: Any, interrupted: bool = False) -> Message:
    content = tuple(Text(block) if isinstance(block, str) else block for block in blocks)
    return Message("assistant", content, interrupted)


def called(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def answered(call_id: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


CLOSED: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
OPEN: dict[str, Any] = {"type": "object", "properties": {"zone": {"type": "string", "default": "UTC"}}}
WEATHER = ToolSpec("get_weather", "The weather in a city.", CLOSED)
TIME = ToolSpec("get_time", "The time.", OPEN)
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city.",
            "parameters": CLOSED,
            "strict": True,
        },
    },
    {
        "type": "function",
        "function": {"name": "get_time", "description": "The time.", "parameters": OPEN, "strict": False},
    },
]


@dataclass
class Case:
    """A request in becket's terms, and the parameters that the client is called with."""

    messages: list[Message]
    wanted: list[dict[str, Any]]
    system: str = ""
    tools: tuple[ToolSpec, ...] = ()
    options: ModelOptions = field(default_factory=ModelOptions)
    output: OutputSpec | None = None
    params: dict[str, Any] = field(default_factory=dict)


ASKED = [user("Hi")]
HI = [{"role": "user", "content": "Hi"}]

CASES = {
    "text": Case(ASKED, HI),
    "system": Case(ASKED, [{"role": "system", "content": "Be brief."}, *HI], system="Be brief."),
    "unicode": Case([user('Grüße, 世界 👋🏽 "\n\u2028')], [{"role": "user", "content": 'Grüße, 世界 👋🏽 "\n\u2028'}]),
    "turns": Case(
        [user("Hi"), assistant("Hello", "!"), user("Bye")],
        [*HI, {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Bye"}],
    ),
    "interrupted": Case(
        [user("Hi"), assistant(Reasoning("They greet"), "Hel", interrupted=True), user("Go on")],
        [*HI, {"role": "assistant", "content": "Hel"}, {"role": "user", "content": "Go on"}],
    ),
    "interrupted while it thought": Case(
        [user("Hi"), assistant(Reasoning("They gr"), interrupted=True), user("Go on")],
        [*HI, {"role": "user", "content": "Go on"}],
    ),
    "several texts": Case(
        [user("Compare", "these")],
        [{"role": "user", "content": [{"type": "text", "text": "Compare"}, {"type": "text", "text": "these"}]}],
    ),
    "images": Case(
        [user("What is it?", Image("image/png", PNG), Image("image/jpeg", url="https://x.test/a.jpg"))],
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                    {"type": "image_url", "image_url": {"url": "https://x.test/a.jpg"}},
                ],
            }
        ],
    ),
    "documents": Case(
        [
            user(
                "Read",
                Document("application/pdf", PDF, name="a.pdf"),
                Document("application/pdf", PDF),
                Document("audio/wav", "UklGRg=="),
            )
        ],
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Read"},
                    {
                        "type": "file",
                        "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
                    },
                    {
                        "type": "file",
                        "file": {"filename": "document.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
                    },
                    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                ],
            }
        ],
    ),
    "tools": Case(ASKED, HI, tools=(WEATHER, TIME), params={"tools": TOOLS}),
    "no tool": Case(
        ASKED,
        HI,
        tools=(WEATHER, TIME),
        options=ModelOptions(tool_choice="none"),
        params={"tools": TOOLS, "tool_choice": "none"},
    ),
    "any tool": Case(
        ASKED,
        HI,
        tools=(WEATHER, TIME),
        options=ModelOptions(tool_choice="any"),
        params={"tools": TOOLS, "tool_choice": "required"},
    ),
    "one tool": Case(
        ASKED,
        HI,
        tools=(WEATHER, TIME),
        options=ModelOptions(tool_choice="get_time"),
        params={"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "get_time"}}},
    ),
    "parallel calls": Case(
        [
            user("Hi"),
            assistant(
                "I look.",
                ToolCall("call_a", "get_weather", {"city": "Paris", "days": [1, 2.5, None], "more": {"ü": True}}),
                ToolCall("call_b", "get_time", {}),
            ),
            user(
                ToolResult("call_a", "success", (Text("Sunny"), Json({"degrees": 21}))), ToolResult("call_b", "success")
            ),
            assistant("Sunny."),
        ],
        [
            *HI,
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [
                    called("call_a", "get_weather", '{"city":"Paris","days":[1,2.5,null],"more":{"ü":true}}'),
                    called("call_b", "get_time", "{}"),
                ],
            },
            answered("call_a", 'Sunny\n{"degrees":21}'),
            answered("call_b", "done"),
            {"role": "assistant", "content": "Sunny."},
        ],
        tools=(WEATHER, TIME),
        params={"tools": TOOLS},
    ),
    "results that are none": Case(
        [
            user("Hi"),
            assistant(*(ToolCall(f"call_{name}", "get_time", {}) for name in "abcd")),
            user(
                ToolResult("call_a", "error", (Text("ValueError: no"),)),
                ToolResult("call_b", "denied", (Text("get_time was not called, the call was denied: no"),)),
                ToolResult("call_c", "interrupted", (Text("The run ended before this call was finished."),)),
                ToolResult("call_d", "error"),
                Text("Try again"),
            ),
        ],
        [
            *HI,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [called(f"call_{name}", "get_time", "{}") for name in "abcd"],
            },
            answered("call_a", "Error: ValueError: no"),
            answered("call_b", "get_time was not called, the call was denied: no"),
            answered("call_c", "The run ended before this call was finished."),
            answered("call_d", "Error: error"),
            {"role": "user", "content": "Try again"},
        ],
    ),
    "malformed calls": Case(
        [
            user("Hi"),
            assistant(ToolCall("call_a", "get time!", malformed=MalformedArguments('{"zone": ', "it is cut off"))),
            user(ToolResult("call_a", "error", (Text("it is cut off"),))),
        ],
        [
            *HI,
            {"role": "assistant", "content": None, "tool_calls": [called("call_a", "get_time_", "{}")]},
            answered("call_a", "Error: it is cut off"),
        ],
    ),
    "images in results": Case(
        [
            user("Hi"),
            assistant(ToolCall("call_a", "get_time", {}), ToolCall("call_b", "get_time", {})),
            user(
                ToolResult("call_a", "success", (Text("A clock"), Image("image/png", PNG))),
                ToolResult("call_b", "success", (Document("application/pdf", PDF, name="b.pdf"),)),
            ),
        ],
        [
            *HI,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [called("call_a", "get_time", "{}"), called("call_b", "get_time", "{}")],
            },
            answered("call_a", "A clock\n(What is no text is in the user's next message.)"),
            answered("call_b", "done\n(What is no text is in the user's next message.)"),
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "From the result of the tool call call_a:"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                    {"type": "text", "text": "From the result of the tool call call_b:"},
                    {
                        "type": "file",
                        "file": {"filename": "b.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
                    },
                ],
            },
        ],
    ),
    "of another service": Case(
        [
            user("Hi"),
            assistant(
                Reasoning("Hm", signature="c2VhbA=="),
                Reasoning(redacted="Z2VoZWlt"),
                Extension("anthropic", {"type": "opaque"}),
                "Yes",
                Image("image/png", PNG),
                ToolCall(LONG, "get_time", {}),
                ToolCall(BLANK, "get_time", {}),
            ),
            user(ToolResult(LONG, "success"), ToolResult(BLANK, "success")),
        ],
        [
            *HI,
            {
                "role": "assistant",
                "content": "Yes[image image/png]",
                "tool_calls": [
                    called(legal_id(LONG), "get_time", "{}"),
                    called(legal_id(BLANK), "get_time", "{}"),
                ],
            },
            answered(legal_id(LONG), "done"),
            answered(legal_id(BLANK), "done"),
        ],
    ),
    "options": Case(
        ASKED,
        HI,
        options=ModelOptions(temperature=0.2, top_p=0.9, max_tokens=50, seed=7, stop=("END", "STOP")),
        params={"temperature": 0.2, "top_p": 0.9, "max_completion_tokens": 50, "seed": 7, "stop": ["END", "STOP"]},
    ),
    "other options": Case(
        ASKED,
        HI,
        options=ModelOptions(
            temperature=0.2,
            max_tokens=50,
            extra={
                "temperature": 1,
                "max_completion_tokens": None,
                "reasoning_effort": "low",
                "top_logprobs": 2,
            },
        ),
        params={"temperature": 1, "reasoning_effort": "low", "top_logprobs": 2},
    ),
    "options within options": Case(
        ASKED,
        HI,
        tools=(WEATHER, TIME),
        options=ModelOptions(
            extra={"stream_options": {"include_obfuscation": False}, "tools": [{"type": "custom", "custom": {}}]}
        ),
        params={
            "stream_options": {"include_usage": True, "include_obfuscation": False},
            "tools": [*TOOLS, {"type": "custom", "custom": {}}],
        },
    ),
    "schema": Case(
        ASKED,
        HI,
        output=OutputSpec("Weather", "What it is like.", CLOSED, "schema"),
        params={
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": "Weather",
                    "description": "What it is like.",
                    "schema": CLOSED,
                    "strict": True,
                },
            }
        },
    ),
    "schema of a model": Case(
        ASKED,
        HI,
        output=OutputSpec("Weather", "", {name: CLOSED[name] for name in ("type", "properties", "required")}, "schema"),
        params={
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "Weather", "schema": CLOSED, "strict": True},
            }
        },
    ),
    "open schema": Case(
        ASKED,
        HI,
        output=OutputSpec("Zone", "", OPEN, "schema"),
        params={
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "Zone", "schema": OPEN, "strict": False},
            }
        },
    ),
    "output by a tool": Case(
        ASKED,
        HI,
        tools=(WEATHER, TIME),
        output=OutputSpec("get_time", "The time.", OPEN, "tool"),
        params={"tools": TOOLS},
    ),
}


async def sent(case: Case, name: str = "azure", **settings: Any) -> tuple[dict[str, Any], Received]:
    """What our request comes to: its JSON, and all of it."""
    request = ModelRequest("gpt-5.4-nano", case.messages, case.system, case.tools, case.options, output=case.output)
    async with LoopbackServer(DONE) as server:
        settings = {"base_url": f"{server.url}/v1", "api_key": "key", "endpoint": Endpoint(), **settings}
        provider = OpenAIProvider(name, **settings)
        async for _ in provider.stream(request):
            pass
        await provider.aclose()
        return server.requests[0].json, server.requests[0]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the client's own connections are asyncio's here
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_the_official_client_and_we_send_the_same(case: Case) -> None:
    """The JSON of the body, and its path."""
    async with (
        LoopbackServer(DONE) as server,
        openai.AsyncOpenAI(api_key="key", base_url=f"{server.url}/v1", max_retries=0) as client,
    ):
        create: Any = client.chat.completions.create
        stream = await create(
            model="gpt-5.4-nano",
            messages=case.wanted,
            stream=True,
            **{"stream_options": {"include_usage": True}, **case.params},
        )
        async for _ in stream:
            pass
    (theirs,) = server.requests
    body, ours = await sent(case)
    assert body == theirs.json
    assert (ours.method, ours.path) == (theirs.method, theirs.path)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_headers_that_matter_are_those_of_the_official_client() -> None:
    """The key, what the body is, and whom the request is billed to."""
    async with (
        LoopbackServer(DONE) as server,
        openai.AsyncOpenAI(
            api_key="key", base_url=server.url, organization="org-1", project="proj_1", max_retries=0
        ) as client,
    ):
        create: Any = client.chat.completions.create
        async for _ in await create(model="m", messages=HI, stream=True):
            pass
    (theirs,) = server.requests
    _, ours = await sent(CASES["text"], "openai", endpoint=Endpoint(organization="org-1", project="proj_1"))
    for name in ("authorization", "content-type", "openai-organization", "openai-project"):
        assert ours.headers[name] == theirs.headers[name], name


async def test_servers_like_it_are_asked_in_older_words() -> None:
    """Some of them refuse members that they do not know."""
    case = Case(ASKED, HI, tools=(WEATHER,), options=ModelOptions(max_tokens=50))
    body, _ = await sent(case, "vllm")
    assert body["max_tokens"] == 50
    assert "max_completion_tokens" not in body
    assert "strict" not in body["tools"][0]["function"]


THOUGHT = [
    user("Hi"),
    assistant(Reasoning("They "), Reasoning("greet"), Reasoning("x", signature="s"), "Hello"),
    user("Bye"),
]


@pytest.mark.parametrize(
    ("name", "settings", "member"),
    [
        ("vllm", Endpoint(), "reasoning"),
        ("ollama", Endpoint(), "reasoning"),
        ("llamacpp", Endpoint(), "reasoning_content"),
        ("deepseek", Endpoint(send_reasoning="reasoning_content"), "reasoning_content"),
        ("deepseek", Endpoint(), None),
        ("vllm", Endpoint(send_reasoning=""), None),
    ],
)
async def test_reasoning_goes_back_where_the_service_wants_it(
    name: str, settings: Endpoint, member: str | None
) -> None:
    """What another service has sealed does not."""
    body, _ = await sent(Case(THOUGHT, []), name, endpoint=settings)
    hello = {"role": "assistant", "content": "Hello"}
    assert body["messages"][1] == hello | ({member: "They greet"} if member else {})


async def test_a_call_goes_back_with_its_reasoning_even_where_it_has_none() -> None:
    """As one of another model: DeepSeek refuses it without."""
    case = Case([user("Hi"), assistant(ToolCall("a", "f")), user(ToolResult("a", "success"))], [])
    body, _ = await sent(case, "deepseek", endpoint=Endpoint(send_reasoning="reasoning_content"))
    assert body["messages"][1]["reasoning_content"] == ""


async def test_an_integer_beyond_64_bits_is_sent_as_the_model_wrote_it() -> None:
    case = Case([user("Hi"), assistant(ToolCall("a", "f", {"n": 2**70})), user(ToolResult("a", "success"))], [])
    body, _ = await sent(case)
    assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == f'{{"n":{2**70}}}'


async def test_the_messages_of_a_run_are_encoded_once() -> None:
    """The second call of a run takes what the first has written, and writes what is new."""
    async with LoopbackServer(DONE) as server:
        provider = OpenAIProvider("vllm", base_url=server.url)
        messages = [user("Hi")]
        request = ModelRequest("m", messages, "Be brief.", (WEATHER,))
        async for _ in provider.stream(request):
            pass
        (kept,) = request.kept.values()
        first = kept.transcript.pieces(messages)[0]
        messages += [assistant("Hello"), user("Bye")]
        async for _ in provider.stream(request):
            pass
        assert kept.transcript.pieces(messages)[0] is first
        assert [message["content"] for message in server.requests[1].json["messages"]] == [
            "Be brief.",
            "Hi",
            "Hello",
            "Bye",
        ]
        await provider.aclose()


async def test_options_of_a_run_may_change_between_its_calls() -> None:
    """As a hook may do: what is kept of the last call is not sent for another."""
    async with LoopbackServer(DONE) as server:
        provider = OpenAIProvider("vllm", base_url=server.url)
        request = ModelRequest("m", [user("Hi")])
        for options in (ModelOptions(seed=1), ModelOptions(seed=2)):
            request.options = options
            async for _ in provider.stream(request):
                pass
        assert [one.json["seed"] for one in server.requests] == [1, 2]
        await provider.aclose()


@pytest.mark.parametrize("member", ["messages", "stream"])
async def test_extra_options_cannot_say_what_is_not_theirs(member: str) -> None:
    with pytest.raises(ConfigError, match=f"extra has '{member}'"):
        await sent(Case(ASKED, HI, options=ModelOptions(extra={member: []})))


async def test_extra_options_that_are_no_json_are_told() -> None:
    extra: Any = {"top_k": object()}
    with pytest.raises(ConfigError, match=r"the option 'top_k' is no JSON: .*ModelOptions\(extra="):
        await sent(Case(ASKED, HI, options=ModelOptions(extra=extra)))


async def test_a_document_by_its_url_is_refused_with_what_to_do() -> None:
    case = Case([user(Document("application/pdf", url="https://x.test/a.pdf", name="a.pdf"))], [])
    with pytest.raises(ConfigError, match=r"'a\.pdf' is given by its URL.*Document\.from_bytes.*responses"):
        await sent(case)
