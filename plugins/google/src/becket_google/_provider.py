"""Google's Gemini models as a model provider."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from becket import ConfigError, ModelInfo, ProviderError
from becket_wire import plain

from becket_google._dialect import is_gemini, is_gemini_3
from becket_google._settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import pydantic
    from becket import ModelEvent, ModelRequest
    from becket_wire import Client

__all__ = ["GoogleProvider"]

KEY_HEADER: Final = "x-goog-api-key"
DOCS: Final = "https://ai.google.dev/gemini-api/docs/api-key"

_PROOF: Final = ("auth", "key", "token", "cookie")
"""What is in the names of headers that a gateway may want in the place of the key."""


class _Service(NamedTuple):
    """One of the two services: what Google's own client (google-genai 3.6) takes for it."""

    base_url: str
    version: str
    beta: str
    variable: str


_GEMINI: Final = _Service("https://generativelanguage.googleapis.com", "v1", "v1beta", "GOOGLE_GEMINI_BASE_URL")
_VERTEX: Final = _Service("https://aiplatform.googleapis.com", "v1beta1", "v1beta1", "GOOGLE_VERTEX_BASE_URL")

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
        api_version: The version in the paths; else GOOGLE_GENAI_API_VERSION, or `v1` (`v1beta1`). `beta` is the newest:
            the Gemini API knows names such as `gemini-flash-latest` only there.
        default_model: The model where only the provider is named, as in `Agent(GoogleProvider(...))`.
        vertex: Whether the service is Vertex AI, whose "express mode" takes an API key; else what
            GOOGLE_GENAI_USE_ENTERPRISE or GOOGLE_GENAI_USE_VERTEXAI says, or the Gemini API.
        headers: Further headers of each request, or others in place of ours.
        safety: How much of which harm the service lets through: a threshold such as `BLOCK_ONLY_HIGH` by category,
            such as `HARM_CATEGORY_HARASSMENT`.
        settings: Its other settings, and those above where they are not given.

    Raises:
        SettingsError: A setting is wrong.
    """

    def __init__(
        self,
        *,
        name: str = "google",
        api_key: str | pydantic.SecretStr | None = None,
        base_url: str | None = None,
        api_version: str | None = None,
        default_model: str | None = None,
        vertex: bool | None = None,
        headers: Mapping[str, str | pydantic.SecretStr] | None = None,
        safety: Mapping[str, str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        said: dict[str, Any] = {"api_key": api_key, "base_url": base_url, "api_version": api_version, "vertex": vertex}
        said |= {
            "default_model": default_model,
            "headers": headers and dict(headers),
            "safety": safety and dict(safety),
        }
        changes = {key: value for key, value in said.items() if value is not None}
        self.name = name
        self._settings = replace(settings or Settings(), **changes)
        self.default_model = self._settings.default_model
        self._skipped: set[str] = set()
        self._client: Client | None = None
        self._making = threading.Lock()

    def __repr__(self) -> str:
        return f"GoogleProvider({self.name!r})"

    def models(self) -> Sequence[ModelInfo]:
        """The default model, if it has one: what the service offers changes, and `list_models` asks it."""
        return [ModelInfo(self.default_model)] if self.default_model else []

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

        url = f"{self._root()}/{_path(request.model, vertex=self._service is _VERTEX)}:streamGenerateContent?alt=sse"
        kept = (self, request.model)
        requests: Requests | None = request.kept.get(kept)
        if requests is None:
            requests = request.kept[kept] = Requests(self.name, request.model, self._settings.safety)
        body = requests.body(request)
        async with self._connected().post(url, headers=self._headers(), body=body) as reply:
            own_id = f"{OWN_ID}{request.key[1]}-"
            answer = Answer(reply, provider=self.name, own_id=own_id, unknown=self._skip)
            take = answer.take
            async for batch in reply.events():
                for data in batch:
                    for event in take(data):
                        yield event
        yield answer.finish()

    def check_key(self) -> None:
        """Whether there is what every call needs.

        Raises:
            ConfigError: There is no key.
        """
        self._headers()

    async def list_models(self) -> Sequence[ModelInfo]:
        """The models that the service offers and that answer requests.

        Raises:
            ConfigError: There is no key.
            ProviderError: The service refused or failed.
        """
        from becket_google._listing import page

        listed: list[ModelInfo] = []
        where = f"{self._root()}/{'publishers/google/models' if self._service is _VERTEX else 'models'}?pageSize=1000"
        url = where
        for _ in range(_PAGES):
            raw = await self._connected().get_json(url, headers=self._headers())
            try:
                models, token = page(raw)
            except ValueError as error:  # msgspec's own, and that of UTF-8
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
        if self._client is not None:
            await self._client.aclose()

    def _connected(self) -> Client:
        """The client; what it needs is imported at the first call."""
        with self._making:  # two event loops may come here at once
            if self._client is None:
                from becket_wire import Client

                from becket_google._errors import explain

                hint = f"check base_url in [plugins.google] of your configuration, or {self._service.variable}"
                self._client = Client(self.name, limits=self._settings.limits, explain=explain, hint=hint)
            return self._client

    @property
    def _service(self) -> _Service:
        vertex = self._settings.vertex
        if vertex is None:
            given = os.environ.get("GOOGLE_GENAI_USE_ENTERPRISE", os.environ.get("GOOGLE_GENAI_USE_VERTEXAI", ""))
            vertex = given.lower() in ("true", "1")
        return _VERTEX if vertex else _GEMINI

    def _root(self) -> str:
        """The address and the version, before the path of a method."""
        service = self._service
        base = self._settings.base_url or os.environ.get(service.variable) or service.base_url
        version = self._settings.api_version or os.environ.get("GOOGLE_GENAI_API_VERSION") or service.version
        return f"{base.strip().rstrip('/')}/{service.beta if version == 'beta' else version}"

    def _headers(self) -> dict[str, str]:
        more = {name.lower(): plain(value) for name, value in self._settings.headers.items()}
        key = plain(self._settings.api_key) or os.environ.get("GOOGLE_API_KEY") or os.environ.get("GEMINI_API_KEY")
        if not key and not any(word in name for name in more for word in _PROOF):
            raise ConfigError(
                f"the provider {self.name!r} has no key: set GOOGLE_API_KEY or GEMINI_API_KEY, or api_key in "
                f"[plugins.google] of your configuration; {DOCS} says where to get one"
            )
        headers = {"content-type": "application/json"}
        if key:
            headers[KEY_HEADER] = key.strip()
        return headers | more

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
