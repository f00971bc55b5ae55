"""One model call over a list of models: whose turn it is, and what a failure means. Pure, and no await."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from becket import ModelFinished, PluginEvent, ProtocolError, ProviderError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket import Provider
    from becket.events import ModelEvent

__all__ = ["Call", "Model"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a list.

    Attributes:
        provider: Its provider.
        name: Its name without the provider's.
    """

    provider: Provider
    name: str

    @property
    def title(self) -> str:
        """The model, as `provider:model`."""
        return f"{self.provider.name}:{self.name}"


@dataclass(frozen=True, slots=True)
class _Failure:
    """How a model has failed that was asked before. Not the exception: with its traceback it would keep the call."""

    model: Model
    message: str
    retry_after: float | None


class Call:
    """One model call over a list of models.

    Args:
        models: The list.
        kept: Where the run keeps which model to begin with.
        key: Under which key.

    Attributes:
        model: The model whose turn it is.
    """

    __slots__ = ("_at", "_began", "_failures", "_finished", "_kept", "_key", "_models", "model")

    def __init__(self, models: Sequence[Model], kept: dict[object, Any], key: object) -> None:
        self._models = models
        self._kept = kept
        self._key = key
        self._failures: list[_Failure] = []
        self._began = self._finished = False
        self._begin(kept.get(key, 0))

    def _begin(self, at: int) -> None:
        self._at = at
        self.model = self._models[at]
        # Should this one be silent until the run gives it up, the next attempt begins with the one after it.
        self._kept[self._key] = (at + 1) % len(self._models)

    def heard(self, event: ModelEvent) -> None:
        """The model has yielded an event: from its first delta on, the answer is its own."""
        if self._began and type(event) is not ModelFinished:
            return
        if type(event) is not PluginEvent:
            self._began = True
            self._kept[self._key] = self._at
        if isinstance(event, ModelFinished):
            self._finished = True
            stamped: Any = event  # ours until the run has it
            stamped.model = event.model or self.model.title

    def ended(self) -> None:
        """The model has no more to say.

        Raises:
            ProtocolError: It has not said that it has finished.
        """
        if not self._finished:
            raise ProtocolError(
                f"the provider {self.model.provider.name!r} ended without a ModelFinished event when it was asked for "
                f"{self.model.title}: its answer may be cut off; what came is kept, marked as interrupted"
            )

    def failed(self, error: ProviderError) -> PluginEvent | None:
        """The model has failed: what to say where the next one has its turn now; None where the call has failed."""
        error.provider = error.provider or self.model.provider.name
        if self._began:
            return None
        if not error.retryable or len(self._failures) + 1 == len(self._models):
            self._kept.pop(self._key, None)
            return None
        left = self.model
        self._failures.append(_Failure(left, str(error), error.retry_after))
        self._begin((self._at + 1) % len(self._models))
        return PluginEvent("fallback", "moved_on", {"from": left.title, "to": self.model.title, "error": str(error)})

    def failure(self, error: ProviderError) -> ProviderError:
        """What the call fails with: `error`, the last one, and with it how others have failed before."""
        if self._began or not self._failures:
            return error
        before = "; ".join(f"{one.model.title}: {one.message}" for one in self._failures)
        waits = [one.retry_after for one in self._failures] + ([error.retry_after] if error.retryable else [])
        return ProviderError(
            f"{self.model.title}: {error} (asked before it, and failed: {before})",
            provider=error.provider,
            status=error.status,
            retryable=True,  # it was moved on, so one of them was
            retry_after=min((seconds for seconds in waits if seconds is not None), default=None),
            code=error.code,
            request_id=error.request_id,
        )
