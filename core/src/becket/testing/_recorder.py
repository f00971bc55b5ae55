"""Taking down what happens in runs, for a recording."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from becket._table import Implementation
from becket.errors import ConfigError, ProviderError
from becket.events import ModelStarted, RunFailed, RunStarted, ToolCallDelta, ToolFinished
from becket.plugins import Plugin
from becket.testing._compare import as_json, asked
from becket.testing._standin import StandIn, masked
from becket.testing._tape import lines_of, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from becket._plan import RunPlan
    from becket.content import ToolCall, ToolResult
    from becket.events import Event, ModelEvent
    from becket.hooks import HookContext
    from becket.providers import ModelRequest
    from becket.sinks import RunInfo
    from becket.testing._secrets import Secrets
    from becket.testing._tape import Row

__all__ = ["Recorder"]

_SOURCE = Plugin("becket.testing", None, None, "becket.testing")


class Recorder:
    """What was taken down.

    Attributes:
        events: The events of all runs, in the order in which they came, each with the page of its run.
        odd: What providers have raised that is no answer of a service.
    """

    def __init__(self) -> None:
        self.events: list[tuple[Event, _Page]] = []
        self.odd: list[Exception] = []

    def between(self, plan: RunPlan, run_id: str, *, inside: bool) -> RunPlan:
        """The plan of a run that is taken down."""
        page = _Page(self, plan, run_id, inside=inside)
        first = Implementation("after_tool_call", 0, page.take_result, ("ctx", "call", "result"), _SOURCE)
        hooks = dataclasses.replace(plan.hooks, after_tool_call=(first, *plan.hooks.after_tool_call))
        return dataclasses.replace(plan, provider=_Listening(plan, page), hooks=hooks, sinks=(*plan.sinks, page))

    def write(self, path: Path, secrets: Secrets) -> None:
        """Write what was taken down; see `Recording.finish`."""
        if self.odd:
            error = self.odd[0]
            raise ConfigError(
                f"the recording {str(path)!r} was not written: a provider raised {type(error).__name__}, which is no "
                f"answer of a service that a replay could give again: {error}"
            ) from error
        if not self.events:
            path.unlink(missing_ok=True)
            return
        write(path, lines_of([page.row(event) for event, page in self.events], secrets), secrets)


class _Page:
    """Takes down one run: its events as a sink, what its tools give in a hook, what its model is asked beside it."""

    name = "recording"
    required = True

    def __init__(self, recorder: Recorder, plan: RunPlan, run_id: str, *, inside: bool) -> None:
        self._recorder = recorder
        self._plan = plan
        self._run_id = run_id
        self._inside = inside
        self._asked: dict[tuple[int, int], Row] = {}
        self._given: dict[tuple[int, int, int, str], str] = {}
        self._raw: dict[tuple[int, str], ToolResult] = {}

    # -- the sink --------------------------------------------------------------------------------------------------

    def open(self, run: RunInfo, /) -> _Page:
        """Itself: each run has its own."""
        del run
        return self

    def with_argument(self, argument: str, /) -> _Page:
        """Take no argument."""
        raise ConfigError(f"the sink {self.name!r} takes no argument, and was given {argument!r}")

    def emit(self, event: Event, /) -> None:
        """Take an event down; one of a run nested in this one is taken down there."""
        if event.run_id == self._run_id:
            self._recorder.events.append((event, self))

    def close(self) -> None:
        """Nothing is kept open."""

    # -- the hook, and the provider --------------------------------------------------------------------------------

    def take_result(self, ctx: HookContext, call: ToolCall, result: ToolResult) -> None:
        """Take down what a tool has given, before a hook makes something else of it."""
        self._raw[ctx.cycle, call.id] = result

    async def listen(self, request: ModelRequest, events: AsyncIterator[ModelEvent]) -> AsyncIterator[ModelEvent]:
        """What the provider yields, and a note of what it was asked and how it ended."""
        _, cycle, attempt = request.key
        noted: Row = {"request": asked(self._plan.provider.name, request)}
        self._asked[cycle, attempt] = noted
        try:
            async for event in events:
                if not isinstance(event, ToolCallDelta):
                    yield event
                    continue
                given = event.call_id
                yield event
                if given and given != event.call_id:
                    self._given[cycle, attempt, event.block, event.call_id] = given
        except ProviderError as error:
            noted["failure"] = _failure(error)
            raise
        except Exception as error:
            self._recorder.odd.append(error)
            raise
        finally:
            if (close := getattr(events, "aclose", None)) is not None:
                await close()

    # -- the file --------------------------------------------------------------------------------------------------

    def row(self, event: Event) -> Row:
        """An event as it stands in the file, but for secrets and names."""
        from pydantic_core import from_json

        row: Row = from_json(event.to_json())
        match event:
            case RunStarted() if self._inside:
                row["inside"] = True
            case ModelStarted():
                row |= masked(self._asked.get((event.cycle, event.attempt), {}), self._plan)
            case ToolCallDelta():
                given = self._given.get((event.cycle, event.attempt, event.block, event.call_id))
                row |= {} if given is None else {"given_id": given}
            case ToolFinished():
                raw = as_json(self._raw.get((event.cycle, event.result.call_id), event.result))
                if raw != as_json(event.result):
                    row["raw"] = masked(raw, self._plan)
            case RunFailed():
                row["error"].pop("request_id", None)  # another one each time
        return row


class _Listening(StandIn):
    """Has what the provider yields taken down."""

    def __init__(self, plan: RunPlan, page: _Page) -> None:
        super().__init__(plan)
        self._page = page

    def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        events = self._plan.provider.stream(request)
        if not hasattr(events, "__aiter__"):  # the run will say so
            return events
        return self._page.listen(request, events)


def _failure(error: ProviderError) -> Row:
    """An error as what makes it anew."""
    said = {
        "message": str(error),
        "provider": error.provider or None,
        "status": error.status,
        "retryable": error.retryable or None,
        "retry_after": error.retry_after,
        "code": error.code,
    }
    return {name: value for name, value in said.items() if value is not None}
