"""How a service is asked: its address, the headers, and the client that carries the requests."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from becket import ConfigError, ModelInfo, ProviderError
from becket_wire import Client, plain

from becket_anthropic._answer import Answer
from becket_anthropic._api import UNREADABLE, decode_page
from becket_anthropic._errors import explanation
from becket_anthropic._head import is_sampled
from becket_anthropic._log import Warned
from becket_anthropic._messages import Writer
from becket_anthropic._request import Conversation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from becket import ModelEvent, ModelRequest
    from becket_wire import Reply

    from becket_anthropic._settings import Endpoint

__all__ = ["OWN_NAME", "Service"]

OWN_NAME: Final = "anthropic"
OWN_URL: Final = "https://api.anthropic.com"
PAGE: Final = "docs/reference/plugins/anthropic.md"

VERSION: Final = "2026-10-21"
VERSION_WITH_SAMPLING: Final = "2023-06-01"
"""https://platform.claude.com/docs/en/api/versioning: the newer version refuses `temperature`, `top_p` and `top_k`."""

PAUSES: Final = 16
"""How often a turn that the service pauses is gone on with. It pauses after some ten calls of its own tools."""

PAGES: Final = 20
"""Pages of the list of models that are read, of up to 1,000 each."""


class Service:
    """A service that speaks the Messages API.

    Args:
        name: The provider's name.
        endpoint: The settings.
    """

    def __init__(self, name: str, endpoint: Endpoint) -> None:
        self.name = name
        self._endpoint = endpoint
        self._writer = Writer(name)
        self._warned = Warned(name)
        explain = explanation(name, self._setting("ANTHROPIC_API_KEY", "api_key"))
        address = self._setting("ANTHROPIC_BASE_URL", "base_url")
        self.client = Client(name, limits=endpoint.limits, explain=explain, hint=f"check its address: {address}")

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """One model call, in as many requests as the service divides it into."""
        if not request.model:
            raise ConfigError(
                f'the provider {self.name!r} was given no model; make it with default_model="…", '
                f"or name '{self.name}:<model>'"
            )
        conversation = request.kept.get(self)
        if conversation is None:
            conversation = request.kept[self] = Conversation(self._writer, self._endpoint)
        answer: Answer | None = None
        for _ in range(1 + PAUSES):
            async with AsyncExitStack() as stack:
                reply = await self._reply(stack, conversation, request, answer)
                if answer is None:
                    answer = Answer(self.name, reply, self._warned)
                else:
                    answer.go_on(reply)
                take = answer.take
                async for batch in reply.events():
                    for data in batch:
                        for event in take(data):
                            yield event
                    if answer.done:
                        break
                answer.check()
                await reply.finish()
            if not answer.paused:
                break
        assert answer is not None  # noqa: S101 -- for the type checker
        yield answer.finish()

    async def _reply(
        self, stack: AsyncExitStack, conversation: Conversation, request: ModelRequest, answer: Answer | None
    ) -> Reply:
        """The reply; where thinking in the history no longer fits what is before it, the one to a second request."""
        url = f"{self._root()}/v1/messages"
        for _ in range(2):
            so_far = (None, None) if answer is None else (answer.message(), answer.container)
            body, headers = conversation.body(request, *so_far), self._headers(request, *conversation.betas)
            try:
                return await stack.enter_async_context(self.client.post(url, headers=headers, body=body))
            except ProviderError as error:
                if not conversation.unbinds(request, error):
                    raise
                self._warned.history(error)
        raise AssertionError("a request is unbound once")

    async def models(self) -> Sequence[ModelInfo]:
        """The models that the service says it has."""
        headers, after = self._headers(None), ""
        found: list[ModelInfo] = []
        for _ in range(PAGES):
            raw = await self.client.get_json(f"{self._root()}/v1/models?limit=1000{after}", headers=headers)
            try:
                page = decode_page(raw)
            except UNREADABLE as error:
                raise ProviderError(f"{self.name} sent a list of models that cannot be read: {error}") from error
            found += (ModelInfo(one.id, one.display_name or "") for one in page.data)
            if not page.has_more or not page.last_id:
                break
            after = f"&after_id={quote(page.last_id, safe='')}"
        return found

    def check_key(self) -> None:
        """Whether a request could be sent.

        Raises:
            ConfigError: There is no key.
        """
        self._headers(None)

    def _root(self) -> str:
        """The service's address, before `/v1`."""
        url = self._endpoint.base_url
        if url is None:
            url = (os.environ.get("ANTHROPIC_BASE_URL") if self.name == OWN_NAME else None) or OWN_URL
        return url.strip().rstrip("/").removesuffix("/v1")

    def _headers(self, request: ModelRequest | None, *also: str) -> dict[str, str]:
        """The headers of a request; None for one that asks no model. `also` are betas.

        Raises:
            ConfigError: There is no key.
        """
        endpoint = self._endpoint
        version = endpoint.version or (VERSION_WITH_SAMPLING if request and is_sampled(request) else VERSION)
        headers = {"accept": "application/json", "anthropic-version": version}
        if request is not None:
            headers["content-type"] = "application/json"
        if betas := [*endpoint.betas, *(_betas(request) if request is not None else ()), *also]:
            headers["anthropic-beta"] = ",".join(dict.fromkeys(betas))
        own = {name.lower(): shown for name, value in endpoint.headers.items() if (shown := plain(value))}
        if not own.keys() & {"x-api-key", "authorization"}:
            headers |= self._key()
        return headers | own

    def _key(self) -> dict[str, str]:
        """The header with the key; none for another service that needs none.

        Raises:
            ConfigError: There is none, and Anthropic itself is asked.
        """
        endpoint = self._endpoint
        if endpoint.api_key is not None:
            return {"x-api-key": _sendable(plain(endpoint.api_key), "api_key")}
        if endpoint.auth_token is not None:
            return {"authorization": f"Bearer {_sendable(plain(endpoint.auth_token), 'auth_token')}"}
        if self.name != OWN_NAME and endpoint.base_url is not None:
            return {}
        if key := os.environ.get("ANTHROPIC_API_KEY"):
            return {"x-api-key": _sendable(key, "ANTHROPIC_API_KEY")}
        if token := os.environ.get("ANTHROPIC_AUTH_TOKEN"):
            return {"authorization": f"Bearer {_sendable(token, 'ANTHROPIC_AUTH_TOKEN')}"}
        raise ConfigError(
            f"the provider {self.name!r} has no key: set {self._setting('ANTHROPIC_API_KEY', 'api_key')}; "
            f"{PAGE} says more"
        )

    def _setting(self, variable: str, key: str) -> str:
        """Where something is set, for an error."""
        if self.name == OWN_NAME:
            return f"the environment variable {variable}, or {key} in [plugins.anthropic] of your configuration"
        return f"{key} in [plugins.anthropic.endpoints.{self.name}] of your configuration"


def _betas(request: ModelRequest) -> Sequence[str]:
    """The betas that one call asks for.

    Raises:
        ConfigError: They are no list of texts that a header can have.
    """
    given: object = request.options.extra.get("betas") or ()
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) and one.isprintable() for one in given):
        raise ConfigError(f"extra has betas {given!r}; it must be a list of texts")
    return given


def _sendable(key: str, where: str) -> str:
    """A key without white space around it, such as a line end from a file.

    Raises:
        ConfigError: No header can have it; the message does not show it.
    """
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{where} is no key: it is empty, or has signs that no key has")
    return key
