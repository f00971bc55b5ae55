"""A function call whose arguments come in pieces, as Vertex AI sends them with `streamFunctionCallArguments`."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import msgspec
from becket_wire import dumps

if TYPE_CHECKING:
    from becket_google._chunks import FunctionCall, PartialArg

__all__ = ["PartialCall"]

_STEP: Final = re.compile(r"""\.([^.\[\]]+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]""")
"""A step of the paths that name one place (RFC 9535): `.name`, `[0]`, `['name']`."""

_MOST: Final = 10_000
"""The highest index that a path may have: the list below it is filled up to there."""


class PartialCall:
    """A call under way.

    Attributes:
        call_id: Its id.
        tool: The tool's name.
        block: Its block in the answer.
    """

    __slots__ = ("_values", "block", "call_id", "tool")

    def __init__(self, call_id: str, tool: str, block: int) -> None:
        self.call_id = call_id
        self.tool = tool
        self.block = block
        self._values: Any = {}

    def take(self, call: FunctionCall) -> None:
        """Take the pieces that one chunk brings.

        Raises:
            ValueError: A path leads nowhere.
        """
        if bytes(call.args) not in (b"", b"null"):
            self._values = msgspec.json.decode(call.args)
        for piece in call.partial_args or ():
            self._set(piece)

    def arguments(self) -> str:
        """The arguments so far, as JSON."""
        return dumps(self._values).decode()

    def _set(self, piece: PartialArg) -> None:
        """Set the value at a path; a text goes on where there is one already."""
        steps = _steps(piece.json_path)
        at = self._values
        for step, following in pairwise(steps):
            at = _into(at, step, [] if isinstance(following, int) else {})
        last = steps[-1]
        if piece.string_value is not None:
            known = _into(at, last, "")
            _put(at, last, (known if isinstance(known, str) else "") + piece.string_value)
        elif piece.number_value is not None:
            _put(at, last, _number(piece.number_value))
        else:
            _put(at, last, piece.bool_value)  # None: the piece is a null


def _steps(path: str) -> list[str | int]:
    """The steps of a path such as `$.rooms[0].name`."""
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            break
        name, index, single, double = match.groups()
        if index is not None:
            steps.append(int(index))
        else:
            steps.append(name or re.sub(r"\\(.)", r"\1", single if single is not None else double))
        at = match.end()
    if not steps or path[0] != "$" or at < len(path):
        raise ValueError(f"the path {path!r} names no argument")
    return steps


def _into(at: Any, step: str | int, new: Any) -> Any:
    """What stands at a step; `new` where nothing does."""
    _check(at, step)
    if isinstance(at, list):
        at += [None] * (int(step) + 1 - len(at))
        if at[step] is None:  # type: ignore[index]  # an index, as was checked
            at[step] = new  # type: ignore[index]  # as above
        return at[step]  # type: ignore[index]  # as above
    return at.setdefault(step, new)


def _put(at: Any, step: str | int, value: Any) -> None:
    _into(at, step, None)
    at[step] = value


def _check(at: Any, step: str | int) -> None:
    fits = isinstance(at, list) and step <= _MOST if isinstance(step, int) else isinstance(at, dict)
    if not fits:
        raise ValueError(f"the step {step!r} leads nowhere in {at!r:.80}")


def _number(given: float) -> int | float:
    """A number as JSON would have it: the service sends all of them as doubles."""
    return int(given) if given.is_integer() and abs(given) < 2**53 else given
