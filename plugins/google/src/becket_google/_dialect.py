"""What a model of Google's takes, by its name."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_gemini", "is_gemini_3"]

_GEMINI: Final = re.compile(r"(?:^|/)gemini-(?:(\d+)|)")


def is_gemini(model: str) -> bool:
    """Whether it is a Gemini, which can be held to a JSON schema; Gemma, and what users have tuned, may not be."""
    return _GEMINI.search(model) is not None


def is_gemini_3(model: str) -> bool:
    """Whether it is a Gemini 3 or later, or one that follows the newest (`gemini-flash-latest`).

    Since Gemini 3 a call without a thought signature is refused (https://ai.google.dev/gemini-api/docs/thought-signatures),
    a schema may stand beside tools (https://ai.google.dev/gemini-api/docs/structured-output, "Structured outputs with
    tools"; before, "Function calling with a response mime type: 'application/json' is unsupported",
    https://github.com/googleapis/python-genai/issues/867), and a function's response may hold media
    (https://ai.google.dev/gemini-api/docs/function-calling, "Multimodal function responses").
    """
    match = _GEMINI.search(model)
    return match is not None and (match[1] is None or int(match[1]) >= 3)  # noqa: PLR2004  the version
