"""Deciding on tool calls: what a policy says, what whoever is asked answers, and how it all comes to one decision.

Everybody who decides sees the call as it would be made, on its final arguments. The strongest word counts: one `Deny`
denies; else one `Ask` asks; else the call is made. Where nobody says anything, what the tool does decides: a call that
computes or reads is made, and one that writes is asked about. An `Allow` lifts that last rule only where it comes from
a policy that the host has named, in `Agent(policies=...)` or `Runtime(policies=...)`: a plugin that is merely installed
can forbid, and cannot grant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from becket._values import JsonValue
    from becket.content import ToolCall
    from becket.events import DecisionRequested
    from becket.hooks import HookContext
    from becket.tools import AnyTool

__all__ = ["Allow", "Answer", "Approver", "Ask", "Deny", "Edit", "Policy", "Said", "Verdict", "combined", "request_id"]


@dataclass(frozen=True, slots=True)
class Allow:
    """The call may be made.

    Attributes:
        reason: Why, for a person to read.
    """

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """Somebody is to be asked before the call is made; where nobody is there, it is denied.

    Attributes:
        reason: Why, for whoever is asked.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Deny:
    """The call must not be made.

    Attributes:
        reason: Why; the model reads it as well.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Edit:
    """An answer: the call may be made with these arguments instead.

    They are what runs. Policies look at them anew, and may deny them; what they would ask has been answered.

    Attributes:
        arguments: All arguments of the call, a JSON object.
        reason: Why, for a person to read.
    """

    arguments: Mapping[str, JsonValue]
    reason: str = ""


Verdict: TypeAlias = Allow | Ask | Deny
"""What a policy says of a call; None where it has nothing to say."""

Answer: TypeAlias = Allow | Deny | Edit
"""What whoever was asked has answered."""

Approver: TypeAlias = "Callable[[DecisionRequested], Answer | bool | Awaitable[Answer | bool]] | Literal['reader']"
"""Who answers what is asked: a function of the host's, or `"reader"`, whoever reads the stream.

The function gets the `DecisionRequested` event; `True` and `False` stand for `Allow()` and a `Deny`. One that is not
async is called in a worker thread, so it may wait for a person. What it raises, the run fails with.
"""


@runtime_checkable
class Policy(Protocol):
    """Decides on tool calls, found by its name: `Agent(policies=["name"])`.

    Attributes:
        name: Letters, digits, `-` and `_`.
    """

    if TYPE_CHECKING:  # only read, so that a constant or a frozen field will do

        @property
        def name(self) -> str:
            """As said above."""
            ...

    else:
        name: str

    def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | Awaitable[Verdict | None] | None:
        """What it says of `call`; may be async. None for nothing.

        It sees the final arguments, after every rewrite, which were not validated yet. It may be called again for the
        same call: after an edit. One that raises, hangs, or returns anything else denies the call, with that reason.
        """
        ...


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody has said of a call.

    Attributes:
        by: Who: the name of a plugin or a policy; empty for the rule by effect.
        verdict: What.
        named: Whether the host has named it, so that its `Allow` counts against the rule by effect.
    """

    by: str
    verdict: Verdict
    named: bool = False


def combined(said: Iterable[Said], rule: Verdict) -> Said:
    """The one that counts: the first `Deny`, else the first `Ask`, else an `Allow`.

    Args:
        said: What was said, in order.
        rule: What the tool's effect says where nobody else does.
    """
    said = tuple(said)
    for kind in (Deny, Ask):
        for one in said:
            if isinstance(one.verdict, kind):
                return one
    if isinstance(rule, Allow):
        return Said("", rule)
    return next((one for one in said if one.named), Said("", rule))


ID_CHARS: Final = 32
"""Hexadecimal digits of a request's id: 128 bits of the hash."""


def request_id(run_id: str, cycle: int, index: int, call: ToolCall) -> str:
    """The id of a request to decide on `call`: a hash of the place in its run, the tool and the final arguments.

    The same question has the same id in every execution of its run, and an answer fits no other call: not another tool,
    nor the same with other arguments.
    """
    import hashlib

    from pydantic_core import to_json

    asked = to_json([run_id, cycle, index, call.id, call.tool, _sorted(call.arguments)])
    return hashlib.sha256(asked).hexdigest()[:ID_CHARS]


def _sorted(raw: object) -> object:
    """`raw` with the keys of its objects in order, so that equal values are hashed alike."""
    if isinstance(raw, dict):
        return {key: _sorted(raw[key]) for key in sorted(raw)}
    return [_sorted(item) for item in raw] if isinstance(raw, list) else raw
