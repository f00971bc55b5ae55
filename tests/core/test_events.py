"""Events: typed values and read-only mappings at once, and always JSON."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import tracemalloc
from typing import Annotated, Any, get_args

import jsonschema  # type: ignore[import-untyped]  # a judge for tests alone
import pytest
from becket import (
    AgentResult,
    CycleFinished,
    CycleStarted,
    DecisionMade,
    DecisionRequested,
    Document,
    ErrorInfo,
    Event,
    Extension,
    ExtensionDelta,
    Image,
    Json,
    MalformedArguments,
    Message,
    MessageAdded,
    ModelFinished,
    ModelStarted,
    OutputPartial,
    PluginError,
    PluginEvent,
    PluginFailed,
    ProtocolError,
    ProviderError,
    Reasoning,
    ReasoningDelta,
    RetryScheduled,
    RunFailed,
    RunFinished,
    RunStarted,
    StopReason,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolFinished,
    ToolProgress,
    ToolResult,
    ToolStarted,
    UnknownEvent,
    Usage,
    event_from_json,
    event_json_schema,
    warm_up,
)
from becket.content import ToolStatus
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter

TEXT = st.text(max_size=8)
INT = st.integers(0, 2**60)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | INT | FLOAT | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
STAMP: dict[str, Any] = {
    "run_id": TEXT,
    "seq": INT,
    "time": FLOAT,
    "cycle": INT,
    "attempt": INT,
    "parent_run_id": st.none() | TEXT,
    "parent_call_id": st.none() | TEXT,
}
STOP = st.sampled_from(get_args(StopReason))
FILES = st.builds(Image, TEXT, TEXT, st.none() | TEXT) | st.builds(Document, TEXT, TEXT, st.none() | TEXT, TEXT)
CALLS = st.builds(ToolCall, TEXT, TEXT, OBJECT, st.none() | st.builds(MalformedArguments, TEXT, TEXT))
RESULT_CONTENT = st.lists(st.builds(Text, TEXT) | st.builds(Json, JSON) | FILES, max_size=3).map(tuple)
RESULTS = st.builds(ToolResult, TEXT, st.sampled_from(get_args(ToolStatus)), RESULT_CONTENT)
REASONING = st.builds(Reasoning, TEXT, st.none() | TEXT, st.none() | TEXT)
BLOCKS = st.builds(Text, TEXT) | REASONING | CALLS | RESULTS | FILES | st.builds(Extension, TEXT, JSON)
MESSAGES = st.builds(
    Message, st.sampled_from(["user", "assistant"]), st.lists(BLOCKS, max_size=3).map(tuple), st.booleans()
)
USAGE = st.builds(Usage, INT, INT, INT, INT)
OPTIONAL = st.none() | FLOAT
ERROR_INFO = st.builds(ErrorInfo, TEXT, TEXT, st.none() | TEXT, st.none() | TEXT, st.booleans(), st.none() | TEXT)
AGENT_RESULTS = st.builds(AgentResult, STOP, st.none() | MESSAGES, USAGE, INT, JSON)

CONTENTS: dict[Any, list[st.SearchStrategy[Any]]] = {
    RunStarted: [TEXT, TEXT, st.lists(MESSAGES, max_size=2).map(tuple), st.none() | TEXT, INT],
    CycleStarted: [],
    ModelStarted: [TEXT, INT, st.lists(TEXT, max_size=2).map(tuple)],
    TextDelta: [TEXT, INT],
    ReasoningDelta: [TEXT, INT, st.none() | TEXT, st.none() | TEXT],
    ToolCallDelta: [TEXT, TEXT, TEXT, INT],
    ExtensionDelta: [TEXT, JSON, INT],
    ModelFinished: [STOP, USAGE, OPTIONAL, OPTIONAL, FLOAT, OPTIONAL, st.none() | TEXT, st.none() | TEXT],
    MessageAdded: [MESSAGES],
    ToolStarted: [CALLS],
    ToolProgress: [TEXT, JSON],
    ToolFinished: [RESULTS, FLOAT],
    DecisionRequested: [TEXT, TEXT, st.none() | CALLS, TEXT, JSON, OPTIONAL],
    DecisionMade: [TEXT, st.sampled_from(["allow", "deny", "edit"]), TEXT, st.none() | TEXT],
    RetryScheduled: [TEXT, FLOAT, INT],
    OutputPartial: [JSON],
    PluginEvent: [TEXT, TEXT, JSON],
    PluginFailed: [TEXT, TEXT, TEXT, st.none() | TEXT],
    CycleFinished: [STOP],
    RunFinished: [AGENT_RESULTS],
    RunFailed: [ERROR_INFO],
}
KINDS = list(CONTENTS)
SCHEMA = jsonschema.Draft202012Validator(event_json_schema())


def some(kind: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, *CONTENTS[kind], **STAMP)


EVENTS = st.one_of([some(kind) for kind in KINDS])


def test_every_type_of_event_is_tested_here() -> None:
    assert {*get_args(Event)} == {*KINDS, UnknownEvent}


# -- JSON --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=15)
@given(st.data())
def test_an_event_is_read_back_equal_and_fits_the_published_schema(kind: Any, data: st.DataObject) -> None:
    event = data.draw(some(kind))
    line = event.to_json()
    read = event_from_json(line)
    assert read == event
    assert type(read) is kind
    assert b"\n" not in line
    SCHEMA.validate(json.loads(line))


@settings(deadline=None, max_examples=50)
@given(OBJECT, st.fixed_dictionaries({}, optional=STAMP), TEXT)
def test_an_unknown_event_is_written_as_it_was_read(own: Any, stamp: dict[str, Any], name: str) -> None:
    raw = {**own, **stamp, "type": f"later {name}"}
    event = event_from_json(json.dumps(raw))
    assert isinstance(event, UnknownEvent)
    assert event.name == f"later {name}"
    assert json.loads(event.to_json()) == raw
    assert event_from_json(event.to_json()) == event


def test_an_unknown_event_is_stamped_like_any_other() -> None:
    event = event_from_json('{"type": "later", "seq": 3, "colour": "red"}')
    assert event.seq == 3
    stamped: Any = event
    stamped.seq, stamped.run_id = 9, "r"
    assert json.loads(event.to_json()) == {"type": "later", "seq": 9, "colour": "red", "run_id": "r"}


def test_a_type_called_unknown_is_unknown_too() -> None:
    assert event_from_json('{"type": "unknown", "a": 1}') == UnknownEvent("unknown", {"type": "unknown", "a": 1})


def test_fields_that_are_not_known_are_ignored() -> None:
    assert event_from_json('{"type": "text_delta", "text": "a", "colour": {"r": 1}}') == TextDelta("a")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "3",
        "{}",
        '{"type": 3}',
        '{"type": ["text_delta"]}',
        '{"type": "text_delta"}',
        '{"type": "text_delta", "text": 3}',
        '{"type": "text_delta", "text": "a", "time": NaN}',
        '{"type": "later", "seq": "first"}',
        '{"type": "text_delta", "text": "\ud800"}',
        '{"type": "text_delta", "text": "\\ud800"}',
        b'{"type": "text_delta", "text": "\xff"}',
        "[" * 5000,
    ],
)
def test_what_is_no_event_is_refused_and_quoted(line: str | bytes) -> None:
    with pytest.raises(ProtocolError, match=r"^this is no event: b?'") as caught:
        event_from_json(line)
    assert repr(line[:120]) in str(caught.value)


def test_the_published_schema_requires_the_type() -> None:
    tagged = [entry for entry in event_json_schema()["$defs"].values() if "type" in entry["properties"]]
    assert len(tagged) >= len(KINDS)
    assert all("type" in entry["required"] for entry in tagged)
    assert not SCHEMA.is_valid({"text": "a"})


def test_a_schema_that_is_changed_leaves_the_next_one_alone() -> None:
    event_json_schema().clear()
    assert event_json_schema() == SCHEMA.schema


def test_warming_up_takes_nothing_away() -> None:
    warm_up()
    assert event_from_json(TextDelta("a").to_json()) == TextDelta("a")


def test_pydantic_does_not_take_an_event_for_a_dict() -> None:
    event = TextDelta("a", seq=3)
    for adapter in (TypeAdapter(Event), TypeAdapter(Annotated[Event, Field(discriminator="type")])):
        assert adapter.validate_python(event) is event
        assert adapter.validate_json(adapter.dump_json(event)) == event


def keywords(**given: Any) -> dict[str, Any]:
    """What a callback handler gets."""
    return given


# -- values ------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(EVENTS)
def test_copies_are_equal_and_not_the_same(event: Any) -> None:
    pickled = pickle.loads(pickle.dumps(event))  # noqa: S301  our own
    for made in (pickled, copy.copy(event), copy.deepcopy(event), dataclasses.replace(event)):
        assert made == event
        assert made is not event
        assert type(made) is type(event)
    assert dataclasses.replace(event, seq=event.seq + 1) != event


@settings(deadline=None, max_examples=50)
@given(EVENTS)
def test_an_event_is_true_and_unhashable(event: Any) -> None:
    assert event
    with pytest.raises(TypeError, match="unhashable"):
        hash(event)


@settings(deadline=None, max_examples=50)
@given(EVENTS)
def test_the_faces_of_a_mapping_agree(event: Any) -> None:
    as_dict = dict(event)
    assert list(event) == list(event.keys()) == list(as_dict)
    assert {**event} == as_dict
    assert keywords(**event) == as_dict
    for key, value in as_dict.items():
        assert key in event
        assert event[key] == value
        assert event.get(key) == value
    assert "no such key" not in event
    assert event.get("no such key") is None
    assert event.get("no such key", 3) == 3
    with pytest.raises(KeyError, match="no such key"):
        event["no such key"]


def test_events_of_two_types_differ_although_their_fields_are_the_same() -> None:
    assert CycleStarted() != UnknownEvent("cycle_started")
    assert ReasoningDelta("a") != TextDelta("a")
    assert TextDelta("a") != "a"


def test_match_works_by_position_and_by_keyword() -> None:
    match TextDelta("a", 1, seq=4):
        case TextDelta("a", 1, seq=4):
            pass
        case _:
            pytest.fail("not matched by position")
    match ToolStarted(ToolCall("a", "tool", {"x": 1})):
        case ToolStarted(ToolCall(id="a", tool=name, arguments={"x": 1})):
            assert name == "tool"
        case _:
            pytest.fail("not matched by keyword")


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (TextDelta("a"), "TextDelta(text='a')"),
        (TextDelta("a", run_id="r", seq=4, time=1.5, cycle=2, attempt=1), "TextDelta(text='a', seq=4, cycle=2)"),
        (CycleStarted(seq=2), "CycleStarted(seq=2)"),
        (ToolProgress("a", {"x": 1}), "ToolProgress(call_id='a', data={'x': 1})"),
        (RunFailed(ErrorInfo("ValueError", "no")), "RunFailed(error=ErrorInfo(kind='ValueError', message='no'))"),
    ],
)
def test_a_repr_shows_what_a_reader_wants(event: Event, shown: str) -> None:
    assert repr(event) == shown


# -- the mapping face --------------------------------------------------------------------------------------------------

CALL = ToolCall("c", "tool", {"x": 1})
TOOL_USE = {"toolUseId": "c", "name": "tool", "input": {"x": 1}}
RESULT = AgentResult("end_turn")


@pytest.mark.parametrize(
    ("event", "view"),
    [
        (RunStarted("agent", "p:m", ()), {"init_event_loop": True}),
        (CycleStarted(), {"start_event_loop": True}),
        (ModelStarted("p:m", 1), {}),
        (TextDelta("a"), {"data": "a", "delta": {"text": "a"}}),
        (TextDelta(""), {"data": "", "delta": {"text": ""}}),
        (
            ReasoningDelta("a"),
            {"reasoning": True, "reasoningText": "a", "delta": {"reasoningContent": {"text": "a"}}},
        ),
        (
            ReasoningDelta(signature="s"),
            {"reasoning": True, "reasoning_signature": "s", "delta": {"reasoningContent": {"signature": "s"}}},
        ),
        (
            ReasoningDelta("a", signature="s"),
            {
                "reasoning": True,
                "reasoningText": "a",
                "reasoning_signature": "s",
                "delta": {"reasoningContent": {"text": "a", "signature": "s"}},
            },
        ),
        (
            ReasoningDelta(redacted="x"),
            {
                "reasoning": True,
                "reasoningRedactedContent": "x",
                "delta": {"reasoningContent": {"redactedContent": "x"}},
            },
        ),
        (
            ToolCallDelta("c", "tool", '{"x"'),
            {
                "current_tool_use": {"toolUseId": "c", "name": "tool", "input": '{"x"'},
                "delta": {"toolUse": {"input": '{"x"'}},
            },
        ),
        (ModelFinished("end_turn"), {}),
        (ToolStarted(CALL), {}),
        (ToolProgress("c", 3), {"tool_stream_event": {"tool_use": {"toolUseId": "c"}, "data": 3}}),
        (ToolFinished(ToolResult("c", "success")), {}),
        (
            DecisionRequested("r", "approve_tool", CALL, "it writes"),
            {
                "tool_interrupt_event": {
                    "request_id": "r",
                    "kind": "approve_tool",
                    "why": "it writes",
                    "tool_use": TOOL_USE,
                }
            },
        ),
        (
            DecisionRequested("r", "approve_run"),
            {"tool_interrupt_event": {"request_id": "r", "kind": "approve_run", "why": ""}},
        ),
        (
            DecisionMade("r", "deny", "a person", "c"),
            {"tool_cancel_event": {"tool_use": {"toolUseId": "c"}, "message": "denied by a person"}},
        ),
        (DecisionMade("r", "allow", "a person", "c"), {}),
        (RetryScheduled("busy", 1.5), {"event_loop_throttled_delay": 1.5}),
        (OutputPartial({"x": 1}), {"structured_output_partial": {"x": 1}}),
        (PluginEvent("plugin", "name", 1), {}),
        (PluginFailed("plugin", "hook", "error"), {}),
        (CycleFinished("end_turn"), {"complete": True}),
        (RunFinished(RESULT), {"result": RESULT}),
        (RunFailed(ErrorInfo("ValueError", "no")), {"force_stop": True, "force_stop_reason": "no"}),
        (UnknownEvent("later", {"data": "a"}), {}),
    ],
    ids=lambda given: given.type if not isinstance(given, dict) else "",
)
def test_the_mapping_has_the_keys_of_the_page_becket_started_from(event: Event, view: dict[str, Any]) -> None:
    assert dict(event) == view


def test_a_message_is_mapped_block_by_block() -> None:
    blocks = {
        Text: (Text("a"), {"text": "a"}),
        ToolCall: (CALL, {"toolUse": TOOL_USE}),
        Reasoning: (Reasoning("a"), {"reasoningContent": {"reasoningText": {"text": "a"}}}),
        Image: (
            Image.from_bytes(b"\x00", media_type="image/png"),
            {"image": {"format": "png", "source": {"bytes": "AA=="}}},
        ),
        Document: (
            Document("application/pdf", url="https://a.example", name="n"),
            {"document": {"format": "pdf", "source": {"url": "https://a.example"}, "name": "n"}},
        ),
    }
    more = [
        (
            Reasoning("a", signature="s"),
            {"reasoningContent": {"reasoningText": {"text": "a", "signature": "s"}}},
        ),
        (Reasoning(redacted="x"), {"reasoningContent": {"redactedContent": "x"}}),
        (
            ToolResult("c", "denied", (Text("no"), Json([1]))),
            {"toolResult": {"toolUseId": "c", "status": "error", "content": [{"text": "no"}, {"json": [1]}]}},
        ),
        (ToolResult("c", "success"), {"toolResult": {"toolUseId": "c", "status": "success", "content": []}}),
    ]
    pairs: list[Any] = [*blocks.values(), *more]
    event = MessageAdded(Message("user", tuple(block for block, _ in pairs)))
    assert dict(event) == {"message": {"role": "user", "content": [seed for _, seed in pairs]}}


# -- what is shared ----------------------------------------------------------------------------------------------------


def streamed(pieces: int) -> list[ToolCallDelta]:
    """The deltas of one call, as a run shares its text among them."""
    fragments: list[str] = []
    deltas = [ToolCallDelta("c", "tool", "0123456789") for _ in range(pieces)]
    for delta in deltas:
        delta.share(fragments)
    return deltas


def test_each_delta_of_a_call_knows_the_text_so_far() -> None:
    one, two, three = streamed(3)
    assert [len(delta.text_so_far) for delta in (one, two, three)] == [10, 20, 30]
    assert two["current_tool_use"]["input"] == "0123456789" * 2
    assert two["delta"] == {"toolUse": {"input": "0123456789"}}


def test_what_a_delta_shares_is_not_its_own() -> None:
    """Not in JSON, equality, repr or copies: read back from JSON the text so far is the fragment."""
    _, delta = streamed(2)
    alone = ToolCallDelta("c", "tool", "0123456789")
    assert delta == alone
    assert repr(delta) == repr(alone)
    assert delta.to_json() == alone.to_json()
    pickled = pickle.loads(pickle.dumps(delta))  # noqa: S301  our own
    for made in (event_from_json(delta.to_json()), copy.copy(delta), pickled):
        assert made["current_tool_use"]["input"] == "0123456789"


def test_ten_thousand_fragments_of_a_call_cost_no_more_than_their_events() -> None:
    """Carried as text they would cost 10,000 * 10,001 / 2 * 10 bytes: half a gigabyte."""
    tracemalloc.start()
    try:
        deltas = streamed(10_000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(deltas[-1].text_so_far) == 100_000
    assert held < 10_000 * 1_000


def test_progress_shows_the_call_it_belongs_to() -> None:
    event = ToolProgress("c", 3)
    event.share(CALL)
    assert event["tool_stream_event"] == {"tool_use": TOOL_USE, "data": 3}
    assert event == ToolProgress("c", 3)


# -- errors as data ----------------------------------------------------------------------------------------------------


class BrokenError(Exception):
    """An error with attributes that look like ours, and no text."""

    plugin = object()
    provider = object()
    retryable = "perhaps"

    def __str__(self) -> str:
        raise RuntimeError("no text either")


@pytest.mark.parametrize(
    ("error", "info"),
    [
        (ValueError("no"), ErrorInfo("ValueError", "no")),
        (ValueError(), ErrorInfo("ValueError", "ValueError")),
        (ValueError("\ud800"), ErrorInfo("ValueError", "\ufffd")),
        (PluginError("no", plugin="weather"), ErrorInfo("PluginError", "no", plugin="weather")),
        (ProviderError("busy", provider="p", retryable=True), ErrorInfo("ProviderError", "busy", None, "p", True)),
        (ProviderError("busy"), ErrorInfo("ProviderError", "busy")),
        (BrokenError(), ErrorInfo("BrokenError", "BrokenError")),
    ],
    ids=lambda given: repr(type(given)),
)
def test_an_error_becomes_data_without_live_objects(error: Exception, info: ErrorInfo) -> None:
    made = ErrorInfo.of(error)
    assert made == info
    assert event_from_json(RunFailed(made).to_json()) == RunFailed(info)
