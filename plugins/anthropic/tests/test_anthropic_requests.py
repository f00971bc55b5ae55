"""Conversations as Anthropic's own client sends them and as we do: the same JSON, and the headers that matter."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from becket import (
    Document,
    Extension,
    Image,
    Json,
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
from becket_anthropic import AnthropicProvider

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

PNG = base64.b64encode(b"\x89PNG...").decode()
MARK = {"type": "ephemeral"}
SIGNED = Extension("anthropic", {"signed": True})
ADD = ToolSpec("add", "Adds two numbers.", {"type": "object", "properties": {"a": {"type": "integer"}}})
NOW = ToolSpec("now", "", {"type": "object", "properties": {}})
TOOLS = [
    {"name": "add", "description": "Adds two numbers.", "input_schema": ADD.schema},
    {"name": "now", "input_schema": NOW.schema},
]
END = Played.sse({"type": "message_stop"})
# The official client drops what it reads without the name of the event.
THEIR_END = Played(
    [b'event: message_stop\ndata: {"type":"message_stop"}\n\n'], headers={"content-type": "text/event-stream"}
)


def user(*content: Any) -> Message:
    return Message("user", tuple(Text(one) if isinstance(one, str) else one for one in content))


def said(*content: Any, interrupted: bool = False) -> Message:
    blocks = tuple(Text(one) if isinstance(one, str) else one for one in content)
    return Message("assistant", blocks, interrupted=interrupted)


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def theirs_user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def theirs_said(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


@dataclass
class Case:
    """A conversation: our request, and the arguments of the client's `messages.create`."""

    messages: Sequence[Message]
    theirs: dict[str, Any]
    system: str = ""
    tools: tuple[ToolSpec, ...] = ()
    options: ModelOptions = field(default_factory=ModelOptions)
    output: OutputSpec | None = None
    caching: Any = "off"
    model: str = "claude-sonnet-5-5"

    @property
    def request(self) -> ModelRequest:
        return ModelRequest(
            self.model, list(self.messages), self.system, self.tools, self.options, ("run", 1, 1), self.output
        )


QUESTION = user("Hello?")
THEIR_QUESTION = theirs_user(text("Hello?"))
CALL = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}}
SEARCH = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}
CITED = {
    "type": "char_location",
    "cited_text": "x",
    "document_index": 0,
    "document_title": None,
    "start_char_index": 0,
    "end_char_index": 1,
}

