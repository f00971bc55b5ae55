"""The store in memory keeps the contract of session stores; the tests of the contract find every way to break it."""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from becket import (
    MemorySessionStore,
    Message,
    ProtocolError,
    SessionState,
    SessionStore,
    SessionUpdate,
    Text,
    Usage,
)
from becket.testing import SessionStoreConformance

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


class TestMemorySessionStore(SessionStoreConformance):
    def make_store(self) -> SessionStore:
        return MemorySessionStore()


class JsonStore(MemorySessionStore):
    """Keeps updates as JSON, one after the other, in a place that another store may open: what lasting ones do."""

    __slots__ = ("lines",)

    def __init__(self, lines: dict[str, list[bytes]] | None = None) -> None:
        super().__init__()
        self.lines: dict[str, list[bytes]] = {} if lines is None else lines

    async def load(self, session_id: str, /) -> SessionState | None:
        await checkpoint()
        state = SessionState(session_id)
        for line in self.lines.get(session_id, ()):
            state.receive(SessionUpdate.from_json(line))
        return SessionState.from_json(state.to_json()) if state.revision else None

    async def save(self, update: SessionUpdate, /) -> bool:
        await checkpoint()
        lines = self.lines.get(update.session_id, [])
        last = SessionUpdate.from_json(lines[-1]).revision if lines else ""
        if update.revision == last:
            return True
        if update.after != last:
            return False
        self.lines[update.session_id] = [*lines, update.to_json()]
        return True

    async def delete(self, session_id: str, /) -> None:
        self.lines.pop(session_id, None)


class TestStoreOfUpdates(SessionStoreConformance):
    def make_store(self) -> SessionStore:
        return JsonStore()

    def reopen(self, store: Any) -> SessionStore:
        return JsonStore(store.lines)


# -- stores that break the contract ------------------------------------------------------------------------------------


class Faulty(MemorySessionStore):
    """The store in memory, open to what the classes below do wrong."""

    __slots__ = ("closed",)

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def replaced(self, state: SessionState) -> None:
        self._sessions[state.id] = state


class MakesUpSessions(Faulty):
    async def load(self, session_id: str, /) -> SessionState | None:
        return await super().load(session_id) or SessionState(session_id)


class KeepsNothing(Faulty):
    async def save(self, update: SessionUpdate, /) -> bool:
        return True


class ForgetsMarks(Faulty):
    async def save(self, update: SessionUpdate, /) -> bool:
        plain = tuple(Message(message.role, message.content) for message in update.messages)
        return await super().save(_changed(update, messages=plain))


class KeepsTheFirstUsage(Faulty):
    async def save(self, update: SessionUpdate, /) -> bool:
        return await super().save(_changed(update, usage=Usage()) if update.after else update)


class PutsNewMessagesFirst(Faulty):
    async def load(self, session_id: str, /) -> SessionState | None:
        state = await super().load(session_id)
        if state is not None:
            state.messages.reverse()
        return state


class SkipsEmptyUpdates(Faulty):
    async def save(self, update: SessionUpdate, /) -> bool:
        return await super().save(update) if update.messages else True


class KeepsTheLastThousand(Faulty):
    async def load(self, session_id: str, /) -> SessionState | None:
        state = await super().load(session_id)
        if state is not None:
            del state.messages[:-1000]
        return state


class OverwritesTheNewer(Faulty):
    async def save(self, update: SessionUpdate, /) -> bool:
        state = await self.load(update.session_id) or SessionState(update.session_id)
        if state.revision != update.revision:
            state.revision = update.after
            state.receive(update)
            self.replaced(state)
        return True


class IgnoresRepeats(Faulty):
    async def save(self, update: SessionUpdate, /) -> bool:
        state = await self.load(update.session_id)
        return await super().save(update) if state is None or state.revision != update.revision else False


class WritesRepeats(Faulty):
    async def save(self, update: SessionUpdate, /) -> bool:
        state = await self.load(update.session_id)
        if state is not None and state.revision == update.revision:
            state.messages.extend(update.messages)
            self.replaced(state)
            return True
        return await super().save(update)


class LooksThenWrites(Faulty):
    async def save(self, update: SessionUpdate, /) -> bool:
        state = await self.load(update.session_id) or SessionState(update.session_id)
        await checkpoint()
        if state.revision == update.revision:
            return True
        if state.revision != update.after:
            return False
        state.receive(update)
        self.replaced(state)
        return True


class KnowsNoCase(Faulty):
    async def load(self, session_id: str, /) -> SessionState | None:
        state = await super().load(session_id.casefold())
        if state is not None:
            state.id = session_id
        return state

    async def save(self, update: SessionUpdate, /) -> bool:
        return await super().save(_changed(update, session_id=update.session_id.casefold()))


class DeletesByPrefix(Faulty):
    async def delete(self, session_id: str, /) -> None:
        for name in [name for name in self._sessions if name.startswith(session_id)]:
            await super().delete(name)


class SharesItsState(Faulty):
    async def load(self, session_id: str, /) -> SessionState | None:
        return self._sessions.get(session_id)


class DeletesNothing(Faulty):
    async def delete(self, session_id: str, /) -> None:
        pass


class TakesUpDeletedSessions(Faulty):
    async def save(self, update: SessionUpdate, /) -> bool:
        there = await self.load(update.session_id)
        return await super().save(update if there else _changed(update, after=""))


