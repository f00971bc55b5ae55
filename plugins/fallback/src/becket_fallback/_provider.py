"""The provider that asks one model after the other."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from becket import ConfigError, ModelInfo, ProtocolError, Provider, ProviderError, SchemaProvider

from becket_fallback._call import Call, Model
from becket_fallback._lists import fault, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from becket import ModelRequest
    from becket.events import ModelEvent
    from becket.hookspecs import FindModel

__all__ = ["FallbackProvider", "ListedModel"]

ListedModel: TypeAlias = "str | Provider | tuple[Provider, str]"
"""A model of a list: `provider:model`, a provider that has a default model, or a provider and the name of a model."""

_ONLY: Final = "models"
"""The name of a list that is given without one."""


class FallbackProvider:
    """Asks the models of a list one after the other, until one begins to answer.

    It moves on where a model fails with a `ProviderError` that is `retryable`, before its first delta; the run says so
    by `PluginEvent("fallback", "moved_on", {"from": ..., "to": ..., "error": ...})`. Never after the first delta,
    which cannot be taken back; and not at any other error, such as a missing key: that will not mend itself, and should
    be seen. `ModelFinished.model` says which model has answered.

    The next call of the run begins with the model that has answered last, and the next run with the first of the list.
    Where the whole list has failed, the error is that of the last one, with the others named; it is `retryable` where
    one of them was, after the shortest `retry_after`, and the run's retry policy begins again at the top.

    Args:
        models: A list of models, or several by their names. A model is `provider:model`, a provider that has a default
            model, or a provider and the name of a model.
        find_model: What finds the provider of a `provider:model`, such as `runtime.model`; None where all models are
            objects. With it, the name of a model may be a list itself: `openai:gpt-5,anthropic:claude-x`.
        name: The provider's name.

    Attributes:
        name: The provider's name.
        default_model: The list, where it is the only one and has no name; else None.

    Raises:
        ConfigError: A list is empty, or something in it is no model, or is in it twice.
    """

    def __init__(
        self,
        models: Sequence[ListedModel] | Mapping[str, Sequence[ListedModel]],
        *,
        find_model: FindModel | None = None,
        name: str = "fallback",
    ) -> None:
        named = isinstance(models, Mapping)
        self.name = name
        self.default_model: str | None = None if named else _ONLY
        self._lists: dict[str, Sequence[Any]] = dict(models) if isinstance(models, Mapping) else {_ONLY: models}
        self._find = find_model
        self._asked: dict[int, Provider] = {}
        for of, given in self._lists.items():
            if why := fault(of, given):
                raise ConfigError(why)
            if find_model is None and (text := next((one for one in given if isinstance(one, str)), None)):
                raise ConfigError(
                    f"the list {of!r} has the model {text!r} in it, and nothing to find it with; give "
                    f"find_model=runtime.model, or a provider object instead"
                )

    def models(self) -> Sequence[ModelInfo]:
        """The lists; how one is written where there is none."""
        if not self._lists:
            return [ModelInfo("<provider:model>,<provider:model>", "the first of these models that answers")]
        return [ModelInfo(name, ", then ".join(map(_said, given))) for name, given in self._lists.items()]

    def takes_schema(self, model: str, /, *, with_tools: bool) -> bool:
        """Whether every model of the list can be held to a JSON schema.

        Raises:
            ConfigError: There is no such list, or no such model.
        """
        return all(
            isinstance(one.provider, SchemaProvider) and one.provider.takes_schema(one.name, with_tools=with_tools)
            for one in self._list(model)
        )

    def routes(self, model: str, /) -> Sequence[str]:
        """The models of the list, as `provider:model`.

        Raises:
            ConfigError: There is no such list, or no such model.
        """
        return [one.title for one in self._list(model)]

    async def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        """Ask the models of the list that `request.model` names, until one begins to answer.

        Raises:
            ConfigError: There is no such list, or no such model.
            ProviderError: One has failed in a way that will not mend itself, or after its first delta; or all have.
            ProtocolError: One has ended without a `ModelFinished`.
        """
        call = Call(self._list(request.model), request.kept, (self, request.model))
        while True:
            model = call.model
            self._asked[id(model.provider)] = model.provider
            events = _checked(model, model.provider.stream(dataclasses.replace(request, model=model.name)))
            try:
                async for event in events:
                    call.heard(event)
                    yield event
                call.ended()
            except ProviderError as error:
                if (moved := call.failed(error)) is None:
                    if (failure := call.failure(error)) is error:
                        raise
                    raise failure from error
            else:
                return
            finally:
                await _closed(events)
            yield moved

    async def aclose(self) -> None:
        """Have every provider that was asked let go of what it keeps for the running event loop.

        Raises:
            Exception: The first that one of them has raised; the others are closed.
        """
        failures = []
        for provider in list(self._asked.values()):
            try:
                await provider.aclose()
            except Exception as error:  # noqa: BLE001  whatever it is, the others must let go too
                failures.append(error)
        if failures:
            raise failures[0]

    def _list(self, name: str) -> list[Model]:
        """The models of the list, found.

        Raises:
            ConfigError: There is no such list, or no such model.
        """
        given = self._lists.get(name)
        if given is None:
            given = self._written(name)
        return [self._model(name, one) for one in given]

    def _written(self, name: str) -> list[str]:
        """The models of a list that is written in its name."""
        given = None if self._find is None else written(name)
        if given is None:
            raise self._unknown(name)
        if why := fault(name, given):
            raise ConfigError(why)
        return given

    def _model(self, of: str, given: Any) -> Model:
        try:
            provider, model = self._found(given)
        except ConfigError as error:
            raise ConfigError(f"the list {of!r} of the provider {self.name!r}: {error}") from None
        if isinstance(provider, FallbackProvider):
            raise ConfigError(
                f"the list {of!r} of the provider {self.name!r} has {_said(given)!r} in it, which is a list itself; "
                f"write its models there instead"
            )
        return Model(provider, model)

    def _found(self, given: Any) -> tuple[Provider, str]:
        if isinstance(given, tuple):
            return given[0], given[1]
        if not isinstance(given, str):
            if given.default_model:
                return given, given.default_model
            raise ConfigError(f"the provider {given.name!r} has no default model; give (provider, 'model')")
        return cast("FindModel", self._find)(given.strip())  # there is one where a list holds a text

    def _unknown(self, name: str) -> ConfigError:
        near = difflib.get_close_matches(name, self._lists, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        there = f"Its lists: {', '.join(self._lists) or 'none'}."
        more = f" Or name models themselves: '{self.name}:openai:gpt-5,anthropic:claude-x'." if self._find else ""
        return ConfigError(f"the provider {self.name!r} has no list {name!r}{hint} {there}{more}")


def _said(model: Any) -> str:
    """A model of a list as it is shown."""
    if isinstance(model, str):
        return model.strip()
    provider, name = model if isinstance(model, tuple) else (model, model.default_model)
    return f"{provider.name}:{name}"


def _checked(model: Model, events: Any) -> AsyncIterator[ModelEvent]:
    if hasattr(events, "__aiter__"):
        checked: AsyncIterator[ModelEvent] = events
        return checked
    if inspect.iscoroutine(events):
        events.close()  # else Python warns that nobody awaited it, far from here
    raise ProtocolError(
        f"stream() of the provider {model.provider.name!r} returned {events!r}, no async iterator; "
        f"make it an async generator: async def, and yield"
    )


async def _closed(events: AsyncIterator[ModelEvent]) -> None:
    """Close a provider's generator before anything else happens, as the run does."""
    if getattr(events, "ag_frame", events) is None:
        return  # a generator that has ended
    if (close := getattr(events, "aclose", None)) is not None:
        with suppress(ProviderError):
            await close()
