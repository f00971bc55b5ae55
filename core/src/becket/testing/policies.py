"""The contract of policies as tests, which the tests of a policy inherit."""

from __future__ import annotations

import copy
import functools
import inspect
import re
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

import anyio
import anyio.to_thread

from becket.agent import Agent
from becket.content import ToolCall
from becket.events import PluginFailed, ToolFinished
from becket.hooks import HookContext
from becket.policies import Allow, Ask, Deny, Policy
from becket.runtime import Runtime
from becket.testing._blocking import kept_at
from becket.testing._calling import backends, cancelled_at
from becket.testing._contract import Contract, missing, must, not_looked_at
from becket.testing._model_calls import as_failures, events_of
from becket.testing._runs import LaterHookContext
from becket.testing._watch import Watch
from becket.testing.fakes import ScriptedProvider, calls, text
from becket.tools import tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from becket.policies import Verdict
    from becket.tools import AnyTool

__all__ = ["PolicyConformance"]

Word = Literal["allow", "ask", "deny", "nothing"]

_NO_CALLS: Final[Mapping[str, Sequence[tuple[AnyTool, Mapping[str, Any]]]]] = MappingProxyType({})


@tool(effect="none")
def compute(number: int = 0) -> int:
    """Compute something."""
    return number


@tool(effect="read", reach="network")
async def fetch(url: str = "") -> str:
    """Read something from beyond this machine."""
    return url


@tool(effect="write")
async def delete(path: str = "", options: dict[str, Any] | None = None) -> str:
    """Change something."""
    return f"{path} {options}"


TRIED: Final[tuple[tuple[AnyTool, dict[str, Any]], ...]] = (
    (compute, {}),
    (compute, {"number": 7}),
    (compute, {"number": "not validated yet"}),
    (fetch, {"url": "https://example.com/?q=\N{SNOWMAN}"}),
    (fetch, {"url": None, "unknown": [1, {"deep": [None, 2.5, ""]}]}),
    (delete, {"path": "../../etc/passwd\0\n", "options": {"force": True}}),
    (delete, {"path": "x" * 100_000}),
    (delete, {"path": None}),
    (delete, {"path": {"an": "object"}, "": ""}),
)
"""Calls as models write them: no policy may rely on arguments that fit, since it is asked before they are validated."""


