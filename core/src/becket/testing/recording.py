"""Recording what a test asks of models and tools, and answering from that."""

from __future__ import annotations

import copy
import dataclasses
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from becket import _plan
from becket.errors import ConfigError, ToolError
from becket.testing._compare import asked
from becket.testing._player import Player, ReplayError
from becket.testing._recorder import Recorder
from becket.testing._secrets import Secrets
from becket.testing._standin import StandIn, masked
from becket.testing._tape import read
from becket.testing.replay import played

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Iterable, Mapping
    from types import TracebackType

    from becket._plan import RunPlan
    from becket.errors import ProviderError
    from becket.events import ModelEvent
    from becket.providers import ModelRequest
    from becket.retries import RetryPolicy
    from becket.tools import AnyTool, ToolContext

__all__ = ["Recording"]


class Recording:
    """The time in which every run of this process is recorded to a file, or answered from it.

    It stands at the boundary of a run, whichever runtime the run is of: in the place of its model and of its tools.
    Hooks, policies, limits, retries and sinks do what they always do. A model is never called in a replay. Nor is a
    tool, but for those whose every call has the effect `"none"`: they are code under test, and nothing outside of the
    process can tell their calls apart; and for agents that are tools, whose own models and tools are replayed.

    Used as a context manager, it ends the recording as `finish` does, unless the block raises::

        with Recording("weather.ndjson", record=os.environ.get("RECORD") == "1"):
            assert "rain" in agent("What is the weather in Paris?").text

    One is open at a time, in a process.

    Args:
        path: The file. Its folder is made where a recording is written.
        record: Whether to record, instead of answering from the file.
        secrets: What must not be in the file: names of environment variables, or a mapping from names to secrets. What
            the environment holds under a name such as `..._API_KEY`, and what looks like a well-known key, is masked
            in any case. A mask stands for any text when a request is compared.
        real_tools: The names of the tools that run in a replay, too, instead of those with the effect `"none"`.
        hint: What messages say is to be done where the file no longer fits.

    Raises:
        ConfigError: A secret cannot be masked, or the file is no recording, is damaged, or is of a newer version.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        record: bool = False,
        secrets: Iterable[str] | Mapping[str, str] = (),
        real_tools: Iterable[str] | None = None,
        hint: str = "record it anew, if that is wanted",
    ) -> None:
        self.path = Path(path).absolute()  # the test may change the working directory
        self.record = record
        self._secrets = Secrets(secrets)
        self._real = None if real_tools is None else frozenset(real_tools)
        self._recorder = Recorder()
        self._player: Player | None = None
        if not record:
            there, here = self.path.exists(), Path.cwd()
            shown = str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)
            runs = read(self.path) if there else ()
            none = "no run is recorded in it" if there else "it is not there"
            source = shown if any(run.models for run in runs) else f"there is no recording {shown!r}: {none}"
            self._player = Player(runs, self._secrets, source=source, hint=hint)

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()
        if error is None:
            self.finish()

    def begin(self) -> None:
        """Take every run that starts from now on.

        Raises:
            ConfigError: Another recording is open.
        """
        with _lock:
            if _plan.stand_in is not None:
                raise ConfigError(
                    "another recording is open in this process, and a run can have only one; end it first"
                )
            _plan.stand_in = self._between

    def end(self) -> None:
        """Take no more runs."""
        with _lock:
            _plan.stand_in = None

    def finish(self) -> None:
        """Write the file; or make sure that what was asked is what was recorded, all of it.

        Where no run was recorded, there is no file: one that is there is removed.

        Raises:
            ReplayError: Something was asked that was not recorded, also where the code under test has caught that; or
                recorded model calls were not made.
            ConfigError: The file cannot be written, a secret would be in it, or a provider raised what is no
                `ProviderError`. The file is then as it was.
        """
        if self._player is None:
            self._recorder.write(self.path, self._secrets)
        elif (missed := self.missed) is not None:
            raise missed
        elif unused := self._player.unused():
            raise ReplayError(unused)

    @property
    def missed(self) -> ReplayError | None:
        """What was asked first that was not recorded, or None."""
        missed = () if self._player is None else self._player.missed
        return ReplayError(*missed[0].args) if missed else None

    def _between(self, plan: RunPlan, run_id: str, inside: bool) -> RunPlan:
        """The plan of a run, with what stands for its model and its tools."""
        if self._player is None:
            return self._recorder.between(plan, run_id, inside=inside)
        return dataclasses.replace(
            plan,
            provider=_Playing(plan, self._player),
            tools={name: self._replayed(tool, plan, self._player) for name, tool in plan.tools.items()},
            retry=plan.retry and _AtOnce(plan.retry),
        )

    def _replayed(self, tool: AnyTool, plan: RunPlan, player: Player) -> AnyTool:
        """The tool, or what gives its recorded results."""
        pure = tool.effect_is_fixed and tool.effect == "none"
        real = pure if self._real is None else tool.name in self._real
        return tool if real or tool.__module__ == _AGENTS else _replaying(tool, plan, player)


_lock = threading.Lock()

_AGENTS: Final = "becket._agent_tool"
"""Where the tools are made that are agents: they run in a replay, and what their models and tools give is replayed."""


class _Playing(StandIn):
    """Answers from a recording."""

    def __init__(self, plan: RunPlan, player: Player) -> None:
        super().__init__(plan)
        self._player = player

    def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        now = masked(asked(self._plan.provider.name, request), self._plan)
        return played(self._player, request.key[0], now)


class _AtOnce:
    """Tries again when `inner` would, without waiting."""

    def __init__(self, inner: RetryPolicy) -> None:
        self._inner = inner

    def delay(self, error: ProviderError | ToolError, attempt: int, /) -> float | None:
        return None if self._inner.delay(error, attempt) is None else 0.0


class _Given:
    """The arguments of a tool, validated as its own are, and handed on as the model wrote them."""

    contexts = ("ctx",)

    def __init__(self, tool: AnyTool) -> None:
        self._inner = tool.arguments
        self.schema = tool.arguments.schema

    def validate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._inner.validate(arguments)
        return {"arguments": arguments}


def _replaying(tool: AnyTool, plan: RunPlan, player: Player) -> AnyTool:
    """A tool like `tool` in all that a model, a policy and the loop can see of it, which gives recorded results."""

    async def give(arguments: dict[str, Any], ctx: ToolContext[Any]) -> object:
        cycle = int(ctx.key.removeprefix(f"{ctx.run_id}:").partition(":")[0])
        try:
            record = player.result(ctx.run_id, cycle, ctx.call_id, tool.name, masked(arguments, plan))
        except ReplayError as error:
            raise ToolError(str(error)) from error  # the model reads it, and the next call of it raises what it is
        for data in record.progress:
            ctx.progress(data)
        if record.failed:
            raise ToolError(record.text)
        return list(record.content)

    tool.spec  # noqa: B018  built from the function's own signature, and copied with the rest
    stand_in = copy.copy(tool)
    stand_in.function = give
    vars(stand_in).update(arguments=_Given(tool), is_async=True)
    return stand_in
