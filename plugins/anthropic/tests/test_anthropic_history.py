"""What is sent of a history that others have left, and what stands before the messages."""

from __future__ import annotations

import base64
import itertools
import json
import re
from typing import Any

import pytest
from becket import (
    ConfigError,
    Document,
    Extension,
    Image,
    MalformedArguments,
    Message,
    ModelOptions,
    ModelRequest,
    OutputSpec,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from becket_anthropic import Endpoint
from becket_anthropic._messages import Writer
from becket_anthropic._request import Conversation
from hypothesis import given
from hypothesis import strategies as st

PNG = base64.b64encode(b"\x89PNG...").decode()
SIGNED = Extension("anthropic", {"signed": True})
ADD = ToolSpec("add", "Adds two numbers.", {"type": "object", "properties": {"a": {"type": "integer"}}})
NOW = ToolSpec("now", "", {"type": "object", "properties": {}})
SEARCH = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []}


def user(*content: Any) -> Message:
    return Message("user", tuple(Text(one) if isinstance(one, str) else one for one in content))


def said(*content: Any, interrupted: bool = False) -> Message:
    blocks = tuple(Text(one) if isinstance(one, str) else one for one in content)
    return Message("assistant", blocks, interrupted=interrupted)


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def theirs_user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def theirs_said(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


QUESTION = user("Hello?")
THEIR_QUESTION = theirs_user(text("Hello?"))


def sent(*messages: Message, provider: str = "anthropic") -> list[dict[str, Any]]:
    """The messages as they are sent, without marks."""
    body = Conversation(Writer(provider), Endpoint(caching="off")).body(ModelRequest("claude-x", list(messages)))
    found: list[dict[str, Any]] = json.loads(b"".join(body))["messages"]
    return found


class TestHistory:
    """What another model, an interruption, or a host has left in the history."""

    def test_reasoning_of_another_model_is_left_out(self) -> None:
        foreign = said(
            Reasoning("Hm."),
            Reasoning("Hm.", "signed by others"),
            Extension("google", {"signed": True}),
            Reasoning("Hm.", "signed by us"),
            SIGNED,
            "Hi.",
        )
        assert sent(QUESTION, foreign)[1] == theirs_said(
            {"type": "thinking", "thinking": "Hm.", "signature": "signed by us"}, text("Hi.")
        )

    def test_reasoning_of_another_endpoint_is_left_out(self) -> None:
        """A compatible server signs with a key of its own."""
        assert sent(QUESTION, said(Reasoning("Hm.", "s"), SIGNED, "Hi."), provider="gateway")[1] == theirs_said(
            text("Hi.")
        )

    def test_reasoning_that_its_service_does_not_sign_goes_back(self) -> None:
        """Some compatible servers want it, and know no signatures."""
        thought = said(Reasoning("Hm."), Extension("gateway", {"signed": False}), "Hi.")
        assert sent(QUESTION, thought, provider="gateway")[1] == theirs_said(
            {"type": "thinking", "thinking": "Hm.", "signature": ""}, text("Hi.")
        )

    def test_extensions_of_others_are_left_out(self) -> None:
        blocks = (
            Extension("openai", {"block": SEARCH}),
            Extension("anthropic", "text"),
            Extension("anthropic", {"block": 1}),
        )
        assert sent(QUESTION, said(*blocks, "Hi."))[1] == theirs_said(text("Hi."))

    def test_a_message_of_which_nothing_is_left_joins_those_around_it(self) -> None:
        assert sent(QUESTION, said(Reasoning("Hm.")), user("Well?")) == [theirs_user(text("Hello?"), text("Well?"))]

    def test_messages_of_one_role_are_joined(self) -> None:
        assert sent(QUESTION, user("Are you there?"), said("Yes."), said("I am."), user("Good.")) == [
            theirs_user(text("Hello?"), text("Are you there?")),
            theirs_said(text("Yes."), text("I am.")),
            theirs_user(text("Good.")),
        ]

    def test_a_text_after_results_is_joined_behind_them(self) -> None:
        history = [
            QUESTION,
            said(ToolCall("a", "now")),
            user(ToolResult("a", "interrupted")),
            user("Go on.", Image("image/png", url="https://example.org/a.png")),
        ]
        assert [block["type"] for block in sent(*history)[2]["content"]] == ["tool_result", "text", "image"]

    def test_results_come_first_in_a_message(self) -> None:
        history = [QUESTION, said(ToolCall("a", "now")), user("By the way:", ToolResult("a", "success"))]
        assert [block["type"] for block in sent(*history)[2]["content"]] == ["tool_result", "text"]

    def test_blank_text_is_never_sent(self) -> None:
        """The service refuses it."""
        assert sent(
            user("", "Hello?", " \n"), said("\n\n", ToolCall("a", "now"), ""), user(ToolResult("a", "success"))
        ) == [
            theirs_user(text("Hello?")),
            theirs_said({"type": "tool_use", "id": "a", "name": "now", "input": {}}),
            theirs_user({"type": "tool_result", "tool_use_id": "a", "content": "done"}),
        ]

    def test_a_last_answer_to_go_on_with_ends_in_no_white_space(self) -> None:
        assert sent(QUESTION, said("The answer is: \n")) == [THEIR_QUESTION, theirs_said(text("The answer is:"))]

    def test_an_answer_in_the_middle_keeps_its_white_space(self) -> None:
        assert sent(QUESTION, said("Yes. \n"), user("And?"))[1] == theirs_said(text("Yes. \n"))

    def test_a_message_does_not_end_with_thinking(self) -> None:
        """The service refuses it; an answer that was cut off in its thinking ends so."""
        cut = said("Let me think.", Reasoning("Hm.", "s"), SIGNED, interrupted=True)
        assert sent(QUESTION, cut, user("Well?"))[1] == theirs_said(text("Let me think."))

    def test_a_call_of_the_services_tool_that_an_interruption_left_open_is_left_out(self) -> None:
        cut = said("I look.", Extension("anthropic", {"block": SEARCH}), interrupted=True)
        assert sent(QUESTION, cut, user("Well?"))[1] == theirs_said(text("I look."))
        found = said("I look.", *(Extension("anthropic", {"block": one}) for one in (SEARCH, FOUND)), interrupted=True)
        assert sent(QUESTION, found, user("Well?"))[1] == theirs_said(text("I look."), SEARCH, FOUND)

    def test_a_malformed_call_is_sent_with_what_the_model_wrote(self) -> None:
        call = ToolCall("a", "add", malformed=MalformedArguments('{"a": ', "cut off"))
        (sent_call,) = sent(QUESTION, said(call), user(ToolResult("a", "error", (Text("cut off"),))))[1]["content"]
        assert sent_call["input"] == {"malformed_arguments": '{"a": '}

    def test_images_of_an_assistant_are_named(self) -> None:
        """Another service's model may make them; this one takes none from an assistant."""
        assert sent(QUESTION, said(Image("image/png", PNG)), user("Nice."))[1] == theirs_said(text("[image image/png]"))

    def test_ids_of_other_services_become_ids_that_this_one_takes(self) -> None:
        ids = "call|1", "call_1", "call.1", "call-1", "Aufruf-ü"
        history = [
            QUESTION,
            said(*(ToolCall(one, "now") for one in ids)),
            user(*(ToolResult(one, "success") for one in ids)),
        ]
        calls, results = (message["content"] for message in sent(*history)[1:])
        changed = [call["id"] for call in calls]
        assert changed == [result["tool_use_id"] for result in results]
        assert len(set(changed)) == len(ids)
        assert changed[1] == "call_1"
        assert changed[3] == "call-1"
        assert all(one.isascii() and one.replace("_", "").replace("-", "").isalnum() for one in changed)

    def test_a_tool_that_the_model_made_up_has_a_name_that_the_service_takes(self) -> None:
        call = ToolCall("a", "web.run/now")
        assert sent(QUESTION, said(call), user(ToolResult("a", "error")))[1]["content"][0]["name"] == "web_run_now"

    def test_a_text_document_in_another_encoding_is_sent_as_it_is(self) -> None:
        document = Document.from_bytes("Grüße".encode("latin-1"), media_type="text/plain; charset=latin-1")
        (block,) = sent(user(document))[0]["content"]
        assert block["source"] == {"type": "base64", "media_type": "text/plain", "data": document.data}


def head(request: ModelRequest, caching: Any = "off") -> dict[str, Any]:
    """The request, without its messages."""
    body: dict[str, Any] = json.loads(
        b"".join(Conversation(Writer("anthropic"), Endpoint(caching=caching)).body(request))
    )
    del body["messages"]
    return body


ENABLED = {"thinking": {"type": "enabled", "budget_tokens": 2000}}


class TestThinking:
    """Thinking by a budget must begin a turn, or be left out of it."""

    def asked(self, *messages: Message, **options: Any) -> Any:
        given = ModelOptions(extra=ENABLED, **options)
        return head(ModelRequest("claude-haiku-4-5", list(messages), tools=(NOW,), options=given))["thinking"]

    def test_it_is_on_in_a_new_turn(self) -> None:
        assert self.asked(QUESTION, said("Hi."), user("And?")) == ENABLED["thinking"]

    def test_it_is_on_in_a_turn_that_began_with_it(self) -> None:
        """Further rounds of tools in the turn may begin without."""
        rounds = [
            said(Reasoning("Hm.", "s"), SIGNED, ToolCall("a", "now")),
            user(ToolResult("a", "success")),
            said(ToolCall("b", "now")),
            user(ToolResult("b", "success")),
        ]
        assert self.asked(QUESTION, *rounds) == ENABLED["thinking"]

    def test_it_is_off_in_a_turn_that_began_without(self) -> None:
        """Another model began the turn."""
        rounds = [said(Reasoning("Hm."), ToolCall("a", "now")), user(ToolResult("a", "success"))]
        assert self.asked(QUESTION, *rounds) == {"type": "disabled"}

    def test_it_is_off_where_a_tool_must_be_called(self) -> None:
        assert self.asked(QUESTION, tool_choice="now") == {"type": "disabled"}

    def test_adaptive_thinking_is_left_alone(self) -> None:
        rounds = [said(ToolCall("a", "now")), user(ToolResult("a", "success"))]
        options = ModelOptions(extra={"thinking": {"type": "adaptive"}}, tool_choice="now")
        request = ModelRequest("claude-sonnet-5", [QUESTION, *rounds], tools=(NOW,), options=options)
        assert head(request)["thinking"] == {"type": "adaptive"}

    def test_it_comes_back_in_the_next_turn_of_a_growing_history(self) -> None:
        conversation = Conversation(Writer("anthropic"), Endpoint(caching="off"))
        messages = [QUESTION, said(ToolCall("a", "now")), user(ToolResult("a", "success"))]
        request = ModelRequest("claude-haiku-4-5", messages, tools=(NOW,), options=ModelOptions(extra=ENABLED))
        seen = []
        for more in (said("Now."), user("And?")):
            seen.append(json.loads(b"".join(conversation.body(request)))["thinking"]["type"])
            messages.append(more)
        seen.append(json.loads(b"".join(conversation.body(request)))["thinking"]["type"])
        assert seen == ["disabled", "disabled", "enabled"]


class TestHead:
    @pytest.mark.parametrize(
        ("model", "most"),
        [
            ("claude-3-haiku-20240307", 4_096),
            ("claude-3-5-sonnet-20241022", 8_192),
            ("claude-3-7-sonnet-latest", 64_000),
            ("claude-opus-4-1-20250805", 32_000),
            ("claude-opus-4-20250514", 32_000),
            ("claude-sonnet-4-20250514", 64_000),
            ("claude-haiku-4-5-20251001", 64_000),
            ("anthropic/claude-opus-4.5", 64_000),
            ("us.anthropic.claude-opus-4-6-v1:0", 128_000),
            ("claude-sonnet-5", 128_000),
            ("claude-fable-5-1", 128_000),
            ("claude-haiku-5-5", 128_000),
            ("claude-opus-4@20250514", 32_000),
            ("kimi-k3", 8_192),
            ("qwen3:8b", 8_192),
        ],
    )
    def test_an_answer_may_be_as_long_as_the_model_can_make_it(self, model: str, most: int) -> None:
        """The service wants a number."""
        assert head(ModelRequest(model, [QUESTION]))["max_tokens"] == most

    def test_the_hosts_number_wins_and_then_the_configured_one(self) -> None:
        conversation = Conversation(Writer("anthropic"), Endpoint(default_max_tokens=5))
        asked = ModelRequest("claude-sonnet-5", [QUESTION])
        assert json.loads(b"".join(conversation.body(asked)))["max_tokens"] == 5
        asked = ModelRequest("claude-sonnet-5", [QUESTION], options=ModelOptions(max_tokens=3))
        assert json.loads(b"".join(conversation.body(asked)))["max_tokens"] == 3

    @pytest.mark.parametrize("name", ["model", "messages", "stream"])
    def test_extra_cannot_say_what_becket_says(self, name: str) -> None:
        with pytest.raises(ConfigError, match=f"extra has '{name}', which becket itself sets"):
            head(ModelRequest("claude-x", [QUESTION], options=ModelOptions(extra={name: "x"})))

    def test_extra_that_is_no_json_is_refused_in_words(self) -> None:
        body = Conversation(Writer("anthropic"), Endpoint()).body
        options = ModelOptions(extra={"x": object()})  # type: ignore[dict-item]  what is refused
        with pytest.raises(ConfigError, match=r"an option is no JSON: .*; look at ModelOptions\(extra=\.\.\.\)"):
            body(ModelRequest("claude-x", [QUESTION], options=options))

    @pytest.mark.parametrize("extra", [{"tools": {"type": "x"}}, {"output_config": "low"}])
    def test_extra_that_is_joined_with_ours_has_its_form(self, extra: Any) -> None:
        with pytest.raises(ConfigError, match="it must be a"):
            head(ModelRequest("claude-x", [QUESTION], options=ModelOptions(extra=extra)))

    def test_a_schema_that_the_service_does_not_take_is_said_in_words(self) -> None:
        """One that holds itself; becket validates the answer in any case."""
        tree = {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
            "required": ["children"],
            "$defs": {"Tree": {"type": "object", "properties": {"child": {"$ref": "#/$defs/Tree"}}}},
        }
        asked = head(ModelRequest("claude-x", [QUESTION], "Be brief.", output=OutputSpec("Tree", "", tree, "schema")))
        assert "output_config" not in asked
        assert asked["system"].startswith("Be brief.\n\nAnswer with nothing but a JSON object")
        assert json.dumps(tree, separators=(",", ":")) in asked["system"]

    def test_an_output_by_a_tool_is_but_a_tool(self) -> None:
        asked = head(ModelRequest("claude-x", [QUESTION], tools=(ADD,), output=OutputSpec("add", "", {}, "tool")))
        assert asked.keys() == {"model", "max_tokens", "stream", "tools"}

    def test_a_container_goes_on_with_what_the_host_puts_into_it(self) -> None:
        ran = Extension("anthropic", {"container": {"id": "c", "expires_at": "2099-01-01T00:00:00Z"}})
        options = ModelOptions(extra={"container": {"skills": [{"skill_id": "pptx"}]}})
        asked = head(ModelRequest("claude-x", [QUESTION, said("Hi.", ran), user("And?")], options=options))
        assert asked["container"] == {"id": "c", "skills": [{"skill_id": "pptx"}]}

    def test_a_container_whose_end_is_not_said_is_asked_for(self) -> None:
        ran = Extension("anthropic", {"container": {"id": "c", "expires_at": None}})
        assert head(ModelRequest("claude-x", [QUESTION, said("Hi.", ran), user("And?")]))["container"] == "c"

    def test_a_container_that_is_over_is_not_asked_for(self) -> None:
        gone = Extension("anthropic", {"container": {"id": "c", "expires_at": "2020-01-01T00:00:00Z"}})
        assert "container" not in head(ModelRequest("claude-x", [QUESTION, said("Hi.", gone), user("And?")]))


class TestAppended:
    """A message is encoded once, and what was sent stays as it was."""

    def test_the_next_request_begins_as_the_last_one_did(self) -> None:
        conversation = Conversation(Writer("anthropic"), Endpoint(caching="off"))
        messages = [QUESTION, said(ToolCall("a", "now")), user(ToolResult("a", "success"))]
        request = ModelRequest("claude-x", messages, "Be brief.", (ADD, NOW))
        before = b"".join(conversation.body(request))
        messages += [said(ToolCall("b", "now")), user(ToolResult("b", "success"))]
        assert b"".join(conversation.body(request)).startswith(before.removesuffix(b"]}"))

    def test_nothing_old_is_encoded_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        encoded: list[Message] = []
        plain = Writer.piece
        monkeypatch.setattr(
            Writer, "piece", lambda self, message, before: encoded.append(message) or plain(self, message, before)
        )
        conversation = Conversation(Writer("anthropic"), Endpoint())
        messages = [QUESTION]
        request = ModelRequest("claude-x", messages, tools=(NOW,))
        for number in range(20):
            conversation.body(request)
            messages += [said(ToolCall(f"c{number}", "now")), user(ToolResult(f"c{number}", "success"))]
        conversation.body(request)
        assert list(map(id, encoded)) == list(map(id, messages))

    def test_marks_move_and_never_are_more_than_three(self) -> None:
        conversation = Conversation(Writer("anthropic"), Endpoint(caching="5m"))
        messages = [QUESTION]
        request = ModelRequest("claude-x", messages, "Be brief.", (NOW,))
        for number in range(5):
            body = json.loads(b"".join(conversation.body(request)))
            marked = [message for message in body["messages"] if "cache_control" in message["content"][-1]]
            assert marked == [message for message in body["messages"] if message["role"] == "user"][-2:]
            assert json.dumps(body).count("cache_control") == len(marked) + 1
            messages += [said(ToolCall(f"c{number}", "now")), user(ToolResult(f"c{number}", "success"))]

    def test_a_history_that_a_hook_has_shortened_is_sent_as_it_is(self) -> None:
        conversation = Conversation(Writer("anthropic"), Endpoint(caching="off"))
        messages = [QUESTION, said("Hi."), user("And?"), said("So."), user("Then?")]
        conversation.body(ModelRequest("claude-x", messages))
        shorter = json.loads(b"".join(conversation.body(ModelRequest("claude-x", messages[2:]))))
        assert shorter["messages"] == [theirs_user(text("And?")), theirs_said(text("So.")), theirs_user(text("Then?"))]
        twice = json.loads(b"".join(conversation.body(ModelRequest("claude-x", [messages[0], messages[2]]))))
        assert twice["messages"] == [theirs_user(text("Hello?"), text("And?"))]


def test_integers_of_any_length_are_sent() -> None:
    """Python has them, JSON has them, and the encoder that is fast has not."""
    big = 2**80
    history = [QUESTION, said(ToolCall("a", "add", {"a": big})), user(ToolResult("a", "success", (Text("ü"),)))]
    tool = ToolSpec("add", "", {"type": "object", "properties": {"a": {"type": "integer", "maximum": big}}})
    request = ModelRequest("claude-x", history, tools=(tool,))
    body = json.loads(b"".join(Conversation(Writer("anthropic"), Endpoint()).body(request)))
    assert body["messages"][1]["content"][0]["input"] == {"a": big}
    assert body["tools"] == [{"name": "add", "input_schema": tool.schema, "cache_control": {"type": "ephemeral"}}]


TEXTS = st.sampled_from(["", " ", "\n", "a", "b \n", "ü"])
BLOCKS: list[Any] = [{"block": SEARCH}, {"block": FOUND}]
FILES = [Image("image/png", PNG), Document("application/pdf", PNG)]
SAID = st.one_of(
    TEXTS.map(Text),
    st.builds(Reasoning, TEXTS, st.sampled_from([None, "", "c2ln"])),
    st.builds(Reasoning, redacted=st.just("xyz")),
    st.just(SIGNED),
    st.builds(
        Extension, st.sampled_from(["anthropic", "openai"]), st.sampled_from([{"block": SEARCH}, {"block": FOUND}])
    ),
    st.just(Image("image/png", PNG)),
)
ASKED = st.one_of(
    TEXTS.map(Text), st.just(Image("image/png", PNG)), st.builds(Document, st.just("application/pdf"), st.just(PNG))
)


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Any that becket may hold: every call has its result in the next message, and roles come in any order."""
    messages: list[Message] = []
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.booleans()):
            messages.append(Message("user", tuple(draw(st.lists(ASKED, min_size=1, max_size=3)))))
            continue
        ids = draw(st.lists(st.sampled_from(["a", "a|", "a_", "toolu_1"]), max_size=3, unique=True))
        calls = [ToolCall(one, draw(st.sampled_from(["now", "web.run"])), {"x": 1}) for one in ids]
        content = draw(st.permutations([*draw(st.lists(SAID, min_size=not calls, max_size=4)), *calls]))
        messages.append(Message("assistant", tuple(content), interrupted=draw(st.booleans())))
        if ids:
            results = [ToolResult(one, draw(st.sampled_from(["success", "error", "denied"]))) for one in ids]
            messages.append(Message("user", tuple(results)))
    return messages


@given(histories(), st.sampled_from(["off", "5m", "1h"]))
def test_what_is_sent_of_any_history_is_what_the_service_takes(history: list[Message], caching: Any) -> None:
    conversation = Conversation(Writer("anthropic"), Endpoint(caching=caching))
    for end in range(1, len(history) + 1):  # as a run does it
        messages = history[:end]
        if messages[-1].role == "assistant" and messages[-1].tool_calls:
            continue
        body = json.loads(b"".join(conversation.body(ModelRequest("claude-x", messages, "Be brief.", (NOW,)))))
        fresh = Conversation(Writer("anthropic"), Endpoint(caching=caching))
        again = json.loads(b"".join(fresh.body(ModelRequest("claude-x", messages, "Be brief.", (NOW,)))))
        assert body == again, "what is kept changes nothing"
        check(body)


def check(body: dict[str, Any]) -> None:
    """The service's rules for messages, as far as it states them."""
    found = body["messages"]
    assert json.dumps(body).count("cache_control") <= 4
    for before, after in itertools.pairwise(found):
        assert before["role"] != after["role"]
    asked: list[str] = []
    for message in found:
        blocks = message["content"]
        assert blocks
        kinds = [block["type"] for block in blocks]
        assert all(block["text"].strip() for block in blocks if block["type"] == "text")
        if message["role"] == "assistant":
            assert kinds[-1] not in ("thinking", "redacted_thinking")
            assert not {"image", "document"} & {*kinds}
            asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
            assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", one) for one in asked)
            assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", block["name"]) for block in blocks if "name" in block)
            assert all(block["signature"] == "c2ln" for block in blocks if block["type"] == "thinking")
            assert len(asked) == len(set(asked))
        else:
            answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
            assert sorted(answered) == sorted(asked)
            assert kinds[: len(answered)] == ["tool_result"] * len(answered)
            assert all(block["content"] for block in blocks if block["type"] == "tool_result")
            asked = []
    assert not asked
    if found and found[-1]["role"] == "assistant" and found[-1]["content"][-1]["type"] == "text":
        assert found[-1]["content"][-1]["text"] == found[-1]["content"][-1]["text"].rstrip()
