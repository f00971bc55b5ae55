"""What a model provider implements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from becket.options import ModelOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from becket._values import JsonValue
    from becket.content import Message
    from becket.events import ModelEvent

__all__ = [
    "KeyedProvider",
    "ListingProvider",
    "ModelInfo",
    "ModelKey",
    "ModelRequest",
    "OutputMode",
    "OutputSpec",
    "Provider",
    "RoutingProvider",
    "SchemaProvider",
    "ToolSpec",
]


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model is told of it.

    Attributes:
        name: What the model calls it by.
        description: What it does, for the model to read.
        schema: The JSON schema of its arguments, an object schema.
    """

    name: str
    description: str
    schema: dict[str, JsonValue]


OutputMode: TypeAlias = Literal["schema", "tool"]
"""`schema`: the model's text is held to a JSON schema; `tool`: the output is the arguments of a tool call."""


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """The structured output of a run as a model is told of it.

    Attributes:
        name: What the model calls it; in the mode `tool`, the name of the tool.
        description: What it is, for the model to read.
        schema: Its JSON schema, an object schema; services want an object at the top.
        mode: How it is asked for. In the mode `tool`, a provider has nothing to do but offer the request's tools, which
            hold the output's; in the mode `schema` it holds the model's text to the schema.
    """

    name: str
    description: str
    schema: dict[str, JsonValue]
    mode: OutputMode


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that a provider offers.

    Attributes:
        name: Its name without the provider's.
        description: What it is, in a line.
    """

    name: str
    description: str = ""


ModelKey: TypeAlias = tuple[str, int, int]
"""Run id, cycle, attempt: the same call made again has the same run and cycle, and a higher attempt."""


@dataclass(slots=True)
class ModelRequest:
    """One model call.

    Attributes:
        model: The model's name without the provider's.
        messages: The history, oldest first. A view that grows with the run: read it, keep nothing, change nothing.
        system: The system prompt, empty for none.
        tools: The tools on offer.
        options: Sampling and tool choice.
        key: Names the call; see `ModelKey`.
        output: The structured output that is wanted, or None.
        kept: What a provider keeps from one model call of a run for the next, such as the messages that it has encoded,
            under itself or another object of its own as the key. It lives as long as the run. A hook that makes a
            request anew may lose it, so that an answer must never depend on it.
    """

    model: str
    messages: Sequence[Message]
    system: str = ""
    tools: tuple[ToolSpec, ...] = ()
    options: ModelOptions = field(default_factory=ModelOptions)
    key: ModelKey = ("", 1, 1)
    output: OutputSpec | None = None
    kept: dict[object, Any] = field(default_factory=dict, repr=False, compare=False)


@runtime_checkable
class Provider(Protocol):
    """A source of models, found by its name: `name:model`.

    One provider object serves every run of a `Runtime`, in any number of tasks and event loops at once. Making it must
    be cheap; what is bound to an event loop (a client, a process) is made on first use and kept per loop.

    Attributes:
        name: The part before the colon; letters, digits, `-` and `_`.
        default_model: The model used where only the provider is named, or None. A provider that has one offers itself
            as the default of an environment that has no other.
    """

    if TYPE_CHECKING:  # only read, so that a constant or a frozen field will do

        @property
        def name(self) -> str:
            """As said above."""
            ...

        @property
        def default_model(self) -> str | None:
            """As said above."""
            ...

    else:
        name: str
        default_model: str | None

    def models(self) -> Sequence[ModelInfo]:
        """The models known without asking a service; see `ListingProvider` for asking it."""
        ...

    def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        """Call the model; an async generator, as a rule.

        It yields deltas as they come, each a new object that it gives up (the run stamps it), and last a
        `ModelFinished` with the stop reason and the usage; anything after that, or an end without it, is a
        `ProtocolError`. A block's deltas carry the same `block`; each tool call has a block of its own and at least
        one `ToolCallDelta`, its fragments together one JSON object; an `ExtensionDelta` is a whole block, which comes
        back in the history. `PluginEvent` may report what is going on before
        the first delta. `first_token_s` and `duration_s` are filled in by the run.

        It is iterated and closed in one task. A cancellation arrives at its awaits; it must let go of the connection
        before it ends, and raise nothing but what arrived.

        Raises:
            ProviderError: The service refused or failed. `retryable` says whether the same call may succeed later.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what is kept for the running event loop.

        Called when a `Runtime` closes; the provider stays usable.
        """
        ...


@runtime_checkable
class SchemaProvider(Provider, Protocol):
    """A provider that can hold a model's text to a JSON schema. Any other is asked for structured output by a tool."""

    def takes_schema(self, model: str, /, *, with_tools: bool) -> bool:
        """Whether `stream` obeys an output of the mode `schema` for this model.

        Asked once where an agent or a stream is made; it must be cheap, and ask no service.

        Args:
            model: The model's name without the provider's.
            with_tools: Whether tools are offered beside it; some services take only one of the two.
        """
        ...


@runtime_checkable
class ListingProvider(Provider, Protocol):
    """A provider whose service can be asked for its models."""

    async def list_models(self) -> Sequence[ModelInfo]:
        """The models that the service offers now to who asks.

        Raises:
            ProviderError: The service refused or failed.
        """
        ...


@runtime_checkable
class KeyedProvider(Provider, Protocol):
    """A provider that can say before it is called that it could not be: a key is not set, an address is missing."""

    def check_key(self) -> None:
        """Whether there is what every call needs, for programs that show what is wrong, such as `becket doctor`.

        It looks at settings and environment variables as a call does, and asks no service: a key that there is may be
        refused all the same. It must be cheap.

        Raises:
            ConfigError: Something is missing; the text says what, and where it is set, and shows no key.
        """
        ...


@runtime_checkable
class RoutingProvider(Provider, Protocol):
    """A provider that has models of other providers answer, and says by `ModelFinished.model` which one has."""

    def routes(self, model: str, /) -> Sequence[str]:
        """Every model that may answer for this one, as `provider:model`: what a run costs is what those do.

        Asked once where an agent or a stream is made; it must be cheap, and ask no service.

        Args:
            model: The model's name without the provider's.

        Raises:
            ConfigError: There is no such model, or one that it leads to is not there.
        """
        ...
