"""What a run has to do with its session: it enters it, loads its history, stores what it adds, and leaves it.

No lock is held while a run goes on, so none can be left locked. Who is in which session is a table of weak references;
whoever comes next looks at the run that stands there, and at whether that can go on at all.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakValueDictionary

import anyio

from becket._backend import current_backend
from becket._inprocess import GRACE
from becket._log import logger
from becket._outcome import TAKEN
from becket.content import Message, Text, ToolResult, Usage, to_messages
from becket.errors import ConfigError, PluginError, ProtocolError, SessionError
from becket.session import MemorySessionStore, SessionState, SessionStore, SessionUpdate

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket._loading import PluginSet
    from becket.turn import Turn

__all__ = ["SessionRun", "clear", "find_store", "fork", "load"]

UNANSWERED: Final = "The run ended before there was an answer."
"""Stands for the answer to a prompt that got none, so that user and assistant take turns in every history."""

ANSWERED: Final = "The answer is the output above."
"""The same after a run that gave its structured output by a tool, whose result is a message of the user's."""

PATIENCE: Final = 4 * GRACE
"""Seconds for a run that is about to be over: its tools, its sinks, its log and its session have a grace each."""


_lock = threading.Lock()
_inside: WeakValueDictionary[tuple[int, int, str], SessionRun] = WeakValueDictionary()
"""Who is in which session of which store, in this process: agents and runtimes may share a store."""


class Occupant(Protocol):
    """Who is in a session, as far as the next one has to know."""

    @property
    def leaving(self) -> bool:
        """Whether it is about to be over: cancelled, left by its reader, or at its terminal event."""
        ...

    @property
    def gone(self) -> bool:
        """Whether it is over, or can never be, since its event loop was closed."""
        ...


