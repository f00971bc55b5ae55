"""The AI SDK as the judge: its schema and its reader of what is written, its transport and its chat of a server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from becket import Agent, Event, Runtime, TextDelta, ToolStarted, tool
from becket.testing import Scenarios, ScriptedProvider, calls, text
from becket.testing.scenarios import FLOOD
from becket_serve import app
from becket_serve.testing import serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import AgentStream

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "ai-sdk.md"

TOKEN = "the-token-of-the-page-s-own-server"  # noqa: S105  of a server that lives as long as a test

ERRORS = {"fails first": ["the service is overloaded"], "fails midway": ["the line was cut"]}


@tool(effect="write")
async def change(value: int) -> str:
    """Change something."""
    return f"changed to {value}"


@tool(effect="none")
async def look() -> str:
    """Look at something."""
    return "looked"


def several(runtime: Runtime) -> Agent:
    """Asks about calls among others, in runs of its own among others."""
    own = ("change", {"value": 1}), ("look", {}), ("change", {"value": 2})
    tools = [change, look]
    for name in ("one", "two"):
        script = ScriptedProvider(calls(*own), text(f"{name} is done"), name=name)
        tools.append(Agent(script, [change, look], name=name, runtime=runtime).as_tool(name, "Does it."))
    go = {"prompt": "go"}
    wanted = calls(("look", {}), ("change", {"value": 3}), ("one", go), ("two", go), ("change", {"value": 4}))
    return Agent(ScriptedProvider(wanted, text("Done.")), tools, name="several", approver="reader", runtime=runtime)


def plain(message: dict[str, Any]) -> dict[str, Any]:
    """What counts of a message: the SDK keeps more of a part than there was sent, and the tests' reader less."""
    kept = {
        "text": ("text",),
        "reasoning": ("text", "id", "providerMetadata"),
        "dynamic-tool": ("toolCallId", "toolName", "state", "input", "approval"),
        "step-start": (),
    }
    outcome = {"output-available": "output", "output-error": "errorText"}
    parts = []
    for part in message["parts"]:
        keys = (*kept.get(part["type"], ("id", "data")), outcome.get(part.get("state"), ""))
        parts.append({"type": part["type"]} | {key: part[key] for key in keys if part.get(key) is not None})
    return {"id": message["id"], "metadata": message["metadata"], "parts": parts}


def cancel_at(kind: type[Event]) -> Callable[[Event, AgentStream], None]:
    return lambda event, stream: stream.cancel() if isinstance(event, kind) else None


