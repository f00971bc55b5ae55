"""The page that becket started from: its snippets run with their imports changed, and nothing else."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from becket import Runtime, hookimpl, set_default_runtime
from becket.testing import ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import Iterator

SNIPPETS = Path(__file__).parent / "snippets"


def run_snippet(name: str) -> None:
    """Run a snippet as a notebook would: with `async for` and `await` at its top."""
    source = (SNIPPETS / name).read_text(encoding="utf-8")
    code = compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    space: dict[str, Any] = {"__name__": "__main__"}
    result = eval(code, space)  # noqa: S307  a file of this folder
    if result is not None:
        asyncio.run(result)


class Scripted:
    """A plugin whose scripted model is the only one, and so the default."""

    def __init__(self, provider: ScriptedProvider) -> None:
        self.provider = provider

    @hookimpl
    def register_providers(self) -> list[ScriptedProvider]:
        return [self.provider]


@pytest.fixture
def scripted() -> Iterator[Any]:
    """Make the default runtime one whose model follows a script."""

    def use(*scripts: Any) -> ScriptedProvider:
        provider = ScriptedProvider(*scripts)
        set_default_runtime(Runtime(plugins=[Scripted(provider)], block=["becket-local"]))
        return provider

    yield use
    set_default_runtime(None)


@pytest.fixture
def local() -> Iterator[None]:
    """The default runtime as installed: the embedded model."""
    set_default_runtime(None)
    yield
    set_default_runtime(None)


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def kinds(lines: list[str]) -> list[str]:
    """The tracker's lines without what differs from run to run, repeated ones once."""
    known = {
        "initialized": "initialized",
        "cycle starting": "starting",
        "New message": "message",
        "Cycle completed": "completed",
        "Using tool": "tool",
        "Text:": "text",
        "force-stopped": "force-stopped",
    }
    named = [next(kind for part, kind in known.items() if part in line) for line in lines]
    return [kind for at, kind in enumerate(named) if at == 0 or named[at - 1] != kind]


def test_basic_usage_prints_every_event_on_the_embedded_model(local: None, capsys: pytest.CaptureFixture[str]) -> None:
    run_snippet("basic_usage.py")
    lines = lines_of(capsys)
    assert lines[0].startswith("RunStarted(")
    assert lines[-1].startswith("RunFinished(")
    assert any(line.startswith("ToolStarted(call=ToolCall(") and "'calculator'" in line for line in lines)
    assert any(line.startswith("ToolFinished(") and "text='4'" in line for line in lines)


def test_basic_usage_with_a_scripted_model(scripted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    scripted(calls(("calculator", {"expression": "2+2"})), text("The answer is ", "4."))
    run_snippet("basic_usage.py")
    assert "result=AgentResult(stop_reason='end_turn'" in lines_of(capsys)[-1]


def test_the_tracker_prints_the_lifecycle_in_the_pages_order(scripted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    scripted(
        calls(("calculator", {"expression": "42+7"})),
        text("The capital of France is Paris, ", "and 42+7 is 49."),
    )
    run_snippet("agentic_loop.py")
    lines = lines_of(capsys)
    assert kinds(lines) == [
        "initialized",
        "starting",
        "tool",
        "message",
        "completed",
        "starting",
        "text",
        "message",
        "completed",
    ]
    assert next(line for line in lines if "tool" in line).endswith("Using tool: calculator")
    assert [line[-4:] for line in lines if "New message" in line] == ["tant", "user", "tant"]
    assert [line.partition("Text: ")[2] for line in lines if "Text: " in line] == [
        "The capital of Franc...",
        "and 42+7 is 49.",
    ]


def test_the_tracker_says_force_stopped_when_the_model_fails(scripted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    scripted([RuntimeError("the line was cut")])
    with pytest.raises(RuntimeError, match="the line was cut"):
        run_snippet("agentic_loop.py")
    lines = lines_of(capsys)
    assert kinds(lines) == ["initialized", "starting", "force-stopped"]
    assert lines[-1].endswith("force-stopped: the line was cut")


def test_the_tracker_on_the_embedded_model(local: None, capsys: pytest.CaptureFixture[str]) -> None:
    run_snippet("agentic_loop.py")
    order = kinds(lines_of(capsys))
    assert order[:2] == ["initialized", "starting"]
    assert order[-1] == "completed"
