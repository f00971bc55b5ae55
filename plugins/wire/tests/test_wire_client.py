"""The client against real sockets: replies of every kind, errors, cancellation, connections."""

from __future__ import annotations

import gzip
import logging
import socket
import ssl
import threading
import traceback
import tracemalloc
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest
import trustme
from anyio.lowlevel import checkpoint
from becket import ConfigError, ProviderError
from becket.testing import LoopbackServer, Played
from becket_wire import Client, ErrorDetails, TimeLimits
from becket_wire._environment import tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from becket_wire import Reply

pytestmark = pytest.mark.anyio

KEY = "sk-very-secret"
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment without proxies."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    tls.cache_clear()
    yield
    tls.cache_clear()


def explain(status: int, body: bytes) -> ErrorDetails | None:
    return ErrorDetails(message=body.decode(), code="vendor") if body.startswith(b"!") else None


def client(limits: TimeLimits | None = None) -> Client:
    return Client("some", limits=limits, explain=explain, hint="set base_url")


async def read(reply: Reply) -> list[bytes]:
    return [event async for batch in reply.events() for event in batch]


async def asked(server: LoopbackServer, used: Client | None = None, path: str = "/v1") -> list[bytes]:
    """The events of one reply."""
    mine = used or client()
    try:
        async with mine.post(server.url + path, headers=HEADERS, body=b"{}") as reply:
            return await read(reply)
    finally:
        if used is None:
            await mine.aclose()


async def refused(*replies: Played, limits: TimeLimits | None = None) -> ProviderError:
    """The error of a reply."""
    async with LoopbackServer(*replies) as server:
        mine = client(limits)
        with pytest.raises(ProviderError) as caught:
            await asked(server, mine)
        await mine.aclose()
        await server.emptied()
    assert KEY not in f"{caught.value} {caught.value!r}"
    assert caught.value.provider == "some"
    return caught.value


# -- what is sent and read ---------------------------------------------------------------------------------------------


async def test_a_request_is_sent_as_it_is_and_its_reply_read_as_it_comes() -> None:
    async with LoopbackServer(Played.sse("a", "b", headers={"X-Request-Id": "req_1"})) as server:
        used = client()
        body = [b'{"a":', b"1}"]
        async with used.post(f"{server.url}/v1/chat?x=%2F", headers=HEADERS, body=body) as reply:
            assert (reply.status, reply.request_id) == (200, "req_1")
            assert reply.headers["content-type"] == "text/event-stream"
            assert await read(reply) == [b"a", b"b"]
        await used.aclose()
    sent = server.requests[0]
    assert (sent.method, sent.path, sent.body) == ("POST", "/v1/chat?x=%2F", b'{"a":1}')
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["accept-encoding"] == "identity"
    assert sent.headers["content-length"] == "7"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["host"] == server.url.removeprefix("http://")


async def test_an_event_is_there_before_the_next_one_is_sent() -> None:
    seen = anyio.Event()
    async with LoopbackServer(Played.sse("a", seen.wait, "b")) as server:
        used = client()
        async with used.post(server.url, headers={}, body=b"") as reply:
            async for batch in reply.events():
                assert batch == [b"b" if seen.is_set() else b"a"]
                seen.set()
        await used.aclose()


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
async def test_every_framing_and_chunking_is_read(framing: str, size: int) -> None:
    events = [b'{"n":%d}' % number for number in range(40)]
    async with LoopbackServer(Played.sse(*events, framing=framing).split(size)) as server:
        assert await asked(server) == events


async def test_a_header_may_be_long() -> None:
    async with LoopbackServer(Played.sse("a", headers={"Content-Security-Policy": "x" * 20_000})) as server:
        assert await asked(server) == [b"a"]


async def test_lines_are_read_too() -> None:
    reply = Played([b'{"a":1}\n{"b"', b":2}\n", b'{"c":3}'], headers={"Content-Type": "application/x-ndjson"})
    async with LoopbackServer(reply) as server:
        used = client()
        async with used.post(server.url, headers={}, body=b"") as given:
            lines = [line async for batch in given.lines() for line in batch]
        await used.aclose()
    assert lines == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


