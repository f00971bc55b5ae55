"""The tests of the contract of policies find every way to break it, and say what is wrong."""

from __future__ import annotations

import dataclasses
import threading
import unittest
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from becket import Allow, Ask, Deny
from becket.testing import PolicyConformance
from becket.testing._contract import rules_of
from becket.testing.policies import compute, delete, fetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from becket import HookContext, Policy, ToolCall, Verdict
    from becket.tools import AnyTool

pytestmark = pytest.mark.anyio

SAYS = {
    "deny": [(delete, {"path": "/etc/passwd"})],
    "ask": [(delete, {"path": "notes.txt"})],
    "allow": [(compute, {"number": 1})],
    "nothing": [(fetch, {"url": "https://example.com"})],
}


class Careful:
    """A policy without a fault."""

    name = "careful"

    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        await checkpoint()
        if call.tool == "compute":
            return Allow()
        path = call.arguments.get("path")
        if isinstance(path, str) and path.startswith("/"):
            return Deny(f"{path} is not yours, {ctx.agent}")
        return Ask("it changes a file") if tool.effect == "write" else None


class TestCareful(PolicyConformance):
    says = SAYS

    def make_policy(self) -> Policy:
        return Careful()


class Strict:
    """One that denies all, and is not async."""

    name = "strict"

    def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        return Deny("it is late")


class TestStrict(PolicyConformance):
    def make_policy(self) -> Policy:
        return Strict()


# -- policies that break the contract ----------------------------------------------------------------------------------


class Named(Careful):
    name = "not: one"


class TrustsArguments(Careful):
    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        return Deny("too long") if len(call.arguments.get("path", "")) > 255 else None  # type: ignore[arg-type]


class SaysTrue(Careful):
    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Any:
        return True


class HasNoReason(Careful):
    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        return Deny(" ")


class HasAnOddReason(Careful):
    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        return Allow(None)  # type: ignore[arg-type]


class SaysOtherwise(Careful):
    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        return Allow()


class AllowsOnce(Careful):
    seen: Any = ()

    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        self.seen = (*self.seen, call.tool)
        return Deny("it was called before") if self.seen.count(call.tool) > 1 else None


class Rewrites(Careful):
    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        call.arguments["approved"] = True
        return None


class FailsOpen(Careful):
    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        with suppress(Exception):
            return await super().approve(ctx, call, tool)
        return Allow()


class SaysNothingWhereItFails(Careful):
    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        with suppress(Exception):
            return await super().approve(ctx, call, tool)
        return None


class IsAnonymousToCore(Careful):
    """Its name is another each time."""

    count = 0

    @property
    def name(self) -> str:  # type: ignore[override]
        self.count += 1
        return f"policy{self.count}"


class KnowsTheTests(Careful):
    """Says something else in a run."""

    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        return None if ctx.run_id == "run" else Deny("no")


class KnowsAllFields(Careful):
    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        _run_id, _agent, _model, _cycle, _session_id, _context = dataclasses.astuple(ctx)
        return None


class Blocks(Careful):
    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        threading.Event().wait(0.5)
        return None


class Swallows(Careful):
    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        with suppress(BaseException):
            await checkpoint()
        return None


class IsBound(Careful):
    token: Any = None

    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        if self.token not in (None, anyio.lowlevel.current_token()):
            raise RuntimeError("it is bound to another event loop")
        self.token = anyio.lowlevel.current_token()
        return None


class Kit(PolicyConformance):
    """The tests of the contract, to be called one by one."""

    __test__ = False

    def __init__(self, cls: Any, says: Mapping[str, Any] = SAYS) -> None:
        self.cls = cls
        self.says = says

    def make_policy(self) -> Any:
        return self.cls()


