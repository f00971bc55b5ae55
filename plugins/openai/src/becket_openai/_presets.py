"""The services that are known by name, and what an endpoint's settings come to with the environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from becket import ConfigError
from becket_wire import ServiceSettings, SettingsError, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from becket_openai._settings import ApiName, Endpoint, ReasoningMember, SchemaUse

__all__ = ["DOCS", "PRESETS", "Advice", "Preset", "Service", "base_url", "preset", "schema_use", "service"]

DOCS: Final = "docs/reference/plugins/openai.md"
_OPENAI: Final = "https://api.openai.com/v1"
_AZURE: Final = ("openai.azure.com", "services.ai.azure.com", "cognitiveservices.azure.com")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What is known of a service by the name of its provider.

    Attributes:
        url: Its base URL, or what makes it of the environment; empty for none.
        url_from: The variable that it is set by, where there is one.
        port_from: A variable that sets the port alone.
        keys: Variables that may hold its key; the first one is named where there is none.
        needs_key: Whether it takes no request without one.
        organization: The variable that sets it.
        project: As above.
        json_schema: When structured output is asked for by a schema.
        send_reasoning: The member in which reasoning goes back.
        takes_names: Whether it can be told which tool is to be called.
        program: The program that has to run for it, where it is none of somebody else's.
    """

    url: str | Callable[[Mapping[str, str]], str] = ""
    url_from: str = ""
    port_from: str = ""
    keys: tuple[str, ...] = ()
    needs_key: bool = False
    organization: str = ""
    project: str = ""
    json_schema: SchemaUse = "without_tools"
    send_reasoning: ReasoningMember = ""
    takes_names: bool = True
    program: str = ""

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that say something of the service."""
        return tuple(filter(None, (self.url_from, self.port_from, *self.keys, self.organization, self.project)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """An endpoint that can be called.

    Attributes:
        url: Its base URL, without a slash at the end.
        query: The query of every request, with its question mark, or empty.
        headers: What every request says of its sender, the key among it.
        is_openai: Whether it is OpenAI's own, or Azure's: those know the newer members of a request.
        api: The API that is spoken.
        send_reasoning: As `Endpoint`.
        takes_names: As `Preset`.
    """

    url: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_openai: bool = False
    api: ApiName = "chat"
    send_reasoning: ReasoningMember = ""
    takes_names: bool = True

    def at(self, path: str) -> str:
        """The URL of a path."""
        return f"{self.url}/{path}{self.query}"


def _ollama(environ: Mapping[str, str]) -> str:
    """Where the program `ollama` would look: OLLAMA_HOST is a URL, a host, a port, or both."""
    given = environ.get("OLLAMA_HOST", "").strip().strip("'\"")
    scheme, found, rest = given.partition("://")
    if not found:
        scheme, rest = "http", given
    place, _, path = rest.partition("/")
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):  # no port; the colons of an address of IPv6 are in brackets
        host, port = place, "" if found else "11434"
    if host in ("", "0.0.0.0", "[::]"):  # noqa: S104  to listen on all is no address to call
        host = "127.0.0.1"
    return f"{scheme}://{host}{port and ':'}{port}/{path and path.strip('/') + '/'}v1"


def _llamacpp(environ: Mapping[str, str]) -> str:
    """Where the program `llama-server` listens by these variables."""
    host = environ.get("LLAMA_ARG_HOST", "127.0.0.1")
    if host in ("", "0.0.0.0", "::"):  # noqa: S104  as above
        host = "127.0.0.1"
    return f"http://{host}:{environ.get('LLAMA_ARG_PORT') or '8080'}/v1"


def _azure(environ: Mapping[str, str]) -> str:
    """The newer paths below an endpoint, which is shown with and without them where one copies it from."""
    endpoint = environ.get("AZURE_OPENAI_ENDPOINT", "").strip().rstrip("/").removesuffix("/openai/v1")
    return f"{endpoint}/openai/v1" if endpoint else ""


PRESETS: Final[Mapping[str, Preset]] = {
    "openai": Preset(
        url=_OPENAI,
        url_from="OPENAI_BASE_URL",
        keys=("OPENAI_API_KEY",),
        needs_key=True,
        organization="OPENAI_ORG_ID",
        project="OPENAI_PROJECT_ID",
        json_schema="always",
    ),
    "azure": Preset(
        url=_azure,
        url_from="AZURE_OPENAI_ENDPOINT",
        keys=("AZURE_OPENAI_API_KEY",),
        needs_key=True,
        json_schema="always",
    ),
    "openrouter": Preset(
        url="https://openrouter.ai/api/v1",
        keys=("OPENROUTER_API_KEY",),
        needs_key=True,
        json_schema="always",
    ),
    "ollama": Preset(
        url=_ollama, url_from="OLLAMA_HOST", keys=("OLLAMA_API_KEY",), send_reasoning="reasoning", program="Ollama"
    ),
    "vllm": Preset(
        url="http://localhost:8000/v1", keys=("VLLM_API_KEY",), send_reasoning="reasoning", program="vllm serve"
    ),
    "llamacpp": Preset(
        url=_llamacpp,
        url_from="LLAMA_ARG_HOST",
        port_from="LLAMA_ARG_PORT",
        keys=("LLAMA_API_KEY",),
        send_reasoning="reasoning_content",
        takes_names=False,  # the model may choose then, without a word (llama.cpp#26535)
        program="llama-server",
    ),
    "lmstudio": Preset(url="http://localhost:1234/v1", keys=("LM_API_TOKEN",), takes_names=False, program="LM Studio"),
}
_UNKNOWN: Final = Preset()


def preset(name: str) -> Preset:
    """What is known of the provider of this name."""
    return PRESETS.get(name, _UNKNOWN)


def base_url(name: str, endpoint: Endpoint) -> str:
    """The base URL of a provider, empty where nothing says it."""
    known = preset(name)
    if endpoint.base_url is not None:
        return endpoint.base_url
    if callable(known.url):
        return known.url(os.environ)
    return (os.environ.get(known.url_from, "").strip() if known.url_from else "") or known.url


def schema_use(name: str, endpoint: Endpoint) -> SchemaUse:
    """When structured output is asked for by a schema."""
    if endpoint.json_schema is not None:
        return endpoint.json_schema
    if name == "openai" and not _is_openai(base_url(name, endpoint)):
        return _UNKNOWN.json_schema
    return preset(name).json_schema


def service(name: str, endpoint: Endpoint) -> Service:
    """What a provider's settings come to now.

    Raises:
        ConfigError: There is no base URL, or no key where the service takes no request without one.
    """
    known, url = preset(name), base_url(name, endpoint).rstrip("/")
    if not url:
        raise ConfigError(Advice(name).no_url())
    _check_url(name, url)
    headers = {"content-type": "application/json"}
    key = _key(name, endpoint)
    given = {title.lower(): plain(value) for title, value in endpoint.headers.items()}
    is_azure = name == "azure" or _is_within(url, *_AZURE)
    if key:
        headers |= {"api-key": key} if is_azure else {"authorization": f"Bearer {key}"}
    elif (
        known.needs_key
        and not (given.get("authorization") or given.get("api-key"))
        and (name != "openai" or _is_openai(url))
    ):
        raise ConfigError(Advice(name).no_key())
    for title, value, variable in (
        ("openai-organization", endpoint.organization, known.organization),
        ("openai-project", endpoint.project, known.project),
    ):
        if found := value or (os.environ.get(variable, "") if variable else ""):
            headers[title] = found
    headers |= given
    _check_headers(name, headers)
    return Service(
        url=url,
        query=f"?api-version={endpoint.api_version}" if endpoint.api_version else "",
        headers=headers,
        is_openai=is_azure or _is_openai(url),
        api=endpoint.api or ("responses" if _is_openai(url) else "chat"),
        send_reasoning=known.send_reasoning if endpoint.send_reasoning is None else endpoint.send_reasoning,
        takes_names=known.takes_names,
    )


def _needs_key(name: str, url: str) -> bool:
    """Whether no request is taken without a key; a server that stands for OpenAI may take one."""
    return preset(name).needs_key and (name != "openai" or _is_openai(url))


def _check_url(name: str, url: str) -> None:
    """Refuse what the environment has as an address, and is none.

    Raises:
        ConfigError: It is none, or has a password in it.
    """
    try:
        ServiceSettings(base_url=url)
    except SettingsError as error:
        raise ConfigError(f"of the provider {name!r}, {error}; {Advice(name).url}") from error


def _check_headers(name: str, headers: Mapping[str, str]) -> None:
    """Refuse what no request can have; the value, which may be a key, is not shown.

    Raises:
        ConfigError: One of them is so.
    """
    for title, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(
                f"the provider {name!r} has a value for the header {title!r} with a character that no header can have, "
                f"a line break or a quotation mark that is none, say; look at where it was copied from; see {DOCS}"
            )


def _is_openai(url: str) -> bool:
    """Whether a base URL is OpenAI's own, of any of its regions."""
    return _is_within(url, "api.openai.com")


