"""`@tool`: what it makes of a function, and what it refuses."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from becket import Agent, ConfigError, Tool, ToolContext, ToolSpec, tool
from becket.testing import ScriptedProvider, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@tool
def double(number: int) -> int:
    """Double it.

    Args:
        number: What to double.
    """
    return 2 * number


@tool(
    name="fetch", effect="read", reach="network", sequential=True, timeout=2.5, idempotent=True, description="Get it."
)
async def get(url: str, *, tries: int = 1) -> str:
    """Not what the model reads."""
    return url * tries


def test_a_tool_without_options_writes_locally_and_has_no_time_limit_of_its_own() -> None:
    """The defaults are the careful ones: nothing is taken for harmless that does not say so."""
    assert (double.name, double.description) == ("double", "Double it.")
    assert (double.effect, double.reach, double.sequential, double.timeout, double.idempotent) == (
        "write",
        "local",
        False,
        None,
        False,
    )


def test_options_say_what_the_tool_is() -> None:
    assert (get.name, get.description) == ("fetch", "Get it.")
    assert (get.effect, get.reach, get.sequential, get.timeout, get.idempotent) == ("read", "network", True, 2.5, True)


def test_the_model_is_told_name_description_and_schema() -> None:
    assert double.spec == ToolSpec(
        "double",
        "Double it.",
        {
            "type": "object",
            "properties": {"number": {"type": "integer", "description": "What to double."}},
            "required": ["number"],
            "additionalProperties": False,
        },
    )


def test_an_empty_description_is_one() -> None:
    assert tool(double.function, description="").description == ""


def test_calling_a_tool_calls_its_function() -> None:
    assert double(4) == 8
    assert double(number=4) == 8


def test_a_tool_looks_like_its_function() -> None:
    assert double.__doc__ is double.function.__doc__
    assert double.__module__ == __name__
    assert repr(double) == f"<tool 'double' from {__name__}>"


def test_options_may_go_with_the_function() -> None:
    """A bound method, or a function of another library, cannot be decorated where it is written."""
    assert tool(double.function, name="twice", effect="none").name == "twice"
    assert tool(double.function, name="twice", effect="none").effect == "none"


TYPED = """
from collections.abc import Coroutine
from typing import Any, assert_type
from becket import Tool, ToolContext, tool

@tool
def one(a: int, *, b: str = "") -> bool:
    return True

@tool(name="x")
async def two(a: int, ctx: ToolContext[list[str]]) -> bytes:
    return ctx.context[0].encode()

class Shop:
    def buy(self, what: str) -> float:
        return 1.0

@tool
def four(ctx: ToolContext) -> None:
    assert_type(ctx.context, None)

three = tool(Shop().buy, effect="none")
assert_type(one(1, b="b"), bool)
assert_type(three("what"), float)
async def use(ctx: ToolContext[list[str]]) -> None:
    assert_type(await two(1, ctx), bytes)
one("1")  # type: ignore[arg-type]
one(1, c=2)  # type: ignore[call-arg]
tool(reach="far")  # type: ignore[call-overload]
"""


def test_a_decorated_function_keeps_its_signature_for_type_checkers(tmp_path: Path) -> None:
    """Its parameters and its return type, with and without options; an ignore that is not needed is an error, too."""
    checked = tmp_path / "checked.py"
    checked.write_text(TYPED)
    assert_clean(checked)


def assert_clean(checked: Path) -> None:
    """A file is clean to mypy, an ignore that is not needed included."""
    mypy = ["-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", str(checked.parent / "cache")]
    run = subprocess.run([sys.executable, *mypy, str(checked)], capture_output=True, text=True, check=False)  # noqa: S603  our own command
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_name_that_becket_does_not_have_is_an_error_to_a_type_checker(tmp_path: Path) -> None:
    """Some are imported on first use, which must not make every name one that is there."""
    checked = tmp_path / "checked.py"
    checked.write_text(
        "from becket import Config, Agnet  # type: ignore[attr-defined]\n"
        "from becket.testing import SessionStoreConformance, ScriptedProvidr  # type: ignore[attr-defined]\n"
    )
    assert_clean(checked)


# -- how it is run -----------------------------------------------------------------------------------------------------


def sync_function() -> None: ...


async def coroutine_function() -> None: ...


def generator_function() -> Iterator[int]:
    yield 1


async def async_generator_function() -> AsyncIterator[int]:
    yield 1


class SyncObject:
    def __call__(self) -> None: ...


class AsyncObject:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "is_async"),
    [
        (sync_function, False),
        (generator_function, False),
        (SyncObject(), False),
        (SyncObject().__call__, False),
        (functools.partial(sync_function), False),
        (coroutine_function, True),
        (async_generator_function, True),
        (AsyncObject(), True),
        (AsyncObject().__call__, True),
        (functools.partial(coroutine_function), True),
    ],
)
def test_what_may_block_is_told_from_what_may_not(function: Any, is_async: bool) -> None:
    assert tool(function).is_async is is_async


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "two words", "naïve", "x" * 65, "a.b", "a\n"])
def test_a_name_that_model_services_refuse_is_refused_here(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is no name for a tool: letters, digits, '_' and '-', 64 at most; give one"):
        tool(double.function, name=name)


@pytest.mark.parametrize("name", ["x" * 64, "A-b_9"])
def test_any_other_name_will_do(name: str) -> None:
    assert tool(double.function, name=name).name == name


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_time_limit_must_be_above_zero(seconds: float) -> None:
    with pytest.raises(ConfigError, match=r"tool 'double': timeout is .*; it must be above 0 seconds"):
        tool(double.function, timeout=seconds)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"effect": "wriet"}, "effect is 'wriet'; it must be one of: none, read, write"),
        ({"reach": "world"}, "reach is 'world'; it must be one of: local, network"),
    ],
)
def test_a_misspelt_option_is_refused(options: Any, why: str) -> None:
    """A policy relies on them."""
    with pytest.raises(ConfigError, match=f"tool 'double': {why}"):
        tool(double.function, **options)


def test_a_bad_annotation_is_found_when_the_agent_is_made() -> None:
    """Not in the middle of a run; and not before, so that a module of tools is cheap to import."""

    @tool
    def late(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821  what is tested

    with pytest.raises(ConfigError, match="the annotation of 'x' cannot be resolved"):
        Agent(ScriptedProvider(text("hi")), [late])


def test_the_schema_is_built_once() -> None:
    assert double.spec is double.spec
    assert isinstance(double, Tool)


def test_a_context_reports_to_whoever_made_it() -> None:
    """A tool can be called in a test of its own, with a context made by hand."""
    reported: list[object] = []
    context = ToolContext("run", "agent", "call-1", "key", {"user": "u"}, reported.append)
    context.progress(1)
    assert reported == [1]


@pytest.mark.parametrize(
    ("option", "hint"), [("efect", "did you mean 'effect'?"), ("colour", "the options are: name, description, effect")]
)
def test_an_option_that_there_is_not_is_refused_before_a_mistyped_effect_can_do_harm(option: str, hint: str) -> None:
    wrong: Any = {option: "none"}
    with pytest.raises(ConfigError, match=f"@tool has no option '{option}'; {re.escape(hint)}"):
        tool(**wrong)
    with pytest.raises(ConfigError, match="has no option"):
        Tool(len, **wrong)


def test_a_time_limit_that_is_no_number_is_refused() -> None:
    wrong: Any = "5"
    with pytest.raises(ConfigError, match="timeout is '5'; it must be above 0 seconds"):
        tool(lambda: None, name="nap", timeout=wrong)
