"""The chunks of Gemini's stream, decoded typed: of the service's types the fields that are read, no more."""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["Candidate", "Chunk", "ErrorBody", "FunctionCall", "Part", "PartialArg", "UsageMetadata", "decode"]


class PartialArg(msgspec.Struct, rename="camel", gc=False):
    """A piece of a call's arguments: what stands at `json_path`, or the next piece of a text that stands there."""

    json_path: str = ""
    string_value: str | None = None
    number_value: float | None = None
    bool_value: bool | None = None


class FunctionCall(msgspec.Struct, rename="camel", gc=False):
    """A call, whole, or a piece of one where `will_continue` or `partial_args` is set (Vertex AI alone sends these)."""

    name: str | None = None
    id: str | None = None
    args: msgspec.Raw = msgspec.Raw()
    partial_args: list[PartialArg] | None = None
    will_continue: bool | None = None


class Part(msgspec.Struct, rename="camel", gc=False):
    """A part of the answer. Those of other kinds have none of these fields, and are read as plain JSON."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[Part] | None = None


class Candidate(msgspec.Struct, rename="camel", gc=False):
    """One of the answers; there is one, unless `candidateCount` asks for more."""

    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int | None = None


class _PromptFeedback(msgspec.Struct, rename="camel", gc=False):
    block_reason: str | None = None
    block_reason_message: str | None = None


class UsageMetadata(msgspec.Struct, rename="camel", gc=False):
    """Tokens so far; each chunk has the sums anew."""

    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None


class ErrorBody(msgspec.Struct, gc=False):
    """`google.rpc.Status`, as Google's services write it in JSON."""

    code: int | None = None
    message: str | None = None
    status: str | None = None
    details: list[dict[str, Any]] | None = None


class Chunk(msgspec.Struct, rename="camel", gc=False):
    """One event of the stream."""

    candidates: list[Candidate] | None = None
    usage_metadata: UsageMetadata | None = None
    prompt_feedback: _PromptFeedback | None = None
    response_id: str | None = None
    error: ErrorBody | None = None


decode: Final = msgspec.json.Decoder(Chunk).decode
"""A chunk of its JSON; raises `ValueError`, or `RecursionError` where it is nested too deeply."""
