"""The contract of providers, held by the Responses API."""

from __future__ import annotations

import json
from typing import Any

from becket import Usage
from becket.testing import HttpProviderConformance, Played
from becket_openai import Endpoint, OpenAIProvider


def message(*pieces: str) -> list[dict[str, Any]]:
    """The events of a message in these pieces, and the item that it comes to."""
    bare = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    at = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
    part = {"type": "output_text", "text": "".join(pieces), "annotations": []}
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": bare},
        {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **at, "delta": piece} for piece in pieces),
        {"type": "response.output_text.done", **at, "text": part["text"]},
        {"type": "response.content_part.done", **at, "part": part},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {**bare, "status": "completed", "content": [part]},
        },
    ]


def begun(index: int) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": called(index, "")}


def fragment(index: int, text: str) -> dict[str, Any]:
    return {
        "type": "response.function_call_arguments.delta",
        "output_index": index,
        "item_id": f"fc_{index}",
        "delta": text,
    }


def ended(index: int, arguments: str) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": called(index, arguments)}


def called(index: int, arguments: str) -> dict[str, Any]:
    return {
        "id": f"fc_{index}",
        "type": "function_call",
        "status": "completed" if arguments else "in_progress",
        "call_id": f"call_{index}",
        "name": "weather",
        "arguments": arguments,
    }


def replied(given: int, written: int, *events: dict[str, Any]) -> Played:
    output = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    usage = {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": given + written,
    }
    response = {"id": "resp_1", "object": "response", "status": "in_progress", "output": [], "usage": None}
    done = {**response, "status": "completed", "output": output, "usage": usage}
    return Played.sse(
        {"type": "response.created", "response": response}, *events, {"type": "response.completed", "response": done}
    )


class TestResponses(HttpProviderConformance):
    said = "Grüße aus Oslo 👋"
    usage = Usage(12, 3, 4, 1)
    key_variable = "OPENROUTER_API_KEY"

    def connect(self, base_url: str, *, key: str | None, read_seconds: float | None = None) -> OpenAIProvider:
        endpoint = Endpoint() if read_seconds is None else Endpoint(read_seconds=read_seconds)
        return OpenAIProvider("openrouter", base_url=f"{base_url}/v1", api_key=key, api="responses", endpoint=endpoint)

    def text_reply(self) -> Played:
        return replied(12, 3, *message("Grüße aus", " Oslo 👋"))

    def tool_reply(self) -> Played:
        pieces = [fragment(0, piece) for piece in ('{"ci', 'ty": "Os', 'lo"}')]
        return replied(20, 9, begun(0), *pieces, ended(0, '{"city": "Oslo"}'))

    def parallel_tool_reply(self) -> Played:
        first, second = '{"city": "Oslo"}', '{"city": "Rome"}'
        pieces = [fragment(0, first[:9]), fragment(1, second[:7]), fragment(0, first[9:]), fragment(1, second[7:])]
        return replied(20, 18, begun(0), begun(1), *pieces, ended(0, first), ended(1, second))

    def error_reply(self, status: int, message: str) -> Played:
        return Played.json({"error": {"message": message, "type": "api_error", "code": None}}, status=status)

    def error_event(self, message: str) -> bytes:
        failed = {"type": "error", "code": "server_error", "message": message, "param": None}
        return b"event: error\ndata: %b\n\n" % json.dumps(failed).encode()

    def unknown_event(self) -> bytes:
        return b'event: response.becket\ndata: {"type":"response.becket","becket":1}\n\n'
