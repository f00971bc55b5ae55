"""Server-sent events and lines, split on bytes however they are cut."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import pytest
from becket_wire import EventSplitter, LineSplitter, TooLongError
from hypothesis import example, given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterable

LINES = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data:  c",
        b"data",
        b"data:",
        b"data: \xc3\xa9",
        b": note",
        b"event: x",
        b"id: 1",
        b"",
        b"",
    ]
)
STREAM = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=30)


def fed(splitter: EventSplitter | LineSplitter, chunks: Iterable[bytes]) -> list[bytes]:
    return [event for chunk in chunks for event in splitter.feed(chunk)]


def cut(stream: bytes, at: Iterable[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(stream) + 1) for place in at), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(places)]


def by_the_standard(stream: bytes) -> list[bytes]:
    """The algorithm of the standard, line by line over the whole."""
    events, data = [], list[bytes]()
    lines = re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf"))
    for line in lines[:-1]:  # what has no line end is no line
        name, _colon, value = line.partition(b":")
        if not line:
            if whole := b"\n".join(data):
                events.append(whole)
            data = []
        elif name == b"data" and _colon:
            data.append(value.removeprefix(b" "))
    return events


@given(STREAM, st.lists(st.integers(min_value=0), max_size=20), st.booleans())
@example([(b"data: a", b"\r\n"), (b"", b"\r\n")], [8], False)
@example([(b"data: a", b"\r"), (b"", b"\r")], [8, 9], True)
def test_events_are_those_of_the_standard_however_the_stream_is_cut(
    lines: list[tuple[bytes, bytes]], at: list[int], mark: bool
) -> None:
    stream = (b"\xef\xbb\xbf" if mark else b"") + b"".join(line + end for line, end in lines)
    # A CR at the very end may be half of a CRLF: the standard then waits, and so the last event is the same either way.
    assert fed(EventSplitter(), cut(stream, at)) == by_the_standard(stream)


@given(STREAM)
def test_single_bytes_give_the_same_events(lines: list[tuple[bytes, bytes]]) -> None:
    stream = b"".join(line + end for line, end in lines)
    assert fed(EventSplitter(), (stream[at : at + 1] for at in range(len(stream)))) == by_the_standard(stream)


def test_events_that_come_together_are_given_together() -> None:
    assert EventSplitter().feed(b'data: {"a":1}\n\ndata: {"b":2}\n\ndata: {"c"') == [b'{"a":1}', b'{"b":2}']


def test_an_event_that_the_stream_ends_in_is_none() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: whole\n\ndata: half\n") == [b"whole"]
    assert splitter.close() == []


def test_json_that_stands_bare_in_the_stream_is_data() -> None:
    """Services send an error so that they came upon once the stream had begun."""
    splitter = EventSplitter()
    assert splitter.feed(b'data: a\n\n{"error": {\n "code": 503}}\n\n') == [b"a", b'{"error": {\n "code": 503}}']
    assert splitter.feed(b'[{"error": 1}]\r\n') == []
    assert splitter.close() == [b'[{"error": 1}]']


@pytest.mark.parametrize("splitter", [EventSplitter(longest=100), LineSplitter(longest=100)])
def test_what_never_ends_is_refused_before_it_fills_the_memory(splitter: EventSplitter | LineSplitter) -> None:
    taken = 0
    with pytest.raises(TooLongError, match="of more than 100 bytes"):
        for _ in range(100):
            splitter.feed(b"data: xxx")
            taken += 9
    assert taken < 110


def test_a_long_event_in_many_pieces_is_not_searched_from_its_start_each_time() -> None:
    """Twice as long takes twice as long: the same number of bytes is looked at for each piece."""
    splitter, pieces = EventSplitter(), 20_000
    for _ in range(pieces):
        assert splitter.feed(b"data: x\n") == []
    assert splitter._scanned == 8 * pieces
    assert splitter.feed(b"\n") == [b"\n".join([b"x"] * pieces)]


@given(st.lists(st.sampled_from([b'{"a":1}', b"{}", b"", b" "]), max_size=20), st.lists(st.integers(min_value=0)))
def test_lines_are_the_same_however_the_stream_is_cut(lines: list[bytes], at: list[int]) -> None:
    for end in (b"\n", b"\r\n"):
        splitter = LineSplitter()
        got = fed(splitter, cut(end.join(lines), at))
        assert got + splitter.close() == [line for line in lines if line.strip()]
