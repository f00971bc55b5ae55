"""What errors of a service say, and what they never hold."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from becket_wire._errors import ErrorDetails, Voice, mask_secrets, retry_after, secrets_of

LIMITED = ErrorDetails(message="Rate limit reached for m.", code="rate_limit_exceeded")


def voice(status: int = 429, sent: dict[str, str] | None = None, **headers: str) -> Voice:
    return Voice("some", status, {name.replace("_", "-"): value for name, value in headers.items()}, sent or {})


def test_an_error_says_who_what_why_and_which_request() -> None:
    error = voice(x_request_id="req_1", retry_after="2.5").of(LIMITED)
    assert str(error) == "some answered 429 (rate_limit_exceeded): Rate limit reached for m. (request req_1)"
    assert (error.provider, error.status, error.code, error.request_id) == ("some", 429, "rate_limit_exceeded", "req_1")
    assert (error.retryable, error.retry_after) == (True, 2.5)


def test_what_to_do_next_stands_last() -> None:
    error = voice(401).of(ErrorDetails(message="no", advice="set the key"))
    assert str(error) == "some answered 401 (Unauthorized): no; set the key"
    error = voice(401, request_id="r1").of(ErrorDetails(message="No.", advice="set the key"))
    assert str(error) == "some answered 401 (Unauthorized): No. (request r1) Set the key"


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_these_may_succeed_later(status: int) -> None:
    assert voice(status).unexplained(b"", "").retryable


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 501, 505])
def test_these_will_not(status: int) -> None:
    assert not voice(status).unexplained(b"", "").retryable


def test_the_services_own_word_on_that_goes_before_the_status_and_a_no_before_all() -> None:
    assert not voice(429, x_should_retry="false").of(LIMITED).retryable
    assert voice(400, x_should_retry="true").of(LIMITED).retryable
    broke = ErrorDetails(message="no credit", retryable=False)
    assert not voice(429, x_should_retry="true").of(broke).retryable
    busy = ErrorDetails(message="overloaded", retryable=True)
    assert not voice(503, x_should_retry="false").of(busy).retryable
    assert voice(200, x_should_retry="false").of(busy, during=True).retryable  # that was said of another end


def test_what_will_not_succeed_is_not_waited_for() -> None:
    assert voice(429, retry_after="5").of(ErrorDetails(message="", retryable=False)).retry_after is None


def test_an_error_in_a_stream_that_had_begun_well_has_no_status_but_its_own() -> None:
    overloaded = ErrorDetails(message="Overloaded", code="overloaded_error", retryable=True)
    error = voice(200).of(overloaded, during=True)
    assert (str(error), error.status) == ("some broke off with an error (overloaded_error): Overloaded", None)
    error = voice(200).of(ErrorDetails(message="", status=503), during=True)
    assert str(error) == "some broke off with 503 (Service Unavailable): it gives no reason"
    assert (error.status, error.retryable) == (503, True)


def test_a_status_that_nobody_has_named_is_said_by_its_number() -> None:
    assert str(voice(599).unexplained(b"", "")) == "some answered 599: an empty body"


def test_a_body_that_is_no_error_document_is_quoted_in_one_line_and_cut_off() -> None:
    error = voice(502).unexplained(b"<html>\n  <h1>Bad\xff gateway</h1>" + b"x" * 5000, "look at the proxy")
    assert str(error).startswith("some answered 502 (Bad Gateway): <html> <h1>Bad\N{REPLACEMENT CHARACTER} gateway")
    assert str(error).endswith("x…; look at the proxy")
    assert len(str(error)) < 700


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_the_wait_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_date_is_a_wait_from_now() -> None:
    at = datetime.now(tz=UTC) + timedelta(seconds=60)
    wait = retry_after({"retry-after": format_datetime(at, usegmt=True)})
    assert wait is not None
    assert math.isclose(wait, 60, abs_tol=5)


def test_keys_that_a_service_quotes_are_masked() -> None:
    headers = {"Authorization": "Bearer sk-11111", "X-Portkey-Api-Key": "sk-22222", "Accept": "text/plain", "key": ""}
    secrets = secrets_of(headers)
    assert secrets == ("sk-11111", "sk-22222")
    assert mask_secrets("Incorrect API key: sk-11111, sk-22222", secrets) == "Incorrect API key: [secret], [secret]"
    error = voice(401, headers).of(ErrorDetails(message="no such key: sk-11111"))
    assert "sk-11111" not in f"{error} {error!r}"


def test_a_key_with_a_space_in_it_is_masked_on_both_sides_of_it() -> None:
    secrets = secrets_of({"Authorization": "Bearer sk-111111 22222222 3"})
    assert mask_secrets("Incorrect API key: sk-111111 22222222 3", secrets) == (
        "Incorrect API key: [secret] [secret] 3"
    )


def test_what_local_servers_are_given_for_a_key_is_no_secret() -> None:
    """Else the word could stand in no error, `-t none` included."""
    assert secrets_of({"Authorization": "Bearer none", "api-key": "ollama"}) == ()
