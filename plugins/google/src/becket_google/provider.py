"""Google's Gemini models as a model provider."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from becket import ConfigError, ModelInfo, ProviderError
from becket_wire import Client, TimeLimits

from becket_google._dialect import is_gemini, is_gemini_3
from becket_google._errors import explain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from becket import ModelEvent, ModelRequest

__all__ = ["GoogleProvider"]

KEY_HEADER: Final = "x-goog-api-key"
DOCS: Final = "https://ai.google.dev/gemini-api/docs/api-key"

_GEMINI: Final = ("https://generativelanguage.googleapis.com", "v1beta", "GOOGLE_GEMINI_BASE_URL")
_VERTEX: Final = ("https://aiplatform.googleapis.com", "v1beta1", "GOOGLE_VERTEX_BASE_URL")

_PAGES: Final = 50
"""Pages of a list that are asked for; the service puts up to 1,000 models on one."""


class GoogleProvider:
    """Google's Gemini models, `google:gemini-…`, by the Gemini API, or by Vertex AI with an API key.

    What is None is looked for in the environment, when a model is called, under the names that Google's own client
    has. Making it reads no network and imports no HTTP.

    Args:
        name: The provider's name; a host that has two of them gives each its own.
        api_key: The key; else GOOGLE_API_KEY or GEMINI_API_KEY, the first before the second. It goes in a header.
        base_url: Where the service is; else GOOGLE_GEMINI_BASE_URL (GOOGLE_VERTEX_BASE_URL), or Google's address.
        api_version: The version in the paths; else GOOGLE_GENAI_API_VERSION, or `v1beta` (`v1beta1`).
        vertex: Whether the service is Vertex AI, whose "express mode" takes an API key.
        headers: Further headers of each request, or others in place of ours.
        safety: How much of which harm the service lets through: a threshold such as `BLOCK_ONLY_HIGH` by category,
            such as `HARM_CATEGORY_HARASSMENT`.
        limits: How long a request may take.
    """

    def __init__(
        self,
        *,
        name: str = "google",
        api_key: str | None = None,
        base_url: str | None = None,
        api_version: str | None = None,
        vertex: bool = False,
        headers: Mapping[str, str] | None = None,
        safety: Mapping[str, str] | None = None,
        limits: TimeLimits | None = None,
    ) -> None:
        self.name = name
        self.default_model: str | None = None
        self._api_key = api_key
        self._base_url = base_url
        self._api_version = api_version
        self._vertex = vertex
        self._more = {header.lower(): value for header, value in (headers or {}).items()}
        self._safety = dict(safety or {})
        self._skipped: set[str] = set()
        self._client = Client(
            name, limits=limits, explain=explain, hint="check base_url in [plugins.google], or GOOGLE_GEMINI_BASE_URL"
        )

    def models(self) -> Sequence[ModelInfo]:
        """None: which there are is the service's to say; see `list_models`."""
        return ()

    def takes_schema(self, model: str, /, *, with_tools: bool) -> bool:
        """Whether it is a Gemini, and with tools a Gemini 3 or later: earlier ones take only one of the two."""
        return is_gemini_3(model) if with_tools else is_gemini(model)

    async def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        """Call the model.

        Raises:
            ConfigError: There is no key, or the model's name is none.
            ProviderError: The service refused or failed.
        """
        from becket_google._answer import Answer
        from becket_google._contents import OWN_ID
        from becket_google._request import Requests

        url = f"{self._root()}/{_path(request.model, vertex=self._vertex)}:streamGenerateContent?alt=sse"
        kept = (self, request.model)
        requests: Requests | None = request.kept.get(kept)
        if requests is None:
            requests = request.kept[kept] = Requests(self.name, request.model, self._safety)
        body = requests.body(request)
        async with self._client.post(url, headers=self._headers(), body=body) as reply:
            own_id = f"{OWN_ID}{request.key[1]}-"
            answer = Answer(reply, provider=self.name, own_id=own_id, unknown=self._skip)
            async for batch in reply.events():
                for data in batch:
                    for event in answer.take(data):
                        yield event
        yield answer.finish()

    async def list_models(self) -> Sequence[ModelInfo]:
        """The models that the service offers and that answer requests.

        Raises:
            ConfigError: There is no key.
            ProviderError: The service refused or failed.
        """
        from msgspec import DecodeError

        from becket_google._listing import page

        listed: list[ModelInfo] = []
        where = f"{self._root()}/{'publishers/google/models' if self._vertex else 'models'}?pageSize=1000"
        url = where
        for _ in range(_PAGES):
            raw = await self._client.get_json(url, headers=self._headers())
            try:
                models, token = page(raw)
            except DecodeError as error:
                raise ProviderError(
                    f"{self.name} answered with a list of models that cannot be read: {error}", provider=self.name
                ) from error
            listed += models
            if not token:
                break
            url = f"{where}&pageToken={quote(token, safe='')}"
        return listed

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._client.aclose()

    def _root(self) -> str:
        """The address and the version, before the path of a method."""
        base, version, variable = _VERTEX if self._vertex else _GEMINI
        base = self._base_url or os.environ.get(variable) or base
        version = self._api_version or os.environ.get("GOOGLE_GENAI_API_VERSION") or version
        return f"{base.rstrip('/')}/{version}"

    def _headers(self) -> dict[str, str]:
        key = self._api_key or os.environ.get("GOOGLE_API_KEY") or os.environ.get("GEMINI_API_KEY")
        if not key and not self._more:  # a gateway may want another header in its place
            raise ConfigError(
                f"the provider {self.name!r} has no key: set GOOGLE_API_KEY or GEMINI_API_KEY, or api_key in "
                f"[plugins.google] of your configuration; {DOCS} says where to get one"
            )
        headers = {"content-type": "application/json"}
        if key:
            headers[KEY_HEADER] = key.strip()
        return headers | self._more

    def _skip(self, kind: str) -> None:
        """Say once that parts of this kind are left out."""
        if kind not in self._skipped:
            self._skipped.add(kind)
            import logging  # for the few who get one

            logging.getLogger("becket.google").warning(
                "%s sends parts of a kind that is not known here (%s); they are left out", self.name, kind
            )


def _path(model: str, *, vertex: bool) -> str:
    """The path of a model, by the rules of Google's own client.

    Raises:
        ConfigError: It would lead elsewhere.
    """
    if not model or ".." in model:
        raise ConfigError(f"{model!r} is no name of a model; it is as in google:gemini-2.5-flash")
    path = quote(model, safe="/@:-_.~")
    if not vertex:
        return path if path.startswith(("models/", "tunedModels/")) else f"models/{path}"
    if path.startswith(("projects/", "models/", "publishers/")):
        return path
    publisher, slash, own = path.partition("/")
    return f"publishers/{publisher}/models/{own}" if slash else f"publishers/google/models/{path}"