async def test_a_body_of_many_megabytes_is_sent_whole() -> None:
    """As one with images in it has."""
    async with LoopbackServer(Played.sse("a")) as server:
        used = client()
        async with used.post(server.url, headers={}, body=b"x" * 3_000_000) as reply:
            assert await read(reply) == [b"a"]
        await used.aclose()
        assert len(server.requests[0].body) == 3_000_000


@pytest.mark.parametrize(
    ("encoding", "encoded"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("x-gzip", gzip.compress)]
)
async def test_a_body_that_is_compressed_unasked_is_read_all_the_same(encoding: str, encoded: object) -> None:
    assert callable(encoded)
    reply = Played([encoded(b"data: a\n\n" * 1000)], headers={"Content-Encoding": encoding}).split(5)
    async with LoopbackServer(reply) as server:
        assert await asked(server) == [b"a"] * 1000


async def test_the_members_of_a_gzip_body_are_read_one_after_the_other_and_its_padding_is_not() -> None:
    body = gzip.compress(b"data: a\n\n") + gzip.compress(b"data: b\n\n") + bytes(8)
    for size in (1, 1000):
        async with LoopbackServer(Played([body], headers={"Content-Encoding": "gzip"}).split(size)) as server:
            assert await asked(server) == [b"a", b"b"]


@pytest.mark.parametrize("status", [200, 400])
async def test_a_small_body_that_is_a_large_one_is_held_in_pieces(status: int) -> None:
    """As large as the limits let it be, and not as large as the body says: 512 MB here."""
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = b"".join(map(packed.compress, [b"data: ", *(bytes(2**20) for _ in range(512))])) + packed.flush()
    tracemalloc.start()
    try:
        error = await refused(Played([body], status, headers={"Content-Encoding": "gzip"}))
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
    assert error.status == (None if status == 200 else 400)


async def test_a_document_is_asked_for_with_get() -> None:
    async with LoopbackServer(Played.json({"data": []})) as server:
        used = client()
        assert await used.get_json(f"{server.url}/models", headers=HEADERS) == b'{"data": []}'
        await used.aclose()
    assert (server.requests[0].method, server.requests[0].path) == ("GET", "/models")


# -- connections -------------------------------------------------------------------------------------------------------


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with LoopbackServer(Played.sse("a")) as server:
        used = client()
        for _ in range(5):
            assert await asked(server, used) == [b"a"]
        assert server.connections == 1
        await used.aclose()
        await server.emptied()


async def test_what_is_left_of_an_answer_that_is_complete_is_read_so_that_the_connection_lives() -> None:
    async with LoopbackServer(Played.sse("a", "[DONE]", "more")) as server:
        used = client()
        for _ in range(3):
            async with used.post(server.url, headers={}, body=b"") as reply:
                async for batch in reply.events():
                    assert batch[0] == b"a"
                    break
                await reply.finish()
        assert server.connections == 1
        await used.aclose()


async def test_a_server_that_leaves_the_stream_open_is_not_waited_for() -> None:
    async with LoopbackServer(Played.sse("[DONE]", anyio.Event().wait)) as server:
        used = client()
        async with used.post(server.url, headers={}, body=b"") as reply:
            async for _ in reply.events():
                break
            await reply.finish()
        await server.requests[0].gone()
        await used.aclose()


async def test_leaving_early_closes_the_connection() -> None:
    async with LoopbackServer(Played.sse("a", anyio.Event().wait)) as server:
        used = client()
        async with used.post(server.url, headers={}, body=b"") as reply:
            async for _ in reply.events():
                break
        await server.requests[0].gone()
        await used.aclose()


@pytest.mark.parametrize("pieces", [[], ["a"]])
async def test_a_cancellation_closes_the_connection_at_once(pieces: list[str]) -> None:
    """While the head is waited for, and while the body is."""
    reply = Played.sse(*pieces, anyio.Event().wait) if pieces else Played.raw(anyio.Event().wait)
    async with LoopbackServer(reply) as server:
        used = client()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asked, server, used)
            received = await server.request()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        await received.gone()
        await used.aclose()
        assert server.open == 0


async def test_a_user_and_a_password_in_the_url_are_sent_as_a_header() -> None:
    async with LoopbackServer(Played.sse("a")) as server:
        used, url = client(), server.url.replace("://", "://me:p%40ss@")
        for headers in ({}, HEADERS):
            async with used.post(url, headers=headers, body=b"") as reply:
                await read(reply)
        await used.aclose()
    assert [request.headers["authorization"] for request in server.requests] == [
        "Basic bWU6cEBzcw==",
        HEADERS["Authorization"],
    ]


