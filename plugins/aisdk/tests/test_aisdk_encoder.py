"""What the wire writes of every kind of run, read as the SDK reads it, on asyncio and on trio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from becket import TextDelta
from becket.testing import Scenarios

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import AgentStream, Event

pytestmark = pytest.mark.anyio

WHOLE = [name for name in Scenarios.names if name not in ("held", "idle tool", "asks", "fails first", "fails midway")]


@pytest.mark.parametrize("name", WHOLE)
async def test_the_message_has_the_text_of_the_answer(name: str, chat: Callable[..., Any]) -> None:
    """Whatever happens besides: tools, reasoning, nested runs, arguments that cannot be read, 100,000 pieces."""
    read = await chat().say(name)
    assert read.text == Scenarios.text(name)
    assert read.finished == "stop"
    assert read.message["metadata"]["stopReason"] == "end_turn"
