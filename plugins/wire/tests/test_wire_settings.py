"""The settings that every service has, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import becket_wire
import pytest
from becket import Runtime, hookimpl, load_config
from becket_wire import ServiceSettings, SettingsError, TimeLimits, plain
from pydantic import SecretStr


@dataclass(kw_only=True)
class Table(ServiceSettings):
    """A plugin's own."""

    style: str = "plain"


class Small:
    def __init__(self) -> None:
        self.config: Table | None = None

    @hookimpl
    def declare_config(self) -> type:
        return Table

    @hookimpl
    def register_providers(self, config: Table) -> list[object]:
        self.config = config
        return []


def test_all_public_names_are_there() -> None:
    assert all(getattr(becket_wire, name) is not None for name in becket_wire.__all__)
    assert sorted(becket_wire.__all__) == becket_wire.__all__
    with pytest.raises(AttributeError, match="has no attribute 'Clint'"):
        becket_wire.Clint  # type: ignore[attr-defined]  # noqa: B018


def test_settings_bring_in_nothing_heavy() -> None:
    code = "import becket_wire, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  ours
    heavy = {"aiohttp", "httpcore2", "msgspec", "pydantic", "ssl", "yarl"}
    assert not heavy & {name.partition(".")[0] for name in run.stdout.split()}


def test_a_plugins_table_has_them(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    file = Path(str(tmp_path)) / "becket.toml"
    file.write_text(
        '[plugins.small]\nbase_url = "http://localhost:1/v1"\nstyle = "odd"\nread_seconds = 5\n'
        'api_key = { env = "SMALL_KEY" }\nheaders = { x-team = "blue" }\n'
    )
    monkeypatch.setenv("SMALL_KEY", "sk-1\n")
    plugin = Small()
    Runtime(plugins=[plugin], discover=False, config=load_config(file))
    assert plugin.config is not None
    assert (plugin.config.base_url, plugin.config.style) == ("http://localhost:1/v1", "odd")
    assert (plain(plugin.config.api_key), plain(plugin.config.headers["x-team"])) == ("sk-1", "blue")
    assert plugin.config.limits == TimeLimits(connect=10, read=5, total=None)
    assert "sk-1" not in repr(plugin.config)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"base_url": "localhost:8000"}, r"base_url is 'localhost:8000'; it is a URL that starts with http://"),
        ({"base_url": "http://[::1"}, "base_url is"),
        ({"base_url": "http://x/v1?a=b"}, "base_url has a query or a fragment"),
        ({"base_url": "http://me:p@[::1"}, "base_url has a name or password in it"),
        ({"base_url": "http://x:0/"}, "base_url is"),
        ({"read_seconds": 0}, "read_seconds is 0; it is a number of seconds above 0"),
        ({"total_seconds": float("nan")}, "total_seconds is nan"),
        ({"headers": {"x y": "1"}}, "headers has 'x y', which no request can have"),
        ({"headers": {"x": "1\r\ny: 2"}}, "headers has 'x', which no request can have"),
        ({"api_key": "sk\nHost: x"}, "api_key holds what no header"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        ServiceSettings(**given)  # type: ignore[arg-type]


def test_a_url_with_a_password_is_not_shown() -> None:
    with pytest.raises(SettingsError, match="has a name or password in it") as caught:
        ServiceSettings(base_url="https://me:hunter2@x/v1")
    assert "hunter2" not in str(caught.value)


def test_secrets_are_plain_where_they_are_sent() -> None:
    assert [plain(secret) for secret in (None, "a", SecretStr(" a "), SecretStr(""))] == ["", "a", "a", ""]
