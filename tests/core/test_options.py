"""Options that make no sense are refused where they are given, by name."""

from __future__ import annotations

import math
from typing import Any

import pytest
from becket import ConfigError, Limits, ModelOptions


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", "hot"),
        ("top_p", 0),
        ("top_p", 1.5),
        ("top_p", math.nan),
        ("max_tokens", 0),
        ("stop", "END"),
        ("tool_choice", 5),
        ("seed", "x"),
        ("extra", 5),
    ],
)
def test_a_bad_model_option_is_refused_by_name(name: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is .*{bad}.*; it must be "):
        ModelOptions(**{name: bad})


@pytest.mark.parametrize("name", ["cycles", "tool_calls", "tokens", "seconds", "tool_seconds", "argument_chars"])
@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, "5"])
def test_a_bad_limit_is_refused_by_name(name: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=f"^the limit {name} is .*{bad}.*; it must be a number above 0, or None"):
        Limits(**{name: bad})


def test_edges_that_make_sense_are_taken() -> None:
    options = ModelOptions(temperature=0, top_p=1, max_tokens=1, stop=("END",))
    assert (options.temperature, options.top_p, options.max_tokens, options.stop) == (0, 1, 1, ("END",))
    none = Limits(cycles=None, tool_calls=None, tokens=None, seconds=None, tool_seconds=None, argument_chars=None)
    assert none.argument_chars is None
    assert Limits(seconds=0.001).seconds == 0.001
