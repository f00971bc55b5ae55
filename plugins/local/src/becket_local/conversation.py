"""What is said to the engine and what follows from its responses: decisions only, no I/O.

The engine is asked turn by turn: the request first, then the results of the calls it made, as one JSON list. It is
trained on single requests, so a conversation with it holds the last text of the user and what came after it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from becket import Document, Image, ProviderError, Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from becket import Message

__all__ = ["Call", "Exchange", "Outcome", "Response", "converse", "read_exchange"]

MAX_ROUNDS = 8
"""Rounds of calls in one run; the engine's own loop stops there too."""

MAX_REFUSALS = 2
"""How often the engine is told that an argument is made up before the run ends with saying so."""

PROMPT_CHARS = 8_000
"""About a quarter of the engine's 8,192 tokens; 3,000 words took it half a minute and gave nothing of use."""

RESULT_CHARS = 2_000
"""What the engine sees of one result, to decide on a further call: it reads 300 tokens a second. The answer has all."""

_NUMBER = re.compile(r"(?<![\w.,])[-+]?\d[\d,]*(?:\.\d+)?(?!\d)")


@dataclass(frozen=True)
class Call:
    """A call as the engine wrote it."""

    tool: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        arguments = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in self.arguments.items())
        return f"{self.tool}({', '.join(arguments)})"


@dataclass(frozen=True)
class Response:
    """One turn of the engine.

    Attributes:
        calls: The calls that it makes.
        suppressed: Calls that it thought of and withholds, being too unsure.
        reasoning: How it came to them.
        confidence: How sure it is, 0 to 1.
        ungrounded: The arguments, as `tool.path`, whose values it did not find in the request.
        negated: Whether the request says not to do it.
    """

    calls: tuple[Call, ...] = ()
    suppressed: tuple[Call, ...] = ()
    reasoning: str = ""
    confidence: float | None = None
    ungrounded: frozenset[str] = frozenset()
    negated: bool = False

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Response:
        """A response from the engine's own form.

        Raises:
            ProviderError: The engine reports an error.
        """
        if raw.get("error"):
            raise ProviderError(
                f"the local model gave up: {raw['error']}. Ask for less at once, or offer it fewer and simpler tools",
                provider="local",
            )
        validation = raw.get("validation") or {}
        return cls(
            calls=_calls(raw.get("function_calls")),
            suppressed=_calls(raw.get("suppressed_calls")),
            reasoning=raw.get("reasoning") or "",
            confidence=raw.get("confidence"),
            ungrounded=frozenset(validation.get("ungrounded") or ()),
            negated=bool(validation.get("negation")),
        )


def _calls(raw: list[dict[str, Any]] | None) -> tuple[Call, ...]:
    return tuple(Call(str(item["name"]), item.get("arguments") or {}) for item in raw or ())


@dataclass(frozen=True)
class Round:
    """Calls that were made, and their results in the same order."""

    calls: tuple[ToolCall, ...]
    results: tuple[ToolResult, ...]

    def __iter__(self) -> Iterator[tuple[ToolCall, ToolResult]]:
        return iter(zip(self.calls, self.results, strict=True))


@dataclass(frozen=True)
class Exchange:
    """The last text of the user, and the rounds of calls since."""

    query: str
    rounds: tuple[Round, ...] = ()


def read_exchange(messages: Sequence[Message]) -> Exchange:
    """The part of a history that the engine is concerned with.

    Raises:
        ProviderError: The prompt has no text, is too long, or has an image or a document in it.
    """
    start = next((index for index in reversed(range(len(messages))) if _is_prompt(messages[index])), None)
    if start is None:
        raise ProviderError("the prompt has no text, and the local model reads nothing else", provider="local")
    prompt = messages[start]
    _check_prompt(prompt)
    return Exchange(prompt.text.strip(), tuple(_rounds(messages[start + 1 :])))


def _is_prompt(message: Message) -> bool:
    return message.role == "user" and any(isinstance(block, Text | Image | Document) for block in message.content)


def _check_prompt(prompt: Message) -> None:
    for block in prompt.content:
        if isinstance(block, Image | Document):
            raise ProviderError(
                f"the prompt has a block of type {block.type} ({block.media_type}), and the local model reads only "
                "text; leave it out, or name a model that takes it",
                provider="local",
            )
    if len(prompt.text) > PROMPT_CHARS:
        raise ProviderError(
            f"the prompt has {len(prompt.text):,} characters, and the local model reads at most {PROMPT_CHARS:,}; "
            "shorten it, or name a larger model",
            provider="local",
        )


def _rounds(messages: Sequence[Message]) -> Iterator[Round]:
    asked: tuple[ToolCall, ...] = ()
    for message in messages:
        results = {block.call_id: block for block in message.content if isinstance(block, ToolResult)}
        if asked and all(call.id in results for call in asked):
            yield Round(asked, tuple(results[call.id] for call in asked))
        asked = message.tool_calls