class PolicyConformance(Contract):
    """What every policy must do, as tests.

    Subclass it in a test file, say how a policy is made, and what it says of some calls::

        class TestMyPolicy(PolicyConformance):
            says = {
                "deny": [(delete_file, {"path": "/etc/passwd"})],
                "ask": [(delete_file, {"path": "notes.txt"})],
                "nothing": [(read_file, {"path": "notes.txt"})],
            }

            def make_policy(self):
                return MyPolicy()

    A hook `approve_tool` is tested with `PluginConformance`.
    """

    says: Mapping[str, Sequence[tuple[AnyTool, Mapping[str, Any]]]] = _NO_CALLS
    """Calls, by what is said of them: `allow`, `ask`, `deny`, or `nothing`."""

    context: object = None
    """The host's object, as `context=` of a run."""

    blocks: float = 0.1
    """Seconds for which it may keep the event loop from everything else."""

    waits: int = 300
    """The most places at which a decision is cancelled, one after the other."""

    patience: float = 10.0
    """Seconds that any decision may take."""

    def make_policy(self) -> Policy:
        """The policy under test."""
        raise missing(self, "make_policy")

    def test_it_is_named(self) -> None:
        """The host names it, and every denial does."""
        name = self._policy().name
        must(re.fullmatch(r"[A-Za-z0-9_-]+", name), f"the name {name!r} has letters, digits, '-' and '_'")

    async def test_it_says_something_of_every_call(self) -> None:
        """Allow, Ask, Deny or None, whatever the arguments are; why, where the call is not simply made."""
        policy = self._policy()
        for asked, arguments in self._calls():
            try:
                verdict = await self._answer(policy, asked, arguments)
            except AssertionError as error:
                if error.__cause__ is None:  # it said something, and nothing that it may say
                    raise
                raise AssertionError(
                    f"{error}; answer it, with a Deny that says why: one that raises denies too, and the reason that "
                    f"the model reads then helps nobody"
                ) from error.__cause__
            reason: object = getattr(verdict, "reason", "")
            must(isinstance(reason, str), f"{_shown(asked, arguments)}: the reason is a text, not {reason!r}")
            if isinstance(verdict, Ask | Deny):
                must(
                    verdict.reason.strip(),
                    f"{_shown(asked, arguments)}: {type(verdict).__name__} says why: a person or the model reads it",
                )

    async def test_it_says_what_it_is_to_say(self) -> None:
        """Of the calls in `says`."""
        if not self.says:
            not_looked_at("say in `says` what it says of some calls, so that it can be looked at")
        policy = self._policy()
        unknown = {*self.says} - {"allow", "ask", "deny", "nothing"}
        must(not unknown, f"`says` has allow, ask, deny and nothing, and not {', '.join(sorted(unknown))}")
        for word, given in self.says.items():
            for asked, arguments in given:
                said = _word(await self._said(policy, asked, arguments))
                must(said == word, f"{_shown(asked, arguments)}: it is to say {word!r}, and says {said!r}")

    async def test_it_says_the_same_again(self) -> None:
        """It may be asked twice about one call: after an edit, and by a run that is resumed."""
        policy = self._policy()
        for asked, arguments in self._calls():
            said = [_word(await self._said(policy, asked, arguments)) for _ in range(3)]
            must(len(set(said)) == 1, f"{_shown(asked, arguments)}: it says {said[0]!r}, and then {said[1:]}")

    async def test_the_call_is_left_as_it_is(self) -> None:
        """It decides, and rewrites nothing: what was approved is what is made."""
        policy = self._policy()
        for asked, arguments in self._calls():
            given = copy.deepcopy(dict(arguments))
            await self._said(policy, asked, given)
            must(given == arguments, f"{_shown(asked, arguments)}: the arguments have become {given!r}")

    async def test_it_fails_closed(self) -> None:
        """What it cannot look at it does not let through: it raises, which denies the call, or denies it itself."""
        policy = self._policy()
        for asked, arguments in self._calls():
            for part in ("arguments", "tool"):
                unreadable = Unreadable(asked.name, arguments, part)
                try:
                    verdict = await self._asked(policy, self._context(), unreadable, asked)
                except Exception as error:  # noqa: BLE001  it is what is wanted
                    verdict = Deny(str(error))
                must(
                    not unreadable.tried or isinstance(verdict, Deny | Ask),
                    f"{_shown(asked, arguments)}: the call's {part} could not be read, and it says "
                    f"{_word(verdict)!r}; let what you do not expect be raised, or give a Deny",
                )

    async def test_one_that_raises_denies(self) -> None:
        """In a run: the call is denied, the reason says whose policy it was, and the run goes on."""
        policy = self._policy()

        def broken(_ctx: HookContext, _call: ToolCall, _tool: AnyTool) -> NoReturn:
            raise RuntimeError("broken on purpose")

        events = await self._run(_Renamed(policy.name, broken), compute, {})
        (result,) = [event.result for event in events if isinstance(event, ToolFinished)]
        (failed,) = [event for event in events if isinstance(event, PluginFailed)]
        must(result.status == "denied", f"a call is denied where the policy raises: {result}")
        must(policy.name in result.text and failed.plugin == policy.name, f"it is said who failed: {result.text}")

    async def test_a_run_does_as_it_says(self) -> None:
        """In a run, with somebody who says yes: what it denies is denied, the rest is called."""
        policy = self._policy()
        for asked, arguments in [one for one in TRIED if one[0].accepts(one[1])]:
            denied = isinstance(await self._said(policy, asked, arguments), Deny)
            events = await self._run(policy, asked, arguments)
            (result,) = [event.result for event in events if isinstance(event, ToolFinished)]
            wanted = "denied" if denied else "success"
            must(result.status == wanted, f"{_shown(asked, arguments)}: in a run it is {result.status}, not {wanted}")

    async def test_a_context_may_tell_more(self) -> None:
        """A later becket has more fields in `HookContext`: a policy takes those that it knows, by their names."""
        policy = self._policy()
        later = LaterHookContext(run_id="run", agent="agent", model="scripted:model", context=self.context)
        for asked, arguments in self._calls():
            when = f"{_shown(asked, arguments)}, with a context that tells more"
            async with self._answering(asked, arguments):
                with as_failures(when):
                    await self._asked(policy, later, ToolCall("call-1", asked.name, dict(arguments)), asked)

    async def test_the_event_loop_is_free_while_it_decides(self) -> None:
        """It waits with `await`: a sync `approve` runs on the event loop, and must be quick."""
        policy = self._policy()
        for asked, arguments in self._calls():
            await self._said(policy, asked, arguments)  # what is imported and made for the first one may take a while
            found = await kept_at(self.blocks, functools.partial(self._said, policy, asked, arguments))
            must(
                not found,
                f"{_shown(asked, arguments)}: it keeps the event loop from everything else for more than "
                f"{self.blocks:g} s, at {found}; make approve async and await what takes long",
            )

    async def test_a_cancelled_decision_ends(self) -> None:
        """Wherever the cancellation arrives: it goes through, nothing else is raised, and nothing is left open."""
        policy = self._policy()
        for asked, arguments in self._calls():
            async with self._answering(asked, arguments):
                await self._cancelled(policy, asked, arguments)

    async def _cancelled(self, policy: Policy, asked: AnyTool, arguments: Mapping[str, Any]) -> None:
        with Watch() as watch:
            call, wait = ToolCall("call-1", asked.name, dict(arguments)), 1
            work = functools.partial(self._asked, policy, self._context(), call, asked)
            while wait <= self.waits and await cancelled_at(wait, work, _shown(asked, arguments)):
                await watch.check(f"{_shown(asked, arguments)}, cancelled at its wait {wait}")
                wait += 1

    async def test_it_serves_one_event_loop_after_the_other(self) -> None:
        """What it keeps, such as a client, is not bound to the event loop of its first decision."""
        policy = self._policy()
        for backend in backends():
            work = functools.partial(anyio.run, self._answer, policy, compute, {}, backend=backend)
            async with self._answering(compute, {}):
                with as_failures("in one event loop after the other"):
                    await anyio.to_thread.run_sync(work)

    # -- how the tests ask it ------------------------------------------------------------------------------------------

    def _policy(self) -> Policy:
        policy: object = self.make_policy()
        must(isinstance(policy, Policy), f"{policy!r} has what a policy has: see becket.Policy")
        return policy  # type: ignore[return-value]  # looked at

    def _calls(self) -> Iterator[tuple[AnyTool, Mapping[str, Any]]]:
        yield from TRIED
        for given in self.says.values():
            yield from given

    def _context(self) -> HookContext:
        return HookContext(run_id="run", agent="agent", model="scripted:model", context=self.context)

    async def _said(self, policy: Policy, asked: AnyTool, arguments: Mapping[str, Any]) -> Verdict | None:
        async with self._answering(asked, arguments):
            return await self._answer(policy, asked, arguments)

    @asynccontextmanager
    async def _answering(self, asked: AnyTool, arguments: Mapping[str, Any]) -> AsyncIterator[None]:
        """For what needs an answer to this call. Where there never is one, that is one cause, and one test fails of it.

        A new policy is asked, so that one which raises at its second call alone is found where that is looked at.
        """
        try:
            yield
        except AssertionError:
            try:
                await self._answer(self._policy(), asked, arguments)
            except AssertionError as error:
                not_looked_at(f"it has no answer, as test_it_says_something_of_every_call tells: {error}")
            raise

    async def _answer(self, policy: Policy, asked: AnyTool, arguments: Mapping[str, Any]) -> Verdict | None:
        call = ToolCall("call-1", asked.name, arguments)  # type: ignore[arg-type]  # a dict, where it is looked at
        with as_failures(_shown(asked, arguments)):
            return await self._asked(policy, self._context(), call, asked)

    async def _asked(self, policy: Policy, ctx: HookContext, call: Any, asked: AnyTool) -> Verdict | None:
        with anyio.fail_after(self.patience):
            given: Any = policy.approve(ctx, call, asked)
            verdict = await given if inspect.isawaitable(given) else given
        must(
            verdict is None or isinstance(verdict, Allow | Ask | Deny),
            f"{asked.name}: it says Allow, Ask, Deny or None, and not {verdict!r}",
        )
        return verdict  # type: ignore[no-any-return]  # looked at

    async def _run(self, policy: Policy, asked: AnyTool, arguments: Mapping[str, Any]) -> list[Any]:
        provider = ScriptedProvider(calls((asked.name, dict(arguments))), text("Done."))
        runtime = Runtime(discover=False)
        agent = Agent(provider, [asked], policies=[policy], approver=lambda _: True, runtime=runtime)
        with anyio.fail_after(self.patience):
            events, error = await events_of(agent, "Go on.", context=self.context)
        must(error is None, f"a run with it fails: {error!r}")
        return events


class _Renamed:
    """A policy of this name that says what a function says."""

    def __init__(self, name: str, approve: Any) -> None:
        self.name = name
        self.approve = approve


class Unreadable:
    """A call, one part of which cannot be looked at."""

    def __init__(self, name: str, arguments: Mapping[str, Any], part: str) -> None:
        self.id = "call-1"
        self.malformed = None
        self.tried = False
        self._parts = {"tool": name, "arguments": dict(arguments)}
        self._part = part

    def __getattr__(self, name: str) -> Any:
        if name == self._part:
            self.tried = True
            raise RuntimeError(f"the call's {name} cannot be read")
        return self._parts[name]


def _word(verdict: Verdict | None) -> Word:
    words: dict[type, Word] = {Allow: "allow", Ask: "ask", Deny: "deny"}
    return "nothing" if verdict is None else words[type(verdict)]


def _shown(asked: AnyTool, arguments: Mapping[str, Any]) -> str:
    said = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"{asked.name}({said if len(said) < 200 else f'{said[:200]}...'})"  # noqa: PLR2004  what still can be read
