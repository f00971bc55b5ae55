"""The request around the contents: tools, options, formats, and what `extra` adds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from becket import ConfigError, Message, ModelOptions, ModelRequest, OutputSpec, Text, ToolCall, ToolResult, ToolSpec
from becket_google._dialect import is_gemini, is_gemini_3
from becket_google._request import Requests
from becket_google._schema import fitted

HELLO = Message("user", (Text("hello"),))
LOOK = ToolSpec("look", "Look at it.", {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]})


def body(*, safety: dict[str, str] | None = None, **given: Any) -> dict[str, Any]:
    """The request as JSON, without the contents."""
    request = ModelRequest("gemini-2.5-flash", given.pop("messages", (HELLO,)), **given)
    made: dict[str, Any] = json.loads(b"".join(Requests("google", request.model, safety or {}).body(request)))
    del made["contents"]
    return made


def options(**given: Any) -> dict[str, Any]:
    """The request of these options, with one tool."""
    return body(tools=(LOOK,), options=ModelOptions(**given))


def test_the_least_request_is_its_contents() -> None:
    pieces = Requests("google", "gemini-2.5-flash", {}).body(ModelRequest("gemini-2.5-flash", (HELLO,)))
    assert b"".join(pieces) == b'{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}'


def test_a_request_without_messages_is_json() -> None:
    assert b"".join(Requests("google", "m", {}).body(ModelRequest("m", ()))) == b'{"contents":[]}'


def test_the_system_prompt_is_an_instruction() -> None:
    assert body(system="Be kind.") == {"systemInstruction": {"parts": [{"text": "Be kind."}], "role": "user"}}


def test_tools_are_declared_with_their_json_schema() -> None:
    assert body(tools=(LOOK,)) == {
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "look", "description": "Look at it.", "parametersJsonSchema": LOOK.schema}
                ]
            }
        ]
    }


@pytest.mark.parametrize("more", [{}, {"additionalProperties": False}, {"description": "Nothing."}])
def test_a_tool_without_parameters_has_no_schema(more: dict[str, Any]) -> None:
    nothing = ToolSpec("wait", "Wait.", {"type": "object", "properties": {}, **more})
    assert body(tools=(nothing,))["tools"] == [{"functionDeclarations": [{"name": "wait", "description": "Wait."}]}]


@pytest.mark.parametrize(
    "schema", [{"type": "object", "additionalProperties": True}, {"$ref": "#/$defs/A", "$defs": {}}]
)
def test_a_tool_whose_parameters_have_no_names_has_a_schema(schema: dict[str, Any]) -> None:
    (declared,) = body(tools=(ToolSpec("note", "Note.", schema),))["tools"][0]["functionDeclarations"]
    assert declared["parametersJsonSchema"] == schema


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("any", {"mode": "ANY"}),
        ("none", {"mode": "NONE"}),
        ("look", {"mode": "ANY", "allowedFunctionNames": ["look"]}),
    ],
)
def test_a_tool_choice_is_a_mode(choice: str, config: dict[str, Any]) -> None:
    assert options(tool_choice=choice)["toolConfig"] == {"functionCallingConfig": config}


def test_auto_is_the_services_own_default() -> None:
    assert "toolConfig" not in options(tool_choice="auto")


def test_a_tool_choice_without_tools_is_left_out() -> None:
    assert body(options=ModelOptions(tool_choice="any")) == {}


def test_sampling_options_stand_in_the_generation_config() -> None:
    sampling = ModelOptions(temperature=0, top_p=0.5, max_tokens=9, stop=("END",), seed=7)
    assert body(options=sampling) == {
        "generationConfig": {"temperature": 0, "topP": 0.5, "maxOutputTokens": 9, "stopSequences": ["END"], "seed": 7}
    }


def test_a_schema_is_the_format_of_the_answer() -> None:
    output = OutputSpec("City", "A city.", {"type": "object", "properties": {"name": {"type": "string"}}}, "schema")
    assert body(output=output)["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": output.schema,
    }


def test_an_output_by_a_tool_is_a_tool_and_no_more() -> None:
    assert "generationConfig" not in body(output=OutputSpec("City", "", {"type": "object"}, "tool"))


def test_safety_is_a_list_of_settings() -> None:
    assert body(safety={"HARM_CATEGORY_HARASSMENT": "BLOCK_NONE"}) == {
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    }


# -- extra -------------------------------------------------------------------------------------------------------------


def test_extra_fields_of_the_generation_config_stand_in_it() -> None:
    made = options(temperature=1.0, extra={"topK": 4, "thinkingConfig": {"thinkingBudget": 0}})
    assert made["generationConfig"] == {"temperature": 1.0, "topK": 4, "thinkingConfig": {"thinkingBudget": 0}}


def test_other_extra_fields_stand_at_the_top() -> None:
    """Those that are not known here among them, and a generation config, which is merged with ours."""
    made = options(seed=1, extra={"cachedContent": "cachedContents/x", "brandNew": 1, "generationConfig": {"also": 2}})
    assert made["cachedContent"] == "cachedContents/x"
    assert made["brandNew"] == 1
    assert made["generationConfig"] == {"seed": 1, "also": 2}


def test_extra_tools_are_added_to_ours() -> None:
    assert [next(iter(tool)) for tool in options(extra={"tools": [{"googleSearch": {}}]})["tools"]] == [
        "functionDeclarations",
        "googleSearch",
    ]


def test_extra_objects_are_merged_and_win() -> None:
    given = {"toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}, "retrievalConfig": {"languageCode": "en"}}}
    assert options(tool_choice="look", extra=given)["toolConfig"] == {
        "functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["look"]},
        "retrievalConfig": {"languageCode": "en"},
    }


def test_extra_is_left_as_it_was_given() -> None:
    given: dict[str, Any] = {"generationConfig": {"topK": 1}, "thinkingConfig": {"thinkingBudget": 0}}
    options(seed=1, extra=given)
    assert given == {"generationConfig": {"topK": 1}, "thinkingConfig": {"thinkingBudget": 0}}


def test_extra_that_is_no_json_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"an option is no JSON: .*; look at ModelOptions\(extra=\.\.\.\)"):
        options(extra={"x": object()})


def test_extra_contents_are_refused() -> None:
    with pytest.raises(ConfigError, match="given as the prompt of the run"):
        options(extra={"contents": []})


# -- once --------------------------------------------------------------------------------------------------------------


def test_a_request_of_the_next_cycle_uses_what_was_encoded() -> None:
    """What follows the messages is the very same object; of these, see the tests of becket-wire."""
    history = [HELLO]
    request = ModelRequest("gemini-2.5-flash", history, "Be kind.", (LOOK,))
    requests = Requests("google", request.model, {})
    first = requests.body(request)
    history += [
        Message("assistant", (ToolCall("a", "look", {"at": "x"}),)),
        Message("user", (ToolResult("a", "success"),)),
    ]
    second = requests.body(request)
    assert second[-1] is first[-1]
    assert len(json.loads(b"".join(second))["contents"]) == 3


def test_other_options_make_another_request() -> None:
    """A hook may give one call options of its own."""
    requests = Requests("google", "m", {})
    requests.body(ModelRequest("m", (HELLO,), options=ModelOptions(seed=1)))
    made = requests.body(ModelRequest("m", (HELLO,), options=ModelOptions(seed=2)))
    assert json.loads(b"".join(made))["generationConfig"] == {"seed": 2}


# -- schemas and models ------------------------------------------------------------------------------------------------


def test_nothing_stands_beside_a_reference() -> None:
    """The service refuses a description or a default there; names that look like keywords are names."""
    schema = {
        "type": "object",
        "properties": {"$ref": {"$ref": "#/$defs/Unit", "description": "which", "default": "C"}},
        "$defs": {"Unit": {"type": "string", "enum": ["C", "F"]}},
    }
    assert fitted(schema) == {
        "type": "object",
        "properties": {"$ref": {"$ref": "#/$defs/Unit"}},
        "$defs": {"Unit": {"type": "string", "enum": ["C", "F"]}},
    }


def test_a_constant_is_an_enum_of_one() -> None:
    """Where it is a keyword, and not where it is a name or a value."""
    schema = {
        "anyOf": [{"const": "a"}, {"type": "object", "properties": {"const": {"type": "string"}}}],
        "default": {"const": 1},
    }
    assert fitted(schema) == {
        "anyOf": [{"enum": ["a"]}, {"type": "object", "properties": {"const": {"type": "string"}}}],
        "default": {"const": 1},
    }


@pytest.mark.parametrize(
    ("model", "gemini", "third"),
    [
        ("gemini-2.5-flash", True, False),
        ("models/gemini-2.0-flash-lite", True, False),
        ("gemini-3-pro-preview", True, True),
        ("gemini-3.8-flash", True, True),
        ("publishers/google/models/gemini-10-pro", True, True),
        ("gemini-flash-latest", True, True),
        ("gemma-3-27b-it", False, False),
        ("tunedModels/my-gemini-copy", False, False),
    ],
)
def test_what_a_model_takes_is_told_by_its_name(model: str, gemini: bool, third: bool) -> None:
    assert (is_gemini(model), is_gemini_3(model)) == (gemini, third)
