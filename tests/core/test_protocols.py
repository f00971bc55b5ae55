"""What type checkers say of classes that implement becket's protocols, and what `isinstance` says."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass
from typing import TYPE_CHECKING, Any

import pytest
from becket import BatchSinkRun, Mask, ModelFinished, ModelInfo, Policy, Provider, RunInfo, Sink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from becket import ModelRequest
    from becket.events import ModelEvent

PARTS = """
from __future__ import annotations
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from becket import (
    Agent, Allow, BatchSinkRun, Event, HookContext, Mask, MaskStream, ModelFinished, ModelInfo, ModelRequest, Policy,
    Provider, RunInfo, Sink, ToolCall, Verdict,
)
from becket.events import ModelEvent
from becket.tools import AnyTool

class Answers:
    def models(self) -> Sequence[ModelInfo]:
        return []
    async def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        yield ModelFinished("end_turn")
    async def aclose(self) -> None: ...

class Takes:
    async def emit_batch(self, events: Sequence[Event], /) -> None: ...
    async def aclose(self) -> None: ...
    def open(self, run: RunInfo, /) -> Batches:
        return Batches()
    def with_argument(self, argument: str, /) -> Sink:
        return Constant()
    def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict:
        return Allow()

class Masks:
    def mask(self, text: str, /) -> str:
        return text

class Batches(Takes):
    overflow: Final = "block"
    limit = 8
"""

GOOD = (
    PARTS
    + """
class Grey(Answers):
    name = "grey"
    default_model = "grey"

@dataclass(frozen=True)
class Frozen(Answers):
    name: str
    default_model: str | None = None

class Computed(Answers):
    @property
    def name(self) -> str:
        return "computed"
    @property
    def default_model(self) -> None:
        return None

class Assigned(Answers):
    def __init__(self) -> None:
        self.name = "assigned"
        self.default_model: str | None = None

class Explicit(Answers, Provider):
    name: str
    default_model = None
    def __init__(self) -> None:
        self.name = "explicit"

class Constant(Takes):
    name: Final = "constant"
    required: Final = True

@dataclass(frozen=True)
class Rule(Takes):
    name: str
    required: bool = False

class Word(Masks):
    name: Final = "word"
    def open(self) -> MaskStream:
        raise NotImplementedError

providers: list[Provider] = [Grey(), Frozen("frozen"), Computed(), Assigned(), Explicit()]
sinks: list[Sink] = [Constant(), Rule("rule")]
policies: list[Policy] = [Constant(), Rule("rule")]
run: BatchSinkRun = Batches()
mask: Mask = Word()
Agent(Grey(), sinks=sinks, policies=policies)
"""
)

WRONG = (
    PARTS
    + """
class Constant(Takes):
    name = "constant"
    required = True

class Numbered(Answers):
    name = 1
    default_model = None

class Nameless(Answers):
    default_model = None

one: Provider = Numbered()  # type: ignore[assignment]
two: Provider = Nameless()  # type: ignore[assignment]

def rename(provider: Provider) -> None:
    provider.name = "other"  # type: ignore[misc]
"""
)


@pytest.mark.parametrize("text", [GOOD, WRONG], ids=["good", "wrong"])
def test_what_an_implementation_may_be_to_a_type_checker(tmp_path: Path, text: str) -> None:
    """What a protocol has to be read by may be a constant, frozen or computed; nobody may set it."""
    checked = tmp_path / "checked.py"
    checked.write_text(text)
    mypy = ["-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", str(tmp_path / "cache")]
    run = subprocess.run([sys.executable, *mypy, str(checked)], capture_output=True, text=True, check=False)  # noqa: S603  our own command
    assert run.returncode == 0, run.stdout + run.stderr


class Explicit(Provider):
    """A provider that says what it is, and sets its name when it is made."""

    name: str

    def __init__(self) -> None:
        self.name = "explicit"
        self.default_model = None

    def models(self) -> Sequence[ModelInfo]:
        return []

    async def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        del request
        yield ModelFinished("end_turn")

    async def aclose(self) -> None: ...


def test_a_class_that_names_the_protocol_as_its_base_sets_its_attributes() -> None:
    """At run time they are annotations, and no properties that would refuse to be set."""
    assert Explicit().name == "explicit"
    assert isinstance(Explicit(), Provider)


@pytest.mark.parametrize("protocol", [Provider, Sink, BatchSinkRun, Policy, Mask])
def test_an_object_without_the_attributes_is_none(protocol: Any) -> None:
    methods = ("models", "stream", "aclose", "open", "with_argument", "emit_batch", "approve", "mask")
    bare = type("Bare", (), dict.fromkeys(methods, lambda self: None))
    named = type("Named", (bare,), dict.fromkeys(("name", "default_model", "required", "overflow", "limit"), "x"))
    assert not isinstance(bare(), protocol)
    assert isinstance(named(), protocol)


def test_a_frozen_dataclass_is_a_sink() -> None:
    @dataclass(frozen=True)
    class Frozen:
        name: str = "frozen"
        required: bool = False

        def open(self, run: RunInfo, /) -> Any:
            return run

        def with_argument(self, argument: str, /) -> Any:
            return argument

    sink: Any = Frozen()
    assert isinstance(sink, Sink)
    with pytest.raises(FrozenInstanceError):
        sink.name = "other"