class SessionRun:
    """One run in a session.

    Attributes:
        session_id: The session.
        called: Its name in errors.
        run_id: The run, empty for what is none.
        occupant: How far it is.
        waiting: Called when it has left the session.
        storing: Whether the store is at work for the run.
    """

    __slots__ = (
        "__weakref__",
        "_key",
        "_pending",
        "_revision",
        "_stale",
        "_store",
        "_stored",
        "_turn",
        "_usage",
        "called",
        "occupant",
        "run_id",
        "session_id",
        "storing",
        "waiting",
    )

    occupant: Occupant
    _turn: Turn

    def __init__(self, store: SessionStore, session_id: str, called: str | None = None) -> None:
        self.session_id = session_id
        self.called = session_id if called is None else called
        self.storing = False
        self._store = store
        self._key = (os.getpid(), id(store), session_id)  # in a fork of the process, the runs have stayed behind
        self.run_id = ""
        self.waiting: list[Callable[[], object]] = []
        self._revision: str | None = None
        self._stored = 0
        self._usage = Usage()
        self._pending: SessionUpdate | None = None
        self._stale = False

    # -- one at a time ---------------------------------------------------------------------------------------------

    def enter(self, occupant: Occupant, run_id: str = "") -> SessionError | None:
        """Take the session. The error to fail with where another run goes on in it.

        None too where the run in it is about to be over; `ready` then waits for that.
        """
        self.occupant, self.run_id = occupant, run_id
        with _lock:
            holder = self._take()
            busy = holder is not None and not holder.occupant.leaving
        return self._refusal(holder) if holder is not None and busy else None

    async def ready(self) -> None:
        """Wait until the session is this run's.

        Raises:
            SessionError: Another run has taken it meanwhile.
        """
        until = anyio.current_time() + PATIENCE
        while (left := self._ask()) is not None:
            with anyio.CancelScope(deadline=until) as scope:
                await left.wait()
            if scope.cancelled_caught:
                logger.error(
                    "the run before %r has not let go of the session %r; it can store no more there",
                    self.run_id,
                    self.session_id,
                )
                with _lock:
                    _inside[self._key] = self

    def _ask(self) -> anyio.Event | None:
        """Take the session; where it is still taken, what is set once that has changed."""
        left, post = anyio.Event(), current_backend().post
        with _lock:
            holder = self._take()
            if holder is None:
                return None
            if holder.occupant.leaving:
                holder.waiting.append(lambda: post(left.set))
                return left
        raise self._refusal(holder)

    def _take(self) -> SessionRun | None:
        """Take the session, under the lock; who is in it, None where that is this one now."""
        holder = _inside.get(self._key)
        if holder is None or holder is self or holder.occupant.gone:
            _inside[self._key] = self
            return None
        return holder

    def leave(self) -> None:
        """The run is over: the next one may enter. Nothing happens where it was not in there."""
        with _lock:
            if _inside.get(self._key) is self:
                del _inside[self._key]
            waiting, self.waiting = self.waiting, []
        for wake in waiting:
            wake()

    def _refusal(self, holder: SessionRun) -> SessionError:
        return SessionError(
            f"the run {holder.run_id} goes on in the session {self.called!r}, and a session has one run at a "
            f"time; wait for its end, cancel it, or go on beside it in a fork: await session.fork('another id')",
            session_id=self.session_id,
            running=holder.run_id,
        )

    # -- history ---------------------------------------------------------------------------------------------------

    async def load(self, turn: Turn, prompt: tuple[Message, ...]) -> tuple[Message, ...]:
        """Load the history into `turn`, which has none yet. The prompt as it goes on from there.

        Raises:
            SessionError: Another run goes on in the session, or the store failed.
            ProtocolError: The store broke its contract.
        """
        await self.ready()
        self.storing = True
        try:
            state = await load(self._store, self.session_id, self.called)
        finally:
            self.storing = False
        self._turn, turn.messages = turn, state.messages
        self._revision, self._stored = state.revision, len(state.messages)
        if state.messages and state.messages[-1].role == prompt[0].role == "user":
            return (_between(state.messages[-1]), *prompt)
        return prompt

    async def save(self) -> None:
        """Store what the run has added since the last time, as far as every tool call in it is answered.

        What failed, or was cancelled, may be there all the same; it is sent again, as it was, by the next call.

        Raises:
            SessionError: The session was changed meanwhile, or the store failed.
            ProtocolError: The store broke its contract.
        """
        if self._revision is None or self._stale or self._turn.phase not in ("idle", "done"):
            return
        if self.storing:
            raise self._lost("its store did not end when it was cancelled")
        self.storing = True
        try:
            while (update := self._pending or self._added()) is not None:
                self._pending = update
                await self._write(update)
        finally:
            self.storing = False

    async def finish(self) -> Exception | None:
        """Store the rest, within the grace, whatever the run is cancelled by; what went wrong, which is logged too."""
        failure: Exception | None = None
        try:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + GRACE) as scope:
                await self.save()
        except Exception as error:  # noqa: BLE001  whatever it is: the reader gets it
            failure = error
        else:
            if scope.cancelled_caught:
                failure = self._lost(f"its store took longer than {GRACE:g} s")
        if failure is not None:
            logger.error("run %s: %s", self.run_id, failure, exc_info=failure)
        return failure

    def _added(self) -> SessionUpdate | None:
        """What the run has added since the last time; None where that is nothing."""
        turn, revision = self._turn, self._revision or ""
        messages, usage = tuple(turn.messages[self._stored :]), _less(turn.usage, self._usage)
        if not messages and usage == Usage():
            return None
        return SessionUpdate(self.session_id, revision, _new_revision(), messages, usage, self.run_id)

    async def _write(self, update: SessionUpdate) -> None:
        if not await _save(self._store, update, self.called):
            self._stale = True
            raise self._lost("it was changed elsewhere since the run loaded it")
        self._pending, self._revision = None, update.revision
        self._stored += len(update.messages)
        self._usage += update.usage

    def _lost(self, why: str) -> SessionError:
        return SessionError(
            f"{len(self._turn.messages) - self._stored} messages of the run {self.run_id} are not stored in the "
            f"session {self.called!r}: {why}; a new run goes on from what is stored now",
            session_id=self.session_id,
        )


def _between(last: Message) -> Message:
    """What stands for an answer between a history that ends with a message of the user's and the next prompt."""
    if any(isinstance(block, ToolResult) and block.text == TAKEN for block in last.content):
        return Message("assistant", (Text(ANSWERED),))
    return Message("assistant", (Text(UNANSWERED),), interrupted=True)


