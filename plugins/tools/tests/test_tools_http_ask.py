"""What `http_request` sends, and what it makes of a redirect."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from becket import ToolError
from becket_tools._ask import MAX_BODY, Ask, check, redirected


def ask(url: str = "https://a.example/x", method: str = "GET", body: str = "", **headers: str) -> Ask:
    return check(method, url, headers, body)


@pytest.mark.parametrize(
    "url",
    ["example.com", "ftp://example.com/", "file:///etc/passwd", "//example.com", "http:///x", "https:a", "", "x://"],
)
def test_only_http_and_https_with_a_host_are_asked(url: str) -> None:
    with pytest.raises(ToolError, match="http"):
        ask(url)


@pytest.mark.parametrize("url", ["http://a\n.example/", "http://a.example/\x00", "http://[::1", "http://①②⑦.⓪.⓪.①/"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ToolError, match=r"is no URL|is not a host"):
        ask(url)


@pytest.mark.parametrize("url", ["http://127。0。0。1/", "HTTP://127.0.0.1./", " http://127.0.0.1 "])
def test_a_host_is_looked_at_as_it_is_sent(url: str) -> None:
    assert ask(url).url.host == "127.0.0.1"


def test_a_dot_at_the_end_of_a_host_is_left_out() -> None:
    assert str(ask("https://Example.com./a?b#c").url).startswith("https://example.com/a?b")


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(ToolError, match="Authorization header") as caught:
        ask("https://me:secret@a.example/")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(ToolError, match="ports go from 1 to 65535"):
        ask(f"http://a.example:{port}/")


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Transfer-Encoding", "Connection", "Proxy-Authorization", "Accept-Encoding"]
)
def test_headers_that_frame_the_message_are_refused(name: str) -> None:
    with pytest.raises(ToolError, match="leave it out"):
        ask(**{name: "1"})


@pytest.mark.parametrize(("name", "value"), [("X", "a\r\nHost: b"), ("X", "a\nb"), ("a b", "1"), ("", "1"), ("X", "ä")])
def test_a_header_cannot_bring_another_one_along(name: str, value: str) -> None:
    with pytest.raises(ToolError, match="cannot be sent"):
        check("GET", "https://a.example/", {name: value}, "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"body": "x" * (MAX_BODY + 1), "method": "POST"}, "send less"),
        ({"url": f"https://a.example/{'x' * 9000}"}, "8000 is the most"),
        ({"X": "x" * 20_000}, "send fewer"),
        ({"method": "BREW"}, "use one of: GET"),
    ],
)
def test_what_is_too_much_or_unknown_is_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ToolError, match=told):
        ask(**arguments)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"a": 1}', "application/json"),
        (" [1]", "application/json"),
        ("42", "text/plain; charset=utf-8"),
        ("{a", "text/plain; charset=utf-8"),
        ("[" * 100_000, "text/plain; charset=utf-8"),
    ],
    ids=["object", "list", "number", "broken", "deep"],
)
def test_a_body_says_what_it_is(body: str, kind: str) -> None:
    assert ask(method="POST", body=body).headers == {"Content-Type": kind}


def test_spaces_around_a_header_are_left_out() -> None:
    assert ask(X=" a b\t").headers == {"X": "a b"}


def test_a_content_type_that_is_given_stays() -> None:
    assert check("POST", "https://a.example/", {"content-type": "a/b"}, "{}").headers == {"content-type": "a/b"}


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "GET", "GET"),
        (301, "HEAD", "HEAD"),
        (301, "POST", "GET"),
        (301, "PUT", "PUT"),
        (302, "POST", "GET"),
        (302, "DELETE", "DELETE"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "PATCH", "PATCH"),
    ],
)
def test_a_redirect_keeps_the_method_unless_it_asks_for_a_get(status: int, method: str, then: str) -> None:
    body = "" if method in ("GET", "HEAD") else "{}"
    after = redirected(ask(method=method, body=body), status, "/y")
    kept = then == method
    assert (after.method, str(after.url)) == (then, "https://a.example/y")
    assert after.body == (body.encode() if kept else b"")
    assert ("Content-Type" in after.headers) is (kept and bool(body))


@pytest.mark.parametrize(
    "location",
    ["https://b.example/", "http://a.example/", "https://a.example:444/", "//b.example/", "https://x.a.example/"],
)
def test_to_another_origin_only_harmless_headers_go_along(location: str) -> None:
    headers = {"Authorization": "a", "Cookie": "b", "X-Api-Key": "c", "Accept": "text/html", "User-Agent": "d"}
    after = redirected(check("GET", "https://a.example/x", headers, ""), 302, location)
    assert after.headers == {"Accept": "text/html", "User-Agent": "d"}


@pytest.mark.parametrize("location", ["/y", "y", "?q", "https://a.example:443/z", "//a.example/"])
def test_within_an_origin_every_header_goes_along(location: str) -> None:
    after = redirected(ask(Authorization="a"), 307, location)
    assert after.headers == {"Authorization": "a"}
    assert after.url.origin == httpx2.URL("https://a.example").origin


@pytest.mark.parametrize(
    "location",
    ["ftp://a.example/", "javascript:alert(1)", "http://u:p@a.example/", "http://0x7f.1/", "file:///etc/passwd"],
)
def test_a_redirect_to_what_may_not_be_asked_is_an_error(location: str) -> None:
    with pytest.raises(ToolError, match=r"https://a\.example/x redirects to where this tool does not go"):
        redirected(ask(), 302, location)
