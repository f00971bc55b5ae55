"""Server-sent events, split on bytes as they come."""

from __future__ import annotations

from typing import Final

from becket_wire._split import LONGEST, TooLongError

__all__ = ["EventSplitter"]

_BOM: Final = b"\xef\xbb\xbf"
_JSON: Final = (b"{", b"[")


class EventSplitter:
    """Splits the bytes of a stream of server-sent events, however they are cut, into the data of its events.

    It follows the standard (https://html.spec.whatwg.org/multipage/server-sent-events.html): lines end in LF, CR or
    CRLF, a byte order mark at the start is skipped, comments are left out, data of several lines is joined by LF, and
    an event that the stream ends in the middle of is none. Names, ids and retry times are left out, since model
    services repeat the name in the data; so are events without data.

    One thing it takes that the standard would leave out: JSON that stands in the stream bare, as services send an error
    that they came upon too late to frame it.

    Args:
        longest: Bytes that an event may have which has not ended.
    """

    __slots__ = ("_after_cr", "_begun", "_longest", "_scanned", "_tail")

    def __init__(self, *, longest: int = LONGEST) -> None:
        self._longest = longest
        self._tail = bytearray()  # what has come of an event that has not ended
        self._scanned = 0  # of the tail, what holds no end of an event
        self._begun = False
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that end in `chunk`, in order.

        Raises:
            TooLongError: An event that has not ended has more bytes than one may have.
        """
        if self._after_cr or b"\r" in chunk:
            chunk = self._to_lf(chunk)
        if self._begun and not self._tail and chunk[-2:] == b"\n\n":  # as services send: whole events
            return _data_of(chunk)
        tail = self._tail
        tail += chunk
        if not self._begun and not self._begin():
            return []
        end = tail.rfind(b"\n\n", max(0, self._scanned - 1))
        if end < 0:
            self._scanned = len(tail)
            if len(tail) > self._longest:
                raise TooLongError("an event", self._longest)
            return []
        whole = bytes(tail[:end])
        del tail[: end + 2]
        self._scanned = len(tail)
        return _data_of(whole)

    def close(self) -> list[bytes]:
        """What the stream has ended with, where that is bare JSON."""
        rest, self._tail = bytes(self._tail).strip(), bytearray()
        return [rest] if rest[:1] in _JSON else []

    def _to_lf(self, chunk: bytes) -> bytes:
        """`chunk` with its line ends as LF. A CR ends its line at once; an LF that follows, in the next chunk, none."""
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
            self._after_cr = False
        if chunk:
            self._after_cr = chunk[-1:] == b"\r"
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _begin(self) -> bool:
        """Skip a byte order mark. False where too little has come to tell."""
        if len(self._tail) < len(_BOM) and _BOM.startswith(self._tail):
            return False
        if self._tail.startswith(_BOM):
            del self._tail[: len(_BOM)]
        self._begun = True
        return True


def _data_of(whole: bytes) -> list[bytes]:
    """The data of complete events with an empty line between them, and perhaps after the last."""
    events = []
    for block in whole.split(b"\n\n"):
        if block[:6] == b"data: " and b"\n" not in block:  # nearly all
            if data := block[6:]:
                events.append(data)
        elif data := _read(block):
            events.append(data)
    return events


def _read(block: bytes) -> bytes:
    """The data of one event, empty where it has none."""
    if block[:1] in _JSON:
        return block
    lines = []
    for line in block.split(b"\n"):
        if line[:5] != b"data:":
            continue
        lines.append(line[6:] if line[5:6] == b" " else line[5:])
    return b"\n".join(lines)
