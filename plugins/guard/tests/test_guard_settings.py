"""The settings of a guard, in code and in a file; wrong ones leave no runtime unguarded."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from becket import Agent, ConfigError, Message, PluginError, Runtime, Text, load_config
from becket.testing import ListSink, ScriptedProvider, text
from becket_guard import Guard, GuardMask, Settings, SettingsError
from becket_guard._settings import fits

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "correct-horse-9"  # noqa: S105  what the tests hide


def mask(**options: Any) -> GuardMask:
    return GuardMask(Settings(**{"env": [], **options}))


def test_a_secret_is_masked_as_it_stands_in_text_in_json_and_in_a_url() -> None:
    shown = mask(secrets=['a "b"/ß cdé']).mask('a "b"/ß cdé; a \\"b\\"/ß cdé; a%20%22b%22%2F%C3%9F%20cd%C3%A9')
    assert shown == "[masked: secret]; [masked: secret]; [masked: secret]"


@pytest.mark.parametrize("shown", ["correct", "correct-horse-9 correct"])
def test_a_beginning_that_tells_little_stays(shown: str) -> None:
    assert mask(secrets=[SECRET]).mask(shown) == shown.replace(SECRET, "[masked: secret]")


def test_a_secret_that_is_cut_off_is_masked_at_the_end_of_a_text() -> None:
    given = mask(secrets=[SECRET])
    assert given.mask("it is correct-") == "it is [masked: secret]"
    assert given.mask("correct-h, it is correct-hors") == "correct-h, it is [masked: secret]"
    stream = given.open()
    assert [*map(stream.feed, ("it is correct", "-horse")), stream.end()] == ["it is ", "", "[masked: secret]"]


def test_variables_with_the_names_of_secrets_are_masked_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", f" {SECRET}\n")
    monkeypatch.setenv("DB_PASSWORD", "swordfish-7")
    monkeypatch.setenv("HOME_PAGE", "https://example.com/me")
    shown = GuardMask(Settings()).mask(f"{SECRET} swordfish-7 https://example.com/me")
    assert shown == "[masked: SOME_API_KEY] [masked: DB_PASSWORD] https://example.com/me"
    assert mask(env=["HOME_*"]).mask(f"{SECRET} https://example.com/me") == f"{SECRET} [masked: HOME_PAGE]"


def test_a_short_value_of_a_variable_is_left_alone_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("X_TOKEN", "true")
    with caplog.at_level(logging.DEBUG, logger="becket.guard"):
        assert mask(env=["X_TOKEN"]).mask("true") == "true"
        assert GuardMask(Settings()).mask("true") == "true"
    assert [record.levelname for record in caplog.records if "X_TOKEN" in record.message] == ["WARNING", "DEBUG"]
    assert "fewer than 8 characters" in caplog.records[0].message


def test_patterns_have_names_and_may_mask_a_part() -> None:
    given = mask(patterns={"employee": r"EMP-\d{6}", "pin": r"pin[ =:]+(?P<secret>\d{4})"})
    assert given.mask("EMP-123456 has pin: 4711.") == "[masked: employee] has pin: [masked: pin]."


def test_known_patterns_can_be_left_out() -> None:
    key = "ghp_aB3dE5gH7jK9mN1pQ3sT5vW7yZ0123456789"
    assert mask(builtin_patterns=False).mask(key) == key
    assert mask().mask(key) == "[masked: github_token]"


def test_what_stands_for_a_secret_can_be_chosen() -> None:
    assert mask(secrets=[SECRET], replacement="<gone>").mask(f"it is {SECRET}") == "it is <gone>"


@pytest.mark.parametrize(
    ("name", "wanted", "fit"),
    [
        ("A_KEY", "A_KEY", True),
        ("A_KEYS", "A_KEY", False),
        ("A_KEY", "*_KEY", True),
        ("_KEY", "*_KEY", True),
        ("A_KEY", "A*", True),
        ("A_KEY", "*", True),
        ("ab", "ab*b", False),
        ("a_b_c_d", "a*b*d", True),
        ("a_b_c_d", "a*c*b*d", False),
        ("a_b", "a**b", True),
        ("a_key", "*_KEY", False),
    ],
)
def test_a_star_stands_for_any_part_of_a_name(name: str, wanted: str, fit: bool) -> None:
    assert fits(name, [wanted]) is fit


WRONG = {
    "a short secret": ({"secrets": ["short"]}, "secrets has one of 5 characters in it, and the shortest"),
    "a secret that is no text": ({"secrets": [12345678]}, "secrets has a int in it"),
    "secrets that are no list": ({"secrets": SECRET}, "secrets is a str; it takes a list of texts"),
    "tools that are no texts": ({"tools": [1]}, "tools is [1]; it takes a list of texts"),
    "no expression": ({"patterns": {"x": "a("}}, "the pattern 'x' is no regular expression: missing )"),
    "no text": ({"patterns": {"x": 1}}, "the pattern 'x' is 1; it takes a regular expression as a text"),
    "a bad name": ({"patterns": {"x y": "abc"}}, "patterns has the name 'x y'"),
    "matches nothing": ({"patterns": {"x": "a*"}}, "the pattern 'x' matches where there is nothing"),
    "an anchor": ({"patterns": {"x": "^abc"}}, "the pattern 'x' has the anchor ^"),
    "another anchor": ({"patterns": {"x": r"abc\Z"}}, r"the pattern 'x' has the anchor \Z"),
    "backwards": ({"patterns": {"x": "(?r)abc"}}, "the pattern 'x' searches backwards"),
    "a replacement for JSON": ({"replacement": 'say "x"'}, "replacement is 'say \"x\"'"),
    "a replacement that is no text": ({"replacement": None}, "replacement is None"),
    "a replacement that is a secret": (
        {"secrets": ["[masked: s"]},
        "the replacement '[masked: slack_token]' is itself masked by 'secrets'",
    ),
    "a replacement that matches": (
        {"patterns": {"m": r"mask\w+"}},
        "the replacement '[masked: m]' is itself masked by 'm'",
    ),
    "a rule that is none": ({"arguments": {"t": {"url": "("}}}, "the rule for t.url is no regular expression"),
    "rules that are none": ({"arguments": {"t": "x"}}, "arguments has 'x' for 't'; it takes a table"),
}


@pytest.mark.parametrize(("options", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_refused_and_said_without_the_secret(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)) as caught:
        Settings(**options)
    assert "12345678" not in str(caught.value)


@pytest.mark.parametrize("expression", [r"[\^$]q+", r"[]^]{3}", r"[^]^]qq", r"[^\]]qq", r"\$\^q", r"\bqq\b", r"q\Bq"])
def test_what_only_looks_like_an_anchor_is_none(expression: str) -> None:
    assert mask(patterns={"x": expression})


def test_settings_do_not_show_their_secrets() -> None:
    assert SECRET not in repr(Settings(secrets=[SECRET]))  # type: ignore[list-item]  # a host has plain texts


# -- the file ----------------------------------------------------------------------------------------------------------


def runtime(tmp_path: Path, content: str, **options: Any) -> Runtime:
    file = tmp_path / "becket.toml"
    file.write_text(content, encoding="utf-8")
    return Runtime(config=load_config(file), **options)


def test_the_table_of_the_users_file_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIVEN", "swordfish-7")
    used = runtime(
        tmp_path,
        f"""
        [plugins.guard]
        secrets = ["{SECRET}", {{ env = "GIVEN" }}]
        env = []
        replacement = "<{{name}}>"
        [plugins.guard.patterns]
        employee = 'EMP-\\d{{6}}'
        """,
    )
    (given,) = used.masks
    assert given.plugin.name == "guard"
    assert given.item.mask(f"{SECRET} swordfish-7 EMP-123456") == "<secret> <secret> <employee>"
    assert SECRET not in repr(used.config)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("patterns = { x = 'a(' }", "the pattern 'x' is no regular expression"),
        ("secret = ['abcdefgh']", "did you mean 'secrets'"),
        ("tools = 'calculator'", "tools"),
        (f"secrets = ['{SECRET}', 'short']", "secrets has one of 5 characters"),
    ],
)
def test_a_table_that_is_wrong_is_an_error_of_the_runtime(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        runtime(tmp_path, f"[plugins.guard]\n{content}\n")
    assert SECRET not in str(caught.value)


@pytest.mark.anyio
async def test_a_guard_that_cannot_be_used_lets_no_run_through() -> None:
    """Whatever is wrong with it: quarantined, it would be absent, and nothing would be masked."""

    class Broken(Guard):
        def register_masks(self, config: Settings | None) -> list[Any]:
            raise RuntimeError("no room")

        register_masks.becket_impl = Guard.register_masks.becket_impl  # type: ignore[attr-defined]  # as @hookimpl has it

    used = Runtime(plugins=[Broken()], discover=False)
    sink = ListSink()
    with pytest.raises(PluginError, match=r"the masks of the plugin 'Broken' cannot be used: .*no room"):
        await Agent(ScriptedProvider(text("hello")), sinks=[sink], runtime=used).invoke_async(f"it is {SECRET}")
    assert sink.types == ["run_started", "run_failed"]
    assert SECRET not in "".join(event.to_json().decode() for event in sink.events)


@pytest.mark.anyio
async def test_a_pattern_that_takes_too_long_fails_the_run_and_shows_nothing() -> None:
    guard = Guard(Settings(env=[], patterns={"slow": r"(?:x+x+)+y\d"}))
    sink = ListSink()
    agent = Agent(ScriptedProvider(text("x" * 4000)), sinks=[sink], runtime=Runtime(plugins=[guard], discover=False))
    with pytest.raises(
        PluginError, match=r"the mask 'guard' of the plugin 'Guard' failed in feed: .*'slow' took longer"
    ):
        await agent.invoke_async("go")
    assert "text_delta" not in sink.types
    assert sink.types[-1] == "run_failed"


@pytest.mark.anyio
async def test_a_guard_that_is_blocked_masks_nothing() -> None:
    used = Runtime(plugins=[Guard(Settings(secrets=[SECRET]))], discover=False, block=["guard"])  # type: ignore[list-item]  # as above
    sink = ListSink()
    await Agent(ScriptedProvider(text("hello")), sinks=[sink], runtime=used).invoke_async(f"it is {SECRET}")
    assert sink.events[0].prompt == (Message("user", (Text(f"it is {SECRET}"),)),)


def test_a_runtime_with_a_guard_imports_neither_regex_nor_pydantic() -> None:
    """They take 50 and 100 ms, and most programs have no need of them before their first run."""
    code = (
        "import sys, becket, becket_guard as g; runtime = becket.Runtime(plugins=[g.Guard()], discover=False);"
        "assert runtime.masks; mask = runtime.masks[0].item;"
        "assert mask.mask('What is 42 + 7?') == 'What is 42 + 7?'; stream = mask.open();"
        "assert stream.feed(' A') == ' ' and stream.feed(' word.') == 'A word.';"
        "print([name for name in ('regex', 'pydantic') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  our own code
    assert ran.stdout == "[]\n"
