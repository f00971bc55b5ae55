"""Messages, made safe to show: they quote models, tools and files, and what would steer a terminal is spelled out."""

from __future__ import annotations

import re

__all__ = ["safe", "safe_on_a_line"]

# C0, DEL and C1; line and paragraph separator, bidi embeddings, overrides and isolates; lone surrogates.
_STEERS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE = re.compile(f"[{_STEERS}]")
_UNSAFE_ON_A_LINE = re.compile(f"[\t\n{_STEERS}]")


def safe(text: str) -> str:
    r"""`text` with what steers a terminal spelled out (ESC as `\x1b`); newlines and tabs stay."""
    return _UNSAFE.sub(_spelled, text)


def safe_on_a_line(text: str) -> str:
    r"""As `safe`, with newlines and tabs spelled out too (`\n`): no message can pass for two."""
    return _UNSAFE_ON_A_LINE.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
