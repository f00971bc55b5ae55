"""The service's list of its models."""

from __future__ import annotations

import msgspec
from becket import ModelInfo

__all__ = ["page"]


class _Model(msgspec.Struct, rename="camel"):
    name: str = ""
    display_name: str | None = None
    description: str | None = None
    supported_generation_methods: list[str] | None = None


class _Page(msgspec.Struct, rename="camel"):
    models: list[_Model] | None = None
    publisher_models: list[_Model] | None = None  # Vertex AI's word
    next_page_token: str | None = None


def page(raw: bytes) -> tuple[list[ModelInfo], str]:
    """The models of one page that answer requests, and the token of the next page, empty for none.

    Raises:
        ValueError: It is no such page.
    """
    read = msgspec.json.decode(raw, type=_Page)
    listed = [*(read.models or ()), *(read.publisher_models or ())]
    return [_info(model) for model in listed if _answers(model)], read.next_page_token or ""


def _answers(model: _Model) -> bool:
    """Whether it takes `generateContent`; Vertex AI does not say."""
    methods = model.supported_generation_methods
    return bool(model.name) and (methods is None or "generateContent" in methods)


def _info(model: _Model) -> ModelInfo:
    described = (model.description or model.display_name or "").strip().partition("\n")[0]
    name = model.name
    for prefix in ("models/", "publishers/google/models/"):
        name = name.removeprefix(prefix)
    return ModelInfo(name, described)
