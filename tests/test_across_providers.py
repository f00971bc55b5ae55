"""One conversation, several services: what one has answered can go on with any other, and come back."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from anthropic.types import MessageParam
from becket import Agent, Message, MessageAdded, Reasoning, Runtime, Text, hookimpl, tool
from becket.testing import LoopbackServer, Played
from becket_anthropic import AnthropicProvider
from becket_google import GoogleProvider
from becket_openai import OpenAIProvider
from google.genai.types import Content
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import ResponseInputItemParam
from pydantic import TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

SEAL = "c2VhbGVkIHRob3VnaHQ="  # what the service has sealed its reasoning with, in each of the streams
THOUGHT = "two sums are wanted"
CALLS = [("call-a", {"a": 2, "b": 2}), ("call-b", {"a": 3, "b": 3})]


@tool(effect="none")
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


# -- what the services send --------------------------------------------------------------------------------------------


def _chat(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _chat_calls() -> Played:
    pieces = [
        {"index": at, "id": name, "type": "function", "function": {"name": "add", "arguments": json.dumps(arguments)}}
        for at, (name, arguments) in enumerate(CALLS)
    ]
    called = [_chat(tool_calls=[piece]) for piece in pieces]
    return Played.sse(_chat(reasoning_content=THOUGHT), *called, _chat("tool_calls"), "[DONE]")


def _chat_text() -> Played:
    return Played.sse(_chat(content="4 and 6."), _chat("stop"), "[DONE]")


def _responses(*items: dict[str, Any]) -> Played:
    events: list[dict[str, Any]] = []
    for at, item in enumerate(items):
        events += (
            {"type": "response.output_item.added", "output_index": at, "item": item},
            {"type": "response.output_item.done", "output_index": at, "item": item},
        )
    done = {"id": "resp_1", "status": "completed", "output": list(items), "usage": None}
    created = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}}
    return Played.sse(created, *events, {"type": "response.completed", "response": done})


def _responses_calls() -> Played:
    summary = [{"type": "summary_text", "text": THOUGHT}]
    thought = {"id": "rs_1", "type": "reasoning", "summary": summary, "encrypted_content": SEAL}
    called = [
        {
            "id": f"fc_{name}",
            "type": "function_call",
            "status": "completed",
            "call_id": name,
            "name": "add",
            "arguments": json.dumps(arguments),
        }
        for name, arguments in CALLS
    ]
    return _responses(thought, *called)


def _responses_text() -> Played:
    content = [{"type": "output_text", "text": "4 and 6.", "annotations": []}]
    return _responses(
        {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}
    )


def _messages(stop: str, *blocks: tuple[dict[str, Any], *tuple[dict[str, Any], ...]]) -> Played:
    usage = {"input_tokens": 9, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    for at, (start, *deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": at, "content_block": start})
        events += ({"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas)
        events.append({"type": "content_block_stop", "index": at})
    events.append({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 20}})
    return Played.sse(*events, {"type": "message_stop"})


def _messages_calls() -> Played:
    thought = (
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": THOUGHT},
        {"type": "signature_delta", "signature": SEAL},
    )
    called = (
        (
            {"type": "tool_use", "id": name, "name": "add", "input": {}},
            {"type": "input_json_delta", "partial_json": json.dumps(arguments)},
        )
        for name, arguments in CALLS
    )
    return _messages("tool_use", thought, *called)


def _messages_text() -> Played:
    return _messages("end_turn", ({"type": "text", "text": ""}, {"type": "text_delta", "text": "4 and 6."}))


def _gemini(*parts: dict[str, Any]) -> Played:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP", "index": 0}
    return Played.sse({"candidates": [candidate], "modelVersion": "m", "responseId": "r"})


def _gemini_calls() -> Played:
    called = [{"functionCall": {"name": "add", "args": arguments}} for _, arguments in CALLS]
    return _gemini({"text": THOUGHT, "thought": True}, {**called[0], "thoughtSignature": SEAL}, *called[1:])


def _gemini_text() -> Played:
    return _gemini({"text": "4 and 6."})


# -- what the services take --------------------------------------------------------------------------------------------


def _pairs_of_chat(body: Any) -> tuple[list[str], list[str]]:
    made = [call["id"] for message in body["messages"] for call in message.get("tool_calls") or ()]
    return made, [message["tool_call_id"] for message in body["messages"] if message["role"] == "tool"]


def _pairs_of_responses(body: Any) -> tuple[list[str], list[str]]:
    made = [item["call_id"] for item in body["input"] if item.get("type") == "function_call"]
    return made, [item["call_id"] for item in body["input"] if item.get("type") == "function_call_output"]


def _pairs_of_messages(body: Any) -> tuple[list[str], list[str]]:
    blocks = [block for message in body["messages"] for block in message["content"] if isinstance(block, dict)]
    made = [block["id"] for block in blocks if block["type"] == "tool_use"]
    return made, [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]


def _pairs_of_gemini(body: Any) -> tuple[list[str], list[str]]:
    parts = [part for content in body["contents"] for part in content["parts"]]
    made = [part["functionCall"]["name"] for part in parts if "functionCall" in part]
    return made, [part["functionResponse"]["name"] for part in parts if "functionResponse" in part]


@dataclass(frozen=True)
class Service:
    """A service: our provider for it, what it sends, and the official types of what it takes."""

    make: Callable[[str], Any]
    calls: Callable[[], Played]
    text: Callable[[], Played]
    pairs: Callable[[Any], tuple[list[str], list[str]]]
    taken: Callable[[Any], object]


SERVICES = {
    "chat": Service(
        lambda url: OpenAIProvider("vllm", base_url=url, api_key="none", api="chat"),
        _chat_calls,
        _chat_text,
        _pairs_of_chat,
        lambda body: TypeAdapter(list[ChatCompletionMessageParam]).validate_python(body["messages"]),
    ),
    "responses": Service(
        lambda url: OpenAIProvider("openai", base_url=url, api_key="none", api="responses"),
        _responses_calls,
        _responses_text,
        _pairs_of_responses,
        lambda body: TypeAdapter(list[ResponseInputItemParam]).validate_python(body["input"]),
    ),
    "messages": Service(
        lambda url: AnthropicProvider(base_url=url, api_key="none"),
        _messages_calls,
        _messages_text,
        _pairs_of_messages,
        lambda body: TypeAdapter(list[MessageParam]).validate_python(body["messages"]),
    ),
    "gemini": Service(
        lambda url: GoogleProvider(base_url=url, api_key="none"),
        _gemini_calls,
        _gemini_text,
        _pairs_of_gemini,
        lambda body: [Content.model_validate(content) for content in body["contents"]],
    ),
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that sets nothing of the services."""
    for prefix in ("OPENAI", "ANTHROPIC", "GOOGLE", "GEMINI", "AZURE_OPENAI"):
        for name in ("API_KEY", "BASE_URL", "AUTH_TOKEN"):
            monkeypatch.delenv(f"{prefix}_{name}", raising=False)


