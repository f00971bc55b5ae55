"""Conversations sent by OpenAI's own client to its Responses API, from parameters written by hand, and by us."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
from becket import (
    Agent,
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
    tool,
)
from becket.testing import LoopbackServer, Played
from becket_openai import Endpoint, OpenAIProvider
from becket_openai._ids import legal_id
from becket_openai._responses import ResponsesApi

pytestmark = pytest.mark.anyio

STREAMS = Path(__file__).parent / "responses"
LONG = "toolu_" + 80 * "x"
PNG = base64.b64encode(b"\x89PNG").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
DONE = Played.sse(
    {"type": "response.created", "response": {"id": "resp_1", "output": []}},
    {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": []}},
)


def user(*blocks: Any) -> Message:
    return Message("user", tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def assistant(*blocks: Any, interrupted: bool = False) -> Message:
    content = tuple(Text(block) if isinstance(block, str) else block for block in blocks)
    return Message("assistant", content, interrupted)


def ours(**data: Any) -> Extension:
    """An Extension of the provider that is asked."""
    return Extension("openai", data)


def asked(content: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": content}


def said(content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", **more, "content": content}


def called(call_id: str, name: str, arguments: str, **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, **more}


def returned(call_id: str, output: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def output_text(text: str, *notes: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": list(notes)}


CLOSED: Any = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
OPEN: Any = {"type": "object", "properties": {"zone": {"type": "string", "default": "UTC"}}}
WEATHER = ToolSpec("get_weather", "The weather in a city.", CLOSED)
TIME = ToolSpec("get_time", "", OPEN)
TOOLS = [
    {
        "type": "function",
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": CLOSED,
        "strict": True,
    },
    {"type": "function", "name": "get_time", "parameters": OPEN, "strict": False},
]
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "Oslo"}}
NOTE = {"type": "url_citation", "start_index": 0, "end_index": 3, "url": "https://yr.no", "title": "Yr"}
ENCRYPTED = ["reasoning.encrypted_content"]


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
    model: str = "gpt-5.4-nano"


ASKED, HI = [user("Hi")], [asked("Hi")]
CALL = ToolCall("call_1", "get_weather", {"city": "Oslo"})
RESULT = ToolResult("call_1", "success", (Text("3 °C"),))
THOUGHT = (ours(type="reasoning", id="rs_1"), Reasoning("Look"), Reasoning("it up", signature="sealed"))
THOUGHT_ITEM = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Look"}, {"type": "summary_text", "text": "it up"}],
    "encrypted_content": "sealed",
}

CASES = {
    "text": Case(ASKED, HI),
    "system": Case(ASKED, HI, system="Be brief.", params={"instructions": "Be brief."}),
    "unicode": Case([user('Grüße, 世界 👋🏽 "\n\u2028')], [asked('Grüße, 世界 👋🏽 "\n\u2028')]),
    "turns": Case(
        [user("Hi"), assistant("Hello"), user("Bye")],
        [asked("Hi"), said("Hello"), asked("Bye")],
    ),
    "an answer of several texts": Case(
        [user("Hi"), assistant("Hello", "!"), user("Bye")],
        [
            asked("Hi"),
            said([{"type": "output_text", "text": "Hello"}, {"type": "output_text", "text": "!"}]),
            asked("Bye"),
        ],
    ),
    "images": Case(
        [user("What is it?", Image("image/png", PNG), Image("image/jpeg", url="https://x.test/a.jpg"))],
        [
            asked(
                [
                    {"type": "input_text", "text": "What is it?"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
                    {"type": "input_image", "image_url": "https://x.test/a.jpg", "detail": "auto"},
                ]
            )
        ],
    ),
    "documents": Case(
        [
            user(
                "Read",
                Document("application/pdf", PDF, name="a.pdf"),
                Document("text/plain", PDF),
                Document("application/pdf", url="https://x.test/a.pdf"),
            )
        ],
        [
            asked(
                [
                    {"type": "input_text", "text": "Read"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
                    {"type": "input_file", "filename": "document.txt", "file_data": f"data:text/plain;base64,{PDF}"},
                    {"type": "input_file", "file_url": "https://x.test/a.pdf"},
                ]
            )
        ],
    ),
    "a tool cycle": Case(
        [user("Weather?"), assistant("Let me look.", CALL), user(RESULT)],
        [
            asked("Weather?"),
            said("Let me look."),
            called("call_1", "get_weather", '{"city":"Oslo"}'),
            returned("call_1", "3 °C"),
        ],
        tools=(WEATHER, TIME),
        params={"tools": TOOLS},
    ),
    "parallel calls, and what became of them": Case(
        [
            user("Go"),
            assistant(CALL, ToolCall("call_2", "get_time"), ToolCall("call_3", "get_time"), ToolCall("call_4", "t")),
            user(
                ToolResult("call_1", "success", (Json({"c": 3}), Text("cold"))),
                ToolResult("call_2", "error", (Text("no such zone"),)),
                ToolResult("call_3", "interrupted", (Text("The run ended first."),)),
                ToolResult("call_4", "denied"),
                "And now?",
            ),
        ],
        [
            asked("Go"),
            called("call_1", "get_weather", '{"city":"Oslo"}'),
            called("call_2", "get_time", "{}"),
            called("call_3", "get_time", "{}"),
            called("call_4", "t", "{}"),
            returned("call_1", '{"c":3}\ncold'),
            returned("call_2", "Error: no such zone"),
            returned("call_3", "The run ended first."),
            returned("call_4", "denied"),
            asked("And now?"),
        ],
    ),
    "a result with an image": Case(
        [user("Go"), assistant(CALL), user(ToolResult("call_1", "success", (Text("a map"), Image("image/png", PNG))))],
        [
            asked("Go"),
            called("call_1", "get_weather", '{"city":"Oslo"}'),
            returned(
                "call_1",
                [
                    {"type": "input_text", "text": "a map"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
                ],
            ),
        ],
    ),
    "ids and names of another service, and a malformed call": Case(
        [
            user("Go"),
            assistant(
                Reasoning("Theirs", signature="theirs"),
                Extension("anthropic", {"type": "message", "id": "msg_x"}),
                ToolCall(LONG, "functions.look up", malformed=MalformedArguments('{"a', "cut off")),
            ),
            user(ToolResult(LONG, "error", (Text("cut off"),))),
        ],
        [
            asked("Go"),
            called(legal_id(LONG, most=64), "functions_look_up", "{}"),
            returned(legal_id(LONG, most=64), "Error: cut off"),
        ],
    ),
    "reasoning across a tool cycle": Case(
        [user("Go"), assistant(*THOUGHT, ours(type="function_call", id="fc_1"), CALL), user(RESULT)],
        [
            asked("Go"),
            THOUGHT_ITEM,
            called("call_1", "get_weather", '{"city":"Oslo"}', id="fc_1", status="completed"),
            returned("call_1", "3 °C"),
        ],
    ),
    "reasoning that is shown only encrypted, and a phase": Case(
        [
            user("Go"),
            assistant(
                ours(type="reasoning", id="rs_1"),
                Reasoning(redacted="sealed"),
                ours(type="message", id="msg_1", phase="commentary"),
                "On it.",
                ours(type="function_call", id="fc_1"),
                CALL,
            ),
            user(RESULT),
        ],
        [
            asked("Go"),
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"},
            said([output_text("On it.")], id="msg_1", status="completed", phase="commentary"),
            called("call_1", "get_weather", '{"city":"Oslo"}', id="fc_1", status="completed"),
            returned("call_1", "3 °C"),
        ],
    ),
    "open reasoning": Case(
        [
            user("Go"),
            assistant(
                ours(type="reasoning", id="rs_1", content=[]),
                Reasoning("Think"),
                ours(type="message", id="m"),
                "Hi",
            ),
        ],
        [
            asked("Go"),
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "Think"}],
            },
            said([output_text("Hi")], id="m", status="completed"),
        ],
    ),
    "what the service did itself, and citations": Case(
        [
            user("Go"),
            assistant(
                *THOUGHT,
                ours(**SEARCH),
                ours(type="message", id="msg_1"),
                "Sunny",
                ours(type="message", id="msg_1", annotations=[[NOTE]]),
            ),
            user("Thanks"),
        ],
        [
            asked("Go"),
            THOUGHT_ITEM,
            SEARCH,
            said([output_text("Sunny", NOTE)], id="msg_1", status="completed"),
            asked("Thanks"),
        ],
    ),
    "reasoning that nothing follows is left out": Case(
        [user("Go"), assistant(*THOUGHT), user("Go on")], [asked("Go"), asked("Go on")]
    ),
    "an interrupted answer loses its reasoning, and what hangs on it": Case(
        [
            user("Go"),
            assistant(
                *THOUGHT, ours(**SEARCH), ours(type="message", id="m", phase="commentary"), "Hal", interrupted=True
            ),
            user("Go on"),
        ],
        [asked("Go"), said("Hal", phase="commentary"), asked("Go on")],
    ),
    "reasoning without its seal is left out": Case(
        [user("Go"), assistant(THOUGHT[0], Reasoning("Look"), ours(type="message", id="m"), "Hi"), user("Go on")],
        [asked("Go"), said("Hi"), asked("Go on")],
    ),
    "a model that does not reason is given no reasoning": Case(
        [user("Go"), assistant(*THOUGHT, ours(type="function_call", id="fc_1"), CALL), user(RESULT)],
        [
            asked("Go"),
            called("call_1", "get_weather", '{"city":"Oslo"}', status="completed"),
            returned("call_1", "3 °C"),
        ],
        model="gpt-4.1-mini",
        params={"include": None},
    ),
    "a model of which that is not known": Case(ASKED, HI, model="my-deployment", params={"include": None}),
    "reasoning is asked for": Case(
        ASKED,
        HI,
        options=ModelOptions(extra={"reasoning": {"effort": "low", "summary": "auto"}}),
        params={"reasoning": {"effort": "low", "summary": "auto"}},
        model="my-deployment",
    ),
    "options": Case(
        ASKED,
        HI,
        options=ModelOptions(temperature=0.5, top_p=0.9, max_tokens=100, seed=7),
        params={"temperature": 0.5, "top_p": 0.9, "max_output_tokens": 100},
    ),
    "a tool must be called": Case(
        ASKED,
        HI,
        tools=(WEATHER,),
        options=ModelOptions(tool_choice="any"),
        params={"tools": TOOLS[:1], "tool_choice": "required"},
    ),
    "no tool may be called": Case(
        ASKED,
        HI,
        tools=(WEATHER,),
        options=ModelOptions(tool_choice="none"),
        params={"tools": TOOLS[:1], "tool_choice": "none"},
    ),
    "this tool must be called": Case(
        ASKED,
        HI,
        tools=(WEATHER,),
        options=ModelOptions(tool_choice="get_weather"),
        params={"tools": TOOLS[:1], "tool_choice": {"type": "function", "name": "get_weather"}},
    ),
    "a choice without tools is none": Case(ASKED, HI, options=ModelOptions(tool_choice="any")),
    "output": Case(
        ASKED,
        HI,
        output=OutputSpec("City", "A city.", CLOSED, "schema"),
        options=ModelOptions(extra={"text": {"verbosity": "low"}}),
        params={
            "text": {
                "format": {
                    "type": "json_schema",
                    "name": "City",
                    "description": "A city.",
                    "schema": CLOSED,
                    "strict": True,
                },
                "verbosity": "low",
            }
        },
    ),
    "output as a tool": Case(
        ASKED, HI, output=OutputSpec("City", "", CLOSED, "tool"), tools=(WEATHER,), params={"tools": TOOLS[:1]}
    ),
    "tools of the service, and more to include": Case(
        ASKED,
        HI,
        tools=(WEATHER,),
        options=ModelOptions(
            extra={"tools": [{"type": "web_search"}], "include": ["web_search_call.action.sources"], "store": True}
        ),
        params={
            "tools": [*TOOLS[:1], {"type": "web_search"}],
            "include": [*ENCRYPTED, "web_search_call.action.sources"],
            "store": True,
        },
    ),
    "None takes a member out": Case(
        ASKED, HI, options=ModelOptions(extra={"include": None, "store": None}), params={"include": None, "store": None}
    ),
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("name", CASES)
async def test_the_official_client_sends_the_same_request(name: str) -> None:
    """The same members with the same values, in whatever order."""
    case = CASES[name]
    params = {"model": case.model, "input": case.wanted, "store": False, "include": ENCRYPTED, **case.params}
    given = {name: value for name, value in params.items() if value is not None}
    async with LoopbackServer(DONE) as server:
        async with openai.AsyncOpenAI(api_key="key", base_url=f"{server.url}/v1", max_retries=0) as client:
            stream: Any = await client.responses.create(stream=True, **given)
            assert [event.type async for event in stream][-1] == "response.completed"
        provider = OpenAIProvider(base_url=f"{server.url}/v1", api_key="key", api="responses")
        request = ModelRequest(case.model, case.messages, case.system, case.tools, case.options, output=case.output)
        assert [event async for event in provider.stream(request)]
        await provider.aclose()
        theirs, mine = server.requests
    assert mine.json == theirs.json
    assert (mine.method, mine.path) == (theirs.method, theirs.path) == ("POST", "/v1/responses")
    assert mine.headers["authorization"] == theirs.headers["authorization"]


def test_what_was_encoded_for_one_call_is_used_again_for_the_next() -> None:
    """Of a run's messages only the new ones are encoded, and the request ends with the options as they were."""
    api, messages = ResponsesApi("openai"), [user("Go"), assistant(CALL)]
    kept: dict[object, Any] = {}
    first = api.encode(ModelRequest("gpt-5", messages, kept=kept))
    second = api.encode(ModelRequest("gpt-5", [*messages, user(RESULT)], kept=kept))
    assert b"".join(second).startswith(b"".join(first[:2]))
    assert second[-2:] == first[-2:]
    (transcript,) = (one.transcript for one in kept.values())
    before = transcript.pieces(messages)
    after = transcript.pieces([*messages, user("More")])
    assert [old is new for old, new in zip(before, after, strict=False)] == [True, True]


