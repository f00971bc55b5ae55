"""Tools: functions that a model may call."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeAlias, TypeVar, overload

from becket._signature import Arguments, check_signature, parse_docstring
from becket.errors import ConfigError
from becket.providers import ToolSpec

if TYPE_CHECKING:
    from becket._values import JsonValue

__all__ = ["AnyTool", "Effect", "Reach", "Tool", "ToolContext", "tool"]

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")

Effect: TypeAlias = Literal["none", "read", "write"]
"""What a call does: computes only; reads something outside the process; changes something."""

Reach: TypeAlias = Literal["local", "network"]
"""How far a call reaches: this machine, or beyond it."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")  # what every model service of 2026 takes


@dataclass(frozen=True, slots=True)
class ToolContext(Generic[C]):
    """What a tool may know of the run that calls it; given to the parameter annotated with it, hidden from the model.

    Attributes:
        run_id: The run.
        agent: The agent's name.
        call_id: The call being answered.
        key: The call's idempotency key: the same call, made again after a failure or a resume, has the same key.
        context: The object that the host passed as `context=` to the run.
    """

    run_id: str
    agent: str
    call_id: str
    key: str
    context: C
    _report: Callable[[object], None]

    def progress(self, data: object) -> None:
        """Report `data`, a JSON value, as a `tool_progress` event. May be called from the tool's worker thread.

        Raises:
            ToolError: `data` cannot be made JSON.
        """
        self._report(data)


class Tool(Generic[P, R]):
    """A function and what a model, a policy and the loop need to know of it. Made by `@tool`; calling it calls the function.

    Attributes:
        function: The function.
        name: What the model calls it by.
        description: What it does, for the model to read.
        effect: What a call does.
        reach: How far it reaches.
        sequential: Whether its calls, and those beside them in a cycle, run one after the other.
        timeout: Seconds that one call may take, None for the run's own limit.
        idempotent: Whether a call may be repeated under its key.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        effect: Effect = "write",
        reach: Reach = "local",
        sequential: bool = False,
        timeout: float | None = None,
        idempotent: bool = False,
    ) -> None:
        """Raise `ConfigError` where the name or the signature is none that a model can be told of."""
        if not callable(function):
            raise ConfigError(f"@tool takes a function, not {function!r}")
        named: str = name or getattr(function, "__name__", type(function).__name__)
        if not _NAME.match(named):
            raise ConfigError(
                f"{named!r} is no name for a tool: letters, digits, '_' and '-', 64 at most; give one with @tool(name=...)"
            )
        if timeout is not None and timeout <= 0:
            raise ConfigError(f"tool {named!r}: timeout is {timeout}; it must be above 0 seconds")
        check_signature(named, function)
        self.function = function
        self.name = named
        self.description = parse_docstring(function.__doc__)[0] if description is None else description
        self.effect: Effect = effect
        self.reach: Reach = reach
        self.sequential = sequential
        self.timeout = timeout
        self.idempotent = idempotent
        self.__wrapped__ = function
        self.__doc__ = function.__doc__
        self.__module__ = getattr(function, "__module__", __name__)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.name!r} from {self.__module__}>"

    @functools.cached_property
    def kind(self) -> Literal["async", "sync", "async generator", "generator"]:
        """How the function is run."""
        function = self.function
        call = function if inspect.isroutine(function) or isinstance(function, functools.partial) else type(function).__call__
        if inspect.isasyncgenfunction(call):
            return "async generator"
        if inspect.iscoroutinefunction(call):
            return "async"
        return "generator" if inspect.isgeneratorfunction(call) else "sync"

    @functools.cached_property
    def arguments(self) -> Arguments:
        """The arguments' schema and validation, built on first use: an `Agent` builds it, a run does not.

        Raises:
            ConfigError: An annotation cannot be resolved, or has no JSON schema.
        """
        return Arguments.of(self.name, self.function, ToolContext)

    @functools.cached_property
    def spec(self) -> ToolSpec:
        """The tool as a model is told of it."""
        return ToolSpec(self.name, self.description, self.arguments.schema)


AnyTool: TypeAlias = Tool[..., Any]


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect = "write",
    reach: Reach = "local",
    sequential: bool = False,
    timeout: float | None = None,
    idempotent: bool = False,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a tool: `@tool`, or `@tool(effect="none")`.

    The model is told the name, the docstring's text, and each parameter with its type, default and description (the
    docstring's `Args:` section, in Google style). Arguments are validated before the function is called. What it
    returns is the result: a text, a JSON value (pydantic models and dataclasses included), an `Image`, a `Document`,
    or a list of blocks. What a generator yields is progress, and its return value the result; an async generator,
    which cannot return a value, gives what it yields last. A sync function runs in a worker thread.

    Raise `ToolError` to tell the model what went wrong; any other exception gives it the type and the message, and
    keeps the traceback for the log.

    Args:
        function: The function, where `@tool` is used without parentheses.
        options: The keyword arguments of `Tool`; `effect` is `"write"` unless said otherwise.

    Raises:
        ConfigError: The signature is none that a model can be told of.
    """
    if function is not None:
        return Tool(function)
    return lambda decorated: Tool(decorated, **options)
