"""The contract of session stores as tests, which the tests of a store inherit."""

from __future__ import annotations

from collections.abc import AsyncIterator  # noqa: TC003  pytest looks at the annotations of fixtures
from typing import Final

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from becket.content import (
    Document,
    Extension,
    Image,
    Json,
    MalformedArguments,
    Message,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from becket.session import SessionState, SessionStore, SessionUpdate
from becket.testing._contract import Contract, missing

__all__ = ["SessionStoreConformance"]

WHOLE: Final = (
    Message("user", (Text("What is it?\n"), Image("image/png", "AAAA"), Document("text/plain", url="https://x.test/"))),
    Message("assistant", (Reasoning("hm", signature="seal"), Reasoning(redacted="b3Bh"), Text("a \N{SNOWMAN} \0 b"))),
    Message("user", (Text("'; DROP TABLE sessions; --"),)),
    Message("assistant", (ToolCall("c1", "t", {"n": [1, 2.5, None, {"deep": True}]}), Extension("p", {"seal": "AA"}))),
    Message("user", (ToolResult("c1", "error", (Text("no"), Json({"a": [1]}), Image("image/png", "AA=="))),)),
    Message("assistant", (ToolCall("c1", "t", malformed=MalformedArguments("{", "cut off")),)),
    Message("user", (ToolResult("c1", "interrupted", ()),)),
    Message("assistant", (Text("cut o"),), interrupted=True),
)
"""Messages with everything in them that a message may have."""

APART: Final = (
    *("a", "A", "a ", " a", "aa", "\N{LATIN SMALL LETTER A WITH ACUTE}", "a\N{COMBINING ACUTE ACCENT}"),
    *("a/b", "a\\b", "a:b", "a.b", "a_b", "a%b", "a*b", "a?b", "a'b", 'a"b', "a;b", "a,b", "a|b", "a{b}", "a[b]"),
    *("../a", "/a", "..", ".", "~", "con", "0", "00", "None", "null", "-a", "\N{CAT FACE}", "\N{CAT FACE}" * 200),
    *("x" * 255, "x" * 256),
)
"""Ids that are easily taken for one another, or for what means something to a database or a file system."""


class SessionStoreConformance(Contract):
    """What every session store must do, as tests.

    Subclass it in a test file, and say how a store is made::

        class TestMyStore(SessionStoreConformance):
            @pytest.fixture(autouse=True)
            def folder(self, tmp_path):
                self.path = tmp_path / "sessions.db"

            def make_store(self):
                return MyStore(self.path)

            def reopen(self, store):
                return MyStore(self.path)

    The tests run on every event loop that the fixture `anyio_backend` names: asyncio and trio, unless it is overridden.
    """

    def make_store(self) -> SessionStore:
        """A store that is empty."""
        raise missing(self, "make_store")

    def reopen(self, store: SessionStore) -> SessionStore:
        """Another store on the same data, as another process has it; the same one where there can be no other."""
        return store

    @pytest.fixture
    async def store(self) -> AsyncIterator[SessionStore]:
        """The store under test."""
        store = self.make_store()
        yield store
        await store.aclose()

    async def test_a_session_that_was_never_saved_is_none(self, store: SessionStore) -> None:
        """`load` gives None, and begins nothing by it."""
        for _ in range(2):
            _same(await store.load("chat"), None, "a session that was never saved is None")

    async def test_what_was_saved_is_loaded(self, store: SessionStore) -> None:
        """Every kind of content, the usage, the revision and the run come back equal."""
        usage = Usage(1, 2, 3, 4)
        await _save(store, SessionUpdate("chat", "", "r1", WHOLE, usage, "run"))
        for _ in range(2):
            _same(await store.load("chat"), SessionState("chat", "r1", list(WHOLE), usage, "run"), "what was saved")

    async def test_updates_add_up_in_their_order(self, store: SessionStore) -> None:
        """The history grows at its end, the usage is added up, the last run is kept; an update may add no message."""
        await _save(store, SessionUpdate("chat", "", "r1", (_said("1"), _said("2")), Usage(1, 1), "first"))
        await _save(store, SessionUpdate("chat", "r1", "r2", (), Usage(10, 10), "second"))
        await _save(store, SessionUpdate("chat", "r2", "r3", (_said("3"),), Usage(100, 100), "third"))
        expected = SessionState("chat", "r3", [_said("1"), _said("2"), _said("3")], Usage(111, 111), "third")
        _same(await store.load("chat"), expected, "updates add up")

    async def test_a_session_may_begin_without_a_message(self, store: SessionStore) -> None:
        """It is there then, and cannot be begun again."""
        await _save(store, SessionUpdate("chat", "", "r1"))
        _same(await store.load("chat"), SessionState("chat", "r1"), "a session without a message is there")
        _same(await store.save(SessionUpdate("chat", "", "r2")), False, "a session begins once")

    async def test_a_long_history_is_kept_whole(self, store: SessionStore) -> None:
        """Many messages, many updates, and a megabyte of text."""
        many = tuple(_said(str(number)) for number in range(1000))
        await _save(store, SessionUpdate("chat", "", "0", many))
        for number in range(100):
            await _save(store, SessionUpdate("chat", str(number), str(number + 1), (_said(f"then {number}"),)))
        await _save(store, SessionUpdate("chat", "100", "101", (_said("\N{SNOWMAN}" * 350_000),)))
        state = await _there(store, "chat")
        _same(len(state.messages), 1101, "every message of a long history is there")
        _same(state.messages[:1000], list(many), "a long history is as it was")
        _same(len(state.messages[-1].text), 350_000, "a long message is whole")

    async def test_an_update_on_another_revision_is_refused(self, store: SessionStore) -> None:
        """`save` gives False, and the session is as it was: who is behind must not write over others."""
        await _save(store, SessionUpdate("chat", "", "r1", (_said("1"),)))
        await _save(store, SessionUpdate("chat", "r1", "r2", (_said("2"),)))
        before = await store.load("chat")
        for after in ("", "r1", "r3", "R2"):
            refused = await store.save(SessionUpdate("chat", after, "new", (_said("lost"),)))
            _same(refused, False, f"an update on {after!r} is refused at 'r2'")
            _same(await store.load("chat"), before, "an update that is refused changes nothing")
        _same(await store.save(SessionUpdate("other", "r1", "r2")), False, "an update on a session that is not there")
        _same(await store.load("other"), None, "an update that is refused begins no session")

    async def test_an_update_that_is_there_is_not_written_again(self, store: SessionStore) -> None:
        """It gives True: the answer to the first attempt may have been lost."""
        update = SessionUpdate("chat", "", "r1", (_said("1"),), Usage(1, 1))
        for _ in range(3):
            _same(await store.save(update), True, "an update that is there gives True")
        expected = SessionState("chat", "r1", [_said("1")], Usage(1, 1))
        _same(await store.load("chat"), expected, "an update is written once")

    async def test_of_updates_at_once_one_is_written(self, store: SessionStore) -> None:
        """Looking at the revision and writing are one step, for two stores on the same data as well."""
        stores = [store, self.reopen(store)]
        await _save(store, SessionUpdate("chat", "", "r", (_said("0"),)))
        written: list[str] = []

        async def write(number: int) -> None:
            update = SessionUpdate("chat", "r", f"r{number}", (_said(str(number)),))
            if await stores[number % 2].save(update):
                written.append(update.revision)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(write, number)
        _same(len(written), 1, "of updates on one revision one is written")
        state = await _there(store, "chat")
        _same([state.revision, len(state.messages)], [written[0], 2], "the session is what that one made of it")
        if stores[1] is not store:
            await stores[1].aclose()

    async def test_ids_are_kept_apart(self, store: SessionStore) -> None:
        """Sessions whose ids are nearly the same, or look like a path or a pattern, do not touch one another."""
        for number, name in enumerate(APART):
            _same(await store.load(name), None, f"nothing was saved as {name!r}")
            await _save(store, SessionUpdate(name, "", f"r{number}", (_said(name),)))
        for number, name in enumerate(APART):
            expected = SessionState(name, f"r{number}", [_said(name)])
            _same(await store.load(name), expected, f"{name!r} is a session of its own")
        await store.delete("a")
        _same([name for name in APART if await store.load(name) is None], ["a"], "one session is deleted")

    async def test_what_was_loaded_is_the_callers(self, store: SessionStore) -> None:
        """Changing it changes nothing in the store, and what is saved later does not change it."""
        await _save(store, SessionUpdate("chat", "", "r1", (_said("1"),)))
        mine = await _there(store, "chat")
        mine.messages.append(_said("mine"))
        mine.revision = "mine"
        _same(await store.load("chat"), SessionState("chat", "r1", [_said("1")]), "what was loaded is a copy")
        await _save(store, SessionUpdate("chat", "r1", "r2", (_said("2"),)))
        _same(mine.messages, [_said("1"), _said("mine")], "what was loaded stays as it is")

    async def test_a_deleted_session_is_gone(self, store: SessionStore) -> None:
        """It can be begun anew, and what was built on the old one is refused, even where it comes after that."""
        await _save(store, SessionUpdate("chat", "", "old", (_said("1"),)))
        await _save(store, SessionUpdate("other", "", "old", (_said("1"),)))
        await store.delete("chat")
        await store.delete("chat")  # nothing is there, which is no error
        _same(await store.load("chat"), None, "a deleted session is gone")
        late = SessionUpdate("chat", "old", "late", (_said("late"),))
        _same(await store.save(late), False, "an update on what was deleted is refused")
        await _save(store, SessionUpdate("chat", "", "new", (_said("2"),)))
        _same(await store.save(late), False, "an update on what was deleted is refused")
        _same(await store.load("chat"), SessionState("chat", "new", [_said("2")]), "a session begun anew")
        _same(await store.load("other"), SessionState("other", "old", [_said("1")]), "another session stays")

    async def test_a_cancelled_save_is_whole_or_not_at_all(self, store: SessionStore) -> None:
        """Wherever the cancellation arrives, the session is at a revision, with all of its messages."""
        await _save(store, SessionUpdate("chat", "", "r0", (_said("0"),)))
        states = {"r0": 1}
        for steps in range(5):
            before = await _there(store, "chat")
            update = SessionUpdate("chat", before.revision, f"r{steps + 1}", (_said("a"), _said("b"), _said("c")))
            states[update.revision] = states[before.revision] + 3
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.save, update)
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            after = await _there(store, "chat")
            _same(len(after.messages), states.get(after.revision), "a cancelled save is whole, or not at all")
        await _save(store, SessionUpdate("chat", (await _there(store, "chat")).revision, "end"))

    async def test_it_serves_several_event_loops(self, store: SessionStore) -> None:
        """Used in an event loop of another thread, while it is used in this one."""

        async def write(name: str) -> None:
            for number in range(20):
                await _save(store, SessionUpdate(name, str(number) if number else "", str(number + 1), (_said(name),)))
            _same(len((await _there(store, name)).messages), 20, "what was saved in one event loop")

        async def elsewhere() -> None:
            await write("there")
            await store.aclose()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, anyio.run, elsewhere)
            tasks.start_soon(write, "here")
        _same(len((await _there(store, "there")).messages), 20, "what was saved in another event loop")

    async def test_it_stays_usable_when_it_was_closed(self, store: SessionStore) -> None:
        """Closing lets go of what is kept for the event loop; twice is no error."""
        await _save(store, SessionUpdate("chat", "", "r1", (_said("1"),)))
        for _ in range(2):
            await store.aclose()
        _same(await store.load("chat"), SessionState("chat", "r1", [_said("1")]), "a closed store still has it")

    async def test_another_store_on_the_same_data_has_it(self, store: SessionStore) -> None:
        """What one has saved the other loads, and goes on from."""
        other = self.reopen(store)
        await _save(store, SessionUpdate("chat", "", "r1", WHOLE))
        _same(await other.load("chat"), SessionState("chat", "r1", list(WHOLE)), "another store has what was saved")
        await _save(other, SessionUpdate("chat", "r1", "r2", (_said("2"),)))
        _same(await store.load("chat"), SessionState("chat", "r2", [*WHOLE, _said("2")]), "and the other way round")
        if other is not store:
            await other.aclose()


def _said(text: str) -> Message:
    return Message("user", (Text(text),))


def _same(actual: object, expected: object, rule: str) -> None:
    """Not `assert`, which says little outside of test files, and nothing under `python -O`."""
    if actual != expected:
        raise AssertionError(f"{rule}: {_short(actual)} is not {_short(expected)}")


def _short(item: object) -> str:
    text = repr(item)
    return text if len(text) < 500 else f"{text[:500]}..."  # noqa: PLR2004  what still can be read


async def _save(store: SessionStore, update: SessionUpdate) -> None:
    _same(await store.save(update), True, f"the update on {update.after!r} is written")


async def _there(store: SessionStore, session_id: str) -> SessionState:
    state = await store.load(session_id)
    if state is None:
        raise AssertionError(f"the session {session_id!r} was saved, and is not there")
    return state
