"""The file tools in a run, on both event loops: what the model is told, what it gets, and how a call is cancelled."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import to_thread
from becket import Agent, Allow, ConfigError, Runtime, Text, ToolResult
from becket.testing import ScriptedProvider, calls, text
from becket_tools import FileTools, make_file_tools
from becket_tools._root import Root
from becket_tools._search import search
from becket_tools._settings import FileLimits
from becket_tools._write import write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from becket import HookContext, Tool, ToolCall

LIMITS = FileLimits(max_bytes=10_000, max_chars=1_000, max_entries=50, max_matches=20, timeout=60)


class Trusting:
    """A policy of the host that asks nobody."""

    name = "trusting"

    def approve(self, ctx: HookContext, call: ToolCall, tool: Tool[..., Any], /) -> Allow:
        return Allow()


async def results(tools: FileTools, *wanted: tuple[str, dict[str, Any]]) -> list[ToolResult]:
    """The results of tool calls that a model makes in one cycle."""
    provider = ScriptedProvider(calls(*wanted), text("done"))
    agent = Agent(model=provider, tools=[*tools], policies=[Trusting()], runtime=Runtime(discover=False))
    await agent.invoke_async("go")
    answered = next(
        message
        for message in provider.requests[1].messages
        if message.role == "user" and message.content[0].type == "tool_result"
    )
    return [block for block in answered.content if isinstance(block, ToolResult)]


@pytest.mark.anyio
async def test_a_model_writes_and_reads_files(tmp_path: Path) -> None:
    tools = make_file_tools(tmp_path)
    [written] = await results(tools, ("write_file", {"path": "a/b.txt", "text": "x"}))
    [listed] = await results(tools, ("list_files", {}))
    [read] = await results(tools, ("read_file", {"path": "../b.txt"}))
    assert (written.status, written.content) == ("success", (Text("wrote a/b.txt, new, 1 bytes"),))
    assert listed.content == (Text("a/b.txt"),)
    assert read.status == "error"


@pytest.mark.anyio
async def test_edits_that_a_model_asks_for_together_are_all_made(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("".join(f"<{number}>" for number in range(8)), "utf-8")
    wanted = [("edit_file", {"path": "a", "old": f"<{number}>", "new": f"{number}"}) for number in range(8)]
    assert {result.status for result in await results(make_file_tools(tmp_path), *wanted)} == {"success"}
    assert (tmp_path / "a").read_text("utf-8") == "01234567"


async def cancelled_while_it_works(work: Callable[[Callable[[], None]], object]) -> None:
    """Call `work` in a thread as a run does, cancel it when it calls what it is given, and wait for the thread."""
    ended = threading.Event()
    cancelled = threading.Event()

    def run() -> None:
        try:
            work(reached)
        finally:
            ended.set()

    def reached() -> None:
        anyio.from_thread.run_sync(scope.cancel)
        cancelled.wait()

    with anyio.CancelScope() as scope:
        await to_thread.run_sync(run, abandon_on_cancel=True)
    cancelled.set()
    await to_thread.run_sync(ended.wait)


@pytest.mark.anyio
async def test_a_cancelled_search_opens_no_further_file(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).write_text("x", "utf-8")
    opened: list[None] = []

    def work(reached: Callable[[], None]) -> object:
        def secret() -> list[str]:  # it is asked for each file that is opened
            opened.append(None)
            reached()
            return []

        return search(Root(str(tmp_path), secret), LIMITS, "x", "", "", regex=False, ignore_case=False, context=0)

    await cancelled_while_it_works(work)
    assert len(opened) == 1


@pytest.mark.anyio
async def test_a_cancelled_write_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old", "utf-8")

    def work(reached: Callable[[], None]) -> object:
        def secret() -> list[str]:
            reached()
            return []

        return write(Root(str(tmp_path), secret), LIMITS, "a", "new", overwrite=True)

    await cancelled_while_it_works(work)
    assert (tmp_path / "a").read_text("utf-8") == "old"
    assert os.listdir(tmp_path) == ["a"]  # noqa: PTH208  a path would not do in an async function


# -- what the host, the model and the policy get to know -------------------------------------------------------------


def test_the_tools_are_reached_one_by_one_all_at_once_or_those_that_only_read(tmp_path: Path) -> None:
    tools = make_file_tools(tmp_path)
    names = ["read_file", "list_files", "search_files", "write_file", "edit_file"]
    assert [tool.name for tool in tools] == names
    assert [getattr(tools, name) for name in names] == [*tools]
    assert [tool.name for tool in tools.reading] == names[:3]
    assert {tool.effect for tool in tools.reading} == {"read"}


def test_each_says_what_it_does_and_none_leaves_this_machine(tmp_path: Path) -> None:
    known = {
        tool.name: (tool.effect, tool.reach, tool.idempotent, tool.sequential) for tool in make_file_tools(tmp_path)
    }
    assert known == {
        "read_file": ("read", "local", True, False),
        "list_files": ("read", "local", True, False),
        "search_files": ("read", "local", True, False),
        "write_file": ("write", "local", False, True),
        "edit_file": ("write", "local", False, True),
    }


def test_the_model_is_told_in_few_words(tmp_path: Path) -> None:
    """They are sent with every request."""
    specs = [tool.spec for tool in make_file_tools(tmp_path)]
    assert sum(len(f"{spec.description}{spec.schema}") for spec in specs) < 3_000
    assert [spec.schema.get("required", []) for spec in specs] == [
        ["path"],
        [],
        ["text"],
        ["path", "text"],
        ["path", "old", "new"],
    ]


@pytest.mark.parametrize("root", ["", "nowhere", "file"])
def test_a_root_must_be_a_folder(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is no folder that is there; make it, or give another"):
        make_file_tools(tmp_path / root if root else "")


@pytest.mark.parametrize("option", ["max_bytes", "max_chars", "max_entries", "max_matches", "timeout"])
def test_a_limit_must_be_above_0(tmp_path: Path, option: str) -> None:
    for value in (0, -1, float("nan")):
        with pytest.raises(ConfigError, match=f"make_file_tools: {option} is {value}; it must be above 0"):
            make_file_tools(tmp_path, **{option: value})  # type: ignore[arg-type]


def test_a_relative_root_is_that_of_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_text("x", "utf-8")
    monkeypatch.chdir(tmp_path)
    tools = make_file_tools("a")
    monkeypatch.chdir("/")
    assert tools.read_file("f") == "x"


def test_the_home_folder_has_its_short_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_text("x", "utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_file_tools("~").read_file("f") == "x"