CASES = {
    "a text": Case([QUESTION], {"messages": [THEIR_QUESTION]}),
    "a system prompt": Case([QUESTION], {"messages": [THEIR_QUESTION], "system": "Be brief."}, system="Be brief."),
    "all options": Case(
        [QUESTION],
        {
            "messages": [THEIR_QUESTION],
            "max_tokens": 7,
            "stop_sequences": ["END", "\n\n"],
            "thinking": {"type": "adaptive"},
            "metadata": {"user_id": "u1"},
            "service_tier": "auto",
            "output_config": {"effort": "low"},
        },
        options=ModelOptions(
            max_tokens=7,
            stop=("END", "\n\n"),
            extra={
                "thinking": {"type": "adaptive"},
                "metadata": {"user_id": "u1"},
                "service_tier": "auto",
                "output_config": {"effort": "low"},
            },
        ),
    ),
    "sampling": Case(
        [QUESTION],
        {"messages": [THEIR_QUESTION], "extra_body": {"temperature": 0.5, "top_p": 0.9, "top_k": 5}},
        options=ModelOptions(temperature=0.5, top_p=0.9, extra={"top_k": 5}),
        model="claude-sonnet-4-6",
    ),
    "tools": Case([QUESTION], {"messages": [THEIR_QUESTION], "tools": TOOLS}, tools=(ADD, NOW)),
    "any tool": Case(
        [QUESTION],
        {"messages": [THEIR_QUESTION], "tools": TOOLS, "tool_choice": {"type": "any"}},
        tools=(ADD, NOW),
        options=ModelOptions(tool_choice="any"),
    ),
    "no tool": Case(
        [QUESTION],
        {"messages": [THEIR_QUESTION], "tools": TOOLS, "tool_choice": {"type": "none"}},
        tools=(ADD, NOW),
        options=ModelOptions(tool_choice="none"),
    ),
    "one tool": Case(
        [QUESTION],
        {"messages": [THEIR_QUESTION], "tools": TOOLS, "tool_choice": {"type": "tool", "name": "add"}},
        tools=(ADD, NOW),
        options=ModelOptions(tool_choice="add"),
    ),
    "a tool choice without tools": Case(
        [QUESTION], {"messages": [THEIR_QUESTION]}, options=ModelOptions(tool_choice="none")
    ),
    "a tool of the service beside ours": Case(
        [QUESTION],
        {"messages": [THEIR_QUESTION], "tools": [TOOLS[0], {"type": "web_search_20250305", "name": "web_search"}]},
        tools=(ADD,),
        options=ModelOptions(extra={"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ),
    "results": Case(
        [
            QUESTION,
            said("So.", ToolCall("toolu_1", "add", {"a": 1}), ToolCall("toolu_2", "now")),
            user(
                ToolResult("toolu_1", "success", (Text("one"), Json({"two": [2]}))),
                ToolResult("toolu_2", "success"),
            ),
        ],
        {
            "messages": [
                THEIR_QUESTION,
                theirs_said(text("So."), CALL, {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}),
                theirs_user(
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": 'one\n{"two":[2]}'},
                    {"type": "tool_result", "tool_use_id": "toolu_2", "content": "done"},
                ),
            ],
            "tools": TOOLS,
        },
        tools=(ADD, NOW),
    ),
    "results that failed": Case(
        [
            QUESTION,
            said(*(ToolCall(f"toolu_{number}", "now") for number in (1, 2, 3))),
            user(
                ToolResult("toolu_1", "error", (Text("no clock"),)),
                ToolResult("toolu_2", "denied"),
                ToolResult("toolu_3", "interrupted"),
            ),
        ],
        {
            "messages": [
                THEIR_QUESTION,
                theirs_said(
                    *({"type": "tool_use", "id": f"toolu_{number}", "name": "now", "input": {}} for number in (1, 2, 3))
                ),
                theirs_user(
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no clock", "is_error": True},
                    {"type": "tool_result", "tool_use_id": "toolu_2", "content": "denied", "is_error": True},
                    {"type": "tool_result", "tool_use_id": "toolu_3", "content": "interrupted", "is_error": True},
                ),
            ]
        },
    ),
    "a result with an image": Case(
        [
            QUESTION,
            said(ToolCall("toolu_1", "add", {"a": 1})),
            user(ToolResult("toolu_1", "success", (Text("seen"), Text(" "), Image("image/png", PNG)))),
        ],
        {
            "messages": [
                THEIR_QUESTION,
                theirs_said(CALL),
                theirs_user(
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "content": [
                            text("seen"),
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                        ],
                    }
                ),
            ]
        },
    ),
    "images and documents": Case(
        [
            user(
                "Look.",
                Image("image/png", PNG),
                Image("image/png", url="https://example.org/a.png"),
                Document("application/pdf", PNG, name="Report"),
                Document("application/pdf", url="https://example.org/a.pdf"),
                Document.from_bytes("Grüße".encode(), media_type="text/markdown", name="notes.md"),
            )
        ],
        {
            "messages": [
                theirs_user(
                    text("Look."),
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
                    {
                        "type": "document",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": PNG},
                        "title": "Report",
                    },
                    {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"},
                        "title": "notes.md",
                    },
                )
            ]
        },
    ),
    "thinking across cycles": Case(
        [
            QUESTION,
            said(
                Reasoning("Hm.", "c2ln"),
                SIGNED,
                Reasoning(redacted="xyz"),
                SIGNED,
                ToolCall("toolu_1", "add", {"a": 1}),
            ),
            user(ToolResult("toolu_1", "success", (Text("1"),))),
            said(Reasoning("", "c2lnMg"), SIGNED, ToolCall("toolu_2", "add", {"a": 1})),
            user(ToolResult("toolu_2", "success", (Text("1"),))),
        ],
        {
            "messages": [
                THEIR_QUESTION,
                theirs_said(
                    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                    {"type": "redacted_thinking", "data": "xyz"},
                    CALL,
                ),
                theirs_user({"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"}),
                theirs_said({"type": "thinking", "thinking": "", "signature": "c2lnMg"}, CALL | {"id": "toolu_2"}),
                theirs_user({"type": "tool_result", "tool_use_id": "toolu_2", "content": "1"}),
            ],
            "tools": TOOLS[:1],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        },
        tools=(ADD,),
        options=ModelOptions(extra={"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        model="claude-haiku-4-5",
    ),
    "blocks of the service": Case(
        [
            QUESTION,
            said(
                "Let me see.",
                Extension("anthropic", {"block": SEARCH}),
                Extension("anthropic", {"block": FOUND}),
                "It is x",
                Extension("anthropic", {"citations": [CITED]}),
                ".",
            ),
            user("And y?"),
        ],
        {
            "messages": [
                THEIR_QUESTION,
                theirs_said(text("Let me see."), SEARCH, FOUND, text("It is x", citations=[CITED]), text(".")),
                theirs_user(text("And y?")),
            ]
        },
    ),
    "a call by a program": Case(
        [
            QUESTION,
            said(
                Extension("anthropic", {"block": SEARCH}),
                ToolCall("toolu_1", "add", {"a": 1}),
                Extension("anthropic", {"call": {"caller": {"type": "code_execution_20260120", "tool_id": "srv_1"}}}),
                Extension("anthropic", {"container": {"id": "container_1", "expires_at": "2099-01-01T00:00:00Z"}}),
            ),
            user(ToolResult("toolu_1", "success", (Text("1"),))),
        ],
        {
            "messages": [
                THEIR_QUESTION,
                theirs_said(SEARCH, CALL | {"caller": {"type": "code_execution_20260120", "tool_id": "srv_1"}}),
                theirs_user({"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"}),
            ],
            "container": "container_1",
        },
    ),
    "structured output": Case(
        [QUESTION],
        {
            "messages": [THEIR_QUESTION],
            "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": PERSON}},
        },
        options=ModelOptions(extra={"output_config": {"effort": "low"}}),
        output=OutputSpec("Person", "", PERSON, "schema"),
    ),
    "caching, with tools": Case(
        [
            QUESTION,
            said(ToolCall("toolu_1", "add", {"a": 1})),
            user(ToolResult("toolu_1", "success", (Text("1"),))),
            said(ToolCall("toolu_2", "add", {"a": 1})),
            user(ToolResult("toolu_2", "success", (Text("1"),))),
        ],
        {
            "messages": [
                THEIR_QUESTION,
                theirs_said(CALL),
                theirs_user({"type": "tool_result", "tool_use_id": "toolu_1", "content": "1", "cache_control": MARK}),
                theirs_said(CALL | {"id": "toolu_2"}),
                theirs_user({"type": "tool_result", "tool_use_id": "toolu_2", "content": "1", "cache_control": MARK}),
            ],
            "system": [text("Be brief.", cache_control=MARK)],
            "tools": TOOLS,
        },
        system="Be brief.",
        tools=(ADD, NOW),
        caching="5m",
    ),
    "caching without a system prompt, for an hour": Case(
        [QUESTION],
        {
            "messages": [theirs_user(text("Hello?", cache_control={"type": "ephemeral", "ttl": "1h"}))],
            "tools": [TOOLS[0], TOOLS[1] | {"cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        },
        tools=(ADD, NOW),
        caching="1h",
    ),
    "caching of a conversation": Case(
        [QUESTION, said("Hi."), user("And?", Image("image/png", url="https://example.org/a.png"))],
        {
            "messages": [
                theirs_user(text("Hello?", cache_control=MARK)),
                theirs_said(text("Hi.")),
                theirs_user(
                    text("And?"),
                    {
                        "type": "image",
                        "source": {"type": "url", "url": "https://example.org/a.png"},
                        "cache_control": MARK,
                    },
                ),
            ]
        },
        caching="5m",
    ),
    "caching where nothing follows": Case([QUESTION], {"messages": [THEIR_QUESTION]}, caching="5m"),
    "caching by the service's own rule": Case(
        [QUESTION, said("Hi."), user("And?")],
        {
            "messages": [THEIR_QUESTION, theirs_said(text("Hi.")), theirs_user(text("And?"))],
            "cache_control": MARK,
        },
        options=ModelOptions(extra={"cache_control": MARK}),
        caching="5m",
    ),
}
COMPARED = ("anthropic-version", "content-type", "accept", "anthropic-beta")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_official_client_and_we_send_the_same(name: str) -> None:
    case = CASES[name]
    async with LoopbackServer(THEIR_END, END) as server:
        async with anthropic.AsyncAnthropic(api_key="key", base_url=server.url, max_retries=0) as client:
            arguments: Any = {"model": case.model, "max_tokens": 128_000 if "haiku" not in case.model else 64_000}
            async for _ in await client.messages.create(**{**arguments, **case.theirs}, stream=True):
                pass
        provider = AnthropicProvider(base_url=server.url, auth_token="key", caching=case.caching)  # noqa: S106  a key of nobody
        async for _ in provider.stream(case.request):
            pass
        await provider.aclose()
    theirs, ours = server.requests
    assert json.dumps(ours.json, sort_keys=True, indent=1) == json.dumps(theirs.json, sort_keys=True, indent=1)
    assert ours.path == theirs.path == "/v1/messages"
    assert ours.headers["authorization"] == theirs.headers["authorization"] == "Bearer key"
    if name != "sampling":  # which the client, too, sends only where its version is set by hand
        assert {name: ours.headers.get(name) for name in COMPARED} == {
            name: theirs.headers.get(name) for name in COMPARED
        }
