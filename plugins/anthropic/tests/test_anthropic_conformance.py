"""The contract of providers that speak HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from becket import Usage
from becket.testing import HttpProviderConformance, Played
from becket_anthropic import AnthropicProvider, Endpoint


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    begun = {"type": "content_block_start", "index": index, "content_block": start}
    pieces = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return [begun, *pieces, {"type": "content_block_stop", "index": index}]


def call(index: int, city: str) -> list[dict[str, Any]]:
    half = {"type": "input_json_delta", "partial_json": '{"city": '}
    rest = {"type": "input_json_delta", "partial_json": f'"{city}"}}'}
    start = {"type": "tool_use", "id": f"toolu_{index}", "name": "weather", "input": {}}
    return block(index, start, half, rest)


def answered(*blocks: list[dict[str, Any]], stop: str = "end_turn") -> Played:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2, "output_tokens": 1}
    return Played.sse(
        {"type": "message_start", "message": {"id": "msg_1", "usage": usage}},
        *(one for events in blocks for one in events),
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    )


class TestAnthropic(HttpProviderConformance):
    model = "claude-sonnet-5-5"
    said = "Grüße aus Köln 🪢"
    usage = Usage(16, 7, 4)
    key_variable = "ANTHROPIC_API_KEY"

    def connect(self, base_url: str, *, key: str | None, read_seconds: float | None = None) -> AnthropicProvider:
        endpoint = Endpoint(default_model=self.model, read_seconds=read_seconds or 300)
        return AnthropicProvider(base_url=base_url, api_key=key, endpoint=endpoint)

    def text_reply(self) -> Played:
        deltas = ({"type": "text_delta", "text": one} for one in ("Grüße ", "aus Kö", "ln 🪢"))
        return answered(block(0, {"type": "text", "text": ""}, *deltas))

    def tool_reply(self) -> Played:
        thought = block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Look it up."},
            {"type": "signature_delta", "signature": "c2ln"},
        )
        return answered(thought, call(1, "Oslo"), stop="tool_use")

    def parallel_tool_reply(self) -> Played:
        return answered(call(0, "Oslo"), call(1, "Rome"), stop="tool_use")

    def error_reply(self, status: int, message: str) -> Played:
        error: Any = {"type": "error", "error": {"type": "api_error", "message": message}, "request_id": "req_1"}
        return Played.json(error, status=status, headers={"request-id": "req_1"})

    def error_event(self, message: str) -> bytes:
        return b'data: {"type": "error", "error": {"type": "overloaded_error", "message": "%b"}}\n\n' % message.encode()
