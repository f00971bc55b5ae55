"""What every test here runs under: nothing left behind, and no model of the environment used by accident."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_finish() -> None:
    """Take what is there for the whole session out of the garbage collector's sight.

    The fixture below collects after each test, and does the same with what a test leaves. With some 5,000 tests
    collected that took 0.12 s of each, most of it for looking at pytest's own objects; with what 5,000 have left, 8 ms.
    """
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Put it back: Hypothesis, where it is only imported now, looks for it."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Collect garbage inside the test that made it, so that a ResourceWarning or a lost exception fails that test."""
    monkeypatch.delenv("BECKET_MODEL", raising=False)
    yield
    gc.collect()
    gc.freeze()
