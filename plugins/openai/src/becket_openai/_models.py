"""The list of a service's models, as its own document has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from becket import ModelInfo, ProviderError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["listed"]


class _Model(msgspec.Struct):
    id: str
    owned_by: Any = None
    name: Any = None  # OpenRouter


class _Models(msgspec.Struct):
    data: list[_Model] | None


_decode = msgspec.json.Decoder(_Models).decode


def listed(provider: str, document: bytes) -> Sequence[ModelInfo]:
    """The models in the document, by name.

    Raises:
        ProviderError: It is no list of models.
    """
    try:
        models = _decode(document).data or []
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProviderError(
            f"{provider} answered with no list of models: {error}; not every compatible server has one",
            provider=provider,
        ) from error
    return sorted((ModelInfo(model.id, _description(model)) for model in models), key=lambda model: model.name)


def _description(model: _Model) -> str:
    said = model.name if model.name and model.name != model.id else model.owned_by
    return said if isinstance(said, str) else ""
