"""The HTTP surface, attacked by schemathesis with what its own description allows, and with what it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import schemathesis
from becket.testing import Scenarios
from becket_serve import ServeLimits, app
from becket_serve.testing import serving
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "the-token-of-the-one"  # noqa: S105  of the tests
HEADERS = {"authorization": f"Bearer {TOKEN}"}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

FEW = settings(
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
"""Enough for each way in which a value can be wrong; the same ones each time."""

OWN = {
    ("POST", "/stream"),
    ("POST", "/events"),
    ("GET", "/runs/{run_id}/events"),
    ("POST", "/runs/{run_id}/cancel"),
    ("POST", "/runs/{run_id}/decisions"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
}
"""What is attacked whatever is installed. The description itself schemathesis leaves alone."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server of the scenarios, with all that is installed; a prompt that names one which never ends is ended."""
    scenarios = Scenarios(discover=True)
    with serving(app(scenarios.agent, tokens=[TOKEN], limits=ServeLimits(run_seconds=2.0))) as url:
        yield url


@pytest.fixture(scope="module")
def schema(server: str) -> Any:
    """Its description, as schemathesis reads it."""
    return schemathesis.openapi.from_url(f"{server}/openapi.json", headers=HEADERS)


@pytest.fixture(scope="module")
def run_id(server: str) -> str:
    """A run that is there."""
    return httpx2.post(f"{server}/stream", json={"prompt": "text"}, headers=HEADERS, trust_env=False).headers["run-id"]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_nothing_makes_the_server_fail(schema: Any, run_id: str, mode: GenerationMode) -> None:
    """Each answer, of every wire, has a status, a type and a form that the description names for it."""
    operations = {(one.method.upper(), one.path): one for one in (found.ok() for found in schema.get_all_operations())}
    assert set(operations) >= OWN
    for (method, path), operation in operations.items():
        takes_nothing = method == "GET" and "{" not in path
        if takes_nothing and mode is GenerationMode.NEGATIVE:
            continue

        @FEW
        @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
        def attack(case: Any, *, known: bool) -> None:
            if known and "run_id" in (case.path_parameters or {}):
                case.path_parameters["run_id"] = run_id
            response = case.call(headers=HEADERS, timeout=20)
            case.validate_response(response, checks=CHECKS)

        attack()