def test_the_messages_are_not_changed() -> None:
    """An Extension is the history's, and is read as often as it is sent."""
    messages = CASES["open reasoning"].messages
    first, second = (ResponsesApi("openai").encode(ModelRequest("gpt-5", messages)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (ModelOptions(stop=("END",)), r'no texts to stop at; .*api="chat"'),
        (ModelOptions(extra={"input": "x"}), "extra has 'input', which is becket's to say"),
        (ModelOptions(extra={"stream": False}), "extra has 'stream'"),
    ],
)
def test_what_the_api_has_not_is_refused(options: ModelOptions, words: str) -> None:
    """Before anything is sent, with what to do."""
    with pytest.raises(ConfigError, match=words):
        ResponsesApi("openai").encode(ModelRequest("gpt-5", ASKED, options=options))


@pytest.mark.parametrize(
    ("model", "asks"),
    [
        ("gpt-5", True),
        ("gpt-5.4-nano-2026-03-17", True),
        ("gpt-6-astra", True),
        ("o3", True),
        ("o4-mini", True),
        ("openai/gpt-oss-20b", True),
        ("ft:o4-mini-2025-04-16:org::1", True),
        ("gpt-4o", False),
        ("ft:gpt-4.1-2025-04-14:org::1", False),
        ("gpt-5-chat-latest", False),
        ("chatgpt-4o-latest", False),
        ("ollama-llama", False),
        ("qwen3", False),
    ],
)
def test_only_a_model_that_reasons_is_asked_for_its_reasoning(model: str, asks: bool) -> None:
    """The service refuses it for another."""
    body = b"".join(ResponsesApi("openai").encode(ModelRequest(model, ASKED)))
    assert (b'"include":["reasoning.encrypted_content"]' in body) is asks