async def test_many_requests_run_at_once() -> None:
    async with LoopbackServer(Played.sse("a", checkpoint, "b")) as server:
        used = client()
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(asked, server, used)
        assert 1 < server.connections <= 50
        await used.aclose()
        await server.emptied()


async def test_a_client_that_was_closed_can_be_used_again() -> None:
    async with LoopbackServer(Played.sse("a")) as server:
        used = client()
        for _ in range(2):
            assert await asked(server, used) == [b"a"]
            await used.aclose()
            await server.emptied()
        await used.aclose()
        assert server.connections == 2


async def test_closing_a_client_ends_a_request_that_waits() -> None:
    async with LoopbackServer(Played.sse("a", anyio.Event().wait)) as server:
        used = client(TimeLimits(read=None))
        async with anyio.create_task_group() as tasks:
            with pytest.raises(ProviderError, match="the stream of some broke off: the connection broke: "):
                async with used.post(server.url, headers={}, body=b"") as reply:
                    async for _ in reply.events():
                        tasks.start_soon(used.aclose)
        await server.emptied()


async def test_closing_a_client_ends_a_request_that_has_no_reply_yet() -> None:
    async with LoopbackServer(Played.raw(anyio.Event().wait)) as server:
        used, ended = client(TimeLimits(read=None)), anyio.Event()

        async def ask() -> None:
            with pytest.raises(ProviderError, match="some could not be asked"):
                await asked(server, used)
            ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await server.request()
            await anyio.wait_all_tasks_blocked()
            await used.aclose()
            with anyio.fail_after(5):
                await ended.wait()


async def test_several_tasks_can_close_a_client_at_once() -> None:
    """While a request is under way, too: it breaks, and the next one has a pool of its own."""
    async with LoopbackServer(Played.sse("a", anyio.Event().wait), Played.sse("b")) as server:
        used = client()
        async with used.post(server.url, headers={}, body=b"") as reply:
            events = reply.events()
            assert await anext(events) == [b"a"]
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(used.aclose)
            with pytest.raises(ProviderError, match="the connection broke"):
                await anext(events)
        assert await asked(server, used) == [b"b"]
        await used.aclose()


def test_a_pool_is_closed_with_its_event_loop(anyio_backend_name: str) -> None:
    """A host that closes nothing, as a script does, leaves nothing behind: warnings are errors here."""
    used = client()

    async def once() -> None:
        async with LoopbackServer(Played.sse("a")) as server:
            assert await asked(server, used) == [b"a"]

    for _ in range(2):
        anyio.run(once, backend=anyio_backend_name)


async def test_a_connection_that_the_server_has_closed_meanwhile_is_not_used_again() -> None:
    async with LoopbackServer(Played.sse("a", hang_up=True)) as server:
        used = client()
        for number in (1, 2):
            assert await asked(server, used) == [b"a"]
            await server.requests[number - 1].closed()
            await anyio.wait_all_tasks_blocked()
        assert server.connections == 2
        await used.aclose()


# -- errors ------------------------------------------------------------------------------------------------------------


async def test_an_error_document_is_said_in_the_services_words() -> None:
    error = await refused(Played([b"! busy"], 429, {"Retry-After": "3", "Request-Id": "r1"}))
    assert str(error) == "some answered 429 (vendor): ! busy (request r1)"
    assert (error.status, error.code, error.retryable, error.retry_after) == (429, "vendor", True, 3.0)


async def test_another_body_is_quoted() -> None:
    error = await refused(Played([b"upstream is gone"], 502))
    assert str(error) == "some answered 502 (Bad Gateway): upstream is gone"


async def test_an_address_that_is_not_there_says_where_it_is_set() -> None:
    error = await refused(Played([b"not here"], 404))
    assert str(error) == "some answered 404 (Not Found): not here; set base_url"


async def test_of_an_endless_error_only_the_beginning_is_read() -> None:
    def forever() -> Iterator[bytes]:
        while True:
            yield b"x" * 1024

    error = await refused(Played(forever(), 500))
    assert str(error).startswith("some answered 500 (Internal Server Error): xxx")


