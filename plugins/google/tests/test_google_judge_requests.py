"""Google's own client as the judge of requests: the same conversation comes to the same JSON.

The client writes some keys as protobuf has them (`mime_type`), bytes in the alphabet of URLs, a `generationConfig` that
is empty, and functions behind all other tools; the service takes that as well, and it is brought to one form here.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from becket import (
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
from becket_google import GoogleProvider
from becket_google._contents import OWN_ID, SKIP_SIGNATURE
from google import genai
from google.genai import types

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

DONE = Played.sse({"candidates": [{"content": {"parts": [{"text": "ok"}], "role": "model"}, "finishReason": "STOP"}]})
PNG = b"\x89PNG\xfb\xff\xfe"
SEAL = b"\xfb\xef\xbethought"
SEALED = base64.b64encode(SEAL).decode()
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"at": {"type": "string", "description": "where"}, "mime_type": {"type": "integer"}},
    "required": ["at"],
    "additionalProperties": False,
}


@dataclass
class Case:
    """One conversation, in our words and in the client's."""

    messages: Sequence[Message]
    contents: list[types.Content]
    ours: dict[str, Any] = field(default_factory=dict)
    theirs: dict[str, Any] = field(default_factory=dict)
    model: str = "gemini-2.5-flash"
    safety: dict[str, str] = field(default_factory=dict)


def user(*parts: types.Part | str) -> types.Content:
    return types.Content(role="user", parts=[types.Part(text=p) if isinstance(p, str) else p for p in parts])


def model(*parts: types.Part | str) -> types.Content:
    return types.Content(role="model", parts=[types.Part(text=p) if isinstance(p, str) else p for p in parts])


def called(name: str, args: dict[str, Any], call_id: str | None = None, seal: bytes | None = None) -> types.Part:
    return types.Part(function_call=types.FunctionCall(name=name, args=args, id=call_id), thought_signature=seal)


def responded(name: str, response: dict[str, Any], call_id: str | None = None, **more: Any) -> types.Part:
    return types.Part(function_response=types.FunctionResponse(name=name, response=response, id=call_id, **more))


def says(*blocks: Any) -> Message:
    return Message("assistant", blocks)


def asks(*blocks: Any) -> Message:
    return Message("user", tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def seal(**of: Any) -> Extension:
    return Extension("google", {"thoughtSignature": SEALED, **of})


DECLARED = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(name="look", description="Look.", parameters_json_schema=SCHEMA),
        types.FunctionDeclaration(name="wait", description="Wait."),
    ]
)
TOOLS = (
    ToolSpec("look", "Look.", SCHEMA),
    ToolSpec("wait", "Wait.", {"type": "object", "properties": {}}),
)


def choosing(mode: str, *names: str) -> types.ToolConfig:
    config = types.FunctionCallingConfig(
        mode=types.FunctionCallingConfigMode(mode), allowed_function_names=list(names) or None
    )
    return types.ToolConfig(function_calling_config=config)


HELLO = [asks("hello \u2603\U0001f600")]
HELLO_THEIRS = [user("hello \u2603\U0001f600")]
BLOB = types.Part(inline_data=types.Blob(mime_type="image/png", data=PNG))
IMAGE = Image.from_bytes(PNG, media_type="image/png")
BLOB_IN_RESPONSE = types.FunctionResponsePart(inline_data=types.FunctionResponseBlob(mime_type="image/png", data=PNG))

