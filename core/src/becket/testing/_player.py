"""Answering from a recording: which recorded run a run follows, and what is said where it leaves it."""

from __future__ import annotations

import difflib
import json
import threading
from typing import TYPE_CHECKING, Any

from becket.testing._compare import CallNames, alike, difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket.testing._secrets import Secrets
    from becket.testing._tape import ModelCall, RecordedRun, ToolRecord

__all__ = ["Player", "ReplayError"]


class ReplayError(AssertionError):
    """What was asked is not what was recorded.

    Not a `BecketError`: a failed assertion of the test that replays, which code under test that falls back to something
    else where a model fails must not take for such a failure.
    """


class Player:
    """What is recorded, and how far it is used up.

    A run follows the recorded run that begins with the same request, each recorded run once; from then on it is held
    to it. So several runs may go on at once, in another order than when they were recorded.

    Args:
        runs: The recorded runs.
        secrets: What is masked in a request before it is compared.
        source: The file, as messages name it.
        hint: What to do where the recording no longer fits.

    Attributes:
        missed: What was asked and is not there, in order.
    """

    def __init__(self, runs: Sequence[RecordedRun], secrets: Secrets, *, source: str, hint: str) -> None:
        self.missed: list[ReplayError] = []
        self._free = [run for run in runs if run.models or run.tools]
        self._secrets = secrets
        self._source = source
        self._hint = hint
        self._followed: dict[str, RecordedRun] = {}
        self._used: dict[str, int] = {}
        self._failed: dict[str, ReplayError] = {}
        self._lock = threading.Lock()  # runs may live in several threads

    def answer(self, run_id: str, now: Any) -> ModelCall:
        """The recorded call that a run makes now.

        Args:
            run_id: The run.
            now: What it asks, as JSON; None for whatever is next in its recorded run, or in the next one.

        Raises:
            ReplayError: There is none, or the run has missed something before.
        """
        with self._lock:
            if run_id in self._failed:
                raise ReplayError(*self._failed[run_id].args)
            now = None if now is None else self._as_recorded(now)
            run = self._followed.get(run_id) or self._begin(run_id, now)
            at = self._used.get(run.name, 0)
            where = f"model call {at + 1} of {run.name} (agent {run.agent!r})"
            if at == len(run.models):
                raise self._miss(run_id, f"{where} is one more than were recorded", {}, now)
            call = run.models[at]
            recorded = _named(call)
            if now is not None and not alike(recorded, now):
                raise self._miss(run_id, f"{where}, recorded in line {call.line}, is asked otherwise", recorded, now)
            self._used[run.name] = at + 1
            return call

    def result(self, run_id: str, cycle: int, call_id: str, tool: str, arguments: Any) -> ToolRecord:
        """The recorded call of a tool.

        Raises:
            ReplayError: There is none; the next model call of the run raises it as well.
        """
        now = self._as_recorded({"tool": tool, "arguments": arguments})
        with self._lock:
            run = self._followed.get(run_id)
            if run is None:  # no model was called: a hook has answered for it
                run = next((one for one in self._free if _has(one, cycle, call_id, now)), None)
                if run is not None:
                    self._follow(run_id, run)
            record = run.tools.get((cycle, call_id)) if run is not None else None
            if run is None or record is None or not record.made:
                raise self._miss(run_id, f"a call of the tool {tool!r} is made, and no such call was recorded", {}, now)
            recorded = {"tool": record.tool, "arguments": record.arguments}
            if not alike(recorded, now):
                where = f"the call of the tool {tool!r} in cycle {cycle} of {run.name} (agent {run.agent!r})"
                raise self._miss(run_id, f"{where}, recorded in line {record.line}, is made otherwise", recorded, now)
            return record

    def unused(self) -> str:
        """What of the recording was not asked for, in words; empty where all of it was."""
        left = [(run, len(run.models) - self._used.get(run.name, 0)) for run in self._followed.values()]
        left += [(run, len(run.models)) for run in self._free if not run.nested]  # its tool's result may stand for it
        said = [f"{count} of {run.name} (agent {run.agent!r})" for run, count in left if count]
        if not said:
            return ""
        return f"{self._source} holds model calls that were not made: {', '.join(said)}; {self._hint}"

    def cut(self, run_id: str, call: ModelCall) -> ReplayError:
        """The error where a recorded answer has no end, and its reader wants more of it."""
        with self._lock:
            return self._missed(
                run_id,
                f"the recorded answer in line {call.line} of {self._source} has no end: the run was cancelled, or its "
                f"reader had left. Now it goes on; {self._hint}",
            )

    # -- following -------------------------------------------------------------------------------------------------

    def _begin(self, run_id: str, now: Any) -> RecordedRun:
        """The recorded run that a run follows from its first request on."""
        free = [run for run in self._free if run.models]
        for run in free:
            if now is None or alike(_named(run.models[0]), now):
                return self._follow(run_id, run)
        if not free and not self._followed:  # there is nothing to compare with
            raise self._missed(run_id, f"{self._source}; {self._hint}")
        if not free:
            raise self._miss(run_id, "no run is recorded that has not been replayed", {}, now)
        near = max(free, key=lambda run: _likeness(_named(run.models[0]), now))
        call = near.models[0]
        where = f"the nearest is {near.name} (agent {near.agent!r}), line {call.line}"
        raise self._miss(run_id, f"no recorded run begins with what is asked; {where}", _named(call), now)

    def _follow(self, run_id: str, run: RecordedRun) -> RecordedRun:
        self._free.remove(run)
        self._followed[run_id] = run
        return run

    def _as_recorded(self, now: Any) -> Any:
        """What is asked, with its secrets masked and its calls named as in a recording."""
        self._secrets.learn(now)
        return self._secrets.masked(CallNames().renamed(now))

    def _miss(self, run_id: str, what: str, recorded: Any, now: Any) -> ReplayError:
        compared = "" if now is None else f"\n\n{difference(recorded, now)}\n"
        return self._missed(run_id, f"{self._source}: {what}; {self._hint}{compared}")

    def _missed(self, run_id: str, text: str) -> ReplayError:
        error = self._failed.setdefault(run_id, ReplayError(text))
        if error not in self.missed:
            self.missed.append(error)
        return error


def _named(call: ModelCall) -> Any:
    return CallNames().renamed(call.request)


def _has(run: RecordedRun, cycle: int, call_id: str, now: Any) -> bool:
    record = run.tools.get((cycle, call_id))
    return record is not None and alike({"tool": record.tool, "arguments": record.arguments}, now)


def _likeness(recorded: Any, now: Any) -> float:
    return difflib.SequenceMatcher(None, json.dumps(recorded), json.dumps(now)).quick_ratio()
