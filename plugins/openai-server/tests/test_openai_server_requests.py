"""What a request becomes, and what is refused, in OpenAI's words."""

from __future__ import annotations

from typing import Any

import pytest
from becket import Document, Image, MalformedArguments, Message, ModelOptions, RequestError, Text, ToolCall, ToolResult
from becket.wires import DescribingWire, DocumentWire, RunRequest, Wire
from becket_openai_server import ChatCompletions
from pydantic import TypeAdapter, ValidationError

WIRE = ChatCompletions()
BODY = TypeAdapter(WIRE.request_model)

PNG = "iVBORw0KGgo="
CALLS = [
    {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"one": 1}'}},
    {"id": "b", "type": "function", "function": {"name": "now", "arguments": ""}},
]
RESULTS = [
    {"role": "tool", "tool_call_id": "a", "content": "two"},
    {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "noon"}]},
]


def user(content: Any = "hi") -> dict[str, Any]:
    return {"role": "user", "content": content}


def read(*messages: dict[str, Any], **members: Any) -> RunRequest:
    body = {"model": "helper", "messages": list(messages) or [user()], **members}
    return WIRE.read(BODY.validate_python(body))


def refusal(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The error object of a request that is refused."""
    with pytest.raises(RequestError) as caught:
        read(*messages, **members)
    assert caught.value.status == 400
    error: dict[str, Any] = dict(WIRE.describe(caught.value)["error"])
    assert error["type"] == "invalid_request_error"
    return error


def test_the_wire_is_what_becket_says_a_wire_is() -> None:
    for protocol in (Wire, DescribingWire, DocumentWire):
        assert isinstance(WIRE, protocol)
    assert (WIRE.name, WIRE.path, WIRE.asks) == ("openai", "/v1/chat/completions", False)


class TestConversations:
    def test_the_last_message_of_the_user_is_the_prompt(self) -> None:
        found = read(user("one"), {"role": "assistant", "content": "two"}, user("three"))
        assert found.history == (Message("user", (Text("one"),)), Message("assistant", (Text("two"),)))
        assert found.prompt == Message("user", (Text("three"),))
        assert found.agent == "helper"

    def test_instructions_come_together_wherever_they_stand(self) -> None:
        found = read(
            {"role": "system", "content": "Be brief."},
            user(),
            {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}]},
            {"role": "system", "content": ""},
        )
        assert found.instructions == "Be brief.\n\nBe kind."
        assert found.history == ()

    def test_calls_and_results_of_earlier_become_history(self) -> None:
        """Results stand in one message with what the user has said next, as model services have it."""
        found = read(
            user("one"), {"role": "assistant", "content": "Hm.", "tool_calls": CALLS}, *RESULTS, user("and now?")
        )
        assert found.history[1] == Message(
            "assistant", (Text("Hm."), ToolCall("a", "add", {"one": 1}), ToolCall("b", "now"))
        )
        assert found.prompt == Message(
            "user",
            (
                ToolResult("a", "success", (Text("two"),)),
                ToolResult("b", "success", (Text("noon"),)),
                Text("and now?"),
            ),
        )

    def test_results_alone_can_be_the_prompt(self) -> None:
        found = read(user(), {"role": "assistant", "tool_calls": CALLS[:1]}, RESULTS[0])
        assert found.prompt == Message("user", (ToolResult("a", "success", (Text("two"),)),))

    def test_results_before_another_answer_are_a_message(self) -> None:
        found = read(
            user(), {"role": "assistant", "tool_calls": CALLS}, *RESULTS, {"role": "assistant", "content": "so"}, user()
        )
        assert [message.role for message in found.history] == ["user", "assistant", "user", "assistant"]
        assert [result.call_id for result in found.history[2].tool_results] == ["a", "b"]

    @pytest.mark.parametrize("arguments", ['{"one": ', "[1]", '{"one": NaN}'])
    def test_arguments_that_are_no_object_stay_what_they_were(self, arguments: str) -> None:
        call = {"id": "a", "function": {"name": "add", "arguments": arguments}}
        found = read(user(), {"role": "assistant", "tool_calls": [call]}, RESULTS[0])
        (kept,) = found.history[1].tool_calls
        assert isinstance(kept.malformed, MalformedArguments)
        assert kept.malformed.text == arguments

    def test_an_answer_that_was_empty_is_left_out(self) -> None:
        """Front ends keep one where an answer has failed."""
        empty = [{"role": "assistant", "content": content} for content in ("", None, [])]
        assert read(user("a"), *empty, user("b")).history == (Message("user", (Text("a"),)),)

    def test_a_refusal_is_what_the_assistant_has_said(self) -> None:
        said = [
            {"role": "assistant", "content": None, "refusal": "No."},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "Never."}]},
        ]
        found = read(user(), *said, user([{"type": "text", "text": "why?"}, {"type": "refusal", "refusal": "tell"}]))
        assert [message.text for message in found.history] == ["hi", "No.", "Never."]

    @pytest.mark.parametrize(
        ("messages", "told"),
        [
            (
                [user(), {"role": "assistant", "content": "and"}],
                r"messages[1]: the conversation ends with a message of the assistant",
            ),
            ([{"role": "system", "content": "x"}], "the last message must be the user's"),
            ([user(), {"role": "assistant", "tool_calls": CALLS}, user()], "has no result in the next message"),
            ([user(), RESULTS[0]], "was not called just before"),
            ([user(), {"role": "assistant", "tool_calls": CALLS[:1] * 2}, RESULTS[0]], "stands twice"),
        ],
    )
    def test_a_conversation_that_cannot_go_on_is_refused(self, messages: list[dict[str, Any]], told: str) -> None:
        error = refusal(*messages)
        assert told in error["message"]
        assert error["param"] == "messages"

    @pytest.mark.parametrize("content", ["", " ", [], [{"type": "text", "text": "\n"}]])
    def test_an_empty_message_of_the_user_is_refused_with_its_place(self, content: Any) -> None:
        error = refusal(user(), user(content), user())
        assert (error["message"], error["param"]) == (
            "messages[1].content is empty; leave the message out",
            "messages[1].content",
        )

    @pytest.mark.parametrize("role", ["function", "", None])
    def test_an_unknown_role_is_no_request(self, role: Any) -> None:
        with pytest.raises(ValidationError, match="role"):
            read({"role": role, "content": "x"})


class TestParts:
    @pytest.mark.parametrize(("content", "told"), [([{"type": "video"}], "Input tag 'video'"), (5, "a valid list")])
    def test_an_error_tells_of_one_form_alone(self, content: Any, told: str) -> None:
        with pytest.raises(ValidationError, match=told) as caught:
            read(user(content))
        assert caught.value.error_count() == 1

    def test_an_image_by_its_bytes_and_by_its_address(self) -> None:
        found = read(
            user(
                [
                    {"type": "text", "text": "what are these?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": f"data:image/PNG;charset=x;base64,{PNG}"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg?size=1"}},
                    {"type": "image_url", "image_url": {"url": "HTTPS://example.com/a"}},
                ]
            )
        )
        assert isinstance(found.prompt, Message)
        assert found.prompt.content == (
            Text("what are these?"),
            Image("image/png", PNG),
            Image("image/png", PNG),
            Image("image/jpeg", url="https://example.com/a.jpg?size=1"),
            Image("image/*", url="HTTPS://example.com/a"),
        )

    def test_sound_and_documents(self) -> None:
        found = read(
            user(
                [
                    {"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PNG}"}},
                ]
            )
        )
        assert isinstance(found.prompt, Message)
        assert found.prompt.content == (Document("audio/mpeg", PNG), Document("application/pdf", PNG, name="a.pdf"))

    @pytest.mark.parametrize(
        ("part", "told"),
        [
            (
                {"type": "image_url", "image_url": {"url": "http://example.com/a.png"}},
                "it must be an https URL, or a data URL",
            ),
            (
                {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
                "it must be an https URL, or a data URL",
            ),
            ({"type": "image_url", "image_url": {"url": f"data:;base64,{PNG}"}}, "a data URL"),
            ({"type": "image_url", "image_url": {"url": "data:image/png,abc"}}, "a data URL"),
            ({"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}}, "is no base64"),
            ({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}, "is empty"),
            ({"type": "input_audio", "input_audio": {"data": "ä", "format": "wav"}}, "is no base64"),
            ({"type": "file", "file": {"file_id": "file-1"}}, "there are no uploads"),
            ({"type": "file", "file": {"file_data": PNG}}, "it must be a data URL"),
        ],
    )
    def test_what_cannot_be_read_is_refused_with_its_place(self, part: dict[str, Any], told: str) -> None:
        error = refusal(user([{"type": "text", "text": "see"}, part]))
        assert told in error["message"]
        assert error["param"].startswith("messages[0].content[1]")

    @pytest.mark.parametrize("role", ["system", "assistant", "tool"])
    def test_an_image_that_is_not_the_users_is_refused(self, role: str) -> None:
        part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
        error = refusal({"role": role, "content": [part], "tool_call_id": "a"}, user())
        assert error["param"] == "messages[0].content[0]"
        assert "image_url" in error["message"]


class TestOptions:
    def test_what_is_said_about_sampling_goes_to_the_model(self) -> None:
        found = read(temperature=0.5, top_p=0.9, max_tokens=10, stop=["a", "b"], seed=7)
        assert found.options == ModelOptions(temperature=0.5, top_p=0.9, max_tokens=10, stop=("a", "b"), seed=7)
        assert read(stop="a").options == ModelOptions(stop=("a",))

    def test_the_newer_name_of_max_tokens_counts(self) -> None:
        assert read(max_tokens=10, max_completion_tokens=20).options == ModelOptions(max_tokens=20)

    def test_nothing_said_leaves_it_to_the_agent(self) -> None:
        found = read(temperature=None, stop=None, max_tokens=None)
        assert found.options is None
        assert found.instructions == ""

    @pytest.mark.parametrize(
        "members", [{"temperature": -1}, {"top_p": 0}, {"max_tokens": 0}, {"temperature": float("nan")}]
    )
    def test_a_value_that_no_model_takes_is_refused(self, members: dict[str, Any]) -> None:
        (name,) = members
        error = refusal(**members)
        assert name in error["message"]
        assert error["code"] == "invalid_value"

    def test_no_model_means_the_servers_first_agent(self) -> None:
        assert read(model=None).agent is None
        assert read(model="").agent is None


class TestWhatIsNotThere:
    @pytest.mark.parametrize(
        "members",
        [
            {"n": 2},
            {"n": 0},
            {"tools": [{"type": "function", "function": {"name": "x"}}]},
            {"functions": [{"name": "x"}]},
            {"tool_choice": "required"},
            {"tool_choice": {"type": "function", "function": {"name": "x"}}},
            {"function_call": {"name": "x"}},
            {"response_format": {"type": "json_object"}},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
            {"logprobs": True},
            {"top_logprobs": 3},
            {"modalities": ["text", "audio"]},
            {"audio": {"voice": "alloy", "format": "wav"}},
            {"web_search_options": {}},
            {"moderation": {"model": "x"}},
        ],
    )
    def test_what_cannot_be_had_is_refused_by_name(self, members: dict[str, Any]) -> None:
        (name,) = members
        error = refusal(**members)
        assert error["param"] == name
        assert error["message"].startswith(f"{name}: ")
        assert "leave it out" in error["message"]
        assert error["code"] == "unsupported_parameter"

    def test_what_asks_for_nothing_is_let_through(self) -> None:
        """As front ends send it, since it is OpenAI's default."""
        assert (
            read(
                n=1,
                tools=[],
                functions=[],
                tool_choice="auto",
                function_call="none",
                response_format={"type": "text"},
                logprobs=False,
                top_logprobs=0,
                modalities=["text"],
                audio=None,
            )
            == read()
        )

    def test_what_has_no_say_is_left_alone(self) -> None:
        assert (
            read(
                user="me",
                store=True,
                metadata={"a": "b"},
                frequency_penalty=0,
                reasoning_effort="low",
                chat_id="of a front end",
                stream_options={"include_usage": True, "include_obfuscation": False},
            )
            == read()
        )


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "described"),
        [
            (
                RequestError("there is no agent 'x'", status=404, code="unknown_agent"),
                ("invalid_request_error", "model_not_found", "model"),
            ),
            (RequestError("no", status=401, code="unauthorized"), ("invalid_request_error", "invalid_api_key", None)),
            (RequestError("slow down", status=429, code="busy"), ("rate_limit_error", "busy", None)),
            (
                RequestError("bad", status=422, code="invalid_body", members={"errors": [{"at": "messages.0.role"}]}),
                ("invalid_request_error", "invalid_body", "messages"),
            ),
            (
                RequestError("bad", status=422, code="invalid_body", members={"errors": [{"at": ""}]}),
                ("invalid_request_error", "invalid_body", None),
            ),
            (RequestError("oh", status=503, code="closing"), ("server_error", "closing", None)),
        ],
    )
    def test_a_servers_errors_are_told_in_openais_words(self, error: RequestError, described: tuple[Any, ...]) -> None:
        told: Any = WIRE.describe(error)["error"]
        assert (told["type"], told["code"], told["param"]) == described
        assert told["message"] == str(error)


def test_the_models_are_the_agents() -> None:
    documents: Any = WIRE.documents(["helper", "my agent"])
    assert list(documents) == ["/v1/models", "/v1/models/helper", "/v1/models/my agent"]
    listed = documents["/v1/models"]
    assert listed["object"] == "list"
    assert listed["data"] == [documents["/v1/models/helper"], documents["/v1/models/my agent"]]
    assert listed["data"][1] == {
        "id": "my agent",
        "object": "model",
        "created": listed["data"][0]["created"],
        "owned_by": "becket",
    }