class _Brief:
    """Who is in a session only for the time of one write: waited for."""

    leaving = True
    gone = False


def find_store(
    given: SessionStore | None, plugins: PluginSet, *, strict: bool
) -> tuple[SessionStore, PluginError | None]:
    """The store of a runtime, and what is wrong with it, for those who ask for it: most runs have no session.

    Raises:
        ConfigError: What is given is no store.
        PluginError: The plugin that was to give it failed to, and the runtime is strict.
    """
    if given is not None:
        if isinstance(given, type) or not isinstance(given, SessionStore):
            raise ConfigError(f"session_store is {given!r}; it takes an object with what becket.SessionStore has")
        return given, None
    try:
        found = plugins.first("make_session_store", SessionStore, "the session store")  # type: ignore[type-abstract]  # python/mypy#4717
    except PluginError as error:
        if strict:
            raise
        return MemorySessionStore(), error
    return MemorySessionStore() if found is None else found, None


async def load(store: SessionStore, session_id: str, called: str | None = None) -> SessionState:
    """What is stored of the session; the state of a new one where nothing is. Errors call it by its other name.

    Raises:
        SessionError: The store failed.
        ProtocolError: The store broke its contract.
    """
    try:
        state: object = await store.load(session_id)
    except (Exception, SystemExit) as error:
        raise _failed(session_id, "loaded", error, called) from error
    if state is None:
        return SessionState(session_id)
    if not isinstance(state, SessionState) or state.id != session_id:
        raise ProtocolError(f"load() of the session store {store!r} returned {state!r} for the session {session_id!r}")
    return state


async def fork(state: SessionState, session_id: str, store: SessionStore, at: int | None) -> None:
    """Begin the session `session_id` with the first `at` messages of another one; see `Session.fork`."""
    there = len(state.messages)
    if at is not None and not 0 <= at <= there:
        raise ConfigError(f"at is {at}, and the session {state.id!r} has {there} messages; it takes 0 to {there}")
    kept = tuple(state.messages[:at])
    try:
        to_messages(kept or "none")
    except ConfigError as error:
        raise ConfigError(f"the session {state.id!r} cannot be forked at {at}: {error}") from None
    if not await _save(store, SessionUpdate(session_id, "", _new_revision(), kept)):
        raise SessionError(
            f"there is a session {session_id!r} already; fork to an id that is new, or clear that session first",
            session_id=session_id,
        )


async def clear(store: SessionStore, session_id: str) -> None:
    """Forget the session; see `Session.clear`."""
    visit = SessionRun(store, session_id)
    if (refusal := visit.enter(_Brief())) is not None:
        raise refusal
    try:
        await visit.ready()
        await _delete(store, session_id)
    finally:
        visit.leave()


async def _delete(store: SessionStore, session_id: str) -> None:
    try:
        await store.delete(session_id)
    except (Exception, SystemExit) as error:
        raise _failed(session_id, "cleared", error) from error


async def _save(store: SessionStore, update: SessionUpdate, called: str | None = None) -> bool:
    try:
        written: object = await store.save(update)
    except (Exception, SystemExit) as error:
        raise _failed(update.session_id, "stored", error, called) from error
    if not isinstance(written, bool):
        raise ProtocolError(f"save() of the session store {store!r} returned {written!r}; it returns True or False")
    return written


def _failed(session_id: str, what: str, error: BaseException, called: str | None = None) -> SessionError:
    said = f"{type(error).__name__}: {error}"
    return SessionError(f"the session {called or session_id!r} could not be {what}: {said}", session_id=session_id)


def _less(usage: Usage, before: Usage) -> Usage:
    return Usage(
        usage.input_tokens - before.input_tokens,
        usage.output_tokens - before.output_tokens,
        usage.cached_tokens - before.cached_tokens,
        usage.reasoning_tokens - before.reasoning_tokens,
    )


def _new_revision() -> str:
    """A revision that no other update makes: a session that was deleted and begun anew is not taken for the old one."""
    return os.urandom(8).hex()
