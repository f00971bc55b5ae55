"""What the service's error documents say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from becket_google._errors import KEY_ADVICE, explain

RPC = "type.googleapis.com/google.rpc."


def document(*details: dict[str, Any], **error: Any) -> bytes:
    """An error document."""
    return json.dumps(
        {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": list(details), **error}}
    ).encode()


def test_an_error_has_the_services_words() -> None:
    told = explain(400, document(code=400, message="Unknown name", status="INVALID_ARGUMENT"))
    assert told is not None
    assert (told.message, told.code, told.status, told.retryable) == ("Unknown name", "INVALID_ARGUMENT", 400, None)


def test_a_list_of_one_error_is_read() -> None:
    """As without `alt=sse`."""
    told = explain(429, b"[" + document(message="slow down") + b"]")
    assert told is not None
    assert told.message == "slow down"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"error": "text"}', b"[1]", b'{"detail": "no"}'])
def test_what_is_no_error_document_is_left_to_others(body: bytes) -> None:
    assert explain(502, body) is None


@pytest.mark.parametrize(("delay", "seconds"), [("3.5s", 3.5), ("42s", 42.0), ("0s", 0.0), ("soon", None), (3, None)])
def test_the_time_to_wait_is_the_services(delay: Any, seconds: float | None) -> None:
    told = explain(429, document({"@type": f"{RPC}RetryInfo", "retryDelay": delay}))
    assert told is not None
    assert (told.retry_after, told.retryable) == (seconds, None)


def test_the_quota_of_a_day_is_not_asked_for_again() -> None:
    """Whatever the service says of seconds to wait."""
    quota = {"@type": f"{RPC}QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerDayPerProject-FreeTier"}]}
    told = explain(429, document(quota, {"@type": f"{RPC}RetryInfo", "retryDelay": "30s"}))
    assert told is not None
    assert told.retryable is False
    assert told.advice.startswith("GenerateRequestsPerDayPerProject-FreeTier counts by the day")


def test_the_quota_of_a_minute_is() -> None:
    quota = {"@type": f"{RPC}QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerMinutePerProject"}, 7]}
    told = explain(429, document(quota))
    assert told is not None
    assert told.retryable is None


def test_a_wrong_key_is_told_from_other_bad_requests() -> None:
    """The service answers 400 for it, and says in the details what it is."""
    info = {"@type": f"{RPC}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
    told = explain(400, document(info, code=400, message="API key not valid.", status="INVALID_ARGUMENT"))
    assert told is not None
    assert (told.code, told.advice) == ("API_KEY_INVALID", KEY_ADVICE)


def test_a_model_without_tools_is_told_what_to_do() -> None:
    words = "Function calling is not enabled for models/gemma-3-27b-it"
    told = explain(400, document(code=400, message=words, status="INVALID_ARGUMENT"))
    assert told is not None
    assert (told.message, told.advice) == (words, "take a model that can call functions, or an agent without tools")


@pytest.mark.parametrize(
    ("model", "advice"),
    [
        ("gemini-flash-latest", 'api_version = "beta" in [plugins.google]'),
        ("gemini-9", "becket models google lists the names that there are"),
    ],
)
def test_a_name_that_is_none_is_told_what_to_do(model: str, advice: str) -> None:
    words = f"models/{model} is not found for API version v1, or is not supported for generateContent."
    told = explain(404, document(code=404, message=words, status="NOT_FOUND"))
    assert told is not None
    assert told.advice.endswith(advice)


def test_details_of_any_form_are_looked_at_with_care() -> None:
    told = explain(429, document({}, {"@type": 5}, {"@type": f"{RPC}QuotaFailure", "violations": "x"}))
    assert told is not None
    assert told.code == "RESOURCE_EXHAUSTED"


def test_a_key_that_may_not_is_told_with_where_it_is_set() -> None:
    body = b'{"error": {"code": 403, "message": "No.", "status": "PERMISSION_DENIED"}}'
    said = explain(403, body)
    assert said is not None
    assert "GEMINI_API_KEY" in said.advice
