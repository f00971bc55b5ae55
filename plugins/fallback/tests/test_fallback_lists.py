"""Lists of models: in the configuration, in the name of a model, and handed over by a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import becket_fallback
import pytest
from becket import Agent, ConfigError, Provider, RoutingProvider, Runtime, SchemaProvider, hookimpl, load_config
from becket.testing import ScriptedProvider, text
from becket_fallback import FallbackProvider

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


class Models:
    """The models of these tests, as a plugin; its name comes after that of the one under test."""

    def __init__(self, *providers: Any) -> None:
        self._providers = providers

    @hookimpl
    def register_providers(self) -> tuple[Any, ...]:
        return self._providers


def scripted(name: str, **more: Any) -> ScriptedProvider:
    return ScriptedProvider(text(f"{name} says so"), name=name, **more)


def runtime(lists: str = "", folder: Path | None = None, *more: Any) -> Runtime:
    config = None
    if folder is not None:
        path = folder / "becket.toml"
        path.write_text(lists)
        config = load_config(path, project=False)
    models = Models(scripted("one", model="small"), scripted("two"), *more)
    return Runtime(plugins=[becket_fallback, models], discover=False, config=config)


LISTS = """
[plugins.becket_fallback.models]
smart = ["one:large", "two"]
cheap = ["two:tiny"]
nested = ["fallback:cheap"]
missing = ["oen:large", "two"]
"""


async def test_a_list_of_the_configuration_is_a_model_by_its_name(tmp_path: Path) -> None:
    given = runtime(LISTS, tmp_path)
    assert (await Agent("fallback:smart", runtime=given).invoke_async("go")).text == "one says so"
    one: Any = given.providers.find("one")
    assert one.requests[0].model == "large"
    assert (await Agent("fallback:cheap", runtime=given).invoke_async("go")).text == "two says so"


async def test_the_lists_are_listed_and_none_is_the_default_of_an_environment(tmp_path: Path) -> None:
    fallback: Any = runtime(LISTS, tmp_path).providers.find("fallback")
    assert {one.name: one.description for one in fallback.models()}["smart"] == "one:large, then two"
    assert fallback.default_model is None
    without: Any = runtime().providers.find("fallback")
    assert [one.name for one in without.models()] == ["<provider:model>,<provider:model>"]
    assert all(isinstance(fallback, kind) for kind in (Provider, SchemaProvider, RoutingProvider))


@pytest.mark.parametrize("written", ["one:large,two", "one:large, two:model", "two,one", "one:large"])
async def test_a_list_may_be_the_name_of_the_model_itself(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = written.partition(",")[0].partition(":")[0]
    assert (await Agent(f"fallback:{written}", runtime=runtime()).invoke_async("go")).text == f"{first} says so"
    monkeypatch.setenv("BECKET_MODEL", f"fallback:{written}")
    assert (await Agent(runtime=runtime()).invoke_async("go")).text == f"{first} says so"


async def test_a_model_is_found_by_the_providers_own_default(tmp_path: Path) -> None:
    fallback: Any = runtime(LISTS, tmp_path).providers.find("fallback")
    assert fallback.routes("smart") == ["one:large", "two:model"]
    assert fallback.routes("one,two:x:y") == ["one:small", "two:x:y"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "smrt",
            "'fallback' has no list 'smrt'; did you mean 'smart'? Its lists: smart, cheap, nested, missing.",
        ),
        (
            "zzz",
            "has no list 'zzz'. Its lists: smart, cheap, nested, missing. Or name models themselves: 'fallback:openai",
        ),
        ("missing", "the list 'missing' of the provider 'fallback': there is no provider 'oen'; did you mean 'one'"),
        ("one:large,,two", "has '' in it; it takes models, as 'provider:model'"),
        ("two,two", "has 'two' in it twice; a model is asked once a call"),
        ("nested", "the list 'nested' of the provider 'fallback' has 'fallback:cheap' in it, which is a list itself"),
        ("fallback:cheap", "has 'fallback:cheap' in it, which is a list itself"),
        ("none:x", "there is no provider 'none'"),
    ],
)
async def test_what_is_wrong_with_a_list_is_said_before_anybody_is_asked(
    tmp_path: Path, name: str, message: str
) -> None:
    given = runtime(LISTS, tmp_path)
    with pytest.raises(ConfigError) as caught:
        await Agent(f"fallback:{name}", runtime=given).invoke_async("go")
    assert message in str(caught.value)
    others: list[Any] = [entry.item for entry in given.providers.contributions() if entry.item.name != "fallback"]
    assert not any(provider.requests for provider in others)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("smart = []", "the list 'smart' is empty"),
        ('smart = ["one", "one"]', "the list 'smart' has 'one' in it twice"),
        ('smart = ["one", " "]', "the list 'smart' has ' ' in it"),
        ('smart = "one"', "smart"),
    ],
)
async def test_a_list_that_is_none_is_an_error_of_the_configuration(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        runtime(f"[plugins.becket_fallback.models]\n{table}", tmp_path)
    assert message in str(caught.value)


# -- handed over by a host ---------------------------------------------------------------------------------------------


async def test_a_host_hands_over_providers_and_names() -> None:
    provider = FallbackProvider([scripted("one", model="small"), (scripted("two"), "large")])
    assert provider.default_model == "models"
    assert provider.routes("models") == ["one:small", "two:large"]
    assert [(one.name, one.description) for one in provider.models()] == [("models", "one:small, then two:large")]


async def test_with_the_runtime_to_find_them_in_a_host_names_models() -> None:
    given = runtime()
    provider = FallbackProvider({"smart": ["one:large", "two"]}, find_model=given.model, name="smart")
    assert provider.default_model is None
    assert (provider.name, provider.routes("smart")) == ("smart", ["one:large", "two:model"])


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "the list 'models' is empty"),
        ("one:large", "the list 'models' is the text 'one:large'"),
        ([7], "has 7 in it; it takes models"),
        ([(scripted("one"), "")], "in it; it takes models"),
        ([("one", "large")], "in it; it takes models"),
        (["one:large"], "and nothing to find it with; give find_model=runtime.model"),
        ({"smart": []}, "the list 'smart' is empty"),
    ],
    ids=["empty", "text", "number", "nameless", "pair", "unfindable", "mapping"],
)
async def test_what_a_host_hands_over_is_checked_at_once(models: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FallbackProvider(models)
    assert message in str(caught.value)


async def test_a_provider_without_a_default_model_needs_a_name() -> None:
    class Nameless(ScriptedProvider):
        default_model = None

        def __init__(self) -> None:
            super().__init__(text("x"), name="nameless")
            self.default_model = None

    provider = FallbackProvider([Nameless()])
    with pytest.raises(ConfigError, match=r"the provider 'nameless' has no default model; give \(provider, 'model'\)"):
        provider.routes("models")


async def test_lists_of_a_host_without_a_way_to_find_models_are_all_there_is() -> None:
    provider = FallbackProvider([scripted("one")])
    with pytest.raises(ConfigError, match=r"has no list 'one:large'. Its lists: models.$"):
        provider.routes("one:large")


async def test_a_provider_of_lists_is_no_model_of_a_list() -> None:
    inner = FallbackProvider([scripted("one")])
    with pytest.raises(ConfigError, match="has 'fallback:models' in it, which is a list itself"):
        FallbackProvider([inner]).routes("models")
