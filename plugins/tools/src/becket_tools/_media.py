"""Images and documents that can be shown to a model, by the bytes that they begin with."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["MAGIC", "media_type_of"]

# A model service refuses a whole request over an image that is none, so what something calls itself is not enough.
MAGIC: Final = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "application/pdf": re.compile(rb"%PDF-"),
}


def media_type_of(data: bytes) -> str | None:
    """The media type of an image or a document; None for anything else."""
    return next((name for name, pattern in MAGIC.items() if pattern.match(data)), None)
