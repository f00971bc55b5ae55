"""What an endpoint's settings, the environment and the names that are known come to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from becket import ConfigError, Runtime, load_config
from becket_openai import Endpoint, OpenAIProvider, Settings
from becket_openai._presets import PRESETS, schema_use, service
from becket_wire import SettingsError
from pydantic import SecretStr

ALL = "0.0.0.0"  # noqa: S104  what a server listens on, which is no address to call
VARIABLES = (
    *(variable for preset in PRESETS.values() for variable in (*preset.keys, preset.organization, preset.project)),
    *(preset.url_from for preset in PRESETS.values()),
    "LLAMA_ARG_PORT",
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """None of the variables that these services know is set."""
    for variable in filter(None, VARIABLES):
        monkeypatch.delenv(variable, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "variables", "url"),
    [
        ("openai", {"OPENAI_API_KEY": "k"}, "https://api.openai.com/v1"),
        ("openai", {"OPENAI_BASE_URL": "http://localhost:9/v1/"}, "http://localhost:9/v1"),
        ("azure", {"AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com/", "AZURE_OPENAI_API_KEY": "k"}, "https://x.openai.azure.com/openai/v1"),
        ("azure", {"AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com/openai/v1/", "AZURE_OPENAI_API_KEY": "k"}, "https://x.openai.azure.com/openai/v1"),
        ("openrouter", {"OPENROUTER_API_KEY": "k"}, "https://openrouter.ai/api/v1"),
        ("ollama", {}, "http://127.0.0.1:11434/v1"),
        ("ollama", {"OLLAMA_HOST": ALL}, "http://127.0.0.1:11434/v1"),
        ("ollama", {"OLLAMA_HOST": "box"}, "http://box:11434/v1"),
        ("ollama", {"OLLAMA_HOST": "box:8080"}, "http://box:8080/v1"),
        ("ollama", {"OLLAMA_HOST": ":8080"}, "http://127.0.0.1:8080/v1"),
        ("ollama", {"OLLAMA_HOST": "[::1]:8080"}, "http://[::1]:8080/v1"),
        ("ollama", {"OLLAMA_HOST": "[::]"}, "http://127.0.0.1:11434/v1"),
        ("ollama", {"OLLAMA_HOST": "https://ollama.com"}, "https://ollama.com/v1"),
        ("ollama", {"OLLAMA_HOST": "http://box:80/models/"}, "http://box:80/models/v1"),
        ("vllm", {}, "http://localhost:8000/v1"),
        ("llamacpp", {}, "http://127.0.0.1:8080/v1"),
        ("llamacpp", {"LLAMA_ARG_HOST": ALL, "LLAMA_ARG_PORT": "81"}, "http://127.0.0.1:81/v1"),
        ("lmstudio", {}, "http://localhost:1234/v1"),
    ],
)  # fmt: skip
def test_a_service_that_is_known_is_found(
    name: str, variables: dict[str, str], url: str, environment: pytest.MonkeyPatch
) -> None:
    """Where it is by default, or where the variables of its own programs say."""
    for variable, value in variables.items():
        environment.setenv(variable, value)
    assert service(name, Endpoint()).url == url


def test_settings_go_before_the_environment(environment: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        environment.setenv(variable, "theirs")
    environment.setenv("OPENAI_BASE_URL", "http://theirs.test")
    assert service("openai", Endpoint()).headers["openai-project"] == "theirs"
    said = Endpoint(base_url="http://mine.test/", api_key=SecretStr("mine"), organization="mine", project="mine")
    assert service("openai", said).at("models") == "http://mine.test/models"
    assert {value for value in service("openai", said).headers.values() if "json" not in value} == {
        "Bearer mine",
        "mine",
    }


def test_a_key_that_is_set_later_is_used(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError):
        service("openai", Endpoint())
    environment.setenv("OPENAI_API_KEY", "late")
    assert service("openai", Endpoint()).headers["authorization"] == "Bearer late"


@pytest.mark.parametrize(
    ("name", "variable", "table"),
    [
        ("openai", "OPENAI_API_KEY", "plugins.openai"),
        ("openrouter", "OPENROUTER_API_KEY", "plugins.openai.endpoints.openrouter"),
    ],
)
def test_a_missing_key_is_told_with_where_it_goes(name: str, variable: str, table: str) -> None:
    """The variable, the key of the configuration and the page."""
    with pytest.raises(ConfigError) as caught:
        service(name, Endpoint())
    said = str(caught.value)
    assert f"the provider '{name}' has no key; set the environment variable {variable}" in said
    assert f'[{table}] api_key = {{ env = "{variable}" }}' in said
    assert "docs/reference/plugins/openai.md" in said


@pytest.mark.parametrize(("name", "variable"), [("azure", "AZURE_OPENAI_ENDPOINT"), ("work", "base_url")])
def test_a_missing_address_is_told_with_where_it_goes(name: str, variable: str) -> None:
    with pytest.raises(ConfigError, match=f"the provider '{name}' has no base URL; set .*{variable}"):
        service(name, Endpoint(api_key=SecretStr("k")))


def test_azure_has_its_own_header_for_the_key() -> None:
    """By its name, and by its address."""
    key = SecretStr("k")
    by_name = service("azure", Endpoint(base_url="http://localhost/openai/v1", api_key=key))
    by_address = service("work", Endpoint(base_url="https://x.openai.azure.com/openai/v1", api_key=key))
    for found in (by_name, by_address):
        assert (found.headers["api-key"], "authorization" in found.headers, found.is_openai) == ("k", False, True)


def test_azures_older_paths_have_a_version() -> None:
    old = Endpoint(
        base_url="https://x.openai.azure.com/openai/deployments/d", api_key=SecretStr("k"), api_version="2024-10-21"
    )
    url = "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21"
    assert service("azure", old).at("chat/completions") == url


def test_a_token_of_ones_own_does_for_a_key() -> None:
    """As Azure's do, which come from elsewhere."""
    own = Endpoint(base_url="http://localhost/v1", headers={"Authorization": SecretStr("Bearer token")})
    assert service("azure", own).headers["authorization"] == "Bearer token"