FAULTS: list[tuple[Any, str, str]] = [
    (object, "test_it_is_named", "has what a policy has: see becket.Policy"),
    (Named, "test_it_is_named", "the name 'not: one' has letters"),
    (TrustsArguments, "test_it_says_something_of_every_call", r"delete\(path=None\), it raised TypeError"),
    (SaysTrue, "test_it_says_something_of_every_call", "it says Allow, Ask, Deny or None, and not True"),
    (HasNoReason, "test_it_says_something_of_every_call", r"compute\(\): Deny says why"),
    (HasAnOddReason, "test_it_says_something_of_every_call", "the reason is a text, not None"),
    (SaysOtherwise, "test_it_says_what_it_is_to_say", "delete.*it is to say 'deny', and says 'allow'"),
    (AllowsOnce, "test_it_says_the_same_again", r"compute\(\): it says 'nothing', and then \['deny', 'deny'\]"),
    (Rewrites, "test_the_call_is_left_as_it_is", "the arguments have become {'approved': True}"),
    (FailsOpen, "test_it_fails_closed", "the call's tool could not be read, and it says 'allow'"),
    (SaysNothingWhereItFails, "test_it_fails_closed", "the call's tool could not be read, and it says 'nothing'"),
    (IsAnonymousToCore, "test_one_that_raises_denies", "it is said who failed"),
    (KnowsTheTests, "test_a_run_does_as_it_says", r"compute\(\): in a run it is denied, not success"),
    (KnowsAllFields, "test_a_context_may_tell_more", "with a context that tells more, it raised ValueError"),
    (Blocks, "test_the_event_loop_is_free_while_it_decides", r"test_policy_kit.py:\d+ in approve: .*wait\(0.5\)"),
    (Swallows, "test_a_cancelled_decision_ends", r"compute\(\), cancelled at its wait 1, it went on to its end"),
    (IsBound, "test_it_serves_one_event_loop_after_the_other", "it is bound to another event loop"),
]


async def held(kit: Any, rule: str) -> None:
    """Make a test, as pytest does."""
    made = getattr(kit, rule)()
    if made is not None:
        await made


@pytest.mark.parametrize(("cls", "rule", "said"), FAULTS)
async def test_a_policy_that_breaks_the_contract_is_found(cls: Any, rule: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        await held(Kit(cls), rule)


def test_every_test_of_the_contract_finds_a_fault() -> None:
    assert {rule for _, rule, _ in FAULTS} == set(rules_of(PolicyConformance))


class WantsAPath(Careful):
    """As `Path.resolve` does at a NUL byte."""

    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        if "\0" in str(call.arguments.get("path")):
            raise ValueError("embedded null byte")
        return await super().approve(ctx, call, tool)


NEED_AN_ANSWER = [
    "test_it_says_the_same_again",
    "test_the_call_is_left_as_it_is",
    "test_a_run_does_as_it_says",
    "test_a_context_may_tell_more",
    "test_the_event_loop_is_free_while_it_decides",
    "test_a_cancelled_decision_ends",
]


async def test_one_that_raises_at_a_call_is_told_to_answer_it() -> None:
    """It denies all the same; what the model reads then is of no help to it."""
    with pytest.raises(AssertionError, match=r"embedded null byte.*; answer it, with a Deny that says why"):
        await held(Kit(WantsAPath), "test_it_says_something_of_every_call")


@pytest.mark.parametrize("rule", NEED_AN_ANSWER)
async def test_what_one_test_tells_no_other_does(rule: str) -> None:
    """One cause is one failure: what needs an answer to that call cannot be looked at."""
    with pytest.raises(
        unittest.SkipTest, match="it has no answer, as test_it_says_something_of_every_call tells: dele"
    ):
        await held(Kit(WantsAPath), rule)


@pytest.mark.parametrize(
    "rule", sorted({*rules_of(PolicyConformance)} - {"test_it_says_something_of_every_call", *NEED_AN_ANSWER})
)
async def test_what_needs_no_answer_to_that_call_is_looked_at(rule: str) -> None:
    await held(Kit(WantsAPath), rule)


class AnswersOnce(Careful):
    asked = False

    async def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:
        if self.asked:
            raise RuntimeError("it was asked before")
        self.asked = True
        return await super().approve(ctx, call, tool)


async def test_one_that_raises_when_it_is_asked_again_is_found_where_that_is_looked_at() -> None:
    with pytest.raises(AssertionError, match="it was asked before"):
        await held(Kit(AnswersOnce), "test_it_says_the_same_again")


async def test_a_word_that_is_none_is_found() -> None:
    with pytest.raises(AssertionError, match="allow, ask, deny and nothing, and not denied"):
        await held(Kit(Careful, {"denied": []}), "test_it_says_what_it_is_to_say")


async def test_a_class_that_does_not_say_what_is_tested_fails() -> None:
    with pytest.raises(NotImplementedError, match="define make_policy"):
        PolicyConformance().make_policy()


async def test_what_was_not_said_is_not_looked_at() -> None:
    with pytest.raises(unittest.SkipTest, match="say in `says`"):
        await held(Kit(Careful, {}), "test_it_says_what_it_is_to_say")