def _is_within(url: str, *domains: str) -> bool:
    host = f".{url.partition('://')[2].partition('/')[0].partition(':')[0].lower()}"
    return any(host.endswith(f".{domain}") for domain in domains)


def _key(name: str, endpoint: Endpoint) -> str:
    if endpoint.api_key is not None:
        return plain(endpoint.api_key)
    found = (os.environ.get(variable, "").strip() for variable in preset(name).keys)
    return next(filter(None, found), "")


class Advice:
    """What to do about a provider that cannot be called.

    Args:
        name: The provider's name.

    Attributes:
        key: Where its key is set.
        url: Where its address is set.
    """

    __slots__ = ("_name", "key", "url")

    def __init__(self, name: str) -> None:
        known = preset(name)
        table = "plugins.openai" if name == "openai" else f"plugins.openai.endpoints.{name}"
        variable = known.keys[0] if known.keys else f"{re.sub('[^A-Z0-9]', '_', name.upper())}_API_KEY"
        key = f'in your becket.toml [{table}] api_key = {{ env = "{variable}" }}'
        url = f'in your becket.toml [{table}] base_url = "{"http" if known.program else "https"}://..."'
        self._name = name
        self.key = f"set {f'the environment variable {variable}, or ' if known.keys else ''}{key}; see {DOCS}"
        start = f"start {known.program}, or " if known.program else ""
        self.url = f"{start}set {f'{known.url_from}, or ' if known.url_from else ''}{url}; see {DOCS}"

    def no_key(self) -> str:
        """There is none, and the service takes no request without one."""
        return f"the provider {self._name!r} has no key; {self.key}"

    def no_url(self) -> str:
        """Nothing says where the service is."""
        return f"the provider {self._name!r} has no base URL; {self.url}"
