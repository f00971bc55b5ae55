"""A model that answers from a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

import anyio

from becket.errors import ConfigError
from becket.providers import ModelInfo
from becket.testing._compare import asked
from becket.testing._player import Player, ReplayError
from becket.testing._secrets import Secrets
from becket.testing._tape import read, runs_of
from becket.testing.fakes import copied

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from becket.events import Event, ModelEvent
    from becket.providers import ModelRequest

__all__ = ["Match", "ReplayError", "ReplayProvider", "played"]

Match: TypeAlias = Literal["request", "order"]

PATIENCE: Final = 10.0
"""Seconds that an answer which was cut off when it was recorded is held open, for the same to happen again."""


class ReplayProvider:
    """A model that gives recorded answers again: the same deltas in the same pieces, the same errors, at once.

    Each run follows one recorded run; see `from_file`. Tools are not its business: they run.

    Args:
        runs: The recorded runs, as `from_file` and `from_events` read them.
        source: Where they come from, for messages.
        match: See `from_file`.
        secrets: As for `from_file`.
        name: The provider's name; None for the recorded one.
        model: Its default model; None for the recorded one.
    """

    def __init__(
        self,
        runs: Any,
        *,
        source: str,
        match: Match = "request",
        secrets: Iterable[str] | Mapping[str, str] = (),
        name: str | None = None,
        model: str | None = None,
    ) -> None:
        if match not in ("request", "order"):
            raise ConfigError(f"match is {match!r}; it must be 'request' or 'order'")
        recorded, _, recorded_model = (runs[0].model if runs else "recorded:model").partition(":")
        self.name = name or recorded
        self.default_model: str | None = model or recorded_model
        hint = "record it anew, if that is wanted"
        self._by_order = match == "order"
        self._player = Player(runs, Secrets(secrets), source=source, hint=hint)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        match: Match = "request",
        secrets: Iterable[str] | Mapping[str, str] = (),
        name: str | None = None,
        model: str | None = None,
    ) -> Self:
        """A model that answers from a recording, or, in its order, from any journal.

        Args:
            path: The file.
            match: `"request"`: a run follows the recorded run that begins with the same request, and each of its
                requests must be the recorded one. `"order"`: a run follows the next recorded run, whatever it asks.
            secrets: Names of environment variables, or a mapping from names to secrets: what is masked in a request
                before it is compared with the recorded one.
            name: The provider's name; None for the recorded one. Requests name it.
            model: Its default model; None for the recorded one.

        Raises:
            ConfigError: The file cannot be read, is no recording, is damaged, or is of a newer version.
        """
        runs = read(Path(path), requests=match != "order")
        return cls(runs, source=str(path), match=match, secrets=secrets, name=name, model=model)

    @classmethod
    def from_events(cls, events: Iterable[Event], *, name: str | None = None, model: str | None = None) -> Self:
        """A model that gives the answers in these events again, in their order; events do not say what was asked."""
        from pydantic_core import from_json

        runs = runs_of(from_json(event.to_json()) for event in events)
        return cls(runs, source="the events", match="order", name=name, model=model)

    def models(self) -> Sequence[ModelInfo]:
        """The recorded one."""
        return [ModelInfo(self.default_model or "", "answers from a recording")]

    def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        """Give the recorded answer to `request`.

        Raises:
            ReplayError: There is none, or it is not whole.
            ProviderError: That was the answer.
        """
        now = None if self._by_order else asked(self.name, request)
        return played(self._player, request.key[0], now)

    async def aclose(self) -> None:
        """Nothing is kept."""

    def unused(self) -> str:
        """Which recorded model calls were not made, in words; empty where all were."""
        return self._player.unused()


async def played(player: Player, run_id: str, now: Any) -> AsyncIterator[ModelEvent]:
    """The recorded answer to what a run asks now, as JSON; None for whichever answer is next."""
    call = player.answer(run_id, now)
    for event in call.events:
        yield copied(event)
    if call.failure is not None:
        raise call.error()
    if not call.whole:
        await anyio.sleep(PATIENCE)  # whoever broke it off when it was recorded will do so again
        raise player.cut(run_id, call)
