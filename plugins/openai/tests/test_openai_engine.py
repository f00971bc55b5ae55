"""A real engine: llama.cpp's own server with a small model's real weights, asked over HTTP in runs of becket.

What a model of this size says is of no use, and the same each time at temperature 0; what is tested is that all of it
arrives, that nothing of it is mixed up, and that the engine stops when nobody waits for it any more.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import openai
import pytest
from anyio import to_thread
from becket import (
    Agent,
    Limits,
    Message,
    ModelFinished,
    ModelOptions,
    ProviderError,
    Runtime,
    Text,
    TextDelta,
    ToolCall,
    ToolResult,
    tool,
)
from becket_openai import OpenAIProvider
from becket_openai._settings import Endpoint
from becket_wire import Client
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.anyio

SCRIPT = Path(__file__).with_name("openai_engine.py")
START_SECONDS = 60.0
QUESTION = "What is the capital of France?"
SHORT = ModelOptions(temperature=0, seed=1, max_tokens=12)
ENDLESS = ModelOptions(temperature=0, seed=1, max_tokens=2000, extra={"ignore_eos": True})
"""More than the engine writes in 20 s."""


@dataclass
class Engine:
    """The server in its process.

    Attributes:
        url: Where it listens.
        process: Its process.
    """

    url: str
    process: subprocess.Popen[str]


@contextmanager
def started(log: Path) -> Iterator[Engine]:
    """An engine, which ends with the block."""
    with (
        log.open("wb") as written,
        subprocess.Popen(  # noqa: S603  our own interpreter and file
            [sys.executable, SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=written, text=True
        ) as process,
    ):
        patience = threading.Timer(START_SECONDS, process.kill)
        patience.start()
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        patience.cancel()
        assert url, f"the engine did not start: {log.read_text(errors='replace')}"
        try:
            yield Engine(url, process)
        finally:
            process.kill()  # it has nothing to put away


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with started(tmp_path_factory.mktemp("engine") / "log") as running:
        yield running


@pytest.fixture
async def provider(engine: Engine) -> AsyncIterator[OpenAIProvider]:
    async with calling(engine) as made:
        yield made


@asynccontextmanager
async def calling(engine: Engine) -> AsyncIterator[OpenAIProvider]:
    """A provider of the engine's model."""
    made = OpenAIProvider("llamacpp", base_url=f"{engine.url}/v1", endpoint=Endpoint(default_model="smollm2"))
    yield made
    await made.aclose()


def agent(provider: OpenAIProvider, options: ModelOptions = SHORT, **more: Any) -> Agent:
    return Agent(provider, options=options, runtime=Runtime(discover=False), **more)


@dataclass
class Judged:
    """What OpenAI's own client makes of an answer."""

    text: str
    deltas: int
    usage: tuple[int, int]
    stop: str | None


def judged(engine: Engine, messages: list[Any], **options: Any) -> Judged:
    """The same asked by OpenAI's own client; the one that blocks, since the other leaves a generator open on trio."""
    text, stop, usage = [], None, (0, 0)
    with openai.OpenAI(base_url=f"{engine.url}/v1", api_key="none") as client:
        stream = client.chat.completions.create(
            model="smollm2", messages=messages, stream=True, stream_options={"include_usage": True}, **options
        )
        for chunk in stream:
            for choice in chunk.choices:
                text.append(choice.delta.content or "")
                stop = choice.finish_reason or stop
            if chunk.usage is not None:
                usage = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
    return Judged("".join(text), len([piece for piece in text if piece]), usage, stop)


def same(engine: Engine, *messages: tuple[str, str], **options: Any) -> Judged:
    """The same messages, with the same options as `SHORT` and others."""
    written = [{"role": role, "content": content} for role, content in messages]
    return judged(engine, written, **{"temperature": 0, "seed": 1, "max_tokens": 12, **options})


# -- answers -----------------------------------------------------------------------------------------------------------


async def test_an_answer_is_the_one_that_openais_client_gets(engine: Engine, provider: OpenAIProvider) -> None:
    """Each token of it in a delta of its own, and the same usage."""
    fresh: dict[str, Any] = {"cache_prompt": False}  # what is in the cache already is calculated in other batches
    mine = agent(provider, ModelOptions(temperature=0, seed=1, max_tokens=12, extra=fresh))
    deltas = [event.text async for event in mine.stream_async(QUESTION) if isinstance(event, TextDelta)]
    result = await mine.invoke_async(QUESTION)
    theirs = await to_thread.run_sync(lambda: same(engine, ("user", QUESTION), extra_body=fresh))
    assert "".join(deltas) == result.text == theirs.text
    assert len(deltas) == theirs.deltas > 1
    assert (result.usage.input_tokens, result.usage.output_tokens) == theirs.usage
    assert theirs.stop == "length"
    assert result.stop_reason == "max_tokens"
