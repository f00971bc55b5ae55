"""The loopback server plays what it was given, byte for byte, and tells what it saw."""

from __future__ import annotations

import itertools
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx2
import openai
import pytest
import trustme
from anyio.lowlevel import checkpoint
from becket import ConfigError
from becket.testing import LoopbackServer, Played, Received

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def connected(server: LoopbackServer) -> anyio.abc.SocketStream:
    return await anyio.connect_tcp("127.0.0.1", int(server.url.rpartition(":")[2]))


async def exchanged(server: LoopbackServer, *sent: bytes) -> bytes:
    """What the server answers on one connection, until it closes it."""
    answer = b""
    async with await connected(server) as stream:
        for piece in sent:
            await stream.send(piece)
        try:
            while True:
                answer += await stream.receive()
        except anyio.EndOfStream:
            return answer


async def read(stream: anyio.abc.SocketStream, end: bytes) -> bytes:
    """What the server sends, up to `end`."""
    answer = b""
    while not answer.endswith(end):
        answer += await stream.receive()
    return answer


async def test_pieces_are_chunks() -> None:
    """Each piece is a chunk of its own; an empty one, which would be the end, is left out."""
    async with LoopbackServer(Played([b"one", b"", b"twelve bytes"], headers={"Connection": "close"})) as server:
        assert await exchanged(server, GET) == (
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
            b"3\r\none\r\nc\r\ntwelve bytes\r\n0\r\n\r\n"
        )


