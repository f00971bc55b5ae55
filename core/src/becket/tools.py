"""Tools: functions that a model may call."""

from __future__ import annotations

import functools
import inspect
import re
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    ParamSpec,
    TypeAlias,
    TypedDict,
    Unpack,
    get_args,
    overload,
)

from becket._signature import Arguments, check_signature, innermost, parse_docstring
from becket.errors import ConfigError
from becket.providers import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import TypeVar  # for the default, which Python 3.11 has not

    from becket._values import JsonValue

    C = TypeVar("C", default=None)
else:
    from typing import TypeVar

    C = TypeVar("C")

__all__ = ["AnyTool", "Effect", "Reach", "Tool", "ToolContext", "tool"]

P = ParamSpec("P")
R = TypeVar("R")

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
        """Report `data`, a JSON value, as a `tool_progress` event. May be called from any thread.

        It does not wait for the reader; a tool that reports much should be a generator, which does. What is reported
        after the call has ended is dropped.

        Raises:
            ToolError: `data` cannot be made JSON.
        """
        self._report(data)


class _Options(TypedDict, total=False):
    """The options of `@tool`; `Tool` has their meaning."""

    name: str | None
    description: str | None
    effect: Effect
    effect_of: Callable[[Mapping[str, JsonValue]], Effect] | None
    reach: Reach
    sequential: bool
    timeout: float | None
    idempotent: bool


class Tool(Generic[P, R]):
    """A function, and what a model, a policy and the loop need to know of it.

    Made by `@tool`; calling it calls the function. What a partial has filled in is hidden from the model.

    Attributes:
        function: The function.
        name: What the model calls it by.
        description: What it does, for the model to read.
        effect: What a call does; of a tool whose calls differ, the strongest.
        effect_stated: Whether that was said, and is not the `"write"` that stands for what was not.
        reach: How far it reaches.
        sequential: Whether its calls, and those beside them in a cycle, run one after the other.
        timeout: Seconds that one call may take, None for the run's own limit, infinity for none.
        idempotent: Whether a call may be made again under its key (`ToolContext.key`), by a run that retries or is
            resumed. A call that may not is never made again by itself; the model may ask for another, with another key.
    """

    def __init__(self, function: Callable[P, R], **options: Unpack[_Options]) -> None:
        """Raise `ConfigError` where the name, an option or the signature is none that a model can be told of."""
        if isinstance(function, type | Tool) or not hasattr(function, "__call__"):  # noqa: B004  mypy takes it for callable
            raise ConfigError(f"@tool takes a function, not {function!r}; options go by name, as in @tool(name='...')")
        _check_options(options)
        inner = innermost(function)
        name = options.get("name")
        self.function = function
        self.name: str = _name_of(function) if name is None else name
        if not _NAME.match(self.name):
            raise ConfigError(
                f"{self.name!r} is no name for a tool: letters, digits, '_' and '-', 64 at most; "
                f"give one with @tool(name=...)"
            )
        check_signature(self.name, function)
        description = options.get("description")
        self.description = parse_docstring(inner.__doc__)[0] if description is None else description
        self.effect: Effect = self._one_of("effect", options.get("effect", "write"), get_args(Effect))
        self.effect_stated = "effect" in options
        self._effect_of = options.get("effect_of")
        self.reach: Reach = self._one_of("reach", options.get("reach", "local"), get_args(Reach))
        self.sequential = options.get("sequential", False)
        self.timeout = options.get("timeout")
        timeout: Any = self.timeout
        if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):  # nor NaN
            raise ConfigError(f"tool {self.name!r}: timeout is {self.timeout!r}; it must be above 0 seconds")
        self.idempotent = options.get("idempotent", False)
        self.__wrapped__ = function
        self.__doc__ = inner.__doc__
        self.__module__ = inner.__module__

    def _one_of(self, option: str, given: Any, known: tuple[str, ...]) -> Any:
        if given not in known:
            raise ConfigError(f"tool {self.name!r}: {option} is {given!r}; it must be one of: {', '.join(known)}")
        return given

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.name!r} from {self.__module__}>"

    def effect_of(self, arguments: Mapping[str, JsonValue]) -> Effect:
        """What a call with these arguments does: `effect`, unless the tool was made with an `effect_of` of its own.

        What that raises, or returns that is no effect, says nothing: it is `effect` then.
        """
        if self._effect_of is None:
            return self.effect
        try:
            said = self._effect_of(arguments)
        except Exception:  # noqa: BLE001  the arguments are what a model wrote: anything may be wrong with them
            return self.effect
        return said if said in get_args(Effect) else self.effect

    @property
    def effect_is_fixed(self) -> bool:
        """Whether every call does what `effect` says."""
        return self._effect_of is None

    def accepts(self, arguments: dict[str, JsonValue]) -> bool:
        """Whether a call with these arguments can be made at all."""
        try:
            self.arguments.validate(arguments)
        except ValueError:
            return False
        return True

    @functools.cached_property
    def is_async(self) -> bool:
        """Whether calling the function only makes a coroutine or an async generator, and so needs no thread."""
        function = self.function
        if not isinstance(function, functools.partial) and not inspect.isroutine(function):
            function = type(function).__call__
        return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)

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
def tool(function: Callable[P, R], /, **options: Unpack[_Options]) -> Tool[P, R]: ...


@overload
def tool(**options: Unpack[_Options]) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(function: Callable[..., Any] | None = None, /, **options: Unpack[_Options]) -> Any:
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
        options: `name` and `description`, instead of the function's own; `effect`, `"write"` unless said otherwise;
            `effect_of`, a function that says of the arguments of one call, as the model wrote them, what that call
            does, where not every call does the same; `reach`; `sequential`; `timeout`; `idempotent`. `Tool` says what
            each of them means.

    Raises:
        ConfigError: The name, an option or the signature is none that a model can be told of.
    """
    if function is not None:
        return Tool(function, **options)
    _check_options(options)
    return lambda decorated: Tool(decorated, **options)


def _check_options(options: Mapping[str, object]) -> None:
    """Refuse an option that there is not: a mistyped `effect` would grant what it was meant to withhold."""
    known = list(_Options.__annotations__)
    for option in options:
        if option not in known:
            import difflib

            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the options are: {', '.join(known)}"
            raise ConfigError(f"@tool has no option {option!r}; {hint}")


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name: str = getattr(function, "__name__", type(function).__name__)
    return name
