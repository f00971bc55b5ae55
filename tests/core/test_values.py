"""What enters becket becomes JSON, or is refused with a reason."""

from __future__ import annotations

import dataclasses
import enum
import itertools
import threading
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest
from becket._values import DEPTH, clean_text, to_json_value
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

if TYPE_CHECKING:
    from pathlib import Path

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def nested(levels: int) -> Any:
    """A list that is nested this many levels deep."""
    made: Any = []
    for _ in range(levels - 1):
        made = [made]
    return made


@settings(deadline=None)
@given(JSON)
def test_json_passes_through_unchanged(raw: object) -> None:
    assert to_json_value(raw) == raw


@settings(deadline=None)
@given(st.text(st.characters(categories=("Cs", "L"))))
def test_clean_text_can_be_encoded_and_keeps_every_other_character(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode()
    kept = [char for char in text if not "\ud800" <= char <= "\udfff"]
    paired = [char for char in cleaned if char in kept]
    assert paired == kept
    assert clean_text(cleaned) is cleaned


def test_a_surrogate_pair_becomes_the_character_it_stands_for() -> None:
    assert clean_text("\ud83d\ude00 \ud83d") == "\U0001f600 \ufffd"


@dataclasses.dataclass
class Point:
    x: float
    label: str = ""


class Model(BaseModel):
    when: date
    label: str = ""


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (float("nan"), None),
        ([float("inf"), -float("inf")], [None, None]),
        ((1, (2, 3)), [1, [2, 3]]),
        ({1}, [1]),
        (b"text", "text"),
        (Point(1.5, "a"), {"x": 1.5, "label": "a"}),
        (Point(float("nan"), "\ud800"), {"x": None, "label": "\ufffd"}),
        (Model(when=date(2026, 1, 2)), {"when": "2026-01-02", "label": ""}),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
        (Colour.RED, "red"),
        ({1: "a", None: "b", (2, 3): "c"}, {"1": "a", "None": "b", "2,3": "c"}),
        ({"\ud800": ["\udfff", ("\ud800",)]}, {"\ufffd": ["\ufffd", ["\ufffd"]]}),
        (2**200, 2**200),
    ],
)
def test_what_is_not_json_yet_becomes_it(raw: object, expected: object) -> None:
    assert to_json_value(raw) == expected


def test_what_cannot_be_json_is_refused_with_a_reason(tmp_path: Path) -> None:
    itself: list[object] = []
    itself.append(itself)
    refused = [
        (b"\xff", "utf-8"),
        ({b"\xff": 1}, "utf-8"),
        (threading.Lock(), "lock"),
        (itself, "holds itself"),
        (Point(itself), "Circular"),  # type: ignore[arg-type]  # what a tool may do
        (itertools.count(), "iterator"),
        ([iter("abc")], "iterator"),
        (nested(5_000), "levels deep"),
        (10**5_000, "out of range"),
    ]
    for raw, reason in refused:
        with pytest.raises(ValueError, match=reason):
            to_json_value(raw)
    path = tmp_path / "file"
    path.write_text("a line\n")
    with path.open() as file:
        with pytest.raises(ValueError, match="TextIOWrapper"):
            to_json_value({"file": file})
        assert file.read() == "a line\n", "refusing it used it up"


def test_as_deep_as_is_allowed_is_written_and_read() -> None:
    assert to_json_value(nested(DEPTH)) == nested(DEPTH)
    with pytest.raises(ValueError, match=f"more than {DEPTH} levels"):
        to_json_value(nested(DEPTH + 1))