async def test_a_page_is_no_answer() -> None:
    error = await refused(Played([b"<html>Sign in</html>"], headers={"Content-Type": "text/html; charset=utf-8"}))
    assert str(error) == "some answered with an HTML page; set base_url"
    assert not error.retryable


async def test_a_page_that_does_not_say_that_it_is_one_is_no_answer_either() -> None:
    error = await refused(Played([b" <!doctype html>\n<title>Sign in</title>\n\n<p>Hello</p>\n"]))
    assert str(error) == "some answered with an HTML page; set base_url"
    assert not error.retryable


@pytest.mark.parametrize("reply", [Played((), framing="length"), Played.raw(b"HTTP/1.1 204 No Content\r\n\r\n")])
async def test_nothing_is_no_answer(reply: Played) -> None:
    error = await refused(reply)
    assert str(error) in {f"some answered {status} and nothing else; set base_url" for status in (200, 204)}
    assert not error.retryable


async def test_a_document_with_a_good_status_is_an_error_or_no_stream() -> None:
    error = await refused(Played([b"! no"], headers={"Content-Type": "application/json"}))
    assert (str(error), error.status) == ("some answered 200 (vendor): ! no", 200)
    error = await refused(Played.json({"choices": []}))
    assert str(error) == "some answered with a JSON document that is no stream; set base_url"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    """The key would go along."""
    async with LoopbackServer(Played.sse("a")) as elsewhere:
        error = await refused(Played((), status, {"Location": f"{elsewhere.url}/v1?token=t"}, framing="length"))
        assert elsewhere.connections == 0
    assert str(error) == (
        f"some answered {status} with a redirect to 127.0.0.1, which is not followed: the key would go along; "
        f"set base_url"
    )


@pytest.mark.parametrize("target", ["http://[oops", "", "/v2"])
async def test_a_redirect_to_nowhere_is_one_too(target: str) -> None:
    error = await refused(Played((), 302, {"Location": target}, framing="length"))
    assert str(error).startswith("some answered 302 with a redirect to nowhere, which is not followed")


@pytest.mark.parametrize("cut", [True, "chunk"])
async def test_an_error_that_is_cut_is_the_error_that_its_status_says(cut: object) -> None:
    """And none of the connection, after which it would be tried again."""
    error = await refused(Played([b"bad key"], 401, cut=cut))  # type: ignore[arg-type]
    assert str(error).startswith("some answered 401 (Unauthorized): ")
    assert (error.status, error.retryable) == (401, False)


async def test_an_error_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("becket_wire._reply._ERROR_SECONDS", 0.05)
    error = await refused(Played([b"bad key", anyio.Event().wait], 401))
    assert str(error) == "some answered 401 (Unauthorized): bad key"


