"""Lists of models: as they are written, and what is wrong with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket import Provider

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["fault", "written"]


def written(text: str) -> list[str] | None:
    """The models that are written as `openai:gpt-5,anthropic:claude-x`; None where `text` can only be a list's name."""
    return [part.strip() for part in text.split(",")] if "," in text or ":" in text else None


def fault(name: str, models: Sequence[Any]) -> str:
    """What is wrong with the list of this name, or empty."""
    if isinstance(models, str):
        return f"the list {name!r} is the text {models!r}; it takes several models, as in [{models!r}, ...]"
    if not models:
        return f"the list {name!r} is empty; name the models to ask, the first one first"
    for place, model in enumerate(models):
        if not _is_model(model):
            return f"the list {name!r} has {model!r} in it; it takes models, as 'provider:model'"
        if model in models[:place]:
            return f"the list {name!r} has {model!r} in it twice; a model is asked once a call"
    return ""


def _is_model(item: object) -> bool:
    """Whether it is `provider:model`, a provider, or a provider and the name of a model."""
    match item:
        case Provider():
            return True
        case str(name) | (Provider(), str(name)):
            return bool(name.strip())
        case _:
            return False
