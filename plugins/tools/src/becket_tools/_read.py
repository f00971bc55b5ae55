"""Reading a file: as text, as an image or a document, or in words what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from becket import Document, Image, Text, ToolError

from becket_tools._media import media_type_of
from becket_tools._paths import spelled
from becket_tools._text import Decoded, decode, plain

if TYPE_CHECKING:
    from becket_tools._paths import Parts
    from becket_tools._root import Root
    from becket_tools._settings import FileLimits

__all__ = ["read"]

Content: TypeAlias = str | list[Text | Image | Document]


@dataclass(frozen=True, slots=True)
class _Part:
    """The beginning of a file, or all of it.

    Attributes:
        data: Its bytes.
        size: Those of the whole file.
    """

    data: bytes
    size: int

    @property
    def cut(self) -> bool:
        """Whether the file has more."""
        return self.size > len(self.data)


def read(root: Root, limits: FileLimits, path: str, offset: int, limit: int) -> Content:
    """What a model gets to read of a file.

    Raises:
        ToolError: It cannot be read.
    """
    if offset < 1 or limit < 0:
        raise ToolError(f"offset is {offset} and limit {limit}; the first line is 1, and a limit of 0 means all lines")
    parts = root.parse(path)
    if not parts:
        raise ToolError("the path is that of the folder itself; list_files shows what is in it")
    part = _part(root, parts, limits.max_bytes)
    media_type = media_type_of(part.data)
    if media_type is not None and not part.cut:
        return _block(part.data, media_type, parts)
    decoded = None if media_type else decode(part.data, cut=part.cut)
    if decoded is None:
        why = "it is too big" if media_type else "it is no text"
        return f"[not shown: {media_type or 'binary data'}, {part.size:,} bytes; {why}]"
    return _lines(part, decoded, limits.max_chars, offset, limit)


def _part(root: Root, parts: Parts, most: int) -> _Part:
    with root.explained(parts), root.folder(parts[:-1]) as folder:
        fd, found = root.open(folder, parts)
        with open(fd, "rb") as file:  # noqa: PTH123  a descriptor
            data = file.read(most)
    return _Part(data, max(found.st_size, len(data)))  # it may have grown


def _block(data: bytes, media_type: str, parts: Parts) -> Content:
    head = Text(f"{spelled(parts)}: {media_type}, {len(data):,} bytes")
    if media_type.startswith("image/"):
        return [head, Image.from_bytes(data, media_type=media_type)]
    return [head, Document.from_bytes(data, media_type=media_type, name=spelled(parts[-1:])[:100])]


def _lines(part: _Part, decoded: Decoded, max_chars: int, offset: int, limit: int) -> str:
    """Some lines of a text, and in brackets what there is to know besides."""
    lines = plain(decoded.text).split("\n")
    if lines[-1] == "":
        lines.pop()  # nothing follows the last line end
    if offset > max(len(lines), 1):
        raise ToolError(f"the file has {_said(part, len(lines))}, and offset is {offset}")
    end = min(len(lines), offset - 1 + limit) if limit else len(lines)
    shown, last = _fitting(lines, offset - 1, end, max_chars)
    text = "\n".join(lines[offset - 1 : last])[:max_chars]
    notes: list[str] = []
    if not lines:
        notes.append("the file is empty")
    if not shown:
        notes.append(f"line {last} is cut off here, after {max_chars} characters")
    if offset > 1 or last < len(lines) or part.cut:
        more = f"; go on with offset={last + 1}" if last < len(lines) else ""
        which = f"line {last}" if offset == last else f"lines {offset} to {last}"
        notes.append(f"{which} of {_said(part, len(lines))}{more}")
    if decoded.guessed or decoded.encoding != "utf-8":
        notes.append(f"encoding: {decoded.encoding}{', a guess' if decoded.guessed else ''}")
    said = "\n".join(f"[{note}]" for note in notes)
    return f"{text}\n\n{said}" if text and said else text or said


def _said(part: _Part, lines: int) -> str:
    if part.cut:
        return f"the {lines} in its first {len(part.data):,} bytes; it has {part.size:,}, and the rest cannot be read"
    return f"{lines}, {part.size:,} bytes"


def _fitting(lines: list[str], start: int, end: int, most: int) -> tuple[bool, int]:
    """Whether the first line fits, and the number of the last one that does; of the first one, if it does not."""
    length = -1
    for place in range(start, end):
        length += len(lines[place]) + 1
        if length > most:
            return place > start, max(place, start + 1)
    return True, end