@pytest.mark.parametrize("key", ["sk-very-secret\nX-Other: y", "sk-very-secret\u20ac", "sk-very-secret\x7f"])
async def test_a_key_that_no_header_can_hold_is_not_sent_and_not_shown(
    key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with LoopbackServer(Played.sse("a")) as server:
        used = client()
        with pytest.raises(ConfigError, match=r"'some' has a value for the header 'X-Key' with a character") as caught:
            async with used.post(server.url, headers={"X-Key": key}, body=b""):
                raise AssertionError("there is no reply")
        await used.aclose()
        assert server.connections == 0
    assert KEY not in "".join(traceback.format_exception(caught.value)) + caplog.text


@pytest.mark.parametrize("cut", [True, "chunk"])
async def test_a_stream_that_is_cut_is_an_error_after_what_came(cut: object) -> None:
    async with LoopbackServer(Played.sse("a", "b", cut=cut)) as server:
        used, events = client(), list[bytes]()
        with pytest.raises(ProviderError, match="the stream of some broke off: the connection broke: ") as caught:
            async with used.post(server.url, headers={}, body=b"") as reply:
                async for batch in reply.events():
                    events += batch
        await used.aclose()
    assert events[:1] == [b"a"]
    assert caught.value.retryable


async def test_a_server_that_hangs_up_before_it_answers_is_an_error() -> None:
    error = await refused(Played.raw())
    assert str(error).startswith("some could not be asked at 127.0.0.1:")
    assert error.retryable


async def test_what_is_no_http_is_an_error() -> None:
    error = await refused(Played.raw(b"SSH-2.0-OpenSSH_9.2\r\n"))
    assert str(error).startswith("some could not be asked at 127.0.0.1:")
    assert "400" not in str(error).partition(": ")[2]  # the status that aiohttp makes up for it


async def test_a_service_that_is_not_there_is_an_error_that_says_where_it_was_looked_for() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  no Django
    await listener.aclose()
    used = client()
    with pytest.raises(ProviderError) as caught:
        async with used.post(f"http://user:{KEY}@127.0.0.1:{port}/v1", headers=HEADERS, body=b""):
            raise AssertionError("there is no reply")
    await used.aclose()
    assert str(caught.value) == (
        f"some could not be asked at 127.0.0.1:{port}: there is no connection: Connection refused; set base_url"
    )
    assert KEY not in str(caught.value)
    assert caught.value.retryable


async def test_a_name_that_is_not_known_is_said_as_the_system_says_it() -> None:
    used = client()
    with pytest.raises(ProviderError, match=r"at nowhere\.invalid: there is no connection: [A-Z][a-z ]+; set base_url"):
        async with used.post("http://nowhere.invalid/v1", headers=HEADERS, body=b""):
            raise AssertionError("there is no reply")
    await used.aclose()


@pytest.mark.parametrize("url", ["", "api.example.com/v1", "ftp://x/", "http://", "http:///v1", "http://[::1/"])
async def test_what_is_no_url_is_the_callers_to_mend(url: str) -> None:
    with pytest.raises(ConfigError, match=r"is no http or https URL; set base_url"):
        async with client().post(url, headers=HEADERS, body=b""):
            raise AssertionError("there is no reply")


@pytest.mark.parametrize("url", ["http://me:hunter2@[::1/", "http://me:hunter2@x:99999/", "http://me:hunter2@h st/"])
async def test_a_password_in_what_is_no_url_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match=r"a name or password in it, which is no http") as caught:
        async with client().post(url, headers=HEADERS, body=b""):
            raise AssertionError("there is no reply")
    assert "hunter2" not in str(caught.value)


async def test_an_endless_event_is_refused() -> None:
    def forever() -> Iterator[bytes]:
        while True:
            yield b"data: " + b"x" * 1_000_000

    error = await refused(Played(forever()))
    assert str(error) == "some sent an event of more than 33554432 bytes"
    assert not error.retryable


async def test_an_encoding_that_nobody_asked_for_is_named() -> None:
    error = await refused(Played([b"?"], headers={"Content-Encoding": "br"}))
    assert "the body is encoded as 'br', which was not asked for" in str(error)
    error = await refused(Played([b"not gzip at all"], headers={"Content-Encoding": "gzip"}))
    assert "the body cannot be decompressed" in str(error)


async def test_errors_of_a_stream_are_worded_alike() -> None:
    async with LoopbackServer(Played.sse("{", headers={"Request-Id": "r1"})) as server:
        used = client()
        async with used.post(server.url, headers=HEADERS, body=b"") as reply:
            broken = reply.broken(ErrorDetails(message=f"the key {KEY} is tired", code="overloaded", retryable=True))
            cut_off = reply.cut_off("a finish_reason")
            unreadable = reply.unreadable(b"x" * 1000, ValueError("no JSON"))
        await used.aclose()
    assert str(broken) == "some broke off with an error (overloaded): the key [secret] is tired (request r1)"
    assert str(cut_off).startswith("the stream of some ended without a finish_reason: the answer is cut off (request r")
    assert str(unreadable).startswith("some sent an event that cannot be read: no JSON: 'xxx")
    assert len(str(unreadable)) < 300
    assert all(error.retryable for error in (broken, cut_off, unreadable))


# -- time limits -------------------------------------------------------------------------------------------------------


async def test_a_head_that_does_not_come_is_an_error() -> None:
    for connect in (10, None):
        error = await refused(Played.raw(anyio.Event().wait), limits=TimeLimits(connect=connect, read=0.05))
        assert str(error).endswith("nothing came within 0.05 s; set base_url")
        assert error.retryable


