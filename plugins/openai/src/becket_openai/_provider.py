"""OpenAI, or a service like it, as a model provider."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from becket import ConfigError, ModelInfo

from becket_openai._presets import Advice, preset, schema_use, service
from becket_openai._settings import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import pydantic
    from becket import ModelEvent, ModelRequest
    from becket_wire import Client

    from becket_openai._api import Api
    from becket_openai._presets import Service

__all__ = ["OpenAIProvider"]


class _Used:
    """What a provider's settings came to, for as long as the environment is the same.

    Args:
        variables: The values of the variables that were read.
        service: The endpoint.
        api: How it is spoken to.
        client: What it is asked by.

    Attributes:
        url: Where a model is called.
    """

    __slots__ = ("api", "client", "service", "url", "variables")

    def __init__(self, variables: tuple[str | None, ...], service: Service, api: Api, client: Client) -> None:
        self.variables = variables
        self.service = service
        self.api = api
        self.client = client
        self.url = service.at(api.path)


class OpenAIProvider:
    """The models of one service that speaks the wire of OpenAI, as `name:model`.

    Settings that are not given come from what is known of the service by its name, and from its environment variables,
    which are read at a model call: a key may be set after the provider was made, and be changed.

    Args:
        name: The provider's name. What the package knows without settings: `openai`, `azure`, `openrouter`, `ollama`,
            `vllm`, `llamacpp`, `lmstudio`.
        base_url: Where its paths begin, as `http://localhost:8000/v1`.
        api_key: Its key.
        api: `chat` or `responses`; see `Endpoint`.
        default_model: The model where only the provider is named.
        headers: Headers of every request; they may hold secrets, and are shown nowhere.
        endpoint: Its other settings, and those above where they are not given.

    Raises:
        SettingsError: One of them is wrong.
    """

    def __init__(
        self,
        name: str = "openai",
        *,
        base_url: str | None = None,
        api_key: str | pydantic.SecretStr | None = None,
        api: Literal["chat", "responses"] | None = None,
        default_model: str | None = None,
        headers: Mapping[str, str | pydantic.SecretStr] | None = None,
        endpoint: Endpoint | None = None,
    ) -> None:
        said = {
            "base_url": base_url,
            "api_key": api_key,
            "api": api,
            "default_model": default_model,
            "headers": headers and dict(headers),
        }
        changes: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
        self.name = name
        self._endpoint = replace(endpoint or Endpoint(), **changes)
        self.default_model = self._endpoint.default_model
        self._variables = preset(name).variables
        self._lock = threading.Lock()
        self._used: _Used | None = None

    def __repr__(self) -> str:
        return f"OpenAIProvider({self.name!r})"

    def models(self) -> Sequence[ModelInfo]:
        """The default model, if it has one: what a service offers changes, and `list_models` asks it."""
        return [ModelInfo(self.default_model)] if self.default_model else []

    def takes_schema(self, model: str, /, *, with_tools: bool) -> bool:  # noqa: ARG002  the service decides
        """Whether structured output is asked for by a JSON schema."""
        use = schema_use(self.name, self._endpoint)
        return use == "always" or (use == "without_tools" and not with_tools)

    async def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        """Call a model.

        Raises:
            ConfigError: There is no key, no address or no model, or the request holds what the service does not take.
            ProviderError: The service refused or failed.
        """
        used = self._service()
        if not request.model:
            raise ConfigError(
                f"the provider {self.name!r} was given no model; "
                f'make it with default_model="...", or name "{self.name}:<model>"'
            )
        body = used.api.encode(request)
        async with used.client.post(used.url, headers=used.service.headers, body=body) as reply:
            answer = used.api.answer(request, reply)
            take = answer.take
            async for batch in reply.events():
                for data in batch:
                    for event in take(data):
                        yield event
                if answer.done:
                    await reply.finish()
                    break
            finished = answer.finish()
        yield finished

    def check_key(self) -> None:
        """Whether there is what every call needs.

        Raises:
            ConfigError: There is no key or no address.
        """
        service(self.name, self._endpoint)

    async def list_models(self) -> Sequence[ModelInfo]:
        """The models that the service says it has.

        Raises:
            ConfigError: There is no key or no address.
            ProviderError: The service refused or failed, or what it sent is no list of models.
        """
        from becket_openai._models import listed

        used = self._service()
        document = await used.client.get_json(used.service.at("models"), headers=used.service.headers)
        return listed(self.name, document)

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        if self._used is not None:
            await self._used.client.aclose()

    def _service(self) -> _Used:
        """The service as it is set now, how it is spoken to, and by which client."""
        variables = tuple(map(os.environ.get, self._variables))
        if (used := self._used) is not None and used.variables == variables:
            return used
        with self._lock:  # event loops of other threads call it too, and there is one client
            now = service(self.name, self._endpoint)
            client = self._make_client() if self._used is None else self._used.client
            self._used = _Used(variables, now, self._make_api(now), client)
            return self._used

    def _make_api(self, now: Service) -> Api:
        if now.api == "chat":
            from becket_openai._chat import ChatApi

            return ChatApi(self.name, now)
        from becket_openai._responses import ResponsesApi

        return ResponsesApi(self.name)

    def _make_client(self) -> Client:
        from becket_wire import Client

        from becket_openai._errors import explanation

        advice = Advice(self.name)
        return Client(
            self.name, limits=self._endpoint.limits, explain=explanation(advice.key, self.name), hint=advice.url
        )
