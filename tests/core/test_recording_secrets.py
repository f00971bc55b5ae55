"""What must not be in a recording is not in it, and the recording can be replayed all the same."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from becket import Agent, ConfigError, ModelOptions, ProviderError, Runtime, TextDelta, ToolCallDelta, tool
from becket.events import ModelFinished
from becket.testing import Recording, ReplayError, ScriptedProvider, calls, text
from becket.testing._secrets import Secrets
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ODD = 'hunter2 "quoted" ü/+'
KEY = "sk-" + "proj0123456789abcdef"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "it.ndjson"


def make(*scripts: Any, tools: Sequence[Any] = (), **options: Any) -> Agent:
    return Agent(ScriptedProvider(*scripts), tools, runtime=Runtime(discover=False), retry=None, **options)


def both(path: Path, agent: Agent, prompt: str = "go", **options: Any) -> str:
    """Record and replay a run; what is in the file."""
    with Recording(path, record=True, **options):
        agent(prompt)
    with Recording(path, **options):
        agent(prompt)
    return path.read_text(encoding="utf-8")


def test_a_named_secret_is_masked_however_it_is_written(path: Path) -> None:
    @tool
    def login(password: str, url: str) -> dict[str, str]:
        return {"sent": base64.b64encode(ODD.encode()).decode(), "to": url}

    url = f"https://example.org/?p={quote(ODD, safe='')}"
    agent = make(calls(("login", {"password": ODD, "url": url})), text("done: ", ODD), tools=[login])
    written = both(path, agent, f"log in with {ODD}", secrets={"PASS": ODD})
    assert "hunter2" not in written
    assert base64.b64encode(ODD.encode()).decode().rstrip("=") not in written
    assert "log in with [secret PASS]" in written
    assert "https://example.org/?p=[secret PASS]" in written


def test_a_secret_that_is_cut_by_the_ends_of_pieces_is_masked_and_the_pieces_stay(path: Path) -> None:
    script = [*map(TextDelta, ("It is sw", "ord", "fish, and sword", "fish.")), ModelFinished("end_turn")]
    fragments = ('{"a": "sword', 'fish"}')
    call = [*(ToolCallDelta("x", "use", one, 1) for one in fragments), ModelFinished("tool_use")]

    @tool
    def use(a: str) -> str:
        return "ok"

    both(path, make(call, script, tools=[use]), secrets={"WORD": "swordfish"})
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    pieces = [row["text"] for row in rows if row["type"] == "text_delta"]
    assert pieces == ["It is [secret WORD]", "", ", and [secret WORD]", "."]
    assert [row["fragment"] for row in rows if row["type"] == "tool_call_delta"] == ['{"a": "[secret WORD]', '"}']


@given(st.lists(st.sampled_from(["", "sword", "fish", "swordfish", "s", "w", "ord", "f"])))
def test_however_a_text_is_cut_it_is_masked_as_a_whole_in_as_many_pieces(pieces: list[str]) -> None:
    secrets = Secrets({"WORD": "swordfish"})
    masked = secrets.pieces(pieces)
    assert len(masked) == len(pieces)
    assert "".join(masked) == "".join(pieces).replace("swordfish", "[secret WORD]")


def test_the_environment_names_what_is_secret(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEATHER_API_KEY", "w-0123456789")
    monkeypatch.setenv("MY_PASSWORD", "assistant")  # a word: it stands in places where it is no secret
    monkeypatch.setenv("A_TOKEN", "short")
    monkeypatch.setenv("HANDLE", "@somebody")
    written = both(path, make(text("w-0123456789 assistant short @somebody")), secrets=["HANDLE", "NOT_SET"])
    assert "[secret WEATHER_API_KEY] assistant short [secret HANDLE]" in written


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        (f"use {KEY} now", "use [secret API key] now"),
        ("see postgres://me:p4ssw0rd99@db/x", "see postgres://me:[secret url password]@db/x"),
        ("see https://example.com:8443/a@b", "see https://example.com:8443/a@b"),
        ("glpat-" + "a1B2" * 5, "[secret GitLab token]"),
        ("sk_live_" + "a1B2" * 5, "[secret Stripe key]"),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer [secret authorization]"),
        ('{"access_token": "abc\\"def-123"}', '{"access_token": "[secret access_token]"}'),
        ('{"access_token": "abc', '{"access_token": "abc'),
        ("password = correct-horse-1", "password = [secret password]"),
        ("the password: required, always", "the password: required, always"),
        ("AKIAABCDEFGHIJKLMNOP", "[secret AWS key]"),
        ("the token: bucket", "the token: bucket"),
    ],
)
def test_what_looks_like_a_secret_is_masked(path: Path, said: str, masked: str) -> None:
    both(path, make(text(said)))
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [row["text"] for row in rows if row["type"] == "text_delta"] == [masked]


def test_headers_and_arguments_that_are_called_like_secrets_are_masked(path: Path) -> None:
    @tool
    def fetch(headers: dict[str, str], many: list[str]) -> str:
        return "got " + headers["Authorization"]

    arguments: Any = {"headers": {"Authorization": "Bearer ab12cd34ef"}, "many": ["ab12cd34ef"]}
    options = ModelOptions(extra={"headers": {"x-api-key": "in-the-options"}})
    agent = make(calls(("fetch", arguments)), text("ok"), tools=[fetch], options=options)
    written = both(path, agent)
    assert "ab12cd34ef" not in written
    assert "in-the-options" not in written


def test_a_mask_stands_for_whatever_is_there_when_it_is_replayed(path: Path) -> None:
    agent = make(text("ok"))
    with Recording(path, record=True, secrets={"USER_KEY": "the-real-one"}):
        agent("I am the-real-one, hello")
    for now in ("I am a dummy, hello", "I am , hello"):
        with Recording(path):
            agent(now)
    with pytest.raises(ReplayError, match=r"-.*I am \[secret USER_KEY\], hello"), Recording(path):
        agent("I am the-real-one, goodbye")


def test_a_difference_shows_no_secret(path: Path) -> None:
    agent = make(text("ok"))
    with Recording(path, record=True):
        agent("go")
    with pytest.raises(ReplayError) as caught, Recording(path, secrets={"WORD": "swordfish"}):
        agent("swordfish")
    assert "[secret WORD]" in str(caught.value)
    assert "swordfish" not in str(caught.value)


def test_an_error_of_a_service_is_masked(path: Path) -> None:
    agent = make([ProviderError(f"incorrect key: {KEY}", status=401)])
    for record in (True, False):
        with Recording(path, record=record), pytest.raises(ProviderError, match="incorrect key"):
            agent("go")
    assert KEY not in path.read_text(encoding="utf-8")


def test_a_file_with_a_secret_that_cannot_be_masked_is_not_written(path: Path) -> None:
    told = pytest.raises(ConfigError, match=r"was not written: .*: ROLE; have the test use other values")
    with told as caught, Recording(path, record=True, secrets={"ROLE": "assistant"}):
        make(text("ok"))("go")
    assert "assistant" not in str(caught.value)
    assert not path.exists()


def test_a_secret_that_is_no_secret_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="'PIN' has 3 characters"):
        Recording(path, record=True, secrets={"PIN": "123"})
    with pytest.raises(ConfigError, match=r"secrets is the text 'PIN'.*\['PIN'\]"):
        Recording(path, record=True, secrets="PIN")