async def test_a_name_that_is_not_found_in_time_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of a connection begins with its name."""
    found, real = threading.Event(), socket.getaddrinfo

    def slow(host: object, *args: object, **options: object) -> object:
        numeric = any(isinstance(given, int) and given & socket.AI_NUMERICHOST for given in (*args, *options.values()))
        if b"slow" in str(host).encode() and not numeric:
            assert found.wait(5)
        return real(host, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    used = client(TimeLimits(connect=0.05))
    try:
        with pytest.raises(ProviderError, match=r"there was no connection within 0\.05 s"):
            async with used.post("http://slow.invalid/v1", headers=HEADERS, body=b""):
                raise AssertionError("there is no reply")
    finally:
        found.set()
    await used.aclose()


async def test_silence_in_the_body_is_an_error() -> None:
    error = await refused(Played.sse("a", anyio.Event().wait), limits=TimeLimits(read=0.05))
    assert str(error) == "the stream of some broke off: nothing came within 0.05 s"
    assert error.retryable


async def test_a_reader_that_takes_its_time_is_not_the_services_silence() -> None:
    async with LoopbackServer(Played.sse("a", "b")) as server:
        used, events = client(TimeLimits(read=0.02)), list[bytes]()
        async with used.post(server.url, headers={}, body=b"") as reply:
            async for batch in reply.events():
                events += batch
                await anyio.sleep(0.07)  # the time itself is what is tested
        await used.aclose()
    assert events == [b"a", b"b"]


async def test_an_answer_that_never_ends_is_an_error() -> None:
    def forever() -> Iterator[object]:
        while True:
            yield b"data: x\n\n"
            yield checkpoint

    error = await refused(Played(forever()), limits=TimeLimits(total=0.1))  # type: ignore[arg-type]
    assert str(error) == "the stream of some broke off: the answer did not end within 0.1 s"
    error = await refused(Played.raw(anyio.Event().wait), limits=TimeLimits(total=0.1))
    assert "nothing came within 0.1 s" in str(error)


@pytest.mark.parametrize("given", [0, -1, float("inf"), "10"])
def test_a_time_limit_is_a_number_above_0(given: object) -> None:
    with pytest.raises(ConfigError, match=r"the time limit read is .*; it must be a number above 0, or None"):
        TimeLimits(read=given)  # type: ignore[arg-type]


async def test_no_limit_is_none() -> None:
    async with LoopbackServer(Played.sse("a")) as server:
        used = client(TimeLimits(connect=None, read=None))
        assert await asked(server, used) == [b"a"]
        await used.aclose()


# -- TLS and proxies ---------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """One that the environment says to trust."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return made


def context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1",))).configure_cert(made)
    return made


async def test_an_authority_that_the_environment_names_is_trusted(authority: trustme.CA) -> None:
    async with LoopbackServer(Played.sse("a"), tls=context(authority)) as server:
        assert await asked(server) == [b"a"]


async def test_a_cancellation_closes_a_connection_with_tls_too(authority: trustme.CA) -> None:
    async with LoopbackServer(Played.sse("a", anyio.Event().wait), tls=context(authority)) as server:
        used = client()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asked, server, used)
            received = await server.request()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        await received.gone()
        await used.aclose()


@pytest.mark.usefixtures("authority")
async def test_another_authority_is_not_trusted() -> None:
    async with LoopbackServer(Played.sse("a"), tls=context(trustme.CA())) as server:
        with pytest.raises(ProviderError, match=r"TLS failed: \[SSL: [^\[\]]+\] [^\[\]]+; .*SSL_CERT_FILE") as caught:
            await asked(server)
    assert not caught.value.retryable
    assert not server.requests


async def test_a_certificate_for_another_name_is_not_taken(authority: trustme.CA) -> None:
    async with LoopbackServer(Played.sse("a"), tls=context(authority, "other.example")) as server:
        with pytest.raises(ProviderError, match="TLS failed"):
            await asked(server)
    assert not server.requests


async def test_plain_http_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with LoopbackServer(Played.sse("a")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("://", "://me:p%40ss@"))
        used = client()
        async with used.post("http://models.example/v1", headers=HEADERS, body=b"{}") as reply:
            assert await read(reply) == [b"a"]
        await used.aclose()
    assert proxy.requests[0].path == "http://models.example/v1"
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic bWU6cEBzcw=="


