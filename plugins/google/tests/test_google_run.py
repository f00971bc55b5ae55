"""Whole runs: signatures go back where they stood, answers come as output, and errors are tried again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
import pytest
from becket import Agent, Message, Reasoning, Runtime, Text, ToolCall, ToolResult, Usage, hookimpl, tool
from becket.testing import LoopbackServer, Played
from becket_google import GoogleProvider
from becket_google._contents import SKIP_SIGNATURE

pytestmark = pytest.mark.anyio

MODEL = "google:gemini-3-flash-preview"
SEALS = "EvwBCvkB/+first==", "EvwBCvkB/+text=="


def chunk(*parts: dict[str, Any], reason: str | None = None, **usage: int) -> dict[str, Any]:
    """A chunk as the service writes it."""
    end = {} if reason is None else {"finishReason": reason}
    return {
        "candidates": [{"content": {"parts": list(parts), "role": "model"}, **end}],
        "usageMetadata": usage,
        "responseId": "r-1",
    }


LOOKING = Played.sse(
    chunk({"text": "I need both.", "thought": True}),
    chunk({"functionCall": {"name": "look", "args": {"at": "sky"}, "id": "fc-1"}, "thoughtSignature": SEALS[0]}),
    chunk({"functionCall": {"name": "look", "args": {"at": "sea"}, "id": "fc-2"}}),
    chunk({"text": ""}, reason="STOP", promptTokenCount=20, candidatesTokenCount=8, thoughtsTokenCount=12),
)
SEEN = Played.sse(
    chunk({"text": "Both are"}),
    chunk({"text": " blue."}),
    chunk({"text": "", "thoughtSignature": SEALS[1]}, reason="STOP", promptTokenCount=50, candidatesTokenCount=4),
)


@tool(effect="read", reach="local")
def look(at: str) -> str:
    """Say what colour something has.

    Args:
        at: What to look at.
    """
    return f"the {at} is blue"


def agent(server: LoopbackServer, **more: Any) -> Agent:
    """An agent whose model is at the server."""
    provider = GoogleProvider(api_key="test-key", base_url=server.url)
    return Agent(model=MODEL, tools=[look], runtime=Runtime(plugins=[Plugin(provider)], discover=False), **more)


class Plugin:
    """Brings one provider."""

    def __init__(self, provider: GoogleProvider) -> None:
        self._provider = provider

    @hookimpl
    def register_providers(self) -> list[GoogleProvider]:
        return [self._provider]


async def test_signatures_go_back_where_they_stood() -> None:
    """With the call they came with, unchanged, and thoughts do not."""
    async with LoopbackServer(LOOKING, SEEN, SEEN) as server:
        session = agent(server).session("s")
        result = await session.invoke_async("What colour are the sky and the sea?")
        await session.invoke_async("Sure?")
        contents = server.requests[2].json["contents"]
    assert result.text == "Both are blue."
    assert result.usage == Usage(input_tokens=70, output_tokens=24, reasoning_tokens=12)
    assert contents[1:] == [
        {
            "role": "model",
            "parts": [
                {
                    "functionCall": {"name": "look", "args": {"at": "sky"}, "id": "fc-1"},
                    "thoughtSignature": SEALS[0],
                },
                {"functionCall": {"name": "look", "args": {"at": "sea"}, "id": "fc-2"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "look", "response": {"output": "the sky is blue"}, "id": "fc-1"}},
                {"functionResponse": {"name": "look", "response": {"output": "the sea is blue"}, "id": "fc-2"}},
            ],
        },
        {"role": "model", "parts": [{"text": "Both are blue."}, {"text": "", "thoughtSignature": SEALS[1]}]},
        {"role": "user", "parts": [{"text": "Sure?"}]},
    ]
    assert server.requests[1].json["contents"] == contents[:3]


async def test_a_stream_that_is_left_in_the_middle_is_left_by_the_provider() -> None:
    """The page that becket started from, with a tool cycle before: the service sees the client go."""
    stalled = Played.sse(chunk({"text": "Both are"}), anyio.sleep_forever)
    seen: list[str] = []
    async with LoopbackServer(LOOKING, stalled) as server:
        async for event in agent(server).stream_async("What colour are the sky and the sea?"):
            if "current_tool_use" in event:
                seen.append(event["current_tool_use"]["name"])
            if "data" in event:
                seen.append(event["data"])
                break
        await (await server.request(2)).gone()
    assert seen == ["look", "look", "Both are"]


async def test_a_history_of_another_model_can_go_on_here() -> None:
    """Its reasoning stays behind, and its calls get what stands for a signature."""
    history = [
        Message("user", (Text("go"),)),
        Message(
            "assistant",
            (Reasoning("hm", signature="x"), Text("Looking."), ToolCall("toolu_1", "look", {"at": "sky"})),
        ),
        Message("user", (ToolResult("toolu_1", "success", (Text("blue"),)),)),
    ]
    async with LoopbackServer(SEEN) as server:
        await agent(server).invoke_async(history)
        contents = server.requests[0].json["contents"]
    assert contents[1]["parts"] == [
        {"text": "Looking."},
        {
            "functionCall": {"name": "look", "args": {"at": "sky"}, "id": "toolu_1"},
            "thoughtSignature": SKIP_SIGNATURE,
        },
    ]


@dataclass
class Colour:
    """A colour.

    Attributes:
        name: Its name.
    """

    name: str


async def test_a_schema_stands_beside_tools_where_the_model_takes_both() -> None:
    """Since Gemini 3; earlier models give their output by a tool."""
    said = Played.sse(chunk({"text": '{"name": "blue"}'}, reason="STOP"))
    by_tool = Played.sse(chunk({"functionCall": {"name": "final_output", "args": {"name": "blue"}}}, reason="STOP"))
    async with LoopbackServer(said, by_tool) as server:
        asked = agent(server, output=Colour)
        new = await asked.invoke_async("The sky?")
        old = await asked.replace(model="google:gemini-2.5-flash").invoke_async("The sky?")
        first, second = (request.json for request in server.requests)
    assert new.output == old.output == Colour("blue")
    assert first["generationConfig"]["responseJsonSchema"]["properties"]["name"]["type"] == "string"
    assert "generationConfig" not in second
    assert [item["name"] for item in second["tools"][0]["functionDeclarations"]] == ["look", "final_output"]


async def test_an_answer_that_is_none_is_asked_for_again() -> None:
    """Where nothing of it was shown: a call that the model has garbled is worth another try."""
    garbled = Played.sse(
        {"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "call: look(at="}]}
    )
    async with LoopbackServer(garbled, SEEN) as server:
        seen = [event async for event in agent(server).stream_async("go")]
    retries = [event for event in seen if event.type == "retry_scheduled"]
    assert ["cannot be read: call: look(at=" in event.reason for event in retries] == [True]
    assert seen[-1]["result"].text == "Both are blue."


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the command runs in a process of its own
async def test_the_command_line_needs_a_key_and_no_more(tmp_path: Any) -> None:
    """`becket run -m google:…`, with a tool: both requests, and the answer that is printed."""

    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "becket_cli", "run", "-m", MODEL, "-t", "calculator", "What is 6 * 7?"]
        kept = {name: value for name, value in os.environ.items() if name not in ("GOOGLE_API_KEY", "GEMINI_API_KEY")}
        return subprocess.run(  # noqa: S603  our own command
            command, cwd=tmp_path, env={**kept, **environment}, capture_output=True, text=True, check=False
        )

    called = {"functionCall": {"name": "calculator", "args": {"expression": "6*7"}}, "thoughtSignature": SEALS[0]}
    asking = Played.sse(chunk(called, reason="STOP"))
    answering = Played.sse(chunk({"text": "It is 42."}, reason="STOP"))
    async with LoopbackServer(asking, answering) as server:
        there = {"GOOGLE_GEMINI_BASE_URL": server.url, "XDG_CONFIG_HOME": str(tmp_path)}
        without = await anyio.to_thread.run_sync(lambda: run(**there))
        assert server.requests == []
        done = await anyio.to_thread.run_sync(lambda: run(**there, GEMINI_API_KEY="test-key"))
        second = server.requests[1].json["contents"]
    assert "GOOGLE_API_KEY" in without.stderr
    assert without.returncode != 0
    assert "It is 42." in done.stdout
    assert second[1]["parts"] == [called]
    assert second[2]["parts"] == [{"functionResponse": {"name": "calculator", "response": {"output": "42"}}}]
    assert json.dumps(server.requests[0].json).count("calculator")
