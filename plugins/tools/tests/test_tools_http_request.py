"""`http_request` against servers of this machine, on both event loops."""

from __future__ import annotations

import base64
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anyio
import pytest
import trustme
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener
from becket import Agent, Document, Image, Runtime, Text, ToolError
from becket.testing import ScriptedProvider, calls, text
from becket_tools import http_request, make_http_request

pytestmark = pytest.mark.anyio

Handler: TypeAlias = Callable[[ByteStream, bytes], Awaitable[None]]

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=")


def answer(body: bytes = b"", *, status: str = "200 OK", **headers: str) -> bytes:
    """A whole response."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", ""])
    return head.encode() + body


def says(response: bytes) -> Handler:
    """A server that answers every request so."""

    async def handle(stream: ByteStream, request: bytes) -> None:
        await stream.send(response)

    return handle


async def nothing_more(stream: ByteStream) -> None:
    """Wait until the client has closed the connection."""
    with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
        await stream.receive()


class Server:
    """A server of one test.

    Attributes:
        port: Where it listens.
        requests: What it was sent, by connections that were opened.
    """

    def __init__(self, handle: Handler, host: str) -> None:
        self.port = 0
        self.requests: list[bytes] = []
        self.host = host
        self._handle = handle

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.place}"

    async def serve(self, stream: ByteStream) -> None:
        number = len(self.requests)
        self.requests.append(b"")
        async with stream:
            while b"\r\n\r\n" not in self.requests[number]:
                self.requests[number] += await stream.receive()
            await self._handle(stream, self.requests[number])


@asynccontextmanager
async def served(
    handle: Handler, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A server that runs as long as the block does; what it raises, the block raises."""
    failure: Exception | None = None
    server = Server(handle, host)
    listener = await anyio.create_tcp_listener(local_host=host)
    server.port = listener.extra(SocketAttribute.local_port)  # noqa: S610  anyio's, not Django's
    wrapped = listener if tls is None else TLSListener(listener, tls, standard_compatible=False, handshake_timeout=10)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(wrapped.serve, server.serve)
        try:
            yield server
        except Exception as error:
            failure = error  # raised below: here it would be one of a group
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def ask(handle: Handler, path: str = "/", *, tool: dict[str, Any] | None = None, **arguments: Any) -> Any:
    """What the tool gives for a request to such a server."""
    async with served(handle) as server:
        request = make_http_request(allow=[server.place], **(tool or {}))
        return await request(f"{server.url}{path}", **arguments)