class IsTornByCancellation(Faulty):
    async def save(self, update: SessionUpdate, /) -> bool:
        state = self._sessions.get(update.session_id) or SessionState(update.session_id)
        if state.revision == update.revision:
            return True
        if state.revision != update.after:
            return False
        self.replaced(state)
        for message in update.messages:
            state.messages.append(message)
            await checkpoint()
        state.revision, state.usage, state.run_id = update.revision, state.usage + update.usage, update.run_id
        return True


class IsBoundToItsFirstLoop(Faulty):
    __slots__ = ("lock",)

    async def save(self, update: SessionUpdate, /) -> bool:
        token = anyio.lowlevel.current_token()
        if getattr(self, "lock", token) != token:
            raise RuntimeError("it is bound to another event loop")
        self.lock = token
        return await super().save(update)


class ClosesForGood(Faulty):
    async def load(self, session_id: str, /) -> SessionState | None:
        return None if self.closed else await super().load(session_id)

    async def aclose(self) -> None:
        self.closed = True


def _changed(update: SessionUpdate, **changes: Any) -> SessionUpdate:
    fields = {name: getattr(update, name) for name in SessionUpdate.__dataclass_fields__}
    return SessionUpdate(**{**fields, **changes})


TESTS = [name for name in vars(SessionStoreConformance) if name.startswith("test_")]

FAULTS: list[tuple[Callable[[], MemorySessionStore], str]] = [
    (MakesUpSessions, "test_a_session_that_was_never_saved_is_none"),
    (KeepsNothing, "test_a_long_history_is_kept_whole"),
    (ForgetsMarks, "test_what_was_saved_is_loaded"),
    (KeepsTheFirstUsage, "test_updates_add_up_in_their_order"),
    (PutsNewMessagesFirst, "test_updates_add_up_in_their_order"),
    (SkipsEmptyUpdates, "test_a_session_may_begin_without_a_message"),
    (KeepsTheLastThousand, "test_a_long_history_is_kept_whole"),
    (OverwritesTheNewer, "test_an_update_on_another_revision_is_refused"),
    (IgnoresRepeats, "test_an_update_that_is_there_is_not_written_again"),
    (WritesRepeats, "test_an_update_that_is_there_is_not_written_again"),
    (LooksThenWrites, "test_of_updates_at_once_one_is_written"),
    (KnowsNoCase, "test_ids_are_kept_apart"),
    (DeletesByPrefix, "test_ids_are_kept_apart"),
    (SharesItsState, "test_what_was_loaded_is_the_callers"),
    (DeletesNothing, "test_a_deleted_session_is_gone"),
    (TakesUpDeletedSessions, "test_a_deleted_session_is_gone"),
    (IsTornByCancellation, "test_a_cancelled_save_is_whole_or_not_at_all"),
    (IsBoundToItsFirstLoop, "test_it_serves_several_event_loops"),
    (ClosesForGood, "test_it_stays_usable_when_it_was_closed"),
    (functools.partial(JsonStore, {}), "test_another_store_on_the_same_data_has_it"),
]


class Kit(SessionStoreConformance):
    """The tests of the contract, to be called one by one. Its stores share nothing: the fault of one of them."""

    __test__ = False

    def make_store(self) -> SessionStore:
        raise NotImplementedError

    def reopen(self, store: SessionStore) -> SessionStore:
        return JsonStore() if isinstance(store, JsonStore) else store


@pytest.mark.parametrize(("make", "test"), FAULTS, ids=lambda one: getattr(one, "__name__", None))
async def test_a_store_that_breaks_the_contract_is_found(make: Callable[[], MemorySessionStore], test: str) -> None:
    with pytest.raises((AssertionError, ExceptionGroup)) as caught:
        await getattr(Kit(), test)(make())
    if isinstance(caught.value, ExceptionGroup):
        assert caught.group_contains((AssertionError, RuntimeError))


def test_every_test_of_the_contract_finds_a_fault() -> None:
    assert {test for _, test in FAULTS} == set(TESTS)


def test_pytest_is_not_imported_before_a_conformance_class_is_asked_for() -> None:
    look = "print('pytest' in sys.modules)"
    script = f"import sys, becket.testing as t; {look}; t.SessionStoreConformance; {look}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603  our own
    assert done.stdout.split() == ["False", "True"]


def test_what_does_not_exist_in_the_kit_is_an_attribute_error() -> None:
    import becket.testing

    with pytest.raises(AttributeError, match=r"'becket\.testing' has no attribute 'MockStore'"):
        becket.testing.MockStore  # noqa: B018  the access is what is tested


# -- stored state ------------------------------------------------------------------------------------------------------


def test_state_round_trips_through_json() -> None:
    state = SessionState("chat", "r1", [Message("user", (Text("hi"),))], Usage(1, 2), "run")
    assert SessionState.from_json(state.to_json()) == state


def test_state_of_a_newer_version_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"the state of a session was stored by a newer becket \(state version 2\)"):
        SessionState.from_json(b'{"id": "chat", "version": 2}')
    with pytest.raises(ProtocolError, match=r"an update of a session was stored by a newer becket \(state version 9\)"):
        SessionUpdate.from_json(b'{"version": 9}')


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"id": 5}', b'{"id": "chat", "messages": [{"role": "king"}]}'])
def test_what_is_no_state_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError, match="this is not the state of a session: "):
        SessionState.from_json(raw)


def test_an_update_of_something_else_does_not_fold_and_changes_nothing() -> None:
    state = SessionState("chat", "r1")
    for update in (SessionUpdate("other", "r1", "r2"), SessionUpdate("chat", "r0", "r2")):
        with pytest.raises(ProtocolError, match="the update 'r2' builds on"):
            state.receive(update)
    assert state == SessionState("chat", "r1")
