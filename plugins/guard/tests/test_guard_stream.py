"""However a text is cut, what is shown is what the whole text becomes, and never a secret."""

from __future__ import annotations

import json
import re
from typing import Any

import anyio
import pytest
from becket import (
    Agent,
    Json,
    ModelFinished,
    ProviderError,
    ReasoningDelta,
    Runtime,
    TextDelta,
    ToolCallDelta,
    ToolError,
    tool,
)
from becket.testing import ListSink, ScriptedProvider, text
from becket_guard import Guard, GuardMask, Settings
from becket_guard._scan import MOST
from hypothesis import given, settings
from hypothesis import strategies as st

VALUES = ["hunter2hunter2", "hunter2hunter2-and-more", 'quo"ted\\secret', "pässwörd-ß", "12345678"]
TOKENS = [
    "sk-aB3dE5gH7jK9mN1pQ3sT5vW7yZ",
    "ghp_aB3dE5gH7jK9mN1pQ3sT5vW7yZ0123456789",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.aB3dE5gH7jK9mN1pQ3sT5vW7yZ",
    "-----BEGIN PRIVATE KEY-----\n" + "A1b2" * 16 + "\n" + "C3d4" * 16 + "\n-----END PRIVATE KEY-----",
    "EMP-123456",
    "pin:4711",
]
PATTERNS = {"employee": r"EMP-\d{6}", "pin": r"\bpin:\d{4}\b", "odd": r"a+(?:b+c)?x", "either": r"(?:foo|foobar)baz?\B"}

MASK = GuardMask(Settings(secrets=VALUES, env=[], patterns=PATTERNS))
PLAIN = GuardMask(Settings(secrets=VALUES, env=[]))

near = st.sampled_from(
    [
        *(secret[:length] for secret in VALUES + TOKENS for length in (1, 3, 9, len(secret) - 1)),
        *(
            "aab",
            "aabbc",
            "aabbcx",
            "foo",
            "foobar",
            "fooba",
            "baz",
            "pin:",
            "EMP-1",
            "sk-",
            "\\n",
            "://a:b@c",
            "Bearer ",
        ),
    ]
)
texts = st.lists(
    st.one_of(st.sampled_from(VALUES + TOKENS), near, st.text(max_size=6), st.sampled_from(list(" .\n\"'-_x9")))
).map("".join)


def cut(data: st.DataObject, whole: str) -> list[str]:
    """The text in pieces, some of them empty."""
    places = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=30)))
    return [whole[start:end] for start, end in zip([0, *places], [*places, len(whole)], strict=True)]


def streamed(mask: GuardMask, pieces: list[str]) -> str:
    stream = mask.open()
    return "".join([*map(stream.feed, pieces), stream.end()])


@pytest.mark.parametrize("mask", [MASK, PLAIN], ids=["with patterns", "without"])
@given(whole=texts, data=st.data())
@settings(max_examples=400, deadline=None)
def test_what_is_shown_is_the_whole_text_masked(mask: GuardMask, whole: str, data: st.DataObject) -> None:
    shown = mask.mask(whole)
    assert streamed(mask, cut(data, whole)) == shown
    assert streamed(mask, list(whole)) == shown
    assert not any(value in shown for value in VALUES)


@given(whole=st.text(alphabet="abcx foEMP-1230pin:\n"))
@settings(max_examples=300, deadline=None)
def test_patterns_of_any_shape_are_decided_no_sooner_than_they_can_be(whole: str) -> None:
    assert streamed(MASK, list(whole)) == MASK.mask(whole)


@given(whole=st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_text_that_cannot_be_part_of_a_secret_is_not_delayed(whole: str) -> None:
    """At most the beginning of one is held back, and that stands at the end of what has come."""
    stream = PLAIN.open()
    shown = ""
    for at, letter in enumerate(whole, start=1):
        shown += stream.feed(letter)
        if PLAIN.mask(whole[:at]) == whole[:at]:
            assert whole[:at].startswith(shown)
            held = whole[len(shown) : at]
            assert not held or PLAIN.open().feed(held) == ""


def test_prose_is_shown_as_it_comes() -> None:
    stream = PLAIN.open()
    pieces = re.findall(r" [^ ]+", " The quick brown fox , it seems , has a task-force ; see a-c , or Bearer-less .")
    assert [stream.feed(piece) for piece in pieces] == pieces


@pytest.mark.parametrize("size", [1, 7, 1000, 50_000])
def test_what_is_held_back_has_a_bound_and_beyond_it_all_is_masked(size: int) -> None:
    whole = f"before -----BEGIN PRIVATE KEY-----\n{'A' * (MOST + 5000)} and after"
    shown = streamed(PLAIN, [whole[at : at + size] for at in range(0, len(whole), size)])
    assert shown == "before [masked: private_key]" == PLAIN.mask(whole)
    assert not len(PLAIN.open().feed(whole)) > len(shown)


# -- a whole run -------------------------------------------------------------------------------------------------------


def pieces_of(answer: str, arguments: str) -> list[Any]:
    return [
        *(ReasoningDelta(letter, 0) for letter in answer),
        *(TextDelta(letter, 1) for letter in answer),
        *(ToolCallDelta("c", "tell", letter, 2) for letter in arguments),
        ModelFinished("tool_use"),
    ]


async def run_with(secret: str, before: str, after: str) -> list[bytes]:
    """Every event of a run in which each text has the secret in it, as JSON."""

    @tool(effect="none")
    async def tell(what: str, how: int) -> Any:
        """Tell."""
        if how == 2:
            raise ToolError(f"{before}{secret}{after}")
        return [Json({f"{before}{secret}": [secret]}), Json(what)]

    whole = f"{before}{secret}{after}"
    sink = ListSink()
    views: list[dict[str, Any]] = []
    agent = Agent(
        ScriptedProvider(
            pieces_of(whole, json.dumps({"what": whole, "how": 1})),
            pieces_of(whole, json.dumps({"what": whole, "how": 2}, ensure_ascii=False)),
            [*text(*whole)[:-1], ProviderError(f"refused: {whole}")],
        ),
        tools=[tell],
        sinks=[sink],
        callback_handler=lambda **view: views.append(view),
        runtime=Runtime(plugins=[Guard(Settings(secrets=VALUES, env=[]))], discover=False),
    )
    with pytest.raises(ProviderError):
        await agent.invoke_async(whole)
    assert sink.types[-1] == "run_failed"
    assert sink.types.count("tool_finished") == 2
    return [*(event.to_json() for event in sink.events), repr(views).encode()]


@given(
    secret=st.sampled_from([*VALUES, *TOKENS[:4]]),
    before=st.sampled_from(["", "it is ", "key=", "\n", "(h)", "\\"]),
    after=st.sampled_from(["", " and so on", '"', "\n", "."]),
)
@settings(max_examples=60, deadline=None)
def test_no_event_has_a_secret_in_it(secret: str, before: str, after: str) -> None:
    for raw in anyio.run(run_with, secret, before, after):
        shown = raw.decode()
        for form in {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}:
            assert form not in shown
        if "PRIVATE KEY" in secret:
            assert "A1b2A1b2" not in shown
