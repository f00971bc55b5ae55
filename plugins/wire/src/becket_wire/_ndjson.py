"""Lines of JSON, split on bytes as they come."""

from __future__ import annotations

from becket_wire._split import LONGEST, TooLongError

__all__ = ["LineSplitter"]


class LineSplitter:
    """Splits the bytes of a stream of lines (NDJSON), however they are cut. Empty lines are left out.

    A line ends in LF, or CRLF, or with the stream; inside of JSON there is neither.

    Args:
        longest: Bytes that a line may have which has not ended.
    """

    __slots__ = ("_longest", "_tail")

    def __init__(self, *, longest: int = LONGEST) -> None:
        self._longest = longest
        self._tail = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that end in `chunk`, in order.

        Raises:
            TooLongError: A line that has not ended has more bytes than one may have.
        """
        end = chunk.rfind(b"\n")
        if end < 0:
            self._tail += chunk
            if len(self._tail) > self._longest:
                raise TooLongError("a line", self._longest)
            return []
        whole = bytes(self._tail) + chunk[:end]
        self._tail = bytearray(chunk[end + 1 :])
        return [line for line in map(bytes.strip, whole.split(b"\n")) if line]

    def close(self) -> list[bytes]:
        """The last line, where the stream has ended without a line end."""
        last, self._tail = bytes(self._tail).strip(), bytearray()
        return [last] if last else []
