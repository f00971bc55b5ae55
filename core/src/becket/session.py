"""Sessions: history that lasts from one run to the next, where it is stored, and the handle that runs are started from.

What is stored grows by updates: each names the revision that it builds on and the one that it makes. That is how a
store can tell a writer that is behind, and how a write whose answer was lost can be made again without harm.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypedDict, TypeVar, Unpack, overload, runtime_checkable

from becket._values import Value, adapter, read_state, value
from becket.content import Message, Usage
from becket.errors import ConfigError, ProtocolError

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from becket.agent import Agent
    from becket.content import AgentResult, Prompt
    from becket.log import EventLog
    from becket.options import Limits
    from becket.output import Output
    from becket.stream import AgentStream

__all__ = ["MemorySessionStore", "Session", "SessionState", "SessionStore", "SessionUpdate", "check_session_id"]

T = TypeVar("T")

STATE_VERSION: Final = 1

ID_LENGTH: Final = 256
"""Characters that a session's id may have: as a key it fits every database there is."""

_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_session_id(session_id: object) -> str:
    """The id, if it is one: a text of 1 to 256 characters, not all of them blank, and no control character among them.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(session_id, str):
        raise ConfigError(f"a session's id is a text, and this is {session_id!r}; write {str(session_id)!r} if you can")
    if not session_id.strip():
        raise ConfigError(f"a session's id is a text that names the conversation, and this is {session_id!r}")
    if len(session_id) > ID_LENGTH:
        raise ConfigError(
            f"the session id {session_id[:40]!r}... has {len(session_id):,} characters, and {ID_LENGTH} are allowed; "
            f"a digest of it would do"
        )
    if odd := _CONTROLS.search(session_id):
        raise ConfigError(f"the session id {session_id!r} has the control character {odd[0]!r} in it; leave it out")
    return session_id


@value
class SessionUpdate(Value):
    """One write to a session: what it adds, on which revision, and the revision that the session has then.

    Attributes:
        session_id: The session.
        after: The revision that it builds on; empty where it begins the session.
        revision: The revision that it makes; no two updates make the same.
        messages: What it adds to the history, in order.
        usage: Tokens spent since the update before.
        run_id: The run that wrote it, empty where none did.
        version: Of this value's JSON.
    """

    session_id: str
    after: str
    revision: str
    messages: tuple[Message, ...] = ()
    usage: Usage = field(default_factory=Usage)
    run_id: str = ""
    version: int = STATE_VERSION

    def to_json(self) -> bytes:
        """The update as JSON, for a store that keeps updates and folds them when a session is loaded."""
        return adapter(SessionUpdate).dump_json(self)

    @classmethod
    def from_json(cls, raw: str | bytes) -> SessionUpdate:
        """The update that `to_json` wrote.

        Raises:
            ProtocolError: `raw` is no update, or one of a later version.
        """
        return read_state(SessionUpdate, raw, "an update of a session", STATE_VERSION)


@dataclass(slots=True)
class SessionState:
    """What is stored of a session.

    Attributes:
        id: Its id.
        revision: Which state of it this is; empty for one that was never written. Compared, and never read.
        messages: The history, oldest first. Every tool call in it has its result in the next message.
        usage: Tokens of all its runs.
        run_id: The run that wrote last, empty where none did.
        version: Of this state's JSON.
    """

    id: str
    revision: str = ""
    messages: list[Message] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    run_id: str = ""
    version: int = STATE_VERSION

    def receive(self, update: SessionUpdate) -> None:
        """Fold one update.

        Raises:
            ProtocolError: It is of another session, or builds on another revision; the state is then unchanged.
        """
        if (update.session_id, update.after) != (self.id, self.revision):
            raise ProtocolError(
                f"the update {update.revision!r} builds on {update.session_id!r} at the revision {update.after!r}, "
                f"and this is {self.id!r} at {self.revision!r}"
            )
        self.revision, self.run_id = update.revision, update.run_id
        self.messages.extend(update.messages)
        self.usage += update.usage

    def to_json(self) -> bytes:
        """The state as JSON."""
        return adapter(SessionState).dump_json(self)

    @classmethod
    def from_json(cls, raw: str | bytes) -> SessionState:
        """The state that `to_json` wrote.

        Raises:
            ProtocolError: `raw` is no such state, or one of a later version.
        """
        return read_state(SessionState, raw, "the state of a session", STATE_VERSION)


@runtime_checkable
class SessionStore(Protocol):
    """Where sessions are stored. `becket.testing.SessionStoreConformance` says whether a store keeps to this.

    One store serves every run of a `Runtime`, in any number of tasks, threads and event loops at once. Making it must
    be cheap; what is bound to an event loop (a connection) is made on first use and kept per loop.
    Ids are any text that `agent.session` takes: two that differ in one character, in case or in a blank at the end, are
    two sessions, and a store that makes file names or patterns of them has to escape what means something there.

    A cancellation may arrive at any await; what it interrupts is then done whole or not at all. The methods run in the
    middle of a run: they are bounded by its time limit, and at its end by a grace of five seconds. What they raise
    fails the run, and reaches its reader as the cause of a `SessionError`.
    """

    async def load(self, session_id: str, /) -> SessionState | None:
        """The session as it is now, None where there is none. What is returned is the caller's to change."""
        ...

    async def save(self, update: SessionUpdate, /) -> bool:
        """Add to a session, and begin it where `update.after` is empty. True once it lasts.

        False, and nothing written, where the session is at another revision than `update.after`: somebody else has
        written. Of two updates that build on one revision only one is written, whoever sends them, so looking and
        writing must be one step. An update that is there already, since the session is at `update.revision`, is not
        written again, and gives True.

        Called once before the first model call of a run, with its prompt, once a cycle, and at its end; each time with
        what was added since.
        """
        ...

    async def delete(self, session_id: str, /) -> None:
        """Forget a session; nothing happens where there is none. An update that builds on it finds it gone."""
        ...

    async def aclose(self) -> None:
        """Let go of what is kept for the running event loop.

        Called when a `Runtime` closes; the store stays usable.
        """
        ...


