"""Call ids and names of tools from elsewhere, as this wire takes them."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["legal_id", "legal_name"]

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_VISIBLE: Final = re.compile(r"[!-~]+\Z")


def legal_id(call_id: str, *, most: int = 40) -> str:
    """`call_id` if a service takes it, else one made of it; the same id gives the same one, another another.

    An id of a service's own goes back as it came, whatever its letters: models are trained on some
    (`functions.search:0`). What is too long or no visible ASCII was made elsewhere.

    Args:
        call_id: The id in the history.
        most: Characters that the service allows: OpenAI refuses `tool_calls[].id` above 40.
    """
    if len(call_id) <= most and _VISIBLE.match(call_id):
        return call_id
    import hashlib  # loads OpenSSL

    return f"call_{hashlib.blake2b(call_id.encode(), digest_size=16).hexdigest()}"


def legal_name(tool: str) -> str:
    """The name of a tool that was called, if a service takes it: a model may have called what there never was."""
    if _NAME.match(tool):
        return tool
    return re.sub(r"[^a-zA-Z0-9_-]", "_", tool)[:64] or "unnamed"
