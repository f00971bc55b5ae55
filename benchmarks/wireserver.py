"""A model service on loopback that costs the client nothing: fixed bytes, in a process of its own.

`python wireserver.py` prints its port. The path says how it answers a POST:

    /each/N/...     N text events, each an HTTP chunk of its own, as fast as they are taken
    /together/N/... N text events in HTTP chunks of 8 KiB
    /paced/N/...    N text events, each sent once the one before has been taken
    /tools/N/...    a tool call, until the request holds N tool results, then a word; paced as above
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Final

__all__ = ["TEXT_EVENT"]

_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: (\d+)")

_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_END: Final = b"0\r\n\r\n"


def _event(choices: list[object], **more: object) -> bytes:
    """An event as OpenAI's chat completions have it."""
    known = {
        "id": "chatcmpl-9uQx7Yb2",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": "bench-1",
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
        "choices": choices,
    }
    return b"data: " + json.dumps({**known, **more}, separators=(",", ":")).encode() + b"\n\n"


def _choice(delta: dict[str, object], finish: str | None = None) -> list[object]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]


def _last(finish: str) -> bytes:
    usage = {"prompt_tokens": 12, "completion_tokens": 40, "total_tokens": 52}
    return _event(_choice({}, finish)) + _event([], usage=usage) + b"data: [DONE]\n\n"


TEXT_EVENT: Final = _event(_choice({"content": " token"}))


def _calls(number: int) -> list[bytes]:
    """A tool call in the usual three events, and the end."""
    begun = {"name": "add", "arguments": ""}
    first = {"index": 0, "id": f"call_{number:08}", "type": "function", "function": begun}
    pieces = [{"index": 0, "function": {"arguments": piece}} for piece in ('{"a": 1,', ' "b": 2}')]
    return [*(_event(_choice({"tool_calls": [piece]})) for piece in (first, *pieces)), _last("tool_calls")]


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def _pace(events: list[bytes], writer: asyncio.StreamWriter) -> None:
    for event in events:
        writer.write(_chunk(event))
        await writer.drain()
        await asyncio.sleep(0.0002)  # a model is slower; the client has gone to sleep by then


async def _answer(path: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    _, mode, count, *_rest = path.split("/")
    wanted = int(count)
    writer.write(_HEAD)
    match mode:
        case "each":
            for _number in range(wanted):
                writer.write(_chunk(TEXT_EVENT))
        case "together":
            per_chunk = 8192 // len(TEXT_EVENT)
            for start in range(0, wanted, per_chunk):
                writer.write(_chunk(TEXT_EVENT * min(per_chunk, wanted - start)))
        case "paced":
            await _pace([TEXT_EVENT] * wanted, writer)
        case _:
            done = body.count(b'"role":"tool"')
            await _pace(_calls(done) if done < wanted else [TEXT_EVENT, _last("stop")], writer)
    if mode != "tools":
        writer.write(_chunk(_last("stop")))
    writer.write(_END)
    await writer.drain()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
            await _answer(head.split(b" ")[1].decode(), body, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client has gone
    finally:
        writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