class MemorySessionStore:
    """Sessions in memory: they last as long as this object, all of them, until they are deleted."""

    __slots__ = ("_lock", "_sessions")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[str, SessionState] = {}

    def __repr__(self) -> str:
        return f"<memory store of {len(self._sessions)} sessions>"

    async def load(self, session_id: str, /) -> SessionState | None:
        """A copy of the session; the messages in it are shared, being values."""
        with self._lock:
            state = self._sessions.get(session_id)
            if state is None:
                return None
            return SessionState(state.id, state.revision, list(state.messages), state.usage, state.run_id)

    async def save(self, update: SessionUpdate, /) -> bool:
        """Add to a session; see `SessionStore.save`."""
        with self._lock:
            state = self._sessions.get(update.session_id) or SessionState(update.session_id)
            if state.revision == update.revision:
                return True
            if state.revision != update.after:
                return False
            state.receive(update)
            self._sessions[update.session_id] = state
            return True

    async def delete(self, session_id: str, /) -> None:
        """Forget a session."""
        with self._lock:
            self._sessions.pop(session_id, None)

    async def aclose(self) -> None:
        """Nothing is kept for an event loop."""


class _RunOptions(TypedDict, total=False):
    """What a run may be given besides its prompt and its output."""

    context: object
    limits: Limits | None


class _StreamOptions(_RunOptions, total=False):
    """The same for a run whose stream is handed out."""

    detach: bool
    log: EventLog | None