CASES = {
    "a text": Case(HELLO, HELLO_THEIRS),
    "a system prompt": Case(HELLO, HELLO_THEIRS, {"system": "Be kind."}, {"system_instruction": "Be kind."}),
    "sampling": Case(
        HELLO,
        HELLO_THEIRS,
        {"options": ModelOptions(temperature=0.5, top_p=0.9, max_tokens=50, stop=("END", "STOP"), seed=7)},
        {"temperature": 0.5, "top_p": 0.9, "max_output_tokens": 50, "stop_sequences": ["END", "STOP"], "seed": 7},
    ),
    "zero": Case(HELLO, HELLO_THEIRS, {"options": ModelOptions(temperature=0, seed=0)}, {"temperature": 0, "seed": 0}),
    "tools": Case(HELLO, HELLO_THEIRS, {"tools": TOOLS}, {"tools": [DECLARED]}),
    "any tool": Case(
        HELLO,
        HELLO_THEIRS,
        {"tools": TOOLS, "options": ModelOptions(tool_choice="any")},
        {"tools": [DECLARED], "tool_config": choosing("ANY")},
    ),
    "no tool": Case(
        HELLO,
        HELLO_THEIRS,
        {"tools": TOOLS, "options": ModelOptions(tool_choice="none")},
        {"tools": [DECLARED], "tool_config": choosing("NONE")},
    ),
    "one tool": Case(
        HELLO,
        HELLO_THEIRS,
        {"tools": TOOLS, "options": ModelOptions(tool_choice="look")},
        {"tools": [DECLARED], "tool_config": choosing("ANY", "look")},
    ),
    "a schema": Case(
        HELLO,
        HELLO_THEIRS,
        {"output": OutputSpec("Place", "A place.", SCHEMA, "schema")},
        {"response_mime_type": "application/json", "response_json_schema": SCHEMA},
    ),
    "thinking and what else the service has": Case(
        HELLO,
        HELLO_THEIRS,
        {
            "tools": TOOLS,
            "options": ModelOptions(
                extra={
                    "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 512},
                    "topK": 40,
                    "cachedContent": "cachedContents/x",
                    "labels": {"team": "blue"},
                    "tools": [{"codeExecution": {}}],
                    "mediaResolution": "MEDIA_RESOLUTION_LOW",
                }
            ),
        },
        {
            "tools": [DECLARED, types.Tool(code_execution=types.ToolCodeExecution())],
            "thinking_config": types.ThinkingConfig(include_thoughts=True, thinking_budget=512),
            "top_k": 40,
            "cached_content": "cachedContents/x",
            "labels": {"team": "blue"},
            "media_resolution": types.MediaResolution.MEDIA_RESOLUTION_LOW,
        },
    ),
    "safety": Case(
        HELLO,
        HELLO_THEIRS,
        {},
        {
            "safety_settings": [
                types.SafetySetting(
                    category=types.HarmCategory.HARM_CATEGORY_HARASSMENT,
                    threshold=types.HarmBlockThreshold.BLOCK_ONLY_HIGH,
                )
            ]
        },
        safety={"HARM_CATEGORY_HARASSMENT": "BLOCK_ONLY_HIGH"},
    ),
    "images and documents": Case(
        [asks("compare", IMAGE, Document("application/pdf", url="https://a.example/b.pdf"))],
        [user("compare", BLOB, types.Part.from_uri(file_uri="https://a.example/b.pdf", mime_type="application/pdf"))],
    ),
    "several turns": Case(
        [asks("1+1?"), says(Reasoning("easy", signature="of another"), Text("2")), asks("+1?")],
        [user("1+1?"), model("2"), user("+1?")],
    ),
    "a call and its result": Case(
        [
            asks("go"),
            says(Text("Looking."), ToolCall("fc-1", "look", {"at": "x", "deep": {"mime_type": [1, None]}})),
            asks(ToolResult("fc-1", "success", (Text("blue"),))),
        ],
        [
            user("go"),
            model("Looking.", called("look", {"at": "x", "deep": {"mime_type": [1, None]}}, "fc-1")),
            user(responded("look", {"output": "blue"}, "fc-1")),
        ],
        {"tools": TOOLS},
        {"tools": [DECLARED]},
    ),
    "calls without ids": Case(
        [
            asks("go"),
            says(ToolCall(f"{OWN_ID}1-1", "look", {"at": "x"}), ToolCall(f"{OWN_ID}1-2", "wait")),
            asks(
                ToolResult(f"{OWN_ID}1-1", "success", (Json({"blue": True}),)),
                ToolResult(f"{OWN_ID}1-2", "denied", (Text("not now"),)),
            ),
        ],
        [
            user("go"),
            model(called("look", {"at": "x"}), called("wait", {})),
            user(responded("look", {"output": {"blue": True}}), responded("wait", {"error": "not now"})),
        ],
    ),
    "signatures": Case(
        [
            asks("go"),
            says(
                Reasoning("hm"),
                Text("I will look."),
                seal(chars=5),
                ToolCall("a", "look", {"at": "x"}),
                seal(call="a"),
                ToolCall("b", "look", {"at": "y"}),
            ),
            asks(ToolResult("a", "success", (Text("1"),)), ToolResult("b", "error", (Text("no"),))),
            says(Text("One."), seal(chars=0)),
            asks("and?"),
        ],
        [
            user("go"),
            model(
                "I will ",
                types.Part(text="look.", thought_signature=SEAL),
                called("look", {"at": "x"}, "a", SEAL),
                called("look", {"at": "y"}, "b"),
            ),
            user(responded("look", {"output": "1"}, "a"), responded("look", {"error": "no"}, "b")),
            model("One.", types.Part(text="", thought_signature=SEAL)),
            user("and?"),
        ],
        model="gemini-3-pro-preview",
    ),
    "a call of another model": Case(
        [
            asks("go"),
            says(
                ToolCall("toolu_1", "look", malformed=MalformedArguments("{", "it ends")), ToolCall("toolu_2", "wait")
            ),
            asks(ToolResult("toolu_1", "error", (Text("it ends"),)), ToolResult("toolu_2", "success")),
        ],
        [
            user("go"),
            # A text in base64, as it stands: `skip_thought_signature_validator`.
            model(
                called("look", {}, "toolu_1", base64.urlsafe_b64decode(SKIP_SIGNATURE)),
                called("wait", {}, "toolu_2"),
            ),
            user(responded("look", {"error": "it ends"}, "toolu_1"), responded("wait", {"output": "done"}, "toolu_2")),
        ],
        model="gemini-3-pro-preview",
    ),
    "an image in a result": Case(
        [
            asks("go"),
            says(ToolCall("a", "look"), seal(call="a")),
            asks(ToolResult("a", "success", (Text("see"), IMAGE))),
        ],
        [
            user("go"),
            model(called("look", {}, "a", SEAL)),
            user(responded("look", {"output": "see"}, "a", parts=[BLOB_IN_RESPONSE])),
        ],
        model="gemini-3-pro-preview",
    ),
    "an image in a result of an earlier model": Case(
        [asks("go"), says(ToolCall("a", "look")), asks(ToolResult("a", "success", (Text("see"), IMAGE)))],
        [user("go"), model(called("look", {}, "a")), user(responded("look", {"output": "see"}, "a"), BLOB)],
    ),
    "parts of the service's own": Case(
        [
            asks("go"),
            says(
                Extension("google", {"part": {"executableCode": {"language": "PYTHON", "code": "1"}}}),
                Extension("google", {"part": {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}}),
                Text("[image/png]"),
                Extension(
                    "google",
                    {"note": True, "part": {"inlineData": {"mimeType": "image/png", "data": IMAGE.data}}},
                ),
            ),
            asks("more"),
        ],
        [
            user("go"),
            model(
                types.Part(executable_code=types.ExecutableCode(language=types.Language.PYTHON, code="1")),
                types.Part(
                    code_execution_result=types.CodeExecutionResult(outcome=types.Outcome.OUTCOME_OK, output="1")
                ),
                BLOB,
            ),
            user("more"),
        ],
    ),
}

