"""A small provider over HTTP keeps the contract of those; the tests of the contract find every way to break it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from becket import (
    ConfigError,
    ModelFinished,
    ModelInfo,
    Provider,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from becket.testing import HttpProviderConformance, Played
from becket_wire import Client, ErrorDetails, TimeLimits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from becket import ModelEvent, ModelRequest
    from becket_wire import Reply

pytestmark = pytest.mark.anyio


def explained(status: int, body: bytes) -> ErrorDetails | None:
    try:
        return ErrorDetails(message=json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return None


class Words:
    """A model of a service that says a text in words."""

    name = "words"
    default_model = None

    def __init__(self, base_url: str, key: str | None, read_seconds: float | None) -> None:
        self._url = f"{base_url}/words"
        self._key = key or os.environ.get("WORDS_API_KEY")
        self._client = Client("words", limits=TimeLimits(connect=read_seconds, read=read_seconds), explain=explained)

    def models(self) -> Sequence[ModelInfo]:
        return [ModelInfo("model")]

    async def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        if not self._key:
            raise ConfigError("the provider 'words' has no key; set WORDS_API_KEY")
        body = json.dumps({"model": request.model, "said": len(request.messages)}).encode()
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        async with self._client.post(self._url, headers=headers, body=body) as reply:
            finished: ModelFinished | None = None
            async for batch in reply.events():
                for data in batch:
                    for event in self.read(data, reply):
                        if isinstance(event, ModelFinished):
                            finished = event
                        else:
                            yield event
                if finished is not None:
                    break
            if finished is None:
                raise reply.cut_off("a stop")
            await reply.finish()
        yield finished

    def read(self, data: bytes, reply: Reply) -> Iterator[ModelEvent]:
        try:
            match json.loads(data):
                case {"text": text}:
                    yield TextDelta(text)
                case {"call": [block, name, fragment]}:
                    yield ToolCallDelta(f"id-{block}", name, fragment, block)
                case {"error": message}:
                    raise reply.broken(ErrorDetails(message=message, retryable=True))
                case {"stop": reason, "used": [asked, said]}:
                    yield ModelFinished(reason, Usage(asked, said))
        except ValueError as error:
            raise reply.unreadable(data, error) from error

    async def aclose(self) -> None:
        await self._client.aclose()


class WordsConformance(HttpProviderConformance):
    said = "Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{LATIN SMALL LETTER SHARP S}e, \N{SNOWMAN}!"
    usage = Usage(12, 3)
    key_variable = "WORDS_API_KEY"

    def connect(self, base_url: str, *, key: str | None, read_seconds: float | None = None) -> Provider:
        return Words(base_url, key, read_seconds)

    def text_reply(self) -> Played:
        words = [json.dumps({"text": piece}, ensure_ascii=False) for piece in (self.said[:4], self.said[4:])]
        return Played.sse(*words, {"stop": "end_turn", "used": [12, 3]})

    def tool_reply(self) -> Played:
        calls = [{"call": [1, "weather", piece]} for piece in ('{"city": ', '"Oslo"}')]
        return Played.sse(*calls, {"stop": "tool_use", "used": [12, 5]})

    def parallel_tool_reply(self) -> Played:
        calls = [{"call": [block, "weather", f'{{"city": "{city}"}}']} for block, city in ((1, "Oslo"), (2, "Rome"))]
        return Played.sse({"text": "Hm."}, *calls, {"stop": "tool_use", "used": [12, 9]})

    def error_reply(self, status: int, message: str) -> Played:
        return Played.json({"error": message}, status=status)

    def error_event(self, message: str) -> bytes:
        return f'data: {{"error": "{message}"}}\n\n'.encode()


class TestWords(WordsConformance):
    pass