@pytest.mark.parametrize(
    ("name", "endpoint", "api"),
    [
        ("openai", Endpoint(api_key=SecretStr("k")), "responses"),
        ("openai", Endpoint(api_key=SecretStr("k"), api="chat"), "chat"),
        ("openai", Endpoint(base_url="http://localhost/v1"), "chat"),
        ("eu", Endpoint(base_url="https://eu.api.openai.com/v1"), "responses"),
        ("fake", Endpoint(base_url="https://api.openai.com.evil.test/v1"), "chat"),
        ("ollama", Endpoint(), "chat"),
        ("ollama", Endpoint(api="responses"), "responses"),
    ],
)
def test_the_responses_api_is_spoken_with_openai_alone(name: str, endpoint: Endpoint, api: str) -> None:
    """Unless it is said."""
    assert service(name, endpoint).api == api


@pytest.mark.parametrize(
    ("name", "endpoint", "use"),
    [
        ("openai", Endpoint(), "always"),
        ("openai", Endpoint(base_url="http://localhost/v1"), "without_tools"),
        ("ollama", Endpoint(), "without_tools"),
        ("work", Endpoint(json_schema="never"), "never"),
        ("work", Endpoint(json_schema="always"), "always"),
    ],
)
def test_a_schema_is_used_where_it_does_no_harm(name: str, endpoint: Endpoint, use: str) -> None:
    assert schema_use(name, endpoint) == use
    provider = OpenAIProvider(name, endpoint=endpoint)
    assert provider.takes_schema("m", with_tools=False) is (use != "never")
    assert provider.takes_schema("m", with_tools=True) is (use == "always")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"api": "assistants"}, "api is 'assistants'; it is one of: 'chat', 'responses'"),
        ({"json_schema": True}, "json_schema is True"),
        ({"base_url": "localhost:8000"}, "base_url is 'localhost:8000'; it is a URL that starts with http://"),
        ({"base_url": "http://[::1"}, "base_url is"),
        ({"base_url": "ftp://x.test"}, "base_url is 'ftp://x.test'"),
        ({"read_seconds": 0}, "read_seconds is 0; it is a number of seconds above 0"),
        ({"headers": {"x": "a\r\nb: c"}}, "headers has 'x', which no request can have"),
        ({"headers": {"x y": "a"}}, "headers has 'x y', which no request can have"),
    ],
)
def test_a_wrong_setting_is_told(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Endpoint(**settings)
    assert said in str(caught.value)


def test_an_address_of_the_environment_that_is_none_is_told(environment: pytest.MonkeyPatch) -> None:
    """At the call, with where it is set."""
    environment.setenv("OPENAI_BASE_URL", "localhost:80")
    with pytest.raises(ConfigError, match=r"of the provider 'openai', base_url is 'localhost:80'.*OPENAI_BASE_URL"):
        service("openai", Endpoint())


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="has a name or password in it") as caught:
        Endpoint(base_url="https://me:hunter22@x.test/v1")
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(("name", "said"), [("a:b", "letters, digits"), ("openai", r"stand in \[plugins.openai\]")])
def test_an_endpoint_needs_a_name_of_its_own(name: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings(endpoints={name: Endpoint()})


def test_a_key_that_no_header_can_have_is_refused_and_not_shown() -> None:
    """As one that was copied with a typographic quotation mark."""
    with pytest.raises(ConfigError, match="'authorization' with a character that no header can have") as caught:
        service("openai", Endpoint(api_key=SecretStr("sk-hunter22\u201d")))
    assert "hunter22" not in str(caught.value)


def test_nothing_shows_a_secret() -> None:
    """Neither the settings, nor what they come to, nor the provider."""
    endpoint = Endpoint(base_url="http://x.test", api_key=SecretStr("hunter22"), headers={"x": SecretStr("hunter23")})
    shown = f"{endpoint!r}{Settings(api_key=SecretStr('hunter22'))!r}{service('work', endpoint)!r}"
    assert "hunter" not in f"{shown}{OpenAIProvider('work', endpoint=endpoint)!r}"


def test_a_provider_is_made_of_plain_texts_too() -> None:
    provider = OpenAIProvider("work", base_url="http://x.test/v1", api_key="k", headers={"X-Team": "blue"})
    found = service("work", provider._endpoint)  # what it will use at a call
    assert (found.headers["authorization"], found.headers["x-team"]) == ("Bearer k", "blue")


def test_what_is_known_is_there_without_any_configuration() -> None:
    """And is nobody's default: the model of the environment stays what it was."""
    import becket_openai

    runtime = Runtime(plugins=[becket_openai], discover=False)
    for name in PRESETS:
        provider, model = runtime.model(f"{name}:some/model:tag")
        assert (provider.name, model, provider.default_model) == (name, "some/model:tag", None)


def test_the_configuration_that_the_page_shows_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```toml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    file = tmp_path / "becket.toml"
    file.write_text(shown, encoding="utf-8")
    runtime = Runtime(allow=["openai"], config=load_config(file))
    assert runtime.model("deepseek:deepseek-chat")[0].name == "deepseek"


def test_the_page_shows_every_service_and_every_setting() -> None:
    page = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    for name in (*PRESETS, *Endpoint.__dataclass_fields__, *filter(None, VARIABLES)):
        assert f"`{name}`" in page, name
