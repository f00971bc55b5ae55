"""What some services put beside an answer of chat completions, and want back with it.

OpenRouter has `reasoning_details`, in which the seals of the models behind it come; Google `extra_content`, of a call
or of the whole message, with the signature of a thought. Without them both refuse the next request of a tool cycle, or
answer it worse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from becket_openai._chat_calls import Calls

__all__ = ["Extras", "given_back"]

_JOINED = frozenset({"data", "summary", "text"})  # members that come in fragments


class Extras:
    """The extras of one answer, as they come in.

    Args:
        model: The model that answers. What is sealed for one goes back to no other.
    """

    __slots__ = ("_details", "_message", "_model")

    def __init__(self, model: str) -> None:
        self._model = model
        self._details: list[dict[str, Any]] = []
        self._message: Any = None

    def take(self, details: list[dict[str, Any]] | None, message: Any) -> None:
        """Take what a chunk has of them."""
        for detail in details or ():
            self._add(detail)
        self._message = message or self._message

    def data(self, calls: Calls) -> Any:
        """All of them, to be kept in the history; None where there are none."""
        found = {"reasoning_details": self._details, "message": self._message, "calls": calls.extras()}
        there = {name: value for name, value in found.items() if value}
        return {"model": self._model, **there} if there else None

    def _add(self, detail: dict[str, Any]) -> None:
        """Put a fragment to the one that it goes on: the last, if it has the same index and type."""
        last = self._details[-1] if self._details else {}
        if not last or any(last.get(name) != detail.get(name) for name in ("index", "type")):
            self._details.append(dict(detail))
            return
        for name, value in detail.items():
            if name in _JOINED and isinstance(value, str) and isinstance(last.get(name), str):
                last[name] += value
            elif value is not None:
                last[name] = value


def given_back(data: Any, model: str, written: dict[str, Any]) -> None:
    """Put the extras of a message into what is sent of it, if this model has made them.

    Args:
        data: What `Extras.data` has given.
        model: The model that is asked.
        written: The message as it is sent; it is changed.
    """
    if not isinstance(data, dict) or data.get("model") != model:
        return
    if details := data.get("reasoning_details"):
        written["reasoning_details"] = details
    if message := data.get("message"):
        written["extra_content"] = message
    for call, extra in zip(written.get("tool_calls", ()), data.get("calls") or (), strict=False):
        if extra:
            call["extra_content"] = extra
