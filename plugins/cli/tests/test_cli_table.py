"""Tables."""

from __future__ import annotations

from becket_cli._table import cells_of, printable, table
from hypothesis import given
from hypothesis import strategies as st

ROWS = [("calculator", "becket-tools", "Compute a term of numbers, exactly"), ("x", "becket-y", "")]


def test_a_table_with_room_has_one_line_a_row() -> None:
    assert list(table(("TOOL", "PLUGIN", "WHAT"), ROWS, None)) == [
        "TOOL        PLUGIN        WHAT",
        "calculator  becket-tools  Compute a term of numbers, exactly",
        "x           becket-y",
    ]


def test_the_last_column_is_wrapped_between_words() -> None:
    assert list(table(("TOOL", "PLUGIN", "WHAT"), ROWS[:1], 52)) == [
        "TOOL        PLUGIN        WHAT",
        "calculator  becket-tools  Compute a term of numbers,",
        "                          exactly",
    ]


def test_on_a_narrow_terminal_a_row_is_a_block() -> None:
    assert list(table(("TOOL", "PLUGIN", "WHAT"), ROWS, 30)) == [
        "calculator",
        "  PLUGIN: becket-tools",
        "  WHAT: Compute a term of",
        "  numbers, exactly",
        "x",
        "  PLUGIN: becket-y",
    ]


def test_wide_characters_take_two_columns() -> None:
    assert list(table(("A", "B"), [("\u4f60\u597d", "x"), ("abc", "y")], None))[1:] == ["\u4f60\u597d  x", "abc   y"]


def test_what_would_steer_a_terminal_is_spelled_out() -> None:
    assert printable("a\x1b[31m\nb\u202ec\udcff") == "a\\x1b[31m b\\u202ec\\udcff"


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), min_size=1, max_size=5), st.integers(10, 60))
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, str, str]], width: int) -> None:
    for line in table(("ONE", "TWO", "THREE"), rows, width):
        assert cells_of(line) <= width
