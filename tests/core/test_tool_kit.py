"""The tests of the contract of tools find every way to break it, and say what is wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
import sys
import threading
import unittest
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint
from becket import ToolContext, ToolError, ToolSpec, tool
from becket.testing import (
    HttpProviderConformance,
    ProviderConformance,
    SessionStoreConformance,
    ToolConformance,
)
from becket.testing._blocking import Watchdog, _place
from becket.testing._contract import Contract, rules_of
from becket.testing.providers import ProviderContract

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from becket.tools import AnyTool

pytestmark = pytest.mark.anyio


@tool(effect="none")
async def double(number: int) -> int:
    """Double a number.

    Args:
        number: The number.
    """
    await checkpoint()
    if number < 0:
        raise ToolError("the number is below 0; give one from 0")
    return 2 * number


@tool(effect="read", effect_of=lambda arguments: "read" if arguments else "none")
def told(ctx: ToolContext) -> str:
    """Tell who calls, and whose object it has."""
    return f"{ctx.agent} {ctx.context}"


@tool(effect="none")
def countdown(start: int) -> Iterator[int]:
    """Count down.

    Args:
        start: The first number.
    """
    yield from range(start, 0, -1)
    return "lift off"


@tool(effect="none")
async def countup(to: int) -> AsyncIterator[int]:
    """Count.

    Args:
        to: The last number.
    """
    for number in range(to):
        await checkpoint()
        yield number


CASES = {"double": [{"number": 2}], "countdown": [{"start": 2}], "countup": [{"to": 3}]}

FAILING = {"double": [{"number": -1}, {"number": "none"}]}


class TestTools(ToolConformance):
    """Tools of every kind, without a fault."""

    cases = CASES
    failing = FAILING

    def make_tools(self) -> Sequence[AnyTool]:
        return [double, told, countdown, countup]


# -- tools that break the contract -------------------------------------------------------------------------------------


@tool(effect="none")
async def undescribed() -> str:
    return ""


async def lengthy() -> str:
    return ""


lengthy.__doc__ = "word " * 300
too_long = tool(effect="none")(lengthy)


@tool(effect="none")
async def parameter(number: int) -> int:
    """Say it."""
    return number


@tool
async def unstated() -> str:
    """Do something."""
    return ""


@tool(effect="read", effect_of=lambda _: "write")
async def understated() -> str:
    """Do more than is said."""
    return ""


@tool(effect="none")
async def uncalled(number: int) -> int:
    """Say a number.

    Args:
        number: The number.
    """
    return number


@tool(effect="none")
async def no_json() -> object:
    """Give what no model can be sent."""
    return object()


@tool(effect="none")
async def raises() -> None:
    """Fail in any case."""
    raise KeyError("name")


@tool(effect="none")
async def says_nothing() -> None:
    """Fail, and do not say why."""
    raise ToolError


@tool(effect="none")
async def succeeds() -> str:
    """Succeed in any case."""
    return "fine"


@tool(effect="none")
async def blocks() -> None:
    """Wait without await."""
    threading.Event().wait(0.5)


@tool(effect="none")
async def swallows() -> str:
    """Take a cancellation for an error."""
    with suppress(BaseException):
        await checkpoint()
    return "fine"


@tool(effect="none")
async def goes_on() -> str:
    """Take a cancellation for a time limit."""
    with suppress(BaseException):
        await checkpoint()
    with anyio.CancelScope(shield=True):
        await checkpoint()
    return "fine"


@tool(effect="none")
async def translates() -> None:
    """Make an error of a cancellation."""
    try:
        await checkpoint()
    except BaseException as error:
        raise ToolError("the service failed") from error


@tool(effect="none")
async def leaves_a_task() -> None:
    """Begin what nobody ends."""
    await checkpoint()
    if trio.lowlevel.in_trio_run():
        trio.lowlevel.spawn_system_task(anyio.sleep_forever)
    else:
        TASKS.append(asyncio.get_running_loop().create_task(anyio.sleep_forever()))


TASKS: list[Any] = []


@tool(effect="none")
async def takes_all_fields(ctx: ToolContext) -> str:
    """Take a context apart."""
    run_id, _agent, _call_id, _key, _context, _report = dataclasses.astuple(ctx)
    return run_id


class _One:
    """Keeps in itself what belongs to a call."""

    def __init__(self) -> None:
        self.busy = False
        self.token: Any = None

    async def one_at_a_time(self) -> None:
        """Be one."""
        if self.busy:
            raise RuntimeError("it is busy")
        self.busy = True
        await checkpoint()
        self.busy = False

    async def one_loop(self) -> None:
        """Keep to a loop."""
        token = anyio.lowlevel.current_token()
        if self.token not in (None, token):
            raise RuntimeError("it is bound to another event loop")
        self.token = token


class Kit(ToolConformance):
    """The tests of the contract, to be called one by one."""

    __test__ = False

    def __init__(self, *tools: Any, cases: Mapping[str, Any] | None = None, **failing: Any) -> None:
        self.tools = tools
        self.cases = CASES if cases is None else cases
        self.failing = failing

    def make_tools(self) -> Any:
        return self.tools


def one(name: str) -> AnyTool:
    return tool(effect="none")(getattr(_One(), name))


ODD = tool(effect="none", name="odd")(lambda: None)
ODD.__dict__["spec"] = ToolSpec("odd", "", {"properties": {}, "x": float("nan")})
ODD.description = "Have a schema that is none."

FAULTS: list[tuple[Kit, str, str]] = [
    (Kit(undescribed), "test_a_model_can_be_told_of_it", "undescribed: write a docstring"),
    (Kit(too_long), "test_a_model_can_be_told_of_it", "the description has 1499 characters"),
    (Kit(parameter), "test_a_model_can_be_told_of_it", "parameter: nothing is said of the parameter 'number'"),
    (Kit(ODD), "test_a_model_can_be_told_of_it", "odd: the schema is JSON"),
    (Kit(), "test_a_model_can_be_told_of_it", "at least one tool"),
    (Kit("double"), "test_a_model_can_be_told_of_it", "make_tools.. gives what @tool makes: 'double'"),
    (Kit(unstated), "test_what_a_call_does_is_stated", "unstated: say what a call does, as @tool.effect"),
    (Kit(understated), "test_what_a_call_does_is_stated", "effect_of says 'write' of {}, and effect is 'read'"),
    (Kit(uncalled), "test_each_is_called", "uncalled: add the arguments of a call that succeeds to `cases`"),
    (Kit(double, cases={**CASES, "dobule": [{}]}), "test_each_is_called", "dobule"),
    (Kit(no_json), "test_a_run_has_its_result", r"no_json\(\): it is to succeed: no_json returned a object"),
    (Kit(raises), "test_a_run_has_its_result", r"raises\(\): it is to succeed: raises failed: KeyError: 'name'"),
    (Kit(succeeds, succeeds=[{}]), "test_an_error_is_for_the_model_to_read", "it is to fail, and succeeds"),
    (Kit(raises, raises=[{}]), "test_an_error_is_for_the_model_to_read", "it raises KeyError.*; raise ToolError"),
    (Kit(says_nothing, says_nothing=[{}]), "test_an_error_is_for_the_model_to_read", "the ToolError says nothing"),
    (Kit(blocks), "test_the_event_loop_is_free_during_a_call", r"test_tool_kit.py:\d+ in blocks: .*wait\(0.5\)"),
    (Kit(swallows), "test_a_cancelled_call_ends", r"swallows\(\), cancelled at its wait 1, it went on to its end"),
    (Kit(goes_on), "test_a_cancelled_call_ends", "cancelled at its wait 1, it went on to its end"),
    (Kit(translates), "test_a_cancelled_call_ends", "cancelled at its wait 1, it raised ToolError"),
    (Kit(leaves_a_task), "test_a_cancelled_call_ends", "after a whole call, these were still open: the task"),
    (Kit(takes_all_fields), "test_a_context_may_tell_more", "with a context that tells more, it raised ValueError"),
    (Kit(one("one_at_a_time")), "test_many_calls_go_on_at_once", "it is busy"),
    (Kit(one("one_loop")), "test_it_serves_one_event_loop_after_the_other", "it is bound to another event loop"),
]


async def held(kit: Any, rule: str) -> None:
    """Make a test, as pytest does."""
    made = getattr(kit, rule)()
    if made is not None:
        await made


@pytest.mark.parametrize(("kit", "rule", "said"), FAULTS)
async def test_a_tool_that_breaks_the_contract_is_found(kit: Kit, rule: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        await held(kit, rule)


@pytest.mark.parametrize("rule", ["test_a_run_has_its_result", "test_many_calls_go_on_at_once"])
async def test_a_call_that_does_not_end_is_told_with_its_time(rule: str) -> None:
    """In words: the text of a TimeoutError is empty."""

    @tool(effect="none")
    async def waits() -> None:
        """Wait."""
        await anyio.sleep_forever()

    kit = Kit(waits)
    kit.patience = 0.1
    with pytest.raises(AssertionError, match=r"waits\(\).*: it did not end within 0.1 s"):
        await held(kit, rule)


def test_every_test_of_the_contract_finds_a_fault() -> None:
    assert {rule for _, rule, _ in FAULTS} == set(rules_of(ToolConformance))


async def test_what_fails_is_not_looked_at_where_it_is_not_said() -> None:
    with pytest.raises(Exception, match="say in `failing`"):
        await held(Kit(double), "test_an_error_is_for_the_model_to_read")


async def test_a_class_that_does_not_say_what_is_tested_fails() -> None:
    class Forgetful(ToolConformance):
        __test__ = False

    with pytest.raises(NotImplementedError, match="Forgetful does not say what is tested: define make_tools in it"):
        await held(Forgetful(), "test_each_is_called")


@pytest.mark.parametrize(
    ("contract", "method", "arguments"),
    [
        (ProviderContract, "playing", ()),
        (ProviderConformance, "make_provider", ()),
        (HttpProviderConformance, "connect", ("",)),
        (HttpProviderConformance, "text_reply", ()),
        (HttpProviderConformance, "tool_reply", ()),
        (HttpProviderConformance, "parallel_tool_reply", ()),
        (HttpProviderConformance, "error_reply", (500, "")),
        (SessionStoreConformance, "make_store", ()),
    ],
)
def test_a_class_that_forgets_to_say_how_fails_in_words(contract: Any, method: str, arguments: tuple[Any, ...]) -> None:
    more = {"key": None} if method == "connect" else {}
    with pytest.raises(NotImplementedError, match=f"{contract.__name__} does not say what is tested: define {method}"):
        getattr(contract(), method)(*arguments, **more)


def test_a_contract_needs_no_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pytest")
    marked = Contract.pytestmark
    type("Alone", (ToolConformance,), {"__test__": False})
    assert Contract.pytestmark is marked


def test_a_loop_that_is_late_is_not_said_to_be_kept() -> None:
    """A machine that is busy with others: the loop waits for its turn, in no code of anybody's."""

    async def late() -> None:
        with Watchdog(0.01, lambda: None) as watchdog:
            watchdog._loop = 0  # no thread has this name: nothing is found in it
            threading.Event().wait(0.05)
        assert not watchdog.found

    anyio.run(late)


def test_the_place_is_in_code_that_is_not_pythons_own() -> None:
    def here() -> str:
        return _place(inspect.currentframe())

    assert re.fullmatch(r".*test_tool_kit.py:\d+ in here: return _place.*", here())
    namespace: dict[str, Any] = {"_place": _place, "inspect": inspect}
    exec(compile("said = _place(inspect.currentframe())", "<frozen it>", "exec"), namespace)  # noqa: S102  our own text
    assert "test_the_place_is_in_code" in namespace["said"]
    exec(compile("said = _place(inspect.currentframe())", "/asyncio/run.py", "exec"), namespace)  # noqa: S102  as above
    assert not namespace["said"]


@pytest.mark.parametrize(
    ("rule", "why"),
    [("test_a_cancelled_call_ends", "no tool is async"), ("test_a_context_may_tell_more", "takes a ToolContext")],
)
async def test_what_is_of_no_tool_is_not_looked_at(rule: str, why: str) -> None:
    with pytest.raises(unittest.SkipTest, match=why):
        await held(Kit(countdown), rule)