class Names:
    """A resolver that gives one answer after the other, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


# -- what a model gets to read -----------------------------------------------------------------------------------------


async def test_a_text_comes_with_its_status_and_type() -> None:
    assert await ask(says(answer(b"hello", Content_Type="text/plain"))) == "200 OK\ncontent-type: text/plain\n\nhello"


async def test_json_stays_the_text_that_it_is() -> None:
    given = await ask(says(answer(b'{"a": 1.0}', Content_Type="application/json")))
    assert given.endswith('\n\n{"a": 1.0}')


async def test_an_error_status_is_an_answer() -> None:
    given = await ask(says(answer(b"no such page", status="404 Not Found", Content_Type="text/plain", Retry_After="3")))
    assert given == "404 Not Found\ncontent-type: text/plain\nretry-after: 3\n\nno such page"


async def test_a_head_request_gives_every_header() -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nETag: x\r\n\r\n"
    assert await ask(says(response), method="HEAD") == "200 OK\ncontent-length: 99\netag: x"


@pytest.mark.parametrize(
    ("body", "kind", "shown"),
    [
        ("ä".encode("latin-1"), "text/plain; charset=ISO-8859-1", "ä"),
        ("ä".encode(), "text/plain", "ä"),
        ("ä".encode(), "text/plain; charset=punycode", "ä"),
        ("ä".encode(), "text/plain; charset=utf-99", "ä"),
        (b"\xef\xbb\xbfa", "text/plain", "a"),
        ("ä".encode("utf-16"), "text/plain", "ä"),
        (b"a\xffb", "text/plain", "a\N{REPLACEMENT CHARACTER}b"),
        (b"<svg/>", "image/svg+xml", "<svg/>"),
        (b"", "text/plain", "[the body is empty]"),
        (b"a\0b", "text/plain", "[the body is not shown: text/plain, 3 bytes; it is no text]"),
    ],
)
async def test_a_text_is_read_in_its_charset(body: bytes, kind: str, shown: str) -> None:
    assert (await ask(says(answer(body, Content_Type=kind)))).partition("\n\n")[2] == shown


@pytest.mark.parametrize(("body", "shown"), [(b"plain", "plain"), (b"\xff\xfe\xfd", "[the body is not shown: data of")])
async def test_without_a_type_the_bytes_tell(body: bytes, shown: str) -> None:
    assert (await ask(says(answer(body)))).partition("\n\n")[2].startswith(shown)


async def test_an_image_is_an_image() -> None:
    head, image = await ask(says(answer(PNG, Content_Type="image/png")))
    assert head == Text("200 OK\ncontent-type: image/png")
    assert image == Image.from_bytes(PNG, media_type="image/png")


async def test_a_pdf_is_a_document_with_the_name_of_its_place() -> None:
    _, document = await ask(says(answer(b"%PDF-1.7 ...", Content_Type="application/pdf")), "/a/report.pdf?x=1")
    assert document == Document.from_bytes(b"%PDF-1.7 ...", media_type="application/pdf", name="report.pdf")


@pytest.mark.parametrize(
    ("body", "kind", "why"),
    [
        (b"PK\3\4", "application/zip", "application/zip, 4 bytes; it is no text"),
        (b"<html>", "image/png", "image/png, 6 bytes; it is not what its type says"),
        (PNG * 100, "image/png", f"image/png, {100 * len(PNG)} bytes; it is too big"),
    ],
    ids=["zip", "lie", "big"],
)
async def test_what_is_not_shown_is_said(body: bytes, kind: str, why: str) -> None:
    given = await ask(says(answer(body, Content_Type=kind)), tool={"max_bytes": 1000})
    assert given.partition("\n\n")[2] == f"[the body is not shown: {why}]"


# -- limits ------------------------------------------------------------------------------------------------------------


async def test_a_long_text_is_cut_and_says_so() -> None:
    given = await ask(says(answer(b"x" * 1000, Content_Type="text/plain")), tool={"max_chars": 10})
    assert given.partition("\n\n")[2] == f"{'x' * 10}\n\n[cut off here, after 10 characters; the response has more]"


async def test_half_a_character_is_left_out_of_a_cut_text() -> None:
    given = await ask(says(answer("ää".encode(), Content_Type="text/plain")), tool={"max_bytes": 3})
    assert given.partition("\n\n")[2].startswith("ä\n\n[cut off here, after 1 characters")


async def test_an_endless_body_is_cut_and_its_connection_closed() -> None:
    closed = anyio.Event()

    async def endless(stream: ByteStream, request: bytes) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                await stream.send(b"a\r\n0123456789\r\n")
        except anyio.BrokenResourceError:
            closed.set()

    async with served(endless) as server:
        given = await make_http_request(allow=[server.place], max_chars=25)(server.url)
        assert "\n\n0123456789012345678901234\n\n[cut off" in given
        with anyio.fail_after(10):
            await closed.wait()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_body_is_limited_by_what_it_unfolds_to(encoding: str) -> None:
    bomb = b"0" * 50_000_000
    packed = gzip.compress(bomb) if encoding == "gzip" else zlib.compress(bomb)
    response = answer(packed, Content_Type="text/plain", Content_Encoding=encoding)
    given = await ask(says(response), tool={"max_bytes": 1000})
    assert len(given) < 1200
    assert "after 1000 characters" in given


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd"])
async def test_a_body_in_an_encoding_that_was_not_offered_is_not_read(encoding: str) -> None:
    response = answer(gzip.compress(gzip.compress(b"x")), Content_Type="text/plain", Content_Encoding=encoding)
    with pytest.raises(ToolError, match=f"is encoded as '{encoding}', which this tool does not read"):
        await ask(says(response))


async def test_a_compressed_text_is_read() -> None:
    response = answer(gzip.compress(b"hello"), Content_Type="text/plain", Content_Encoding="gzip")
    assert (await ask(says(response))).endswith("\n\nhello")


async def test_chunks_make_one_body() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await ask(says(head + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"))).endswith("\n\nhello")


@pytest.mark.parametrize(
    "begun",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Type: text/plain\r\n\r\nabc"],
)
async def test_a_server_that_stops_half_way_is_given_up(begun: bytes) -> None:
    async def stop(stream: ByteStream, request: bytes) -> None:
        await stream.send(begun)
        await nothing_more(stream)

    with pytest.raises(ToolError, match=r"did not answer in full within 0\.2 s"):
        await ask(stop, tool={"timeout": 0.2})


async def test_a_resolver_that_does_not_answer_is_given_up() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        await anyio.sleep_forever()
        raise AssertionError

    with pytest.raises(ToolError, match=r"http://a\.example could not be reached within 0\.05 s"):
        await make_http_request(resolve=resolve, connect_timeout=0.05)("http://a.example/")


# -- where it goes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://{host}:{port}/",
        "http://localhost:{port}/",
        "http://localhost.:{port}/",
        "http://x.localhost:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[::]:{port}/",
        "http://0.0.0.0:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f000001:{port}/",
        "http://0177.0.0.1:{port}/",
        "http://127.1:{port}/",
        "http://127。0。0。1:{port}/",
    ],
)
async def test_this_machine_is_not_asked_by_any_name(url: str) -> None:
    async with served(says(answer(b"secret"))) as server:
        with pytest.raises(ToolError, match=r"is not on the public internet|is not a host|is no URL"):
            await http_request(url.format(host=server.host, port=server.port))
        assert server.requests == []


async def test_a_name_that_leads_to_this_machine_is_not_asked() -> None:
    async with served(says(answer(b"secret"))) as server:
        request = make_http_request(resolve=Names(["127.0.0.1"]))
        with pytest.raises(ToolError, match=r"a\.example \(127\.0\.0\.1\) is not on the public internet"):
            await request(f"http://a.example:{server.port}/")
        assert server.requests == []


async def test_another_port_than_the_allowed_one_is_not_asked() -> None:
    async with served(says(answer(b"secret"))) as server:
        with pytest.raises(ToolError, match="is not on the public internet"):
            await make_http_request(allow=[f"127.0.0.1:{server.port - 1}"])(server.url)
        assert server.requests == []


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """The resolver is asked once, so that it cannot give a checked address first and a private one afterwards."""
    async with served(says(answer(b"fine"))) as server:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        given = await make_http_request(allow=[server.place], resolve=names)(f"http://a.example:{server.port}/")
        assert given.endswith("fine")
        assert names.asked == [("a.example", server.port)]
        assert b"\r\nHost: a.example:" in server.requests[0]


async def test_a_name_that_changes_its_address_at_a_redirect_is_checked_again() -> None:
    async with served(says(answer(status="302 Found", Location="/secret"))) as fine:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        request = make_http_request(allow=["127.0.0.1"], resolve=names)
        with pytest.raises(ToolError, match=r"a\.example \(127\.0\.0\.2\) is not on the public internet"):
            await request(f"http://a.example:{fine.port}/")
        assert len(fine.requests) == 1


@pytest.mark.parametrize("location", ["http://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "http://b.example:{port}/"])
async def test_a_redirect_to_a_private_address_is_refused(location: str) -> None:
    async def names(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with served(says(answer(b"secret"))) as private:
        redirect = answer(status="307 Temporary Redirect", Location=location.format(port=private.port))
        async with served(says(redirect)) as server:
            with pytest.raises(ToolError, match="is not on the public internet"):
                await make_http_request(allow=[server.place], resolve=names)(server.url)
        assert private.requests == []


async def test_a_redirect_is_followed_and_said() -> None:
    async def handle(stream: ByteStream, request: bytes) -> None:
        moved = request.startswith(b"GET / ")
        await stream.send(
            answer(status="301 Moved", Location="/new") if moved else answer(b"here", Content_Type="text/a")
        )

    async with served(handle) as server:
        given = await make_http_request(allow=[server.place])(server.url)
        assert given == f"200 OK\nredirected to: {server.url}/new\ncontent-type: text/a\n\nhere"


async def test_a_secret_does_not_go_along_to_another_origin() -> None:
    async with served(says(answer(b"fine"))) as other:
        async with served(says(answer(status="307 T", Location=f"{other.url}/"))) as server:
            request = make_http_request(allow=[server.place, other.place])
            await request(
                server.url, method="POST", body="text", headers={"Authorization": "secret", "X-Key": "secret"}
            )
        assert b"secret" in server.requests[0]
        assert b"secret" not in other.requests[0]
        assert other.requests[0].startswith(b"POST / ")


async def test_redirects_without_an_end_are_given_up() -> None:
    async with served(says(answer(status="302 Found", Location="/"))) as server:
        with pytest.raises(ToolError, match="redirects more than 3 times"):
            await make_http_request(allow=[server.place], max_redirects=3)(server.url)
        assert len(server.requests) == 4


async def test_an_error_after_a_redirect_names_where_it_happened() -> None:
    async with served(says(b"")) as other:
        pass
    async with served(says(answer(status="302 Found", Location=f"{other.url}/"))) as server:
        with pytest.raises(ToolError, match=f"{other.url} could not be reached"):
            await make_http_request(allow=["127.0.0.1"])(server.url)


async def test_no_proxy_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(says(answer(b"proxy"))) as proxy, served(says(answer(b"direct"))) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert (await make_http_request(allow=[server.place])(server.url)).endswith("direct")
        assert proxy.requests == []


@pytest.mark.parametrize("addresses", [["127.0.0.3", "127.0.0.1"], ["127.0.0.1", "127.0.0.3"]])
async def test_every_address_is_tried_until_one_answers(addresses: list[str]) -> None:
    async with served(says(answer(b"fine"))) as server:
        names = Names(addresses)
        request = make_http_request(allow=["127.0.0.0/8"], resolve=names)
        assert (await request(f"http://a.example:{server.port}/")).endswith("fine")


async def test_a_name_without_an_address_is_an_error() -> None:
    with pytest.raises(ToolError, match=r"'a\.example' has no address"):
        await make_http_request(resolve=Names([]))("http://a.example/")


async def test_a_name_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ToolError, match=r"'no\.such\.name\.invalid' was not found; check its name"):
        await http_request("http://no.such.name.invalid/")


async def test_a_port_where_nobody_listens_is_an_error() -> None:
    async with served(says(b"")) as server:
        pass
    with pytest.raises(ToolError, match="could not be reached"):
        await make_http_request(allow=[server.place])(server.url)


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"SSH-2.0\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    ],
)
async def test_what_is_no_http_is_an_error(response: bytes) -> None:
    with pytest.raises(ToolError, match="broke off, or did not speak HTTP"):
        await ask(says(response))


async def test_a_body_that_is_not_encoded_as_it_says_is_an_error() -> None:
    with pytest.raises(ToolError, match="is not encoded as it says"):
        await ask(says(answer(b"plain", Content_Encoding="gzip")))


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_side(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


def client_side(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize("host", ["a.example", "127.0.0.1"])
async def test_the_certificate_is_verified_against_the_name_that_was_asked(authority: trustme.CA, host: str) -> None:
    sent: list[str | None] = []
    tls = server_side(authority, host)
    tls.sni_callback = lambda _, name, __: sent.append(name)
    async with served(says(answer(b"fine")), tls=tls) as server:
        names = Names(["127.0.0.1"])
        request = make_http_request(allow=[server.place], resolve=names, ssl_context=client_side(authority))
        assert (await request(f"https://{host}:{server.port}/")).endswith("fine")
        assert sent == ["a.example" if host == "a.example" else None]


@pytest.mark.parametrize(
    ("certified", "trusted", "told"),
    [
        ("b.example", True, "certificate is not valid for 'a.example'"),
        ("a.example", False, "self.signed|unable to get"),
    ],
    ids=["another name", "unknown authority"],
)
async def test_a_server_that_cannot_prove_its_name_is_not_asked(
    authority: trustme.CA, certified: str, trusted: bool, told: str
) -> None:
    async def serve(stream: ByteStream, request: bytes) -> None:
        raise AssertionError("a request was sent")

    listener_tls = server_side(authority, certified)
    async with served(serve, tls=listener_tls) as server:
        tls = {"ssl_context": client_side(authority)} if trusted else {}
        request = make_http_request(allow=[server.place], resolve=Names(["127.0.0.1"]), **tls)
        with pytest.raises(ToolError, match=f"could not be reached: .*({told})"):
            await request(f"https://a.example:{server.port}/")


# -- in a run ----------------------------------------------------------------------------------------------------------


async def test_a_cancelled_call_closes_its_connection_at_once() -> None:
    begun, closed = anyio.Event(), anyio.Event()

    async def handle(stream: ByteStream, request: bytes) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\nabc")
        begun.set()
        await nothing_more(stream)
        closed.set()

    async with served(handle) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(make_http_request(allow=[server.place]), server.url)
        with anyio.fail_after(10):
            await begun.wait()
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await closed.wait()
    assert closed.is_set()


async def test_a_model_gets_the_answer_as_the_tools_result() -> None:
    async with served(says(answer(b"hello", Content_Type="text/plain"))) as server:
        model = ScriptedProvider(calls(("http_request", {"url": server.url, "headers": None})), text("Done."))
        request = make_http_request(allow=[server.place])
        await Agent(model, [request], runtime=Runtime(discover=False)).invoke_async("ask it")
    [result] = model.requests[1].messages[2].content
    assert (result.status, result.text) == ("success", "200 OK\ncontent-type: text/plain\n\nhello")  # type: ignore[union-attr]  # a result


async def test_a_model_is_told_why_there_is_no_answer() -> None:
    model = ScriptedProvider(calls(("http_request", {"url": "http://169.254.169.254/latest"})), text("Done."))
    await Agent(model, [http_request], runtime=Runtime(discover=False)).invoke_async("ask it")
    [result] = model.requests[1].messages[2].content
    assert result.status == "error"  # type: ignore[union-attr]  # a result
    assert "169.254.169.254 is not on the public internet" in result.text  # type: ignore[union-attr]  # as above