async def recorded(chat: Callable[..., Any]) -> list[dict[str, Any]]:
    """Every scenario, and the questions with every answer, as the streams that they make."""
    made = []
    cut = {"held": TextDelta, "idle tool": ToolStarted}
    for name in Scenarios.names:
        if name == "flood":
            continue  # the SDK copies a message for each piece of it; here it would copy them all at once
        talk = chat()
        await talk.say(name, on=cancel_at(cut[name]) if name in cut else None)
        if name == "asks":
            await talk.respond(approved=True)
            await talk.say(name)
            await talk.respond(approved=False, reason="not today")
        made.append((name, talk))
    talk = chat(several(Runtime(discover=False)))
    await talk.say("go")
    while talk.parked:
        await talk.respond(approved=len(talk.streams) % 2 == 0)
    made.append(("several", talk))
    talk = chat(several(Runtime(discover=False)).replace(approver=lambda _: True))
    await talk.say("go")
    made.append(("decided by the host", talk))
    return [
        {"name": name, "message": message, "stream": stream.decode(), "becomes": became}
        for name, talk in made
        for (message, stream), became in zip(talk.streams, talk.became, strict=True)
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # node is the same on both
async def test_what_is_written_is_what_the_sdk_takes(
    chat: Callable[..., Any], judge: Callable[..., Any], tmp_path: Path
) -> None:
    """Each chunk fits its schema, and its reader makes the same message of them as that of these tests."""
    streams = await recorded(chat)
    (tmp_path / "streams.json").write_text(json.dumps(streams), encoding="utf-8")
    seen = await anyio.to_thread.run_sync(judge, "aisdk.mjs", "recorded", str(tmp_path / "streams.json"))
    assert len(seen) == len(streams) > len(Scenarios.names) + 5
    for stream, one in zip(streams, seen, strict=True):
        assert one["refused"] == []
        assert one["errors"] == {
            "fails first": ["the service is overloaded"],
            "fails midway": ["the line was cut"],
        }.get(one["name"], [])
        assert plain(one["message"]) == plain(stream["becomes"]), one["name"]


@pytest.fixture(scope="module")
def seen(judge: Callable[..., Any]) -> dict[str, Any]:
    """What the transport and the chat of the SDK have seen of a server, in one process of node."""
    scenarios = Scenarios(discover=True)
    names = [name for name in Scenarios.names if name not in ("held", "idle tool", "asks", "flood")]
    with serving(app([scenarios.agent, several(scenarios.runtime)])) as address:
        found: dict[str, Any] = judge("aisdk.mjs", "chat", f"{address}/aisdk", *names)
    assert scenarios.waiting == 0
    found["cleaned"] = scenarios.cleaned
    return found


def words(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


def tools(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in message["parts"] if part["type"] == "dynamic-tool"]


def test_the_headers_are_those_of_the_format(seen: dict[str, Any]) -> None:
    """And those that keep proxies from holding the answer back."""
    headers = seen["asked"]["headers"]
    assert headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize("name", ["text", "tools", "progress", "reasoning", "nested", "malformed", "unicode"])
def test_the_transport_reads_what_the_run_said(name: str, seen: dict[str, Any]) -> None:
    read = seen["asked"][name]
    assert read["errors"] == []
    assert words(read["message"]) == Scenarios.text(name)
    assert all(part["state"] in ("output-available", "output-error") for part in tools(read["message"]))


@pytest.mark.parametrize("name", ["fails first", "fails midway"])
def test_the_transport_reads_an_error(name: str, seen: dict[str, Any]) -> None:
    """With what was there before it."""
    read = seen["asked"][name]
    assert read["errors"] == ERRORS[name]
    assert words(read["message"]) == Scenarios.text(name)


def test_the_transport_is_shown_progress_as_it_happens(seen: dict[str, Any]) -> None:
    assert tools(seen["asked"]["progress"]["message"])[0]["output"] == "counted to 3"
    assert seen["asked"]["progress"]["outputs"] == [
        {"step": 1},
        {"step": 2},
        {"step": 3},
        "counted to 3",
        "counted to 3",
    ]


def test_a_flood_comes_whole(seen: dict[str, Any]) -> None:
    """100,000 pieces, of which masks that are installed may join some."""
    read = seen["asked"]["flood"]
    assert read["message"]["parts"][1]["text"] == FLOOD
    assert read["states"] > FLOOD * 0.9
    assert read["errors"] == []


def test_runs_whose_client_has_aborted_have_cleaned_up(seen: dict[str, Any]) -> None:
    """One in the middle of its text, one in an idle tool, one by the chat's stop()."""
    assert seen["cleaned"] == 3
    assert words(seen["asked"]["held"]["message"]) == "so far "


def test_a_chat_goes_on_after_it_was_stopped(seen: dict[str, Any]) -> None:
    assert seen["stopped"]["errors"] == []
    assert [words(message) for message in seen["stopped"]["messages"]] == ["held", "so far ", "text", "Hello, world."]


@pytest.mark.parametrize(("name", "said"), [("allowed", "The answer: changed to 7"), ("denied", "The answer: denied")])
def test_a_chat_sends_what_was_answered_by_itself(name: str, said: str, seen: dict[str, Any]) -> None:
    """By `lastAssistantMessageIsCompleteWithApprovalResponses`; the answer goes on in the same message."""
    talk = seen[name]
    assert talk["errors"] == []
    assert [request["role"] for request in talk["requests"]] == ["user", "assistant", "user"]
    assert [words(message) for message in talk["messages"]] == ["asks", said, "text", "Hello, world."]
    assert talk["asked"] == [[{"value": 7}]]


def test_a_chat_is_asked_about_several_calls(seen: dict[str, Any]) -> None:
    """Those of one step one after the other, those of nested runs together; then the conversation goes on."""
    talk = seen["several"]
    assert talk["errors"] == []
    assert talk["asked"][:2] == [[{"value": 3}], [{"value": 4}]]
    assert talk["asked"][2:4] == [[{"value": 1}, {"value": 1}], [{"value": 2}, {"value": 2}]]
    assert [words(message) for message in talk["messages"]] == ["go", "Done.", "again", "Done."]
    outputs = {part["toolName"]: part["output"] for part in tools(talk["messages"][1])}
    assert outputs == {"look": "looked", "change": "changed to 4", "one": "one is done", "two": "two is done"}


def test_a_chat_goes_on_after_an_error(seen: dict[str, Any]) -> None:
    talk = seen["failed"]
    assert talk["errors"] == ["the line was cut"]
    assert talk["status"] == "ready"
    assert [words(message) for message in talk["messages"]] == ["fails midway", "so far ", "text", "Hello, world."]


def test_a_chat_has_an_answer_made_anew(seen: dict[str, Any]) -> None:
    assert [request["trigger"] for request in seen["regenerated"]["requests"]] == [
        "submit-message",
        "regenerate-message",
    ]
    assert [words(message) for message in seen["regenerated"]["messages"]] == ["text", "Hello, world."]


def test_a_chat_sends_back_whatever_it_was_sent(seen: dict[str, Any]) -> None:
    """Every kind of part stands in the history of the next requests."""
    talk = seen["everything"]
    assert talk["errors"] == []
    assert talk["status"] == "ready"
    assert words(talk["messages"][-1]) == "Hello, world."
    assert {"data-nested-text", "data-nested-run"} <= set(talk["data"])


def test_a_chat_sends_pictures(seen: dict[str, Any]) -> None:
    assert words(seen["picture"]["messages"][-1]) == "Hello, world."


def test_what_cannot_be_served_is_said_in_words(seen: dict[str, Any]) -> None:
    """The chat's error is the body of the answer."""
    (error,) = seen["refused"]["errors"]
    assert "files of the type 'video/mp4' cannot be given to a model" in error


def test_the_route_of_the_page_works(
    judge: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What docs/how-to/ai-sdk.md has for Next.js: it passes requests on, answers as they come, and that a user left."""
    (route,) = re.findall(r"^```js\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (tmp_path / "route.mjs").write_text(route, encoding="utf-8")
    scenarios = Scenarios(discover=True)
    with serving(app(scenarios.agent, tokens=[TOKEN])) as address:
        monkeypatch.setenv("BECKET_URL", f"{address}/aisdk")
        monkeypatch.setenv("BECKET_TOKEN", TOKEN)
        talk = judge("aisdk.mjs", "route", str(tmp_path / "route.mjs"))
    assert talk["errors"] == []
    said = ["asks", "The answer: changed to 7", "held", "so far ", "text", "Hello, world."]
    assert [words(message) for message in talk["messages"]] == said
    assert (scenarios.waiting, scenarios.cleaned) == (0, 1)