@tool
def get_weather(city: str) -> str:
    """The weather.

    Args:
        city: Where.
    """
    return f"3 °C in {city}"


async def test_an_answer_goes_back_as_it_came() -> None:
    """Through whole runs: the items of an answer stand in the next request, with ids, seals and phases."""
    bodies = [(STREAMS / f"{name}.sse").read_bytes() for name in ("reasoning_tools", "reasoning_encrypted", "text")]
    replies = [Played([body], headers={"content-type": "text/event-stream"}) for body in bodies]
    async with LoopbackServer(*replies) as server:
        provider = OpenAIProvider(
            base_url=f"{server.url}/v1", api_key="key", endpoint=Endpoint(default_model="gpt-5.4-nano", api="responses")
        )
        agent = Agent(provider, [get_weather], options=ModelOptions(extra={"reasoning": {"effort": "low"}}))
        result = await agent.invoke_async("Weather in Oslo and Bergen?")
        assert result.text == "It is 3 °C."
        assert result.message is not None
        await agent.invoke_async([user("Weather?"), result.message, user("Thanks")])
        await provider.aclose()
    tools, answer = (output_of(body) for body in bodies[:2])
    sent = server.requests[1].json["input"]
    assert with_parsed_arguments(sent[1:4]) == with_parsed_arguments(tools)
    assert [item["output"] for item in sent[4:]] == ["3 °C in Oslo", "3 °C in Bergen"]
    wanted = [{**item, "content": [output_text(item["content"][0]["text"])]} for item in answer[1:]]
    assert server.requests[2].json["input"][1:3] == [answer[0], *wanted]


def with_parsed_arguments(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a history holds of a call are its arguments, and not the blanks in them."""
    return [{**item, "arguments": json.loads(item.get("arguments", "{}"))} for item in items]


def output_of(body: bytes) -> list[Any]:
    """The items of the answer that a stream carries, as its end repeats them."""
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: ")]
    output: list[Any] = events[-1]["response"]["output"]
    return output
