"""The provider `anthropic`, and those of other services that speak the Messages API."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from becket import ModelInfo

from becket_anthropic._models import takes_schema
from becket_anthropic._settings import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import pydantic
    from becket import ModelEvent, ModelRequest

    from becket_anthropic._service import Service
    from becket_anthropic._settings import Caching

__all__ = ["AnthropicProvider"]


class AnthropicProvider:
    """The models of a service that speaks Anthropic's Messages API, as `name:model`.

    A key that is not given is looked for at each model call, where the provider is called `anthropic` or no address is
    given: in the environment variables `ANTHROPIC_API_KEY` and `ANTHROPIC_AUTH_TOKEN`. Any other service may do
    without one.

    Args:
        name: The provider's name.
        base_url: Where the service's paths begin; `/v1/messages` follows. None for what the environment variable
            `ANTHROPIC_BASE_URL` says, where the provider is called `anthropic`, or else Anthropic's own.
        api_key: The key, sent as `x-api-key`.
        auth_token: The key where it is sent as `authorization: Bearer`.
        default_model: The model where only the provider is named, as in `Agent(AnthropicProvider(...))`.
        caching: How long the service keeps the beginning of a prompt: `5m`, `1h` or `off`.
        headers: Headers of every request; they may hold secrets, and are shown nowhere.
        endpoint: Its other settings, and those above where they are not given.

    Raises:
        ConfigError: A setting is wrong.
    """

    def __init__(
        self,
        name: str = "anthropic",
        *,
        base_url: str | None = None,
        api_key: str | pydantic.SecretStr | None = None,
        auth_token: str | pydantic.SecretStr | None = None,
        default_model: str | None = None,
        caching: Caching | None = None,
        headers: Mapping[str, str | pydantic.SecretStr] | None = None,
        endpoint: Endpoint | None = None,
    ) -> None:
        said = {
            "base_url": base_url,
            "api_key": api_key,
            "auth_token": auth_token,
            "default_model": default_model,
            "caching": caching,
            "headers": headers and dict(headers),
        }
        changes: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
        self.name = name
        self._endpoint = replace(endpoint or Endpoint(), **changes)
        self.default_model = self._endpoint.default_model
        self._service: Service | None = None
        self._making = threading.Lock()

    def __repr__(self) -> str:
        return f"AnthropicProvider({self.name!r})"

    def models(self) -> Sequence[ModelInfo]:
        """The default model, if it has one: what a service offers changes, and `list_models` asks it."""
        return [ModelInfo(self.default_model)] if self.default_model else []

    def takes_schema(self, model: str, /, *, with_tools: bool) -> bool:  # noqa: ARG002  it takes both together
        """Whether structured output is asked for by a JSON schema: of Claude 4.5 and what came after it."""
        return takes_schema(model)

    def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        """Call a model; see `becket.Provider.stream`.

        A turn that the service pauses is gone on with in further requests, whose usage is added up.

        Raises:
            ConfigError: There is no key, or `options.extra` holds what it must not.
            ProviderError: The service refused or failed, or the answer broke off.
        """
        return self._made().stream(request)

    def check_key(self) -> None:
        """Whether there is what every call needs.

        Raises:
            ConfigError: There is no key.
        """
        self._made().check_key()

    async def list_models(self) -> Sequence[ModelInfo]:
        """The models that the service says it has, newest first.

        Raises:
            ConfigError: There is no key.
            ProviderError: The service refused or failed, or what it sent is no list of models.
        """
        return await self._made().models()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        if self._service is not None:
            await self._service.client.aclose()

    def _made(self) -> Service:
        """The service; what it needs is imported at the first call."""
        with self._making:  # two event loops may come here at once
            if self._service is None:
                from becket_anthropic._service import Service

                self._service = Service(self.name, self._endpoint)
            return self._service
