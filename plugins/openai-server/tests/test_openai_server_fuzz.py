"""Whatever is a request becomes a run that an agent takes, or is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from becket import Agent, Message, RequestError, Runtime
from becket.testing import ScriptedProvider, text
from becket_openai_server import ChatCompletions
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

if TYPE_CHECKING:
    from becket.wires import RunRequest

WIRE = ChatCompletions()
BODY = TypeAdapter(WIRE.request_model)
AGENT = Agent(ScriptedProvider(lambda request: text("so")), runtime=Runtime(discover=False))

texts = st.text(max_size=8) | st.sampled_from(["", " ", "\ud800", "\x00"])
urls = texts | st.sampled_from(
    ["https://example.com/a.png", "https://", "data:image/png;base64,aGk=", "data:image/png;base64,a", "data:,x"]
)
ids = st.sampled_from(["a", "b", ""])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
arguments = (
    st.dictionaries(texts, values, max_size=2).map(json.dumps)
    | texts
    | st.sampled_from(["[]", "{", "NaN", '{"a": NaN}', '{"a": "\\ud800"}', "1" * 5000])
    | st.sampled_from(['{"a":' * 400 + "1" + "}" * 400, "[" * 100_000])
)
parts = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts}),
    st.fixed_dictionaries({"type": st.just("refusal"), "refusal": texts}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": urls})}),
    st.fixed_dictionaries({"type": st.just("file"), "file": st.fixed_dictionaries({"file_data": urls})}),
    st.fixed_dictionaries(
        {
            "type": st.just("input_audio"),
            "input_audio": st.fixed_dictionaries({"data": st.sampled_from(["aGk=", "a"]), "format": st.just("wav")}),
        }
    ),
)
contents = texts | st.lists(parts, max_size=3)


def call(call_id: str, name: str, given_arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": given_arguments}}


def answered(said: str | None, asked: list[dict[str, Any]], result: Any) -> list[dict[str, Any]]:
    """A message that calls tools, and what they have come to."""
    results = [{"role": "tool", "tool_call_id": one["id"], "content": result} for one in asked]
    return [{"role": "assistant", "content": said, "tool_calls": asked}, *results]


calls = st.builds(call, ids, texts, arguments)
users = st.fixed_dictionaries({"role": st.just("user"), "content": contents})
turns = st.one_of(
    users.map(lambda one: [one]),
    st.fixed_dictionaries({"role": st.sampled_from(["system", "developer"]), "content": texts}).map(lambda one: [one]),
    st.builds(answered, texts | st.none(), st.lists(calls, max_size=2, unique_by=lambda one: one["id"]), texts),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": texts | st.none()}).map(lambda one: [one]),
)
broken = st.one_of(
    st.fixed_dictionaries({"role": st.just("tool"), "tool_call_id": ids, "content": contents}).map(lambda one: [one]),
    st.builds(lambda asked: [{"role": "assistant", "tool_calls": asked}], st.lists(calls, min_size=1, max_size=2)),
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "assistant"]), "content": contents, "refusal": texts}
    ).map(lambda one: [one]),
)
conversations = st.builds(
    lambda turns, last: [message for turn in turns for message in turn] + last,
    st.lists(turns, max_size=4) | st.lists(turns | broken, max_size=4),
    st.lists(users, max_size=1),
)
options = {
    "model": texts,
    "stream": st.booleans(),
    "temperature": st.floats(0, 2) | st.floats(),
    "top_p": st.floats(0, 1) | st.floats(),
    "max_tokens": st.integers(1) | st.integers(),
    "max_completion_tokens": st.integers(1),
    "seed": st.integers(),
    "stop": texts | st.lists(texts, max_size=2),
    "anything": values,
}
unsupported = {"n": st.integers(0, 2), "tools": st.lists(values, max_size=1), "tool_choice": values}
bodies = st.fixed_dictionaries({"messages": conversations}, optional=options) | st.fixed_dictionaries(
    {"messages": conversations}, optional=unsupported
)


@given(bodies)
def test_a_request_becomes_a_run_or_is_refused(given_body: dict[str, Any]) -> None:
    try:
        body = BODY.validate_python(given_body)
    except ValidationError:
        return
    try:
        asked = WIRE.read(body)
    except RequestError as refused:
        told = refused
    else:
        check_run(asked)
        return
    assert told.status == 400
    assert json.dumps(WIRE.describe(told))


def check_run(asked: RunRequest) -> None:
    """It is one that an agent takes: what cannot go on would be refused."""
    assert isinstance(asked.prompt, Message)
    assert asked.prompt.role == "user"
    agent = AGENT
    if asked.options is not None:
        agent = agent.replace(options=asked.options, system_prompt=asked.instructions)
    agent.stream_async(asked.prompt, history=asked.history)
