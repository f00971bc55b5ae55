"""What the answers of one run come to where structured output was asked for: accepted, asked for again, given up."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from becket._calls import unreadable
from becket._values import clean_text
from becket.content import Message, Text, ToolResult
from becket.errors import ConfigError, OutputError
from becket.providers import OutputSpec, SchemaProvider, ToolSpec
from becket.turn import read_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from becket._partials import Partials
    from becket._values import JsonValue
    from becket.content import ToolCall
    from becket.output import Output
    from becket.providers import ModelRequest, Provider
    from becket.turn import Turn

__all__ = ["TAKEN", "Outcome", "OutputPlan"]

TOOL: Final = "final_output"
"""The name of the output's tool, where the host gives none."""

TAKEN: Final = "The output was taken."
"""The result of the call that gave the output; with it, the history of its run ends."""

SILENCE: Final = Message("assistant", (Text("There was no answer."),), interrupted=True)
"""Stands for an answer without content, so that user and assistant take turns in every history."""

_CUT_OFF: Final = ("max_tokens", "content_filtered")
"""Stop reasons after which the same question would be cut off again: the run ends with them, and is not repaired."""

_FENCED: Final = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """The output of an agent's runs, with what its provider can do.

    Attributes:
        output: What is wanted.
        spec: The same, as the model is told of it.
    """

    output: Output[Any]
    spec: OutputSpec

    @classmethod
    def of(cls, output: Output[Any], provider: Provider, model: str, tools: Collection[str]) -> OutputPlan:
        """Decide how the output is asked for.

        Raises:
            ConfigError: The host asks for the mode `schema`, and the model has none.
        """
        can = isinstance(provider, SchemaProvider) and provider.takes_schema(model, with_tools=bool(tools))
        mode = output.mode or ("schema" if can else "tool")
        if mode == "tool":
            name = _free(output.name or TOOL, tools)
            told = f"Gives the final answer{': ' if output.description else '.'}{output.description}"
            return cls(output, OutputSpec(name, told, output.schema, mode))
        if not can:
            beside = " beside tools" if tools else ""
            raise ConfigError(
                f"the model {provider.name}:{model} cannot be held to a JSON schema{beside}, as "
                f"Output(mode='schema') asks; leave the mode out, and it is asked by a tool"
            )
        return cls(output, OutputSpec(output.name or output.type_name, output.description, output.schema, mode))

    def shape(self, request: ModelRequest, *, insist: bool) -> None:
        """Put what is wanted into a request: the output's tool, and how it is to be called; or the schema alone.

        A tool that the host has named for each call stays named, and so does its wish that some tool is called.

        Args:
            request: The request, with the host's own tools.
            insist: Whether the answer must be a call of the output's tool.
        """
        spec = request.output = self.spec
        if spec.mode == "schema":
            return
        choice = request.options.tool_choice
        if insist or choice == "none":  # the host means its own tools
            choice = spec.name
        elif choice == "auto" and not request.tools:
            choice = "any"
        if request.tools:
            how = f"When you have what you need, give your final answer by calling the tool {spec.name}, not as text."
            request.system = f"{request.system}\n\n{how}" if request.system else how
        request.options = replace(request.options, tool_choice=choice)
        request.tools = (*request.tools, ToolSpec(spec.name, spec.description, spec.schema))

    def begin(self) -> Outcome:
        """The outcome of one run, still open."""
        return Outcome(self)