async def test_a_body_may_have_a_length() -> None:
    reply = Played([b"ab", b"c"], 503, framing="length", hang_up=True)
    async with LoopbackServer(reply) as server:
        assert await exchanged(server, GET) == (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nabc")


async def test_a_body_may_end_with_the_connection() -> None:
    async with LoopbackServer(Played([b"ab", b"c"], 599, framing="close")) as server:
        assert await exchanged(server, GET) == b"HTTP/1.1 599 Of its own\r\nconnection: close\r\n\r\nabc"


async def test_a_reply_may_be_any_bytes() -> None:
    async with LoopbackServer(Played.raw(b"HTTP/9 what\n", b"\0")) as server:
        assert await exchanged(server, GET) == b"HTTP/9 what\n\0"


@pytest.mark.parametrize(
    ("reply", "end"),
    [
        (Played([b"ab"], cut=True), b"2\r\nab\r\n"),
        (Played([b"ab"], cut="chunk"), b"2\r\nab\r\nff\r\nda"),
        (Played([b"ab"], framing="length", cut=True), b"content-length: 3\r\n\r\nab"),
        (Played.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab"), b"content-length: 3\r\n\r\nab"),
    ],
    ids=["between chunks", "in a chunk", "before the length", "as written"],
)
async def test_a_reply_may_be_cut(reply: Played, end: bytes) -> None:
    async with LoopbackServer(reply) as server:
        assert (await exchanged(server, GET)).endswith(end)
        assert server.requests[0].done


async def test_a_cut_that_nobody_could_tell_is_refused() -> None:
    with pytest.raises(ConfigError, match="nobody could tell"):
        Played(framing="close", cut=True)
    with pytest.raises(ConfigError, match="is for framing='chunked'"):
        Played(framing="length", cut="chunk")


async def test_a_server_needs_a_reply() -> None:
    with pytest.raises(ConfigError, match="needs a reply"):
        LoopbackServer()


async def test_pauses_are_awaited_between_pieces() -> None:
    """What comes before a pause is with the client while the server waits."""
    go = anyio.Event()
    async with LoopbackServer(Played([b"one", go.wait, b"two"])) as server, await connected(server) as stream:
        await stream.send(GET)
        await read(stream, b"3\r\none\r\n")
        assert not server.requests[0].done
        go.set()
        assert await read(stream, b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"


async def test_a_body_with_a_length_may_pause_too() -> None:
    """The length is that of all pieces; they are sent as they come."""
    go = anyio.Event()
    reply = Played([b"one", go.wait, b"two"], framing="length")
    async with LoopbackServer(reply) as server, await connected(server) as stream:
        await stream.send(GET)
        assert (await read(stream, b"one")).endswith(b"content-length: 6\r\n\r\none")
        go.set()
        assert await read(stream, b"two") == b"two"


async def test_a_connection_serves_many_requests_with_a_reply_each() -> None:
    """In order; the last one again; a function makes one from the request."""

    def made(request: Received) -> Played:
        return Played.json({"path": request.path})

    async with LoopbackServer(Played.json(1), made) as server, httpx2.AsyncClient(trust_env=False) as client:
        answers = [(await client.get(f"{server.url}/{number}")).json() for number in range(3)]
        assert answers == [1, {"path": "/1"}, {"path": "/2"}]
        assert [request.connection for request in server.requests] == [1, 1, 1]
        assert (server.connections, server.open) == (1, 1)
    assert server.open == 0


async def test_a_connection_that_was_closed_in_silence_is_not_there_for_the_next() -> None:
    async with LoopbackServer(Played.json(1, hang_up=True)) as server, httpx2.AsyncClient(trust_env=False) as client:
        await client.get(server.url)
        await server.emptied()
        await client.get(server.url)
        assert [request.connection for request in server.requests] == [1, 2]


async def test_a_request_is_kept() -> None:
    """Method, path, headers in lower case, those of one name joined, and the body."""
    head = b"POST /v1/x?y=1 HTTP/1.1\r\nHost: x\r\nX-One: 1 \r\nx-one:2\r\nConnection: close\r\nContent-Length: 10"
    async with LoopbackServer(Played.json({})) as server:
        await exchanged(server, head + b'\r\n\r\n{"a": [1]', b"}")
        (request,) = server.requests
        assert (request.method, request.path, request.headers["x-one"]) == ("POST", "/v1/x?y=1", "1, 2")
        assert (request.body, request.json) == (b'{"a": [1]}', {"a": [1]})
        assert repr(request) == "Received(POST /v1/x?y=1, 10 bytes)"


async def test_a_body_may_come_in_chunks() -> None:
    async def body() -> AsyncIterator[bytes]:
        for piece in (b"one", b"t" * 300_000):
            yield piece

    async with LoopbackServer(Played.json({})) as server, httpx2.AsyncClient(trust_env=False) as client:
        await client.post(server.url, content=body())
        assert server.requests[0].body == b"one" + b"t" * 300_000
        assert server.requests[0].headers["transfer-encoding"] == "chunked"


async def test_a_client_that_asks_first_may_go_on() -> None:
    """`Expect: 100-continue` is answered before the body is read."""
    async with LoopbackServer(Played.json(1)) as server, await connected(server) as stream:
        await stream.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await read(stream, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send(b"ab")
        await read(stream, b"\r\n\r\n1")
        assert server.requests[0].body == b"ab"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET /\r\n\r\n", "no request line: 'GET /'"),
        (b"GET / HTTP/1.1\r\n\r\n", "no host header"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", "no header: ' folded'"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "the content length '-1'"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "the transfer encoding 'gzip'"),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "both content-length and transfer-encoding",
        ),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n", "the chunk size b'0x1'"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "longer than its size"),
        (b"G" * (1 << 20) + b"ET", "no end of the head in 1048578 bytes"),
    ],
)
async def test_what_is_no_request_is_refused(sent: bytes, reason: str) -> None:
    async with LoopbackServer(Played.json(1)) as server:
        answer = (await exchanged(server, sent)).decode()
        assert answer.startswith("HTTP/1.1 400 Bad Request\r\n")
        assert reason in answer
        assert server.requests == []


async def test_a_client_that_goes_away_is_seen() -> None:
    """While the server waits at a pause, and while it writes without end."""
    silent = Played([b"one", anyio.sleep_forever])
    endless = Played(itertools.repeat(b"x" * 65536))
    async with LoopbackServer(silent, endless) as server:
        for number in (1, 2):
            async with await connected(server) as stream:
                await stream.send(GET)
                await read(stream, b"one\r\n" if number == 1 else b"x")
                request = await server.request(number)
                assert not request.done
            await request.gone()
            await server.emptied()
            assert not request.done


async def test_a_client_that_stays_has_not_gone() -> None:
    async with LoopbackServer(Played([anyio.sleep_forever])) as server, await connected(server) as stream:
        await stream.send(GET)
        request = await server.request()
        with pytest.raises(AssertionError, match=r"Received\(GET /, 0 bytes\) was still open after 0.01 s"):
            await request.gone(within=0.01)
        with pytest.raises(AssertionError, match="1 were opened, 1 are open"):
            await server.emptied(within=0.01)
        with pytest.raises(AssertionError, match=r"request 2 had not come after 0.01 s"):
            await server.request(2, within=0.01)


async def test_a_client_that_had_the_whole_reply_has_not_gone_before_its_end() -> None:
    async with LoopbackServer(Played.json(1)) as server:
        async with await connected(server) as stream:
            await stream.send(GET)
            await read(stream, b"1")
        await server.requests[0].closed()
        with pytest.raises(AssertionError, match="sent to its end before"):
            await server.requests[0].gone()


async def test_a_client_may_go_away_between_and_within_requests() -> None:
    async with LoopbackServer(Played.json(1)) as server:
        for sent in (b"", GET[:9], b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234"):
            async with await connected(server) as stream:
                await stream.send(sent)
        await server.emptied()
        assert (server.requests, server.connections) == ([], 3)


async def test_requests_that_come_early_wait() -> None:
    """A second request is read while the first is answered, and answered after it."""
    go = anyio.Event()
    async with LoopbackServer(Played([go.wait, b"a"]), Played([b"b"])) as server, await connected(server) as stream:
        await stream.send(GET)
        await server.request()
        await stream.send(GET)
        await checkpoint()
        assert len(server.requests) == 1
        go.set()
        assert (await read(stream, b"b\r\n0\r\n\r\n")).count(b"HTTP/1.1 200 OK") == 2


async def test_connections_are_closed_when_the_block_is_left() -> None:
    """Also one whose client reads nothing; an error of the block is raised as it is."""
    async with await (await entered(LoopbackServer(Played(itertools.repeat(b"x" * 65536))))) as stream:
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            while True:
                await stream.receive()


async def entered(server: LoopbackServer) -> Any:
    """A connection to a server that is left at once, by an error."""
    with pytest.raises(ValueError, match="mine"):
        async with server:
            stream = await connected(server)
            await stream.send(GET)
            await server.request()
            raise ValueError("mine")

    async def given() -> anyio.abc.SocketStream:
        return stream

    return given()


async def test_an_error_of_a_piece_is_raised() -> None:
    """Where the block is left, in a group; the block is cancelled."""

    async def fail() -> None:
        raise ValueError("of a piece")

    with pytest.raises(ExceptionGroup) as caught:
        async with LoopbackServer(Played([fail])) as server:
            await exchanged(server, GET)
            await anyio.sleep_forever()
    assert caught.group_contains(ValueError, match="of a piece")


async def test_it_serves_tls() -> None:
    """With a certificate that the test makes; a client that does not trust it goes away."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with LoopbackServer(Played.json({"a": 1}), tls=context) as server:
        assert server.url.startswith("https://127.0.0.1:")
        async with httpx2.AsyncClient(trust_env=False, verify=trusting) as client:
            for _ in range(2):
                assert (await client.get(server.url)).json() == {"a": 1}
        async with httpx2.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx2.ConnectError):
                await client.get(server.url)
        await server.emptied()
        assert (server.connections, len(server.requests)) == (2, 2)


async def test_it_may_be_a_proxy() -> None:
    """A plain request comes with its whole URL; CONNECT leads to TLS with the same server, or is one more request."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("service.test").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    new = partial(httpx2.AsyncClient, trust_env=False, verify=trusting)
    async with LoopbackServer(Played.json(1), Played.json(2), tunnel=context) as server:
        async with new(proxy=server.url) as client:
            answers = [(await client.get(f"{scheme}://service.test/a")).json() for scheme in ("http", "https")]
        assert answers == [1, 2]
        assert [f"{request.method} {request.path}" for request in server.requests] == [
            "GET http://service.test/a",
            "CONNECT service.test:443",
            "GET /a",
        ]
    async with LoopbackServer(Played.json({}, status=407)) as server, new(proxy=server.url) as client:
        with pytest.raises(httpx2.ProxyError, match="407"):
            await client.get("https://service.test/")


def test_bodies_are_made() -> None:
    """Server-sent events from text, bytes and mappings, and JSON; a body can be split anew."""
    events = Played.sse("a", b"b", anyio.sleep_forever, {"c": 1}, status=201, headers={"x-request-id": "1"})
    assert list(events.pieces) == [b"data: a\n\n", b"data: b\n\n", anyio.sleep_forever, b'data: {"c": 1}\n\n']
    assert (events.status, events.headers) == (201, {"content-type": "text/event-stream", "x-request-id": "1"})
    whole = b'data: a\n\ndata: b\n\ndata: {"c": 1}\n\n'
    assert events.body() == whole
    assert events.split(7) == Played(
        [b"data: a", b"\n\ndata:", b" b\n\ndat", b'a: {"c"', b": 1}\n\n"], 201, events.headers
    )
    document = Played.json({"a": 1}, headers={"x": "y"}, status=429)
    assert document == Played([b'{"a": 1}'], 429, {"content-type": "application/json", "x": "y"}, framing="length")


async def test_a_vendors_own_client_speaks_with_it() -> None:
    """The official client of a service takes it for one."""
    chunk: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    pieces = [{**chunk, "choices": [{"index": 0, "delta": {"content": word}}]} for word in ("one", " two")]

    def ask(url: str) -> None:  # in a thread: the asynchronous client leaves generators open, which trio warns of
        with openai.OpenAI(api_key="sk-x", base_url=f"{url}/v1", max_retries=0) as client:
            for _ in range(2):
                asked: Any = [{"role": "user", "content": "?"}]
                with client.chat.completions.create(model="m", messages=asked, stream=True) as stream:
                    assert [part.choices[0].delta.content for part in stream] == ["one", " two"]

    async with LoopbackServer(Played.sse(*pieces, "[DONE]")) as server:
        await anyio.to_thread.run_sync(ask, server.url)
    assert len(server.requests) == 2
    assert server.requests[0].path == "/v1/chat/completions"
    assert server.requests[0].headers["authorization"] == "Bearer sk-x"
    assert server.requests[0].json["messages"] == [{"role": "user", "content": "?"}]
