"""The runs of a server: whose each one is, what it waits for, and how long it is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING, Any, Final

import anyio
from becket import (
    ConfigError,
    MemoryLog,
    Message,
    ModelOptions,
    RequestError,
    RunInfo,
)
from becket.log import memory_log

from becket_serve._run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import NoReturn

    from becket import Agent, AgentStream, Limits, Sink
    from becket.content import Prompt
    from becket.wires import RunRequest

    from becket_serve._settings import ServeLimits

__all__ = ["ClientRuns", "Runs"]

_COME_BACK: Final = 5.0
"""Seconds after which a client that was turned away may ask again: no run says how long it will take."""

_MOMENT: Final = 0.1
"""Seconds after which it is looked again whether a run can be forgotten which is over and not quite let go of."""

_SESSION_CHARS: Final = 200
"""Characters of a client's name for its conversation; with what is put before it, a session's id."""


class Runs:
    """The runs of all clients.

    Args:
        agents: What can be run, the default first.
        limits: What clients may have.

    Attributes:
        limits: The same.
        closing: Whether the server is being stopped.

    Raises:
        ConfigError: Two agents have one name, they do not share a runtime, or one has no model.
    """

    def __init__(self, agents: Sequence[Agent], limits: ServeLimits) -> None:
        self.limits = limits
        self.closing = False
        self._runs: dict[str, Run] = {}
        self._readers = 0
        self.renew(agents)

    def renew(self, agents: Sequence[Agent]) -> None:
        """Take these for new runs; runs that go on keep theirs.

        Raises:
            ConfigError: As above; nothing has changed then.
        """
        self._asked = {
            (agent.name, asks): self._prepared(agent, asks=asks) for agent in agents for asks in (True, False)
        }
        self._default = agents[0].name
        self._logs = agents[0].runtime.make_log is memory_log

    # -- the sink --------------------------------------------------------------------------------------------------

    name = "serve"
    required = False

    def open(self, run: RunInfo, /) -> Run:
        """What observes a run: the run itself, as it is known here."""
        return self._runs[run.run_id]

    def with_argument(self, argument: str, /) -> Sink:
        """It takes none."""
        raise ConfigError(f"the sink of a server takes no argument, and got {argument!r}")

    # -- runs ------------------------------------------------------------------------------------------------------

    def of(self, client: str) -> ClientRuns:
        """Those of one client."""
        return ClientRuns(self, client)

    @property
    def going_on(self) -> int:
        """How many are not over."""
        return sum(run.goes_on for run in self._runs.values())

    def start(self, client: str, request: RunRequest, *, asks: bool) -> Run:
        """A new run, which begins when its stream is first read.

        Raises:
            RequestError: It cannot be had.
        """
        self._sweep()
        self._check_room()
        agent = self._agent(request, asks=asks)
        if (length := _chars(request.prompt)) > self.limits.prompt_chars:
            raise RequestError(
                f"the prompt has {length:,} characters, and this server takes {self.limits.prompt_chars:,}",
                status=413,
                code="prompt_too_long",
                members={"limit": self.limits.prompt_chars},
            )
        stream = self._stream(agent, client, request)
        info = dataclasses.replace(stream.info, session_id=request.session_id)
        run = self._runs[info.run_id] = Run(stream, client, info, detached=request.detach)
        return run

    def find(self, client: str, run_id: str) -> Run:
        """A run that is there.

        Raises:
            RequestError: There is none, or it is another client's, status 404.
        """
        self._sweep()
        run = self._runs.get(run_id)
        if run is None or run.client != client:
            raise RequestError(
                "there is no run of this id: it was never started, not by this client, or it is no longer kept",
                status=404,
                code="unknown_run",
            )
        return run

    def asking(self, client: str, requests: Iterable[str]) -> Run:
        """The one run that asks all of these.

        Raises:
            RequestError: There is none, status 409.
        """
        wanted = set(requests)
        for run in self._runs.values():
            if run.client == client and run.goes_on and wanted & run.open:
                if missing := wanted - run.open:
                    raise RequestError.unknown_decision(min(missing))
                return run
        raise RequestError.unknown_decision(min(wanted))

    def unknown_agent(self, name: str) -> RequestError:
        """The error for an agent that is not there."""
        there = ", ".join(repr(known) for known, asks in self._asked if asks)
        return RequestError(f"there is no agent {name[:100]!r}; there are: {there}", status=404, code="unknown_agent")

    def forget(self, run: Run) -> None:
        """Drop a run that was never read."""
        self._runs.pop(run.info.run_id, None)

    async def forget_in_time(self) -> NoReturn:
        """Forget runs that are over when they have been kept for long enough, until this is cancelled."""
        while True:
            self._sweep()
            oldest = min((run.ended for run in self._runs.values() if run.ended is not None), default=time.monotonic())
            due = oldest + self.limits.keep_seconds - time.monotonic()  # one that ends meanwhile is due after that
            await anyio.sleep(max(due, _MOMENT))

    async def drain(self, grace: float) -> None:
        """Take no more runs, and wait until those that go on are over: by themselves, and after `grace` cancelled.

        Those that wait for a client to come back are cancelled at once.
        """
        self.closing = True
        for run in self._all_going_on():
            if run.is_parked:
                run.stream.cancel()
        with anyio.move_on_after(grace):
            await self._all_over()
        for run in self._all_going_on():
            await run.end()
        await self._all_over()  # bounded: each has core's own grace for cleaning up

    async def _all_over(self) -> None:
        while going := [run for run in self._all_going_on() if run.last]:  # to wait for another would begin it
            for run in going:
                await run.over()

    def _all_going_on(self) -> list[Run]:
        return [run for run in self._runs.values() if run.goes_on]

    # -- readers ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def one_reader(self) -> Iterator[None]:
        """The time in which somebody reads who has no run that could be counted for it.

        Raises:
            RequestError: There are as many as there may be, status 429.
        """
        if self._readers >= self.limits.readers:
            raise RequestError(
                f"{self.limits.readers} sockets and readers of events are there already, which is what this server "
                f"takes",
                status=429,
                code="too_many_readers",
                retry_after=_COME_BACK,
            )
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1

    # -- starting --------------------------------------------------------------------------------------------------

    def _prepared(self, agent: Agent, *, asks: bool) -> Agent:
        """The agent, watched and limited; whoever reads is asked only where the agent says so, and the client can."""
        approver = None if agent.approver == "reader" and not asks else agent.approver
        limits = self._limited(agent.limits)
        return agent.replace(sinks=(*agent.sinks, self), limits=limits, approver=approver)

    def _limited(self, limits: Limits) -> Limits:
        return dataclasses.replace(
            limits,
            seconds=_stricter(limits.seconds, self.limits.run_seconds),
            decision_seconds=_stricter(limits.decision_seconds, self.limits.decision_seconds),
        )

    def _check_room(self) -> None:
        if self.closing:
            raise RequestError(
                "the server is being stopped and takes no more runs",
                status=503,
                code="shutting_down",
                retry_after=_COME_BACK,
            )
        if self.going_on >= self.limits.runs:
            raise RequestError(
                f"{self.limits.runs} runs go on already, which is what this server takes",
                status=429,
                code="too_many_runs",
                retry_after=_COME_BACK,
            )

    def _agent(self, request: RunRequest, *, asks: bool) -> Agent:
        agent = self._asked.get((request.agent if request.agent is not None else self._default, asks))
        if agent is None:
            raise self.unknown_agent(str(request.agent))
        changes: Any = {}
        if request.options is not None:
            changes["options"] = _laid_over(agent.options, request.options)
        if request.instructions:
            changes["system_prompt"] = "\n\n".join(filter(None, (agent.system_prompt, request.instructions)))
        return agent.replace(**changes) if changes else agent

    def _stream(self, agent: Agent, client: str, request: RunRequest) -> AgentStream[Any]:
        log = MemoryLog(self.limits.keep_events, keep_bytes=self.limits.keep_bytes) if self._logs else None
        try:
            if request.session_id is None:
                return agent.stream_async(request.prompt, history=request.history, detach=request.detach, log=log)
            if request.history:
                raise RequestError(
                    "the request has a history and names a session, whose history the server keeps; send one of them",
                    status=422,
                    code="history_in_session",
                )
            session = agent.session(_session_id(client, request.session_id), called=request.session_id)
            return session.stream_async(request.prompt, detach=request.detach, log=log)
        except ConfigError as error:  # the agent is sound, so it is the request
            raise RequestError(str(error), status=422, code="invalid_prompt") from error

    def _sweep(self) -> None:
        """Forget runs that are over for too long, or too many."""
        limits, now = self.limits, time.monotonic()
        over = [(run.ended, run_id) for run_id, run in self._runs.items() if run.ended is not None and run.stream.done]
        over.sort()
        surplus = len(over) - limits.keep_runs
        for at, (ended, run_id) in enumerate(over):
            if at < surplus or now - ended >= limits.keep_seconds:
                del self._runs[run_id]


class ClientRuns:
    """The runs of one client, for a `SocketWire`, which reads those that it starts itself."""

    def __init__(self, runs: Runs, client: str) -> None:
        self._runs = runs
        self._client = client
        self._started: list[Run] = []

    def start(self, request: RunRequest, /, *, asks: bool) -> AgentStream[Any]:
        """A new run; see `becket.wires.RunHost`."""
        if request.answers:
            raise RequestError(
                "decisions are made on the run's own stream here, and start none", status=422, code="invalid_decision"
            )
        run = self._runs.start(self._client, request, asks=asks)
        run.held()
        self._started = [*(one for one in self._started if one.goes_on), run]
        return run.stream

    def find(self, run_id: str, /) -> AgentStream[Any]:
        """A run that is there; see `becket.wires.RunHost`."""
        return self._runs.find(self._client, run_id).stream

    def cancel(self) -> None:
        """Cancel what was started here and is not detached."""
        for run in self._started:
            if not run.detached:
                run.stream.cancel()

    async def leave(self) -> None:
        """The same, and wait until it has cleaned up."""
        self.cancel()
        with anyio.CancelScope(shield=True):  # bounded: each run has core's own grace
            for run in self._started:
                await run.stream.aclose()
                await run.leave(parked=False)


def _laid_over(own: ModelOptions, asked: ModelOptions) -> ModelOptions:
    """An agent's options, with those that a client has set instead."""
    default = ModelOptions()
    changes: dict[str, Any] = {
        item.name: given
        for item in dataclasses.fields(asked)
        if (given := getattr(asked, item.name)) != getattr(default, item.name)
    }
    return dataclasses.replace(own, **changes | {"extra": {**own.extra, **asked.extra}})


def _stricter(one: float | None, other: float | None) -> float | None:
    return min((given for given in (one, other) if given is not None), default=None)


def _session_id(client: str, name: str) -> str:
    """The id of a client's conversation among those of others, and of the host's own."""
    if not (0 < len(name) <= _SESSION_CHARS) or not name.isprintable():
        raise RequestError(
            f"a session's id is a text of 1 to {_SESSION_CHARS} characters, none of them a control character",
            status=422,
            code="invalid_session",
        )
    return f"serve/{client}/{name}"


def _chars(prompt: Prompt) -> int:
    """Characters of text in a prompt."""
    if isinstance(prompt, str):
        return len(prompt)
    parts = prompt.content if isinstance(prompt, Message) else prompt
    return sum(_chars(part) if isinstance(part, Message) else len(getattr(part, "text", "")) for part in parts)
