"""Bytes as text, and back."""

from __future__ import annotations

import codecs

import pytest
from becket_tools._text import decode, find
from hypothesis import example, given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("data", "text", "encoding", "guessed"),
    [
        (b"", "", "utf-8", False),
        ("é\r\n".encode(), "é\r\n", "utf-8", False),
        (codecs.BOM_UTF8 + b"a", "a", "utf-8", False),
        ("é".encode("utf-16"), "é", "utf-16-le", False),
        (codecs.BOM_UTF16_BE + "é".encode("utf-16-be"), "é", "utf-16-be", False),
        ("é".encode("utf-32"), "é", "utf-32-le", False),
        ("“é”".encode("cp1252"), "“é”", "cp1252", True),
        (b"caf\xe9 \x81" + b" " * 100, "café \x81" + " " * 100, "latin-1", True),
        (b"\x1b[31mred\x1b[0m\tx\x0c", "\x1b[31mred\x1b[0m\tx\x0c", "utf-8", False),
    ],
)
def test_a_text_says_how_it_is_stored(data: bytes, text: str, encoding: str, guessed: bool) -> None:
    decoded = decode(data)
    assert decoded is not None
    assert (decoded.text, decoded.encoding, decoded.guessed) == (text, encoding, guessed)
    assert decoded.encode(decoded.text) == data


@pytest.mark.parametrize(
    "data",
    [
        b"a\0b",
        b"\x7fELF\x02\x01\x01\0",
        b"\x1f\x8b\x08\x08" + bytes(range(1, 256)),
        codecs.BOM_UTF16_LE + b"\x00\xd8",
        "é".encode("utf-16-le"),
        codecs.BOM_UTF8 + b"\xff",
    ],
)
def test_what_is_no_text_is_told_from_it(data: bytes) -> None:
    assert decode(data) is None


def test_half_a_character_at_a_cut_is_left_out() -> None:
    decoded = decode("aé".encode()[:-1], cut=True)
    assert decoded is not None
    assert (decoded.text, decoded.guessed) == ("a", False)


@pytest.mark.parametrize(("text", "newline"), [("", "\n"), ("a\n", "\n"), ("a\r\n", "\r\n"), ("a\r\nb\nc\r\n", "\r\n")])
def test_lines_end_as_most_of_them_do(text: str, newline: str) -> None:
    decoded = decode(text.encode())
    assert decoded is not None
    assert decoded.newline == newline


texts = st.lists(st.sampled_from(["a", "b", "\n", "\r\n", "\r"]), max_size=12).map("".join)


@given(texts, texts.filter(bool))
@example("a\r\nb", "a\nb")
def test_what_is_found_is_what_is_meant_however_lines_end(text: str, wanted: str) -> None:
    """The oracle: each part of the text, with its line ends made plain, is compared."""
    sought = wanted.replace("\r\n", "\n")
    cuts = [cut for cut in range(len(text) + 1) if text[cut - 1 : cut + 1] != "\r\n" or cut in {0, len(text)}]
    expected = {(a, b) for a in cuts for b in cuts if a < b and text[a:b].replace("\r\n", "\n") == sought}
    assert set(find(text, wanted, overlapping=True)) == expected