async def test_https_goes_through_a_tunnel_that_the_proxy_cannot_read(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA
) -> None:
    async with LoopbackServer(Played.sse("a"), tunnel=context(authority, "models.example")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", "://me:p%40ss@"))
        used = client()
        async with used.post("https://models.example/v1", headers=HEADERS, body=b"{}") as reply:
            assert await read(reply) == [b"a"]
        await used.aclose()
    tunnel, request = proxy.requests
    assert tunnel.headers["proxy-authorization"] == "Basic bWU6cEBzcw=="
    assert "proxy-authorization" not in request.headers
    assert (tunnel.method, tunnel.path) == ("CONNECT", "models.example:443")
    assert "authorization" not in tunnel.headers
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_a_proxy_that_refuses_is_named_as_what_refused(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA
) -> None:
    async with LoopbackServer(Played([b"who are you"], 407, framing="length")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", "://me:hunter2@"))
        with pytest.raises(ProviderError, match=r"environment's proxy: 407\b.*Proxy Auth") as caught:
            async with client().post("https://models.example/v1", headers=HEADERS, body=b"{}"):
                raise AssertionError("there is no reply")
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in shown
    assert "hunter2" not in shown


# -- secrets -----------------------------------------------------------------------------------------------------------


async def test_keys_are_in_no_repr_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with LoopbackServer(Played.sse("a")) as server:
        used = client()
        request = used.post(server.url, headers=HEADERS, body=b"{}")
        async with request as reply:
            await read(reply)
        assert repr(used) == "Client('some')"
        assert KEY not in f"{used!r} {request!r} {reply!r}"
        await used.aclose()
    assert KEY not in caplog.text


# -- connections that the server closes between two requests -----------------------------------------------------------


class Closing:
    """A server that closes its first connections when their last request has come, and does not answer that one.

    So it looks to a client that asks while the server closes: it cannot have heard of it yet.

    Args:
        answers: How many requests each connection is answered, one after the other; the last is for all that follow.
    """

    def __init__(self, *answers: int) -> None:
        self.answers = answers
        self.connections = 0
        self.requests = 0

    async def __call__(self, stream: anyio.abc.SocketStream) -> None:
        answers = self.answers[min(self.connections, len(self.answers) - 1)]
        self.connections += 1
        async with stream:
            for number in range(answers + 1):
                if not await self._read(stream):
                    return
                self.requests += 1
                if number < answers:
                    await stream.send(
                        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: a\n\n"
                    )

    async def _read(self, stream: anyio.abc.SocketStream) -> bool:
        """Read a request, which ends with the two bytes of its body."""
        got = b""
        while not got.endswith(b"{}"):
            try:
                got += await stream.receive()
            except anyio.EndOfStream:
                return False
        return True


@asynccontextmanager
async def closing(*answers: int) -> AsyncIterator[tuple[Closing, str]]:
    served = Closing(*answers)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, served)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  no Django
        yield served, f"http://127.0.0.1:{port}"
        group.cancel_scope.cancel()


async def ask(used: Client, url: str) -> list[bytes]:
    async with used.post(url, headers={}, body=b"{}") as reply:
        return await read(reply)


async def test_a_request_over_a_connection_that_was_just_closed_is_sent_again() -> None:
    """By a server that does not say so: llama.cpp's closes its own after each stream."""
    async with closing(1, 100) as (server, url):
        used = client()
        assert [await ask(used, url), await ask(used, url)] == [[b"a"], [b"a"]]
        assert (server.connections, server.requests) == (2, 3)
        await used.aclose()


async def test_a_request_over_a_new_connection_is_sent_once() -> None:
    """The server may have begun with it."""
    async with closing(0, 100) as (server, url):
        used = client()
        with pytest.raises(ProviderError, match="the connection broke") as caught:
            await ask(used, url)
        assert caught.value.retryable
        assert (server.connections, server.requests) == (1, 1)
        await used.aclose()


async def test_a_request_is_sent_twice_at_most() -> None:
    async with closing(1, 0, 100) as (server, url):
        used = client()
        await ask(used, url)
        with pytest.raises(ProviderError, match="the connection broke"):
            await ask(used, url)
        assert (server.connections, server.requests) == (2, 3)
        await used.aclose()
