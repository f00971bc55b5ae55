"""Deciding on the tool calls that are asked about: whoever sits at the terminal, or the command line beforehand."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import anyio
from anyio import to_thread
from becket import Allow, Deny, Edit

from becket_cli._safe import plainly, safe_on_a_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TextIO

    from becket import DecisionRequested, ToolCall

__all__ = ["Beforehand", "approver"]

Beforehand: TypeAlias = Literal["yes", "deny"] | None
"""What the command line says to everything that is asked; None to ask."""

Answered: TypeAlias = Allow | Deny | Edit

_QUESTION: Final = "Allow it? [y]es, [a]lways {tool} in this run, [e]dit the arguments, [N]o: "

_LONG: Final = 1_500
"""Characters that surely are on the screen still when the question is asked: 20 lines of a narrow terminal."""


def approver(beforehand: Beforehand, *, terminal: TextIO) -> Callable[[DecisionRequested], Awaitable[Answered]]:
    """What answers the requests of a run.

    Args:
        beforehand: What the command line has said.
        terminal: Where the questions are written, if it is a terminal, and standard input is one too.
    """
    if beforehand == "yes":
        return _always(Allow("--yes"))
    if beforehand == "deny":
        return _always(Deny("the command line says --deny"))
    if not (_is_terminal(sys.stdin) and _is_terminal(terminal)):
        return _always(Deny("there is no terminal to ask at; --yes allows what is asked about"))
    return _Person(terminal).decide


def _always(answer: Answered) -> Callable[[DecisionRequested], Awaitable[Answered]]:
    async def decide(_: DecisionRequested) -> Answered:
        return answer

    return decide


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


class _Person:
    """Somebody at a terminal, who sees every argument whole: what is cut off cannot be approved."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._always: set[tuple[str, str]] = set()  # runs and tools: a nested run may have another tool of that name
        self._one = anyio.Lock()  # nested runs may ask at the same time

    async def decide(self, request: DecisionRequested) -> Answered:
        call = request.call
        if call is None:
            return Deny("this command answers questions about tool calls, and no others")
        async with self._one:
            if (request.run_id, call.tool) in self._always:
                return Allow("allowed for the whole run")
            _forget_typed()
            self._show(call, request.why)
            return await self._answered(request.run_id, call)

    def _show(self, call: ToolCall, why: str) -> None:
        self._write(f"{plainly(call.tool)} is about to be called: {plainly(why)}\n")
        lines = [f"  {plainly(name)}: {_as_json(value)}\n" for name, value in call.arguments.items()]
        for line in lines:
            self._write(line)
        if (length := sum(map(len, lines))) > _LONG:
            self._write(f"  These are {len(lines)} arguments with {length:,} characters: scroll up to see all.\n")

    async def _answered(self, run_id: str, call: ToolCall) -> Answered:
        while True:
            word = (await self._read(_QUESTION.format(tool=call.tool)) or "no").strip().lower()
            if word in {"y", "yes"}:
                return Allow()
            if word in {"a", "always"}:
                self._always.add((run_id, call.tool))
                return Allow("allowed for the whole run")
            if word in {"e", "edit"}:
                edited = await self._edited(call)
                if edited is not None:
                    return edited
            elif word in {"", "n", "no"}:
                return Deny("whoever was asked has said no")

    async def _edited(self, call: ToolCall) -> Edit | None:
        """Other arguments; None where none were given."""
        self._write(f"  now: {_as_json(call.arguments)}\n")
        while text := (await self._read("Arguments, one JSON object (nothing to go back): ") or "").strip():
            try:
                arguments: Any = json.loads(text)
            except ValueError as error:
                self._write(f"That is no JSON: {safe_on_a_line(str(error))}\n")
                continue
            if isinstance(arguments, dict):
                return Edit(arguments)
            self._write("That is no JSON object, such as " + '{"name": "value"}' + ".\n")
        return None

    async def _read(self, question: str) -> str | None:
        """A line of standard input, without its end; None where that has ended."""
        self._write(question)
        if sys.platform == "win32":
            line = await to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        else:
            try:
                await anyio.wait_readable(sys.stdin)  # a terminal can be read once a line is there
            except BaseException:
                self._write("\n")
                raise
            line = sys.stdin.readline()
        if not line:
            self._write("\n")
            return None
        return line

    def _write(self, text: str) -> None:
        self._terminal.write(text)
        self._terminal.flush()


def _as_json(value: object) -> str:
    """A value as JSON, on one line, in which everything can be seen."""
    return plainly(json.dumps(value, ensure_ascii=False))


def _forget_typed() -> None:
    """Drop what was typed before there was a question: a model's text may have looked like one."""
    if sys.platform == "win32":
        import msvcrt

        while msvcrt.kbhit():
            msvcrt.getwch()
        return
    import termios

    with contextlib.suppress(termios.error):  # the terminal has gone, which the reading will say
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
