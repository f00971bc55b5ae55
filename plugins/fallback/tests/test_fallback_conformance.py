"""The contract of providers, held by a list whose first model is always busy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint
from becket import ProviderError
from becket.testing import ProviderConformance, ScriptedProvider, calls, text
from becket_fallback import FallbackProvider

if TYPE_CHECKING:
    from becket import Provider
    from becket.testing.fakes import Step
    from becket.testing.providers import Scenario

CITIES = [("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})]


def answer(scenario: Scenario) -> list[Step]:
    steps = {"text": text("Hel", "lo"), "tool": calls(CITIES[0]), "parallel_tools": calls(*CITIES)}[scenario]  # type: ignore[arg-type]
    return [waited for step in steps for waited in (checkpoint, step)]


class TestFallback(ProviderConformance):
    model = "models"  # what a host's one list is called

    def make_provider(self, *scenarios: Scenario) -> Provider:
        busy = ScriptedProvider([checkpoint, ProviderError("busy", status=529, retryable=True)], name="busy")
        ready = ScriptedProvider(*(answer(scenario) for scenario in scenarios), name="ready")
        return FallbackProvider([busy, ready])
