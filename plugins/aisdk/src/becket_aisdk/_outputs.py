"""What a tool has returned, as the one JSON value that a part has as its `output`, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from becket.content import Document, Image, Json, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket.content import ResultBlock


__all__ = ["LOST", "blocks_of", "output_of"]

LOST: Final = "The run ended before this call was finished."
"""What a model reads of a call that was left open; in the words of becket's own runs."""

_FILES: Final = {"image": Image, "document": Document}


def output_of(content: Sequence[ResultBlock]) -> object:
    """A text or a JSON value as it is; anything else as a list of blocks, each with its `type`."""
    match content:
        case (Text(text=text),):
            return text
        case (Json(value=value),):
            return value
        case _:
            return [_written(block) for block in content]


def _written(block: ResultBlock) -> dict[str, object]:
    match block:
        case Text():
            return {"type": "text", "text": block.text}
        case Json():
            return {"type": "json", "value": block.value}
        case _:
            file: dict[str, object] = {"type": block.type, "mediaType": block.media_type}
            file |= {"data": block.data} if block.url is None else {"url": block.url}
            return file | ({"name": block.name} if isinstance(block, Document) and block.name else {})


def blocks_of(output: Any) -> tuple[ResultBlock, ...]:
    """The content that `output_of` wrote; what it did not is a text or a JSON value."""
    if isinstance(output, str):
        return (Text(output),)
    if isinstance(output, list) and output:
        read = [_read(item) for item in output]
        if all(block is not None for block in read):
            return tuple(block for block in read if block is not None)
    return (Json(output),)


def _read(item: Any) -> ResultBlock | None:
    match item:
        case {"type": "text", "text": str(text)}:
            return Text(text)
        case {"type": "json", "value": value}:
            return Json(value)
        case {"type": "image" | "document" as kind, "mediaType": str(media_type)}:
            data, url, name = (item.get(key) for key in ("data", "url", "name"))
            if not isinstance(data or "", str) or not isinstance(url or "", str):
                return None
            more = {"name": name} if kind == "document" and isinstance(name, str) else {}
            made: ResultBlock = _FILES[kind](media_type, data or "", url, **more)
            return made
        case _:
            return None