@dataclass(frozen=True)
class Outcome:
    """What one cycle comes to: calls to make, or the end of the run.

    Attributes:
        response: The engine's last response, or None where it was not asked.
        calls: The calls to make; none ends the run.
        withheld: Calls that are not made.
        why: Why they are not, in words that follow "but".
    """

    response: Response | None
    calls: tuple[Call, ...] = ()
    withheld: tuple[Call, ...] = ()
    why: str = ""


Talk: TypeAlias = "Generator[str, Response, Outcome]"


def converse(exchange: Exchange, floor: float | None) -> Talk:
    """The conversation of one cycle: yields what to tell the engine, is sent what it responds, returns the outcome.

    The turns of earlier cycles come first and are the same each time, so that the conversation can be rebuilt from
    the history alone.

    Args:
        exchange: The request, and what was called since.
        floor: The least confidence at which calls are made; None leaves that to the engine.
    """
    if len(exchange.rounds) >= MAX_ROUNDS:
        return Outcome(None)
    response = yield exchange.query
    made = _Made(exchange.query)
    for past in exchange.rounds:
        response = yield from _refuse_made_up(response, made)
        response = yield made.feed(response, past)
    response = yield from _refuse_made_up(response, made)
    return _outcome(response, made, floor)


def _refuse_made_up(response: Response, made: _Made) -> Generator[str, Response, Response]:
    """Tell the engine which arguments are made up, as long as all its new calls have some; the response after that."""
    for _ in range(MAX_REFUSALS):
        new = made.new(response)
        if not new or not all(made.made_up(response, call) for call in new):
            break
        response = yield _json([_refusal(made.made_up(response, call)) for call in response.calls])
    return response


def _outcome(response: Response, made: _Made, floor: float | None) -> Outcome:
    new = made.new(response)
    if response.suppressed and not response.calls:
        return Outcome(response, withheld=response.suppressed, why=f"is {_sure(response)} and leaves it")
    if not new:
        return Outcome(response)
    if response.negated:
        return Outcome(response, withheld=new, why="understands that the request says not to")
    if floor is not None and (response.confidence or 0.0) < floor:
        return Outcome(response, withheld=new, why=f"is {_sure(response)}, and the floor is {floor:.0%}")
    grounded = tuple(call for call in new if not made.made_up(response, call))
    if not grounded:
        paths = ", ".join(sorted({path for call in new for path in made.made_up(response, call)}))
        return Outcome(response, withheld=new, why=f"did not find its {paths} in the request ({_sure(response)})")
    return Outcome(response, calls=grounded)


def _sure(response: Response) -> str:
    return f"only {response.confidence or 0.0:.0%} sure"


@dataclass
class _Made:
    """The calls that were made in this run, with their results as the engine was told of them."""

    query: str
    results: list[tuple[Call, Any]] = field(default_factory=list)

    def new(self, response: Response) -> tuple[Call, ...]:
        """The calls of `response` that were not made before: after an error the engine repeats them for ever."""
        return tuple(call for call in response.calls if self._earlier(call) is None)

    def made_up(self, response: Response, call: Call) -> list[str]:
        """The arguments of `call` that are not in the request; a number that is written there is excused."""
        return [
            path
            for tool, _, path in (name.partition(".") for name in sorted(response.ungrounded))
            if tool == call.tool and not _is_written(call.arguments.get(path), self.query)
        ]

    def feed(self, response: Response, past: Round) -> str:
        """What to tell the engine of `past`, which answers those calls of `response` that were made.

        Where its response is not what history has (another model made the calls), it gets their results alone.
        """
        known = [self._known(response, call) for call in response.calls]
        open_calls = [call for call, result in zip(response.calls, known, strict=True) if result is None]
        fresh = [_for_engine(result) for result in past.results]
        calls = [Call(call.tool, call.arguments) for call in past.calls]
        self.results += zip(calls, fresh, strict=True)
        if [call.tool for call in open_calls] != [call.tool for call in past.calls]:
            return _json(fresh)
        rest = iter(fresh)
        return _json([next(rest) if result is None else result[0] for result in known])

    def _known(self, response: Response, call: Call) -> tuple[Any] | None:
        """What the engine is told of a call that was not made for this response; None where it was."""
        earlier = self._earlier(call)
        if earlier is not None:
            return earlier
        paths = self.made_up(response, call)
        return (_refusal(paths),) if paths else None

    def _earlier(self, call: Call) -> tuple[Any] | None:
        return next(((result,) for made, result in self.results if made == call), None)


def _refusal(paths: list[str]) -> dict[str, str]:
    return {"error": "ungrounded " + ", ".join(paths)}  # the engine's own words


def _is_written(value: object, text: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    written = (Decimal(match[0].replace(",", "")) for match in _NUMBER.finditer(text))
    return Decimal(str(value)) in written


def _for_engine(result: ToolResult) -> Any:
    """A result as the engine reads it: a JSON value where it is one, an object with `error` where the call failed."""
    text = result.text
    if result.status != "success":
        return {"error": text[:RESULT_CHARS] or result.status}
    if len(text) > RESULT_CHARS:
        return text[:RESULT_CHARS]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
