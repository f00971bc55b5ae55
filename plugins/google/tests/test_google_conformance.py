"""The contract of model providers, over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from becket import Usage
from becket.testing import HttpProviderConformance, Played
from becket_google import GoogleProvider, Settings

if TYPE_CHECKING:
    from becket import Provider

STATUSES = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}


def chunk(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A chunk as the service writes it; `more` are fields of the candidate."""
    candidate = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **more}
    return {"candidates": [candidate], "modelVersion": "gemini-3-flash-preview", "responseId": "kS0daYq"}


def call(city: str, **more: str) -> dict[str, Any]:
    """A part that calls the tool."""
    return {"functionCall": {"name": "weather", "args": {"city": city}}, **more}


class TestGoogleProvider(HttpProviderConformance):
    model = "gemini-3-flash-preview"
    said = "Gr\u00fc\u00dfe, \U0001f600!"
    usage = Usage(input_tokens=12, output_tokens=9, reasoning_tokens=4)
    key_variable = "GEMINI_API_KEY"

    @pytest.fixture(autouse=True)
    def no_other_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable in ("GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_GENAI_API_VERSION"):
            monkeypatch.delenv(variable, raising=False)

    def connect(self, base_url: str, *, key: str | None, read_seconds: float | None = None) -> Provider:
        settings = Settings() if read_seconds is None else Settings(read_seconds=read_seconds)
        return GoogleProvider(api_key=key, base_url=base_url, settings=settings)

    def text_reply(self) -> Played:
        last = chunk({"text": "!", "thoughtSignature": "Eq8DCqwD"}, finishReason="STOP")
        usage = {"promptTokenCount": 12, "candidatesTokenCount": 5, "thoughtsTokenCount": 4, "totalTokenCount": 21}
        return Played.sse(
            chunk({"text": "Greet.", "thought": True}),
            chunk({"text": "Gr\u00fc\u00df"}),
            chunk({"text": "e, \U0001f600"}),
            last | {"usageMetadata": usage},
        )

    def tool_reply(self) -> Played:
        return Played.sse(chunk(call("Oslo", thoughtSignature="Eq8DCqwD")), chunk({"text": ""}, finishReason="STOP"))

    def parallel_tool_reply(self) -> Played:
        return Played.sse(
            chunk(call("Oslo", thoughtSignature="Eq8DCqwD")),
            chunk(call("Rome")),
            chunk({"text": ""}, finishReason="STOP"),
        )

    def error_reply(self, status: int, message: str) -> Played:
        error = {"code": status, "message": message, "status": STATUSES.get(status, "UNKNOWN")}
        return Played.json({"error": error}, status=status)

    def error_event(self, message: str) -> bytes:
        return (
            b"data: %b\n\n" % json.dumps({"error": {"code": 503, "message": message, "status": "UNAVAILABLE"}}).encode()
        )
