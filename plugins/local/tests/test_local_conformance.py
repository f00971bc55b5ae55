"""The contract of providers, held by the embedded model. Each call that is cancelled costs a worker, so few are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from becket import Message, Text
from becket.testing import ProviderConformance
from becket_local import LocalProvider

if TYPE_CHECKING:
    from becket import ModelRequest, Provider
    from becket.testing.providers import Scenario


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """One of them: on the other it takes 20 seconds more, and the other tests here run on both."""
    return str(request.param)


class TestNeedle(ProviderConformance):
    scenarios = ("tool",)  # it writes no prose
    model = "needle"
    at_once = 2
    waits = 2
    patience = 60.0  # a worker loads in a second, and in ten where all cores are at work

    def make_provider(self, *scenarios: Scenario) -> Provider:
        return LocalProvider()

    def make_request(self, scenario: Scenario) -> ModelRequest:
        request = super().make_request(scenario)
        request.messages = [Message("user", (Text("What is the weather in Oslo?"),))]
        return request
