"""`becket run`: one prompt, one run, one exit code."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

import anyio
from becket import Agent, ConfigError, RunFailed, RunFinished

from becket_cli._approve import approver
from becket_cli._exits import (
    CONFIG,
    FAILED,
    INTERRUPTED,
    LIMIT,
    OK,
    PIPE,
    State,
    by_signal,
    complain,
    described,
    show_traceback,
    with_ids,
)
from becket_cli._interrupts import interrupts
from becket_cli._leave import leave, leave_within
from becket_cli._plugins import built
from becket_cli._sinks import Chosen, chosen_sinks
from becket_cli._streams import Output, kept_clean
from becket_cli._tools import AsksOfProject, chosen_tools

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from becket import AgentStream, Provider, Runtime, Sink

    from becket_cli._approve import Beforehand
    from becket_cli._interrupts import Interrupts

__all__ = ["Wanted", "run"]

GRACE: Final = 5.0
"""Seconds that providers, and whatever else a run has left behind, have for ending: core's own grace."""

_ANSWERED: Final = {"end_turn", "stop_sequence"}
_LIMITS: Final = {"limit_cycles", "limit_tool_calls", "limit_tokens", "limit_cost", "limit_time", "max_tokens"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line asks for.

    Attributes:
        prompt: What to ask the model.
        model: `provider:model`, or None for the default.
        tools: The values of `-t`.
        default_tools: Whether tools are granted that `-t` does not name.
        sinks: The values of `--sink`; none for the console, and what the configuration names.
        level: How much the console shows.
        bare: Whether only those plugins are loaded that `-p` names; the console comes with the command all the same.
        beforehand: What is said to every tool call that is asked about; None to ask.
        json: Whether the events go to standard output, as JSON.
        system: Instructions for the model, or None for those of the configuration.
        limits: What the run may use; fields of `Limits`, before those of the configuration.
        options: How the model is to answer; fields of `ModelOptions`, as above.
    """

    prompt: str
    model: str | None
    tools: Sequence[str]
    default_tools: bool
    sinks: Sequence[str]
    level: str
    bare: bool
    beforehand: Beforehand
    json: bool
    system: str | None
    limits: Mapping[str, Any]
    options: Mapping[str, Any]


@dataclass(slots=True)
class _Ended:
    """How the run ended: by a stop reason, or by an error.

    Attributes:
        stop_reason: The stop reason, or empty.
        error: What the run has failed with.
        said: What its last event says of that: unlike the error, it has been through the masks.
    """

    stop_reason: str = ""
    error: Exception | SystemExit | None = None
    said: str = ""


def run(wanted: Wanted, state: State) -> int:
    """Run the agent, and return the exit code.

    Does not return where something that the run has left behind would keep the process from ending.

    Raises:
        BecketError: The run could not begin.
    """
    with kept_clean() as (stdout, stderr):
        runtime = built(state)
        chosen = chosen_sinks(wanted, runtime, stdout, stderr)
        stream = _agent(wanted, runtime, chosen.sinks, stderr).stream_async(wanted.prompt)
        stdout.told = stderr.told = chosen.told = stream.cancel
        with interrupts() as signals:

            async def main() -> int:
                ended = await _read(stream, signals, stdout if wanted.json else None)
                stdout.flush()
                _explain(ended, chosen, stdout, state=state)
                leave_within(2 * GRACE, _exit_code(ended, signals, chosen, stdout, stderr))
                await _closed(_provider(wanted, runtime))
                code = _exit_code(ended, signals, chosen, stdout, stderr)
                if signals.signal is not None and ended.stop_reason in _ANSWERED:
                    complain("interrupted")  # too late for the run, and yet it is why the command has failed
                if runtime.threads.abandoned:
                    leave(code)
                return code

            try:
                return anyio.run(main, backend="asyncio")
            except BaseException as error:
                if not _is_interrupt(error):
                    raise
                complain("interrupted", error, state=state)
                return INTERRUPTED


def _is_interrupt(error: BaseException) -> bool:
    """Whether it is a `KeyboardInterrupt` that a tool has raised, which no task group and no loop holds back."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KeyboardInterrupt) is not None
    return isinstance(error, KeyboardInterrupt)


def _agent(wanted: Wanted, runtime: Runtime, sinks: Sequence[Sink], stderr: Output) -> Agent:
    _provider(wanted, runtime)  # before the tools: their schemas take time, and this finds the commonest mistake
    config = runtime.config
    tools = chosen_tools(wanted, runtime)
    of_project = AsksOfProject(wanted, runtime)
    return Agent(
        wanted.model,
        tools,
        system_prompt=config.system_prompt if wanted.system is None else wanted.system,
        options=dataclasses.replace(config.options, **wanted.options),
        limits=dataclasses.replace(config.limits, **wanted.limits),
        sinks=sinks,
        policies=[of_project] if of_project.asked else [],
        approver=approver(wanted.beforehand, terminal=cast("TextIO", stderr)),
        runtime=runtime,
    )


def _provider(wanted: Wanted, runtime: Runtime) -> Provider:
    try:
        return runtime.model(wanted.model)[0]
    except ConfigError as error:
        if wanted.model is None:
            raise ConfigError(f"{error} On the command line: -m provider:model; 'becket models' lists them.") from error
        raise


async def _read(stream: AgentStream, signals: Interrupts, lines: Output | None) -> _Ended:
    """Read the run to its end; to `lines`, if it is given, each event as JSON."""
    ended = _Ended()
    try:
        async with stream as events:
            with signals.acted_upon(asyncio.get_running_loop(), stream.cancel):
                async for event in events:
                    if lines is not None:
                        lines.write_line(event.to_json())
                    if isinstance(event, RunFinished) and event.run_id == stream.run_id:
                        ended.stop_reason = event.result.stop_reason
                    elif isinstance(event, RunFailed) and event.run_id == stream.run_id:
                        ended.said = with_ids(event.error.message, event.error)
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever it is that the run has failed with
        ended.error = error
    return ended


async def _closed(provider: Provider) -> None:
    """Let the provider go, within the grace; one that cannot be closed is said, and changes nothing."""
    try:
        with anyio.fail_after(GRACE):
            await provider.aclose()
    except Exception as error:  # noqa: BLE001  a plugin's code; the run is over and its answer is there
        complain(f"the provider {provider.name!r} could not be closed: {type(error).__name__}: {error}")


def _exit_code(ended: _Ended, signals: Interrupts, chosen: Chosen, stdout: Output, stderr: Output) -> int:
    if signals.signal is not None:
        # Whatever has become of the run: what it needs, its reader too, may have got the same Ctrl-C.
        return by_signal(signals.signal)
    if stdout.gone or stderr.gone:
        return PIPE
    if stdout.failure is not None:
        return FAILED
    if chosen.failures or isinstance(ended.error, ConfigError):
        return CONFIG
    if ended.stop_reason in _ANSWERED:
        return OK
    return LIMIT if ended.error is None and ended.stop_reason in _LIMITS else FAILED


def _explain(ended: _Ended, chosen: Chosen, stdout: Output, *, state: State) -> None:
    """Say what no sink has said."""
    for name, failure in chosen.failures:
        complain(f"the sink {name!r} cannot be used: {described(failure)}", failure, state=state)
    if stdout.failure is not None and not stdout.gone:
        complain(f"standard output cannot be written: {stdout.failure.strerror}")
    elif ended.error is not None:
        if not chosen.shown:
            complain(f"the run failed: {described(ended.error, ended.said)}", ended.error, state=state)
        elif state.traceback:
            show_traceback(ended.error)
        for note in getattr(ended.error, "__notes__", ()):
            if note.startswith("raised by the provider ") and not state.traceback:
                complain(f"{note}; --traceback shows where")
    elif not chosen.shown and not chosen.failures and ended.stop_reason not in _ANSWERED:
        complain(f"the run stopped: {ended.stop_reason}")
