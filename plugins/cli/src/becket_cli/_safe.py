"""Messages, made safe to show: they quote models, tools and files, and what would steer a terminal is spelled out."""

from __future__ import annotations

import re

__all__ = ["plainly", "safe", "safe_on_a_line"]

# C0, DEL and C1; line and paragraph separator, bidi embeddings, overrides and isolates; lone surrogates.
_STEERS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE = re.compile(f"[{_STEERS}]")
_UNSAFE_ON_A_LINE = re.compile(f"[\t\n{_STEERS}]")

# What is printable as Unicode counts, and shows nothing: fillers of Hangul, a blank of Braille, and what only changes
# how other characters look, such as the variation selectors, which can spell out a whole text unseen.
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
_SHOWS_NOTHING = re.compile(f"[{_BLANK}]")


def plainly(text: str) -> str:
    r"""`text` on a line with all that cannot be seen spelled out, for somebody who answers for what it says.

    That hurts emoji of several characters, and scripts that need joiners; nothing else is sure to hide nothing.
    """
    return "".join(one if one.isprintable() and not _SHOWS_NOTHING.match(one) else _spelled_out(one) for one in text)


def safe(text: str) -> str:
    r"""`text` with what steers a terminal spelled out (ESC as `\x1b`); newlines and tabs stay."""
    return _UNSAFE.sub(_spelled, text)


def safe_on_a_line(text: str) -> str:
    r"""As `safe`, with newlines and tabs spelled out too (`\n`): no message can pass for two."""
    return _UNSAFE_ON_A_LINE.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    return _spelled_out(match[0])


def _spelled_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
