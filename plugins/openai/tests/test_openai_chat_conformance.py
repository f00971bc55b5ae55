"""The contract of providers, held by chat completions."""

from __future__ import annotations

import json
from typing import Any

from becket import Usage
from becket.testing import HttpProviderConformance, Played
from becket_openai import Endpoint, OpenAIProvider


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def call(index: int, arguments: str, **begun: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": "weather"} if begun else {})}
    return {"index": index, **begun, "function": function}


def spent(given: int, written: int) -> dict[str, Any]:
    usage = {
        "prompt_tokens": given,
        "completion_tokens": written,
        "total_tokens": given + written,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    return {**chunk(), "choices": [], "usage": usage}


class TestChatCompletions(HttpProviderConformance):
    said = "Grüße aus Oslo 👋"
    usage = Usage(12, 3, 4, 1)
    key_variable = "OPENROUTER_API_KEY"
    needed = 4  # the finish reason; what follows is the usage and [DONE]

    def connect(self, base_url: str, *, key: str | None, read_seconds: float | None = None) -> OpenAIProvider:
        endpoint = Endpoint() if read_seconds is None else Endpoint(read_seconds=read_seconds)
        return OpenAIProvider("openrouter", base_url=f"{base_url}/v1", api_key=key, endpoint=endpoint)

    def text_reply(self) -> Played:
        first = chunk(role="assistant", content="")
        return Played.sse(
            first, chunk(content="Grüße aus"), chunk(content=" Oslo 👋"), chunk("stop"), spent(12, 3), "[DONE]"
        )

    def tool_reply(self) -> Played:
        first = chunk(role="assistant", content=None, tool_calls=[call(0, "", id="call_1", type="function")])
        fragments = [chunk(tool_calls=[call(0, piece)]) for piece in ('{"ci', 'ty": "Os', 'lo"}')]
        return Played.sse(first, *fragments, chunk("tool_calls"), spent(20, 9), "[DONE]")

    def parallel_tool_reply(self) -> Played:
        return Played.sse(
            chunk(role="assistant", tool_calls=[call(0, '{"city": ', id="call_1", type="function")]),
            chunk(tool_calls=[call(1, '{"city"', id="call_2", type="function")]),
            chunk(tool_calls=[call(0, '"Oslo"}'), call(1, ': "Rome"}')]),
            chunk("tool_calls"),
            spent(20, 18),
            "[DONE]",
        )

    def error_reply(self, status: int, message: str) -> Played:
        return Played.json({"error": {"message": message, "type": "api_error", "code": None}}, status=status)

    def error_event(self, message: str) -> bytes:
        return b"data: %b\n\n" % json.dumps({"error": {"message": message, "type": "server_error"}}).encode()

    def unknown_event(self) -> bytes:
        return b'data: {"id":"x","object":"chat.completion.becket","choices":[],"becket":1}\n\n'
