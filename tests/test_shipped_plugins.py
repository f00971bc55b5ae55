"""Every plugin of the workspace keeps the contract of plugins: what it costs to have it installed, and its hooks."""

from __future__ import annotations

import pytest
from becket import VERSION
from becket.discovery import discover
from becket.testing import PluginConformance

SHIPPED = [found.value for found in discover(VERSION)]


class TestShipped(PluginConformance):
    import_seconds = 0.1  # a fifth of what others may take

    @pytest.fixture(autouse=True, params=SHIPPED)
    def which(self, request: pytest.FixtureRequest) -> None:
        self.plugin = request.param


def test_all_of_them_are_looked_at() -> None:
    assert {"becket_tools", "becket_console", "becket_guard:Guard", "becket_local"} <= {*SHIPPED}
