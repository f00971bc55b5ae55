"""Proxies and trusted authorities, as the environment has them."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from becket import ConfigError
from becket_wire._environment import Proxy, proxy_for, tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment that says nothing."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    tls.cache_clear()
    yield
    tls.cache_clear()


def test_without_a_proxy_in_the_environment_there_is_none() -> None:
    assert proxy_for("https://api.example.com/v1") is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_the_proxy_is_the_environments(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://proxy:3128")
    assert proxy_for("https://api.example.com/v1") == Proxy("http://proxy:3128")


def test_a_proxy_without_a_scheme_is_an_http_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy:3128")
    assert proxy_for("https://api.example.com/v1") == Proxy("http://proxy:3128")


def test_no_proxy_leaves_hosts_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,.local.example")
    assert proxy_for("http://localhost:11434/v1") is None
    assert proxy_for("http://models.local.example/v1") is None
    assert proxy_for("http://models.example/v1") == Proxy("http://proxy:3128")


def test_a_proxy_that_speaks_no_http_is_said_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    with pytest.raises(ConfigError, match=r"is a socks5 one; set an http:// one in HTTPS_PROXY, or name api\.example"):
        proxy_for("https://api.example.com/v1")


@pytest.mark.parametrize("name", ["::1", "[::1]", "[::1]:8000"])
def test_an_address_of_ipv6_is_left_out_however_it_is_written(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", name)
    assert proxy_for("http://[::1]:8000/v1") is None
    assert proxy_for("http://[::2]:8000/v1") == Proxy("http://proxy:3128")


def test_a_proxys_password_is_apart_from_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:p%40ss@proxy:3128/")
    proxy = proxy_for("https://api.example.com/v1")
    assert proxy == Proxy("http://proxy:3128", "Basic bWU6cEBzcw==")
    assert repr(proxy) == "Proxy(url='http://proxy:3128')"


@pytest.mark.parametrize(
    "given", ["http://", "http://me:secret@[::1", "http://me:secret@host:99999", "me:secr\u00e9t@host"]
)
def test_a_proxy_that_is_no_url_is_said_without_what_it_holds(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", given)
    with pytest.raises(ConfigError, match=r"the environment's proxy for https:// is no URL; set one such as") as caught:
        proxy_for("https://api.example.com/v1")
    assert "me:" not in str(caught.value)


def test_the_systems_authorities_are_trusted_and_read_once() -> None:
    assert tls().verify_mode is ssl.CERT_REQUIRED
    assert tls().check_hostname
    assert tls() is tls()


def test_an_authority_of_ones_own_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert tls().cert_store_stats()["x509_ca"] == 1
