"""What was said: never by default, and by choice as the conventions have it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from becket import Agent, Document, Image, Json, Message, Reasoning, Runtime, Text, ToolCall, ToolResult, load_config
from becket.content import MalformedArguments
from becket.testing import Scenarios, ScriptedProvider, text
from becket_guard import Guard, Settings
from becket_otel import OtelSink
from becket_otel._content import message_json
from pydantic import SecretStr

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
PLAYED = [name for name in Scenarios.names if name not in {"flood", "held", "idle tool"}]


def content(recorded: Any) -> dict[str, Any]:
    """What was said, by span and attribute."""
    return {
        f"{span.name}: {name}": json.loads(value)
        for span in recorded.spans
        for name, value in span.attributes.items()
        if name.endswith((".messages", ".arguments", ".result"))
    }


@pytest.mark.parametrize("name", PLAYED)
async def test_by_default_nothing_that_was_said_is_in_a_span(name: str, recorded: Any, agent: Any, play: Any) -> None:
    """Neither the prompt nor the answer, nor arguments and results, in whatever place."""
    await play(agent, name)
    everything = "".join(span.to_json() for span in recorded.spans)
    more = {
        "asks": ["changed to 7", "may change"],
        "nested": ["and you?"],
        "malformed": ["broken"],
        "tools": ["after 1"],
    }
    for piece in filter(None, (f'"{name}"', Scenarios.text(name).strip(), *more.get(name, ()))):
        assert piece not in everything
        assert json.dumps(piece)[1:-1] not in everything
    assert not content(recorded)


async def test_by_choice_the_messages_are_there(recorder: Any, play: Any) -> None:
    """Those that the run has seen, each model call with all before it; and the run with its first and last."""
    recorded = recorder(content=True)
    await play(Scenarios().agent.replace(sinks=[recorded.sink]), "progress")
    asked = {"role": "user", "parts": [{"type": "text", "content": "progress"}]}
    call = {"type": "tool_call", "id": "call-1", "name": "count", "arguments": {"to": 3}}
    result = {"type": "tool_call_response", "id": "call-1", "response": "counted to 3"}
    answer = {"role": "assistant", "parts": [{"type": "text", "content": "Counted."}], "finish_reason": "stop"}
    run, first, counted, second = recorded.spans
    assert json.loads(first.attributes["gen_ai.input.messages"]) == [asked]
    called = {"role": "assistant", "parts": [call]}
    assert json.loads(first.attributes["gen_ai.output.messages"]) == [{**called, "finish_reason": "tool_call"}]
    assert json.loads(counted.attributes["gen_ai.tool.call.arguments"]) == {"to": 3}
    assert json.loads(counted.attributes["gen_ai.tool.call.result"]) == "counted to 3"
    assert json.loads(second.attributes["gen_ai.input.messages"]) == [
        asked,
        called,
        {"role": "tool", "parts": [result]},
    ]
    assert json.loads(second.attributes["gen_ai.output.messages"]) == [answer]
    assert json.loads(run.attributes["gen_ai.input.messages"]) == [asked]
    assert json.loads(run.attributes["gen_ai.output.messages"]) == [answer]


async def test_a_cut_off_answer_is_there_as_far_as_it_came(recorder: Any, play: Any) -> None:
    recorded = recorder(content=True)
    await play(Scenarios().agent.replace(sinks=[recorded.sink]), "fails midway")
    assert content(recorded)["chat model: gen_ai.output.messages"] == [
        {"role": "assistant", "parts": [{"type": "text", "content": "so far "}], "finish_reason": "error"}
    ]


async def test_why_somebody_was_asked_is_content(recorder: Any, play: Any) -> None:
    """It may quote the arguments of the call."""
    recorded = recorder(content=True)
    await play(Scenarios().agent.replace(sinks=[recorded.sink]), "asks")
    asked, _ = recorded.named("invoke_agent scenarios").events
    assert asked.attributes["becket.decision.why"] == "it may change something on this machine"


async def test_masks_hold_for_spans_too(recorder: Any, play: Any) -> None:
    """Spans are made of events, and in those secrets are masked."""
    recorded = recorder(content=True)
    guard = Guard(Settings(secrets=[SecretStr("correct horse")]))
    runtime = Runtime(plugins=[guard], discover=False)
    model = ScriptedProvider(text("It is cor", "rect ho", "rse."))
    await play(Agent(model, sinks=[recorded.sink], runtime=runtime), "Is it correct horse?")
    everything = "".join(span.to_json() for span in recorded.spans)
    assert "[masked: secret]" in everything
    assert "correct horse" not in everything


@pytest.mark.parametrize(
    ("said", "is_asked_for"),
    [
        ("true", True),
        ("SPAN_ONLY", True),
        ("span_and_event", True),
        ("false", False),
        ("NO_CONTENT", False),
        ("EVENT_ONLY", False),
        ("", False),
    ],
)
async def test_the_environment_may_ask_for_it(
    said: str, is_asked_for: bool, recorder: Any, play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the variable that OpenTelemetry's own instrumentations look at."""
    monkeypatch.setenv(CAPTURE, said)
    recorded = recorder()
    await play(Scenarios().agent.replace(sinks=[recorded.sink]), "text")
    assert bool(content(recorded)) is is_asked_for


async def test_what_the_host_says_stands_above_the_environment(
    recorder: Any, play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CAPTURE, "true")
    recorded = recorder(content=False)
    await play(Scenarios().agent.replace(sinks=[recorded.sink]), "text")
    assert not content(recorded)


async def test_the_argument_asks_for_it(recorded: Any, play: Any) -> None:
    await play(Scenarios().agent.replace(sinks=[recorded.sink.with_argument("content")]), "text")
    assert content(recorded)


@pytest.mark.parametrize("said", [True, False])
async def test_the_configuration_asks_for_it(said: bool, tmp_path: Path) -> None:
    """The user's file alone: a project's must not have what was said sent anywhere."""
    file = tmp_path / "becket.toml"
    file.write_text(f"[plugins.otel]\ncontent = {str(said).lower()}\n")
    runtime = Runtime(discover=True, allow=["otel"], config=load_config(file))
    sink = runtime.sink("otel")
    assert isinstance(sink, OtelSink)
    assert sink._content is said  # what comes of it is tested above


def test_each_kind_of_block_has_its_part() -> None:
    """Data of images and documents is left out, and so is what only the service that made it can read."""
    message = Message(
        "user",
        (
            Text("a"),
            Reasoning("b"),
            Reasoning(redacted="x"),
            ToolCall("1", "t", malformed=MalformedArguments("{", "no")),
            ToolResult("2", "error", (Text("bad"), Json({"n": 1}), Image("image/png", "AAAA"))),
            ToolResult("3", "success", (Json([1]),)),
            Image("image/png", url="https://example.org/a.png"),
            Document("application/pdf", "AAAA", name="a.pdf"),
        ),
    )
    blob = {"type": "blob", "content": "", "modality": "image", "mime_type": "image/png"}
    assert json.loads(message_json(message)) == {
        "role": "tool",
        "parts": [
            {"type": "text", "content": "a"},
            {"type": "reasoning", "content": "b"},
            {"type": "tool_call", "id": "1", "name": "t", "arguments": "{"},
            {"type": "tool_call_response", "id": "2", "response": ["bad", {"n": 1}, blob]},
            {"type": "tool_call_response", "id": "3", "response": [1]},
            {"type": "uri", "uri": "https://example.org/a.png", "modality": "image", "mime_type": "image/png"},
            {"type": "blob", "content": "", "modality": "document", "mime_type": "application/pdf"},
        ],
    }