def _free(name: str, taken: Collection[str]) -> str:
    """`name`, or with a number where a tool of the host has it."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name[:60]}_{number}", number + 1
    return free


@dataclass(frozen=True, slots=True)
class _Unfit:
    """What a model gave, and why it does not fit."""

    told: str
    reason: str


class Outcome:
    """The output of one run, as its answers come in. Pure: it emits nothing and waits for nothing.

    An answer that does not fit is answered with what is wrong with it, as often as the host allows; the next one fails
    the run. One that was cut off is not asked for again, since it would be cut off again. Tools that are called beside
    the output are made first; where one of them fails, the output was written without knowing that, and is asked for
    again without counting.

    Attributes:
        plan: What is wanted.
        over: Whether the run is to end: with the output, or cut off without.
        value: The output, a Python value; None until there is one.
        json: The same as JSON.
        answered: Tool calls of the output that were answered; they do not count as the host's.
        insist: Whether the next answer must be a call of the output's tool: the model had answered with text.
    """

    __slots__ = ("_error", "_repairs", "answered", "insist", "json", "over", "plan", "value")

    def __init__(self, plan: OutputPlan) -> None:
        self.plan = plan
        self.over = False
        self.value: Any = None
        self.json: JsonValue = None
        self.answered = 0
        self.insist = False
        self._repairs = plan.output.repairs
        self._error: OutputError | None = None

    def ask(self, request: ModelRequest) -> None:
        """Put what is wanted into a request that holds the host's own."""
        self.plan.shape(request, insist=self.insist)

    def partials(self) -> Partials:
        """What tells how far the output of one model call has come."""
        spec = self.plan.spec
        return self.plan.output.partials(spec.name if spec.mode == "tool" else None)

    def others(self, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
        """The calls that are not the output's."""
        return tuple(call for call in calls if not self._is_own(call))

    def check(self) -> None:
        """Fail the run where the model has had its last chance.

        Raises:
            OutputError: It has.
        """
        if self._error is not None:
            raise self._error

    def answer(self, turn: Turn) -> list[ToolResult]:
        """The results of the output's calls of this cycle, once all others have theirs."""
        self.insist = False
        blind = [call.tool for call in turn.calls if call.id in turn.results and _failed(turn.results[call.id])]
        unfit: list[_Unfit] = []
        results = [self._result(call, blind, unfit) for call in turn.open_calls if self._is_own(call)]
        self.answered += len(results)
        if unfit and not self.over:
            self._spend(unfit[0], turn)  # once a cycle: the model had not been told of the first when it wrote the next
        return results

    def read(self, answer: Message, turn: Turn) -> tuple[Message, ...]:
        """Take an answer that called no tool. The messages that ask for another one, where one is to be asked for."""
        try:
            self._take(_candidates(answer.text))
        except ValueError as error:
            self.insist = self.plan.spec.mode == "tool"
            if self._spend(_Unfit(answer.text, str(error)), turn):
                asking = Message("user", (Text(clean_text(self._asking(str(error)))),))
                return (asking,) if answer.content else (SILENCE, asking)
        return ()

    # -- one answer ------------------------------------------------------------------------------------------------

    def _is_own(self, call: ToolCall) -> bool:
        return self.plan.spec.mode == "tool" and call.tool == self.plan.spec.name

    def _result(self, call: ToolCall, blind: Sequence[str], unfit: list[_Unfit]) -> ToolResult:
        name = self.plan.spec.name
        if self.over:
            return _error(call, f"one call of {name} was taken already; this one was not")
        if blind:
            return _error(
                call, f"{' and '.join(blind)}, called beside {name}, did not succeed; call {name} again in view of that"
            )
        try:
            if call.malformed is not None:
                raise ValueError(unreadable(name, call.malformed))  # noqa: TRY301  as where the arguments do not fit
            self._take([call.arguments])
        except ValueError as error:
            told = call.malformed.text if call.malformed is not None else _written(call.arguments)
            unfit.append(_Unfit(told, str(error)))
            return _error(call, f"the output does not fit:\n{error}\ncall {name} again, with that mended")
        return ToolResult(call.id, "success", (Text(TAKEN),))

    def _take(self, candidates: Iterable[JsonValue]) -> None:
        """Accept the first of the candidates, one at least, that fits.

        Raises:
            ValueError: None does; the text says why the first one does not.
        """
        reasons: list[ValueError] = []
        for candidate in candidates:
            try:
                fitting = self.plan.output.fit(candidate)
            except ValueError as error:
                reasons.append(error)
            else:
                self.value, self.json, self.over = fitting.value, fitting.json, True
                return
        raise reasons[0]

    def _spend(self, unfit: _Unfit, turn: Turn) -> bool:
        """Whether the model is asked again for what does not fit."""
        if turn.stop in _CUT_OFF:
            self.over = True
            return False
        if self._repairs > 0:
            self._repairs -= 1
            return True
        output = self.plan.output
        asked = f"asked {output.repairs + 1} times" if output.repairs else "asked once"
        self._error = OutputError(
            f"the model gave no {output.title} ({asked}): {unfit.reason}\n"
            f"its last answer is in the history; loosen the type, describe its fields, allow more with "
            f"Output(repairs=...), or name a stronger model",
            text=clean_text(unfit.told),
            reason=unfit.reason,
        )
        return False

    def _asking(self, reason: str) -> str:
        if self.plan.spec.mode == "tool":
            return f"This does not fit:\n{reason}\nGive the answer by calling the tool {self.plan.spec.name}."
        return f"This does not fit:\n{reason}\nAnswer again, with that mended, and with nothing but the JSON."


def _failed(result: ToolResult) -> bool:
    return result.status != "success"


def _error(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call.id, "error", (Text(clean_text(text)),))


def _written(arguments: JsonValue) -> str:
    from pydantic_core import to_json

    return to_json(arguments).decode()


def _candidates(text: str) -> list[JsonValue]:
    """The JSON that a text is, or that stands in it between fences; one at least.

    Raises:
        ValueError: There is none.
    """
    found: list[JsonValue] = []
    reasons: list[ValueError] = []
    for part in (text, *(match[1] for match in _FENCED.finditer(text))):
        try:
            found.append(read_json(part))
        except ValueError as error:
            reasons.append(error)
    if found:
        return found
    if text.strip()[:1] in ("{", "[", "`"):
        raise ValueError(f"it is no JSON: {reasons[-1]}")
    raise ValueError("it is no JSON" if text.strip() else "it is empty")  # where prose stops to be JSON is no news
