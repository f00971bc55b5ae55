"""Where `http_request` goes, and where it does not."""

from __future__ import annotations

import pytest
from becket import ConfigError, ToolError
from becket_tools import make_http_request
from becket_tools._addresses import check_host, is_public, parse_exemptions, permitted

PRIVATE = [
    "0.0.0.0",  # noqa: S104  nothing is bound to it
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1111%eth0",
    "fec0::1",
    "ff02::1",
    "",
    "example.com",
    "127.1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.0.1.1", "223.255.255.254", "2606:4700::1111", "2a00:1450:4001::200e"]


@pytest.mark.parametrize("address", PRIVATE)
def test_this_is_no_public_address(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_this_is_a_public_address(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "0x",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.0x1",
        "1.2.3.4.5",
        "example.123",
        "127.0.0.1..",
        "a..b",
        ".a",
        "-a.com",
        "a-.com",
        "a b",
        "a%62",
        "a|b",
        "::1%25eth0",
        "fe80::1%eth0",
        "",
        f"{'x' * 64}.com",
        f"{'x.' * 126}com",
    ],
)
def test_this_is_neither_a_name_nor_an_address_in_the_usual_notation(host: str) -> None:
    with pytest.raises(ToolError, match="is not a host"):
        check_host(host)


@pytest.mark.parametrize(
    "host", ["example.com", "a", "xn--mnchen-3ya.de", "_dmarc.example.com", "0x7f.com", "3com.com"]
)
def test_a_name_needs_a_resolver(host: str) -> None:
    assert check_host(host) is None


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "localhost.localdomain"])
def test_localhost_is_this_machine_whatever_a_resolver_says(host: str) -> None:
    assert check_host(host) == ("127.0.0.1", "::1")


def test_a_name_with_one_private_address_is_refused_as_a_whole() -> None:
    with pytest.raises(ToolError, match=r"example\.com \(10\.0\.0\.1\) is not on the public internet"):
        permitted("example.com", ["8.8.8.8", "10.0.0.1"], 80, [])


def test_one_allowed_address_of_localhost_is_enough() -> None:
    allowed = parse_exemptions(["127.0.0.1:80"])
    assert permitted("localhost", ("127.0.0.1", "::1"), 80, allowed) == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("entry", "host", "address", "port", "covered"),
    [
        ("127.0.0.1:8080", "127.0.0.1", "127.0.0.1", 8080, True),
        ("127.0.0.1:8080", "127.0.0.1", "127.0.0.1", 8081, False),
        ("127.0.0.1:8080", "127.0.0.2", "127.0.0.2", 8080, False),
        ("127.0.0.1", "name.example", "127.0.0.1", 1, True),
        ("10.0.0.0/8", "10.255.0.1", "10.255.0.1", 1, True),
        ("10.0.0.0/8", "11.0.0.1", "11.0.0.1", 1, False),
        ("10.0.0.0/8:443", "10.0.0.1", "10.0.0.1", 80, False),
        ("127.0.0.1", "x.example", "::ffff:127.0.0.1", 80, False),
        ("::1", "::1", "::1", 80, True),
        ("[::1]:80", "::1", "::1", 80, True),
        ("[::1]:80", "::1", "::1", 81, False),
        ("[fd00::/8]:80", "fd00::2", "fd00::2", 80, True),
        ("fe80::/10", "fe80::1", "fe80::1%eth0", 80, False),
        ("API:8080", "api", "172.17.0.2", 8080, True),
        ("api.", "api", "172.17.0.2", 1, True),
        ("api", "other", "172.17.0.2", 80, False),
        ("api", "x.api", "172.17.0.2", 80, False),
    ],
)
def test_an_exemption_covers_what_it_says(entry: str, host: str, address: str, port: int, covered: bool) -> None:
    [exemption] = parse_exemptions([entry])
    assert exemption.covers(host, address, port) is covered


@pytest.mark.parametrize(
    "entry", ["", ":80", "10.0.0.1/8", "a b", "*", "127.1", "http://a", "a:99999", "[::1", "fe80::1%eth0", "a:b"]
)
def test_an_entry_that_is_no_place_is_refused_when_the_tool_is_made(entry: str) -> None:
    with pytest.raises(ConfigError, match="is no place"):
        make_http_request(allow=[entry])


def test_one_text_is_no_list_of_places() -> None:
    with pytest.raises(ConfigError, match=r"write allow=\['127\.0\.0\.1'\]"):
        make_http_request(allow="127.0.0.1")


@pytest.mark.parametrize("limit", ["timeout", "connect_timeout", "max_bytes", "max_chars"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_must_be_above_0(limit: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{limit} is .*; it must be above 0"):
        make_http_request(**{limit: value})  # type: ignore[arg-type]  # as a host in a hurry
