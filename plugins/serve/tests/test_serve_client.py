"""The events of a run, read by a parser of event streams that others wrote, over connections that break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from becket.testing import Scenarios
from becket.testing.scenarios import FLOOD
from becket_serve import ServeLimits, app
from becket_serve.testing import serving

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_reader_whose_connection_breaks_misses_nothing(
    judge: Callable[..., Any], backend: Literal["asyncio", "trio"]
) -> None:
    """No event comes twice, and none is missing, wherever in an event it breaks."""
    served = app(Scenarios().agent, limits=ServeLimits(keep_events=2 * FLOOD))
    with serving(served, backend=backend) as url:
        seen = judge("sse.mjs", url, "unicode", "601")
        assert (seen["ordered"], seen["end"], seen["text"]) == (True, 1, Scenarios.text("unicode"))
        assert seen["connections"] > 4
        assert seen["names"] == [None]
        flood = judge("sse.mjs", url, "flood", "2000003") if backend == "asyncio" else None
    if flood is not None:
        assert (flood["ordered"], flood["end"], flood["text"]) == (True, 1, "x" * FLOOD)
        assert flood["connections"] > 4