class _Provides:
    """A plugin with one provider."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    @hookimpl
    def register_providers(self) -> list[Any]:
        return [self._provider]


async def _run(service: Service, history: list[Message], *replies: Played) -> list[Any]:
    """Ask, call the tools that are asked for, and add all of it to `history`; the bodies that the service was sent."""
    async with LoopbackServer(*replies) as server:
        provider = service.make(server.url)
        async with Runtime(plugins=[_Provides(provider)], discover=False) as runtime:
            agent = Agent(f"{provider.name}:model-1", [add], runtime=runtime)
            before = list(history)
            history.append(Message("user", (Text("What are the sums?"),)))
            stream = agent.stream_async("What are the sums?", history=before)
            history.extend([event.message async for event in stream if isinstance(event, MessageAdded)])
        await server.emptied()
        return [request.json for request in server.requests]


async def _tool_cycle(service: Service, history: list[Message]) -> list[Any]:
    bodies = await _run(service, history, service.calls(), service.text())
    assert [message.role for message in history[-4:]] == ["user", "assistant", "user", "assistant"]
    assert [block.text for block in history[-2].tool_results] == ["4", "6"]
    assert any(isinstance(block, Reasoning) and block.text == THOUGHT for block in history[-3].content)
    return bodies


def _checked(service: Service, body: Any, calls: int) -> str:
    """The body as text; the service's own types take it, and each call in it has its result."""
    service.taken(body)
    made, answered = service.pairs(body)
    assert made == answered
    assert len(made) == calls
    return json.dumps(body)


@pytest.mark.parametrize(("first", "then"), [*itertools.permutations(SERVICES, 2)])
async def test_another_service_goes_on_with_what_one_has_said(first: str, then: str) -> None:
    """Its calls and results are there, its reasoning and what it has sealed are not; and it still has them itself."""
    one, other, history = SERVICES[first], SERVICES[then], list[Message]()
    bodies = await _tool_cycle(one, history)
    own = _checked(one, bodies[1], 2)
    if first != "chat":  # which has nothing sealed
        assert SEAL in own
    foreign = _checked(other, (await _run(other, history, other.text()))[0], 2)
    assert "What are the sums?" in foreign
    assert "4 and 6." in foreign
    assert SEAL not in foreign
    if (first, then) != ("gemini", "chat"):  # unsealed, it might be an open model's own, and those want it back
        assert THOUGHT not in foreign
    back = _checked(one, (await _run(one, history, one.text()))[0], 2)
    assert back.count("4 and 6.") == 2
    if first == "gemini":
        assert SEAL in back


@pytest.mark.parametrize("name", SERVICES)
async def test_all_of_them_in_turn_are_one_conversation(name: str) -> None:
    history = list[Message]()
    for service in SERVICES.values():
        await _tool_cycle(service, history)
    last = SERVICES[name]
    assert _checked(last, (await _run(last, history, last.text()))[0], 8).count("4 and 6.") == 4


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "messages"])
async def test_what_was_sent_is_sent_again_as_it_was(name: str) -> None:
    """With what is new behind it: services know a prompt again by its beginning. Messages has marks for that."""
    service = SERVICES[name]
    first, second = await _run(service, list[Message](), service.calls(), service.text())
    key = next(key for key in ("messages", "input", "contents") if key in first)
    assert second[key][: len(first[key])] == first[key]
    assert len(second[key]) > len(first[key])
