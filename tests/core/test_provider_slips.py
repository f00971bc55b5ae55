"""An exception in a provider's own code says whose it is."""

from __future__ import annotations

from typing import Any

import pytest
from becket import Agent, Runtime
from becket.testing import ScriptedProvider, text

pytestmark = pytest.mark.anyio


async def test_what_a_provider_raises_says_whose_it_is() -> None:
    """Once, also where the same exception is raised again; it is the same one."""
    slip = AttributeError("nme")
    agent = Agent(ScriptedProvider([slip, slip], name="slips"), runtime=Runtime(discover=False))
    for _ in range(2):
        with pytest.raises(AttributeError) as raised:
            await agent.invoke_async("?")
        assert raised.value is slip
        assert slip.__notes__ == ["raised by the provider 'slips'"]


async def test_what_a_handler_raises_is_not_the_provider_s() -> None:
    def handle(**event: Any) -> None:
        if "data" in event:
            raise KeyError("handler")

    agent = Agent(ScriptedProvider(text("hello")), runtime=Runtime(discover=False), callback_handler=handle)
    with pytest.raises(KeyError) as raised:
        await agent.invoke_async("?")
    assert not hasattr(raised.value, "__notes__")