class Session:
    """A conversation: runs that each begin where the one before ended. Made by `Agent.session`; costs nothing to make.

    One run at a time: a second one, started while another goes on in this process, fails with a `SessionError` that
    names the other, whichever handle, task, thread, event loop or agent it comes from. One that is being cancelled, or
    whose reader has gone, is waited for. Two processes on one store are told apart when they write: the second one to
    build on the same state fails with a `SessionError`, as a rule before its first model call.

    The history is stored before the first model call, once a cycle, and at the end of a run, however it ends, before
    its reader is told that it is over; if that fails the reader gets a `SessionError` after the terminal event. An
    interrupted answer is kept, marked as interrupted; a prompt that got no answer at all is answered, when the next run
    begins, by a message that says so, since some services refuse two messages of the user in a row.
    """

    __slots__ = ("_agent", "_called", "_id", "_store")

    def __init__(self, agent: Agent, session_id: str, store: SessionStore, called: str | None = None) -> None:
        self._agent = agent
        self._id = check_session_id(session_id)
        self._called = called
        self._store = store

    @property
    def id(self) -> str:
        """The session's id."""
        return self._id

    @property
    def agent(self) -> Agent:
        """The agent whose runs these are."""
        return self._agent

    def __repr__(self) -> str:
        return f"<session {self._id!r} of {self._agent!r}>"

    # -- runs ------------------------------------------------------------------------------------------------------

    @overload
    def stream_async(
        self, prompt: Prompt, *, output: Output[T], **options: Unpack[_StreamOptions]
    ) -> AgentStream[T]: ...

    @overload
    def stream_async(
        self, prompt: Prompt, *, output: TypeForm[T], **options: Unpack[_StreamOptions]
    ) -> AgentStream[T]: ...

    @overload
    def stream_async(
        self, prompt: Prompt, *, output: None = None, **options: Unpack[_StreamOptions]
    ) -> AgentStream[Any]: ...

    def stream_async(
        self,
        prompt: Prompt,
        *,
        output: Any = None,
        context: object = None,
        limits: Limits | None = None,
        detach: bool = False,
        log: EventLog | None = None,
    ) -> AgentStream[Any]:
        """Go on with the conversation, and stream what happens; as `Agent.stream_async`, whose arguments these are.

        A plain function: nothing starts, and nothing is held, before the first event is asked for.

        Raises:
            ConfigError: The prompt is empty or is none, no model is to be had, or the output's type cannot be read from
                JSON.
        """
        from becket._sessions import SessionRun

        run = SessionRun(self._store, self._id, self._called)
        stream = self._agent._stream  # noqa: SLF001  its other half
        return stream(prompt, output=output, session=run, context=context, limits=limits, detach=detach, log=log)

    @overload
    async def invoke_async(
        self, prompt: Prompt, *, output: Output[T], **options: Unpack[_RunOptions]
    ) -> AgentResult[T | None]: ...

    @overload
    async def invoke_async(
        self, prompt: Prompt, *, output: TypeForm[T], **options: Unpack[_RunOptions]
    ) -> AgentResult[T | None]: ...

    @overload
    async def invoke_async(
        self, prompt: Prompt, *, output: None = None, **options: Unpack[_RunOptions]
    ) -> AgentResult[Any]: ...

    async def invoke_async(
        self, prompt: Prompt, *, output: Any = None, **options: Unpack[_RunOptions]
    ) -> AgentResult[Any]:
        """Go on with the conversation, to the end of the run.

        Raises:
            SessionError: Another run goes on in this session, or its history could not be loaded or stored.
            Exception: Whatever made the run fail.
        """
        from becket.stream import result_of

        return await result_of(self.stream_async(prompt, output=output, **options))

    @overload
    def __call__(
        self, prompt: Prompt, *, output: Output[T], **options: Unpack[_RunOptions]
    ) -> AgentResult[T | None]: ...

    @overload
    def __call__(
        self, prompt: Prompt, *, output: TypeForm[T], **options: Unpack[_RunOptions]
    ) -> AgentResult[T | None]: ...

    @overload
    def __call__(self, prompt: Prompt, *, output: None = None, **options: Unpack[_RunOptions]) -> AgentResult[Any]: ...

    def __call__(self, prompt: Prompt, *, output: Any = None, **options: Unpack[_RunOptions]) -> AgentResult[Any]:
        """Go on with the conversation, from sync code; as calling the agent."""
        call = self._agent._call  # noqa: SLF001  as above
        return call(lambda: self.invoke_async(prompt, output=output, **options))

    # -- history ---------------------------------------------------------------------------------------------------

    async def state(self) -> SessionState:
        """What is stored of the session, a copy; that of a new one where nothing is."""
        from becket._sessions import load

        return await load(self._store, self._id)

    async def messages(self) -> list[Message]:
        """The history as it is stored, oldest first; of a run that goes on, what it had stored with its last cycle."""
        return (await self.state()).messages

    async def fork(self, session_id: str, *, at: int | None = None) -> Session:
        """Another session, which begins with the history of this one and goes its own way from there.

        May be called while a run goes on here: it gets what is stored at that time. Its usage begins at zero.

        Args:
            session_id: The id of the other session, which must be new.
            at: How many messages it begins with; None for all.

        Raises:
            ConfigError: The id is none, or `at` is, or it parts a tool call from its result.
            SessionError: There is such a session, or the store failed.
        """
        from becket._sessions import fork

        other = Session(self._agent, session_id, self._store)
        await fork(await self.state(), other.id, self._store, at)
        return other

    async def clear(self) -> None:
        """Forget the session; the next run begins it anew.

        Raises:
            SessionError: A run goes on in it, or the store failed.
        """
        from becket._sessions import clear

        await clear(self._store, self._id)