OWN = {"args", "response", "parametersJsonSchema", "responseJsonSchema", "labels"}
"""Keys below which names are the user's, and stay as they are."""


def canonical(plain: Any) -> Any:
    """JSON in one form: camel case, and bytes in the alphabet of base64 that the service uses."""
    if isinstance(plain, list):
        return [canonical(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    named = {re.sub(r"_(\w)", lambda match: match[1].upper(), key): value for key, value in plain.items()}
    made = {key: value if key in OWN else canonical(value) for key, value in named.items()}
    if made.get("generationConfig") == {}:
        del made["generationConfig"]
    if "tools" in made:
        made["tools"].sort(key=list)
    for key in ("data", "thoughtSignature"):
        if isinstance(made.get(key), str):
            made[key] = made[key].replace("-", "+").replace("_", "/")
    return made


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # Google's client knows no other
@pytest.mark.parametrize("name", CASES)
async def test_both_send_the_same_request(name: str) -> None:
    case = CASES[name]
    async with LoopbackServer(DONE) as server:
        provider = GoogleProvider(api_key="test-key", base_url=server.url, safety=case.safety)
        request = ModelRequest(case.model, case.messages, **case.ours)
        assert [event async for event in provider.stream(request)]
        await provider.aclose()
        async with httpx2.AsyncClient() as http:
            options = types.HttpOptions(base_url=server.url, httpx_async_client=http)
            client = genai.Client(api_key="test-key", http_options=options)
            stream = await client.aio.models.generate_content_stream(
                model=case.model,
                contents=case.contents,  # type: ignore[arg-type]  # a list of contents is one of the forms
                config=types.GenerateContentConfig(**case.theirs),
            )
            assert [item async for item in stream]
    mine, judge = server.requests
    assert canonical(mine.json) == canonical(judge.json)
    assert (mine.method, mine.path) == (judge.method, judge.path)
    assert {name: mine.headers[name] for name in ("x-goog-api-key", "content-type")} == {
        name: judge.headers[name] for name in ("x-goog-api-key", "content-type")
    }


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # as above
async def test_vertex_ai_is_asked_at_the_same_place() -> None:
    """Its express mode, with an API key."""
    async with LoopbackServer(DONE) as server:
        provider = GoogleProvider(api_key="test-key", base_url=server.url, vertex=True)
        assert [event async for event in provider.stream(ModelRequest("gemini-2.5-flash", HELLO))]
        await provider.aclose()
        async with httpx2.AsyncClient() as http:
            options = types.HttpOptions(base_url=server.url, httpx_async_client=http)
            client = genai.Client(vertexai=True, api_key="test-key", http_options=options)
            stream = await client.aio.models.generate_content_stream(model="gemini-2.5-flash", contents="x")
            assert [item async for item in stream]
    mine, judge = server.requests
    assert mine.path == judge.path
    assert mine.headers["x-goog-api-key"] == judge.headers["x-goog-api-key"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # as above
async def test_models_are_asked_for_at_the_same_place() -> None:
    listing = {"models": [{"name": "models/gemini-2.5-flash", "supportedGenerationMethods": ["generateContent"]}]}
    async with LoopbackServer(Played.json(listing)) as server:
        provider = GoogleProvider(api_key="test-key", base_url=server.url)
        ours = [info.name for info in await provider.list_models()]
        await provider.aclose()
        async with httpx2.AsyncClient() as http:
            options = types.HttpOptions(base_url=server.url, httpx_async_client=http)
            client = genai.Client(api_key="test-key", http_options=options)
            theirs = [item.name async for item in await client.aio.models.list()]
    mine, judge = server.requests
    assert mine.path.partition("?")[0] == judge.path.partition("?")[0]
    assert [f"models/{name}" for name in ours] == theirs
