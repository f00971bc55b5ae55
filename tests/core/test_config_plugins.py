"""The tables of plugins: declared by a model, merged, validated, given to hooks; what is wrong, what is a secret."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Mapping  # noqa: TC003  read from the annotations of models below
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Required

import pytest
from becket import AnyTool, Config, ConfigError, PluginError, ProjectMaySet, Runtime, hookimpl, load_config, tool
from becket.config import Origin
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, RootModel, SecretStr, field_validator, model_validator
from typing_extensions import TypeAliasType, TypedDict

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "sk-very-secret"  # noqa: S105  no secret at all


class Endpoint(BaseModel):
    base_url: str
    api_key: SecretStr | None = None


class Vendor(BaseModel):
    """What a provider of several services declares."""

    timeout: Annotated[float, ProjectMaySet()] = 30.0
    endpoints: dict[str, Endpoint] = {}
    fallbacks: list[Endpoint] = []
    headers: dict[str, str] = {}
    organization: str = ""

    @field_validator("organization")
    @classmethod
    def _known(cls, given: str) -> str:
        if given == "evil":
            raise ValueError("we do not serve it")
        return given


@dataclass(frozen=True)
class Folder:
    """What a plugin declares that does without pydantic."""

    root: str = "."
    largest: Annotated[int, ProjectMaySet] = 1000
    ignore: tuple[str, ...] = ()


class Plugin:
    """A plugin, called `plugin`, that keeps the `config` of its hooks."""

    def __init__(self, model: object) -> None:
        self.model = model
        self.given: list[Any] = []

    @hookimpl
    def declare_config(self) -> Any:
        return self.model

    @hookimpl
    def register_tools(self, config: Any) -> None:
        self.given.append(config)

    @hookimpl
    def register_policies(self, config: Any) -> None:
        self.given.append(config)


def given(model: object, table: dict[str, Any] | None = None, **more: Any) -> Any:
    """What the hooks of a plugin get for a table."""
    plugin = Plugin(model)
    Runtime(
        plugins=[plugin],
        discover=False,
        config=None if table is None else Config.of({"plugins": {"plugin": table}}),
        **more,
    )
    first, second = plugin.given
    assert first is second
    return first


def wrong(model: object, table: dict[str, Any]) -> str:
    """What is wrong with a table; nothing that is told, kept or chained may have the secret in it."""
    with pytest.raises(ConfigError) as caught:
        given(model, table)
    assert caught.value.__cause__ is None
    assert SECRET not in str(caught.value)
    lenient = Runtime(
        plugins=[Plugin(model)], discover=False, config=Config.of({"plugins": {"plugin": table}}, lenient=True)
    )
    assert SECRET not in repr((lenient.config_report(), lenient.plugins))
    return str(caught.value).removeprefix("the configuration is wrong: ")


def shown(runtime: Runtime) -> dict[str, Any]:
    """The settings of plugins as they are shown."""
    return {one.key: one.value for one in runtime.config_report().settings if one.key.startswith("plugins.")}


# -- what hooks are given ----------------------------------------------------------------------------------------------


def test_without_a_table_hooks_get_the_defaults() -> None:
    assert given(Folder) == Folder()
    assert given(Vendor, None) == Vendor()


def test_a_table_is_validated_by_the_model_that_the_plugin_declares() -> None:
    assert given(Folder, {"root": "/srv", "ignore": ["a", "b"]}) == Folder("/srv", ignore=("a", "b"))
    endpoint = {"base_url": "http://localhost:1234", "api_key": SECRET}
    made = given(Vendor, {"endpoints": {"here": endpoint}})
    assert made.endpoints["here"].api_key.get_secret_value() == SECRET


def test_a_typed_dict_will_do() -> None:
    class Table(TypedDict, total=False):
        root: Required[str]
        depth: Annotated[int, ProjectMaySet()]
        note: NotRequired[str]

    globals()["Table"] = Table  # where its annotations are looked up
    (plugin,) = Runtime(plugins=[Plugin(Table)], discover=False).plugins
    assert plugin.reason == "it is not configured: the table [plugins.Plugin] has to set root"
    assert given(Table, {"root": "/srv", "depth": 3}) == {"root": "/srv", "depth": 3}
    assert wrong(Table, {"depth": 3}) == "plugins.plugin.root is missing"
    assert wrong(Table, {"root": "", "deth": 3}) == "plugins.plugin.deth is not known; did you mean 'depth'?"


def test_a_plugin_that_declares_nothing_gets_none() -> None:
    assert given(None) is None


def test_a_hook_may_leave_the_argument_out() -> None:
    class Quiet:
        @hookimpl
        def declare_config(self) -> type:
            return Folder

        @hookimpl
        def register_tools(self) -> None:
            return None

    (plugin,) = Runtime(plugins=[Quiet()], discover=False).plugins
    assert plugin.status == "loaded"


def test_commands_get_it_too() -> None:
    class Commanding(Plugin):
        @hookimpl
        def register_commands(self, cli: Any, config: Any) -> None:
            cli.append(config)

    added: list[Any] = []
    Runtime(plugins=[Commanding(Folder)], discover=False).commands(added)
    assert added == [Folder()]


@pytest.mark.parametrize("name", ["Plugin", "tests.core.test_config_plugins", "plugin"])
def test_a_table_is_found_by_every_name_of_its_plugin(name: str) -> None:
    plugin = Plugin(Folder)
    module = type(plugin).__module__
    name = module if name.startswith("tests") else name
    Runtime(plugins=[plugin], discover=False, config=Config.of({"plugins": {name: {"root": "/srv"}}}))
    assert plugin.given[0].root == "/srv"


def test_two_tables_of_one_plugin_are_an_error() -> None:
    config = Config.of({"plugins": {"plugin": {}, "Plugin": {}}})
    with pytest.raises(ConfigError, match=r"plugins.Plugin is of the same plugin as plugins.plugin; make them one"):
        Runtime(plugins=[Plugin(Folder)], discover=False, config=config)


def test_no_pydantic_is_imported_where_there_is_no_table() -> None:
    code = (
        "import dataclasses, sys, becket\n"
        "@dataclasses.dataclass\n"
        "class Table:\n    root: str = '.'\n"
        "class Plugin:\n"
        "    @becket.hookimpl\n    def declare_config(self): return Table\n"
        "    @becket.hookimpl\n    def register_tools(self, config): assert config == Table()\n"
        "becket.Runtime(plugins=[Plugin()], discover=False)\n"
        "print('pydantic' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  ours
    assert ended.stdout == "False\n"


# -- what is wrong -----------------------------------------------------------------------------------------------------


class Strict(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    api_key: SecretStr = Field(default=SecretStr(""), alias="apiKey")
    pair: tuple[int, str] = (0, "")
    mode: Literal["fast", "slow"] = "fast"
    either: int | list[int] = 0
    url: str = Field(default="", validation_alias=AliasChoices("url", "base_url"))

    @model_validator(mode="after")
    def _together(self) -> Strict:
        if self.url == "both":
            raise ValueError(f"url and key {self.api_key.get_secret_value()} do not go together")
        return self


@pytest.mark.parametrize(
    ("model", "table", "said"),
    [
        (Folder, {"rot": "/"}, "plugins.plugin.rot is not known; did you mean 'root'?"),
        (Folder, {"zzz": "/"}, "plugins.plugin.zzz is not known; there is: root, largest, ignore"),
        (Folder, {"largest": "big"}, 'plugins.plugin.largest is "big": input should be a valid integer, unable to'),
        (Folder, {"root": {"a": 1}}, "plugins.plugin.root: input should be a valid string"),
        (Folder, {"ignore": ["a", 1]}, "plugins.plugin.ignore[1] is 1: input should be a valid string"),
        (Vendor, {"organization": "evil"}, 'plugins.plugin.organization is "evil": we do not serve it'),
        (Vendor, {"endpoints": {"a": {}}}, "plugins.plugin.endpoints.a.base_url is missing"),
        (Vendor, {"endpoints": {"a": {"base": ""}}}, "endpoints.a.base is not known; did you mean 'base_url'?"),
        (Vendor, {"endpoints": {"a": "x"}}, 'endpoints.a is "**********": input should be a valid dictionary'),
        (
            Vendor,
            {"fallbacks": [{"baseurl": ""}]},
            "plugins.plugin.fallbacks[0].baseurl is not known; did you mean 'base_url'?",
        ),
        (Vendor, {"headers": {"a": 1}}, "plugins.plugin.headers.a is 1: input should be a valid string"),
        (Endpoint, {}, "plugins.plugin.base_url is missing"),
        (Strict, {"apiKey": 5}, "plugins.plugin.apiKey: input should be a valid string"),
        (Strict, {"api_key": [SECRET]}, "plugins.plugin.api_key: input should be a valid string"),
        (Strict, {"api_key": {"a": SECRET}}, "plugins.plugin.api_key: input should be a valid string"),
        (Strict, {"key": SECRET}, "plugins.plugin.key is not known; did you mean 'api_key'?"),
        (Strict, {"url": "both", "apiKey": SECRET}, "plugins.plugin: url and key ********** do not go together"),
        (Strict, {"base_url": 1}, "plugins.plugin.base_url is 1: input should be a valid string"),
        (Strict, {"mode": "slo"}, "plugins.plugin.mode is \"slo\": input should be 'fast' or 'slow'"),
        (Strict, {"pair": ["a", "b"]}, 'plugins.plugin.pair[0] is "a": input should be a valid integer'),
        (Strict, {"either": "a"}, 'plugins.plugin.either is "a": input should be a valid integer'),
        (None, {"a": SECRET}, "plugins.plugin: plugin 'Plugin' takes no configuration"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(model: object, table: dict[str, Any], said: str) -> None:
    assert said in wrong(model, table)


def test_a_list_quotes_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", SECRET)

    @dataclass
    class Texts:
        texts: Annotated[list[str], Field(max_length=1)]

    globals()["Texts"] = Texts
    assert 'texts is ["a", "**********"]: list should' in wrong(Texts, {"texts": ["a", {"env": "VENDOR_KEY"}]})


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit])
def test_a_model_that_fails_on_a_table_is_no_reason_to_go_on_without_its_plugin(kind: type[BaseException]) -> None:
    class Failing(BaseModel):
        api_key: SecretStr

        @field_validator("api_key")
        @classmethod
        def _fail(cls, given: SecretStr) -> SecretStr:
            raise kind(f"cannot read {given.get_secret_value()}")

    assert wrong(Failing, {"api_key": SECRET}) == (
        f"plugins.plugin: the plugin's own model fails on it: {kind.__name__}: cannot read **********; "
        "that is for plugin 'Plugin' to mend, unless you take the table out"
    )


def test_it_is_told_with_the_file_that_says_it(tmp_path: Path) -> None:
    path = tmp_path / "becket.toml"
    path.write_text('[plugins.plugin]\nlargest = "big"\n')
    with pytest.raises(ConfigError, match=re.escape(f'plugins.plugin.largest in {path} is "big"')):
        Runtime(plugins=[Plugin(Folder)], discover=False, config=load_config(path, project=False))


def test_a_plugin_whose_table_is_wrong_is_left_out_where_that_is_no_error() -> None:
    plugin = Plugin(Folder)
    config = Config.of({"plugins": {"plugin": {"rot": "/"}}}, lenient=True)
    runtime = Runtime(plugins=[plugin], discover=False, config=config)
    assert [(one.status, "rot is not known" in one.reason) for one in runtime.plugins] == [("quarantined", True)]
    assert plugin.given == []
    assert len(runtime.config_report().problems) == 1


def test_a_plugin_that_needs_a_table_and_has_none_is_left_out_and_no_error() -> None:
    """It is installed and not in use: nothing is wrong with that."""

    @dataclass
    class Needy:
        token: str
        other: str = ""
        parts: list[str] = field(default_factory=list)

    for model, key in ((Needy, "token"), (Endpoint, "base_url")):
        (plugin,) = Runtime(plugins=[Plugin(model)], discover=False).plugins
        assert plugin.status == "quarantined"
        assert plugin.reason == f"it is not configured: the table [plugins.Plugin] has to set {key}"
        with pytest.raises(PluginError, match="not configured"):
            Runtime(plugins=[Plugin(model)], discover=False, strict=True)
        with pytest.raises(ConfigError, match="is required, and"):
            Runtime(plugins=[Plugin(model)], discover=False, require=["plugin"])


@pytest.mark.parametrize("model", [Folder(), int, "Folder"], ids=["instance", "no model", "text"])
def test_a_model_must_be_one(model: object) -> None:
    (plugin,) = Runtime(plugins=[Plugin(model)], discover=False).plugins
    assert plugin.status == "quarantined"
    assert "declare_config failed: TypeError: it gave" in plugin.reason


def test_a_model_whose_annotations_lead_nowhere_is_its_plugins_fault() -> None:
    @dataclass
    class Lost:
        root: Missing = ""  # type: ignore[name-defined]  # noqa: F821  that is what the test is about

    config = Config.of({"plugins": {"plugin": {"root": ""}}})
    (plugin,) = Runtime(plugins=[Plugin(Lost)], discover=False, config=config).plugins
    assert plugin.reason == "its declare_config failed: NameError: name 'Missing' is not defined"


def test_a_model_that_takes_any_key_is_given_it() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")

    class Inside(BaseModel):
        anything: Any = None
        table: dict = {}  # type: ignore[type-arg]
        named: RootModel[dict[str, int]] = RootModel[dict[str, int]]({})
        mapping: Mapping[str, Endpoint] = {}

    assert given(Open, {"a": {"b": 1}}).model_extra == {"a": {"b": 1}}
    table = {"anything": {"a": {"b": 1}}, "table": {"c": {"d": 2}}, "named": {"e": 3}}
    made = given(Inside, table)
    assert (made.anything, made.table, made.named.root) == ({"a": {"b": 1}}, {"c": {"d": 2}}, {"e": 3})
    assert "mapping.x.url is not known" in wrong(Inside, {"mapping": {"x": {"url": ""}}})


# -- secrets and variables ---------------------------------------------------------------------------------------------


def test_a_value_may_be_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", SECRET)
    table = {"endpoints": {"a": {"base_url": "http://a", "api_key": {"env": "VENDOR_KEY"}}}}
    assert given(Vendor, table).endpoints["a"].api_key.get_secret_value() == SECRET
    table = {"headers": {"authorization": {"env": "VENDOR_KEY"}}}
    assert given(Vendor, table).headers == {"authorization": SECRET}


def test_a_variable_that_is_not_set_is_as_if_it_were_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VENDOR_KEY", raising=False)
    variable = {"env": "VENDOR_KEY"}
    made = given(Vendor, {"endpoints": {"a": {"base_url": "http://a", "api_key": variable}}})
    assert made.endpoints["a"].api_key is None
    assert given(Folder, {"ignore": [variable, "a"]}).ignore == ("a",)


def test_what_a_list_lacks_for_a_variable_that_is_not_set_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its place in the file: one that is there would hide it otherwise."""
    monkeypatch.delenv("VENDOR_KEY", raising=False)
    config = Config.of({"plugins": {"plugin": {"ignore": ["a", {"env": "VENDOR_KEY"}, "b"]}}})
    report = Runtime(plugins=[Plugin(Folder)], discover=False, config=config).config_report()
    (remark,) = report.remarks
    assert remark.startswith(
        "plugins.plugin.ignore[1] is to come from the environment variable VENDOR_KEY, which is not"
    )
    monkeypatch.setenv("VENDOR_KEY", "c")
    assert Runtime(plugins=[Plugin(Folder)], discover=False, config=config).config_report().remarks == ()


def test_a_plugin_that_needs_a_variable_that_is_not_set_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VENDOR_URL", raising=False)
    config = Config.of({"plugins": {"plugin": {"endpoints": {"a": {"base_url": {"env": "VENDOR_URL"}}}}}})
    runtime = Runtime(plugins=[Plugin(Vendor)], discover=False, config=config)
    assert runtime.plugins[0].reason == (
        "plugins.plugin.endpoints.a.base_url is to come from the environment variable VENDOR_URL, which is not set"
    )
    (setting,) = [one for one in runtime.config_report().settings if one.key.startswith("plugins.")]
    assert (setting.value, setting.note) == (None, "from the environment variable VENDOR_URL, which is not set")


def test_a_message_quotes_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", SECRET)
    assert wrong(Folder, {"largest": {"env": "VENDOR_KEY"}}) == (
        "plugins.plugin.largest: input should be a valid integer, unable to parse string as an integer"
    )


def test_secrets_are_masked_wherever_they_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", SECRET)
    endpoint = {"base_url": "http://a", "api_key": SECRET}
    table = {"endpoints": {"a": endpoint}, "fallbacks": [endpoint], "headers": {"x": {"env": "VENDOR_KEY"}}}
    config = Config.of({"plugins": {"plugin": table}})
    runtime = Runtime(plugins=[Plugin(Vendor)], discover=False, config=config)
    assert shown(runtime) == {
        "plugins.Plugin.timeout": 30.0,
        "plugins.Plugin.endpoints.a.base_url": "http://a",
        "plugins.Plugin.endpoints.a.api_key": "**********",
        "plugins.Plugin.fallbacks[0].base_url": "http://a",
        "plugins.Plugin.fallbacks[0].api_key": "**********",
        "plugins.Plugin.headers.x": "**********",
        "plugins.Plugin.organization": "",
    }
    assert SECRET not in repr((runtime.config, runtime.config_report(), config.plugins))


@pytest.mark.parametrize("table", [{"keys": SECRET}, {"fallbacks": SECRET}, {"endpoints": {"a": SECRET}}])
def test_a_secret_where_a_list_or_table_of_them_belongs_is_masked(table: dict[str, Any]) -> None:
    """The commonest mistake with a list of one: `keys = "..."`."""

    class Listing(Vendor):
        keys: list[SecretStr] = []

    key = ".".join(("plugins.plugin", *table, *(["a"] if "endpoints" in table else [])))
    assert wrong(Listing, table).startswith(f'{key} is "**********": input should be ')


def test_defaults_are_shown_to_the_bottom() -> None:
    class Inner(BaseModel):
        key: SecretStr = SecretStr(SECRET)
        other: SecretStr | None = None
        size: int = 3

    class Outer(BaseModel):
        inner: Inner = Inner()
        both: Inner | Endpoint = Inner()
        renamed: int = Field(default=1, alias="other")

    runtime = Runtime(plugins=[Plugin(Outer)], discover=False)
    inner = {"key": "**********", "other": None, "size": 3}
    assert shown(runtime) == {
        **{f"plugins.Plugin.inner.{key}": value for key, value in inner.items()},
        **{f"plugins.Plugin.both.{key}": value for key, value in inner.items()},
    }


def test_a_typed_dict_is_shown_as_it_is() -> None:
    class Shown(TypedDict, total=False):
        root: str
        depth: int

    globals()["Shown"] = Shown
    runtime = Runtime(
        plugins=[Plugin(Shown)], discover=False, config=Config.of({"plugins": {"plugin": {"root": "/srv"}}})
    )
    assert shown(runtime) == {"plugins.Plugin.root": "/srv"}


def test_of_a_table_that_nobody_has_validated_nothing_is_shown() -> None:
    config = Config.of({"plugins": {"plugin": {"key": SECRET}, "nowhere": {"key": SECRET}}})
    report = Runtime(plugins=[Plugin(Folder)], block=["plugin"], discover=False, config=config).config_report()
    rows = {one.key: (one.value, one.note) for one in report.settings if one.key.startswith("plugins.")}
    assert rows == {
        "plugins.plugin": ("**********", "plugin 'Plugin' is blocked"),
        "plugins.nowhere": ("**********", "no such plugin is installed"),
    }
    assert report.remarks == ("[plugins.nowhere] in code is of no use: no such plugin is installed",)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_secret_in_a_file_that_others_can_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", SECRET)
    path = tmp_path / "becket.toml"

    def remarks(key: str, mode: int) -> tuple[str, ...]:
        path.write_text(f'[plugins.plugin.endpoints.a]\nbase_url = ""\napi_key = {key}\n')
        path.chmod(mode)
        runtime = Runtime(plugins=[Plugin(Vendor)], discover=False, config=load_config(path, project=False))
        return runtime.config_report().remarks

    said = f"{path} holds a secret, and others may read it; run: chmod 600 {path}"
    assert remarks(f'"{SECRET}"', 0o644) == (said,)
    assert remarks(f'"{SECRET}"', 0o600) == ()
    assert remarks('{ env = "VENDOR_KEY" }', 0o644) == ()
    assert remarks(f'"{SECRET}"', 0o644) == (said,)
    runtime = Runtime(plugins=[Plugin(Vendor)], discover=False, config=load_config(path, project=False))
    path.unlink()
    assert runtime.config_report().remarks == ()
    monkeypatch.setattr(sys, "platform", "win32")
    assert runtime.config_report().remarks == ()


# -- projects ----------------------------------------------------------------------------------------------------------


class Mixed(BaseModel):
    open: Annotated[dict[str, Endpoint], ProjectMaySet()] = {}
    keys: Annotated[list[SecretStr], ProjectMaySet()] = []
    size: Annotated[int, ProjectMaySet()] = 1
    closed: dict[str, Endpoint] = {}
    timeouts: Annotated[dict[str, float], ProjectMaySet()] = {}


def of_project(tmp_path: Path, model: object, content: str, own: str = "") -> Runtime:
    (tmp_path / "own.toml").write_text(own)
    (tmp_path / "becket.toml").write_text(content)
    config = load_config(tmp_path / "own.toml", project=tmp_path, environ={})
    return Runtime(plugins=[Plugin(model)], discover=False, config=config)


def test_a_project_sets_what_is_marked_beside_what_the_user_sets(tmp_path: Path) -> None:
    own = "[plugins.plugin]\nsize = 5\n[plugins.plugin.timeouts]\na = 1\nb = 1\n"
    runtime = of_project(tmp_path, Mixed, "[plugins.Plugin]\nsize = 7\ntimeouts.b = 2\n", own)
    rows = {one.key: one for one in runtime.config_report().settings}
    assert (rows["plugins.Plugin.size"].value, rows["plugins.Plugin.size"].origin.kind) == (7, "project")
    assert rows["plugins.Plugin.timeouts.a"].origin == Origin("user", str(tmp_path / "own.toml"))
    assert rows["plugins.Plugin.timeouts.b"].value == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('root = "/"', "plugins.plugin.root in {} must not be set by a project; write it into your own becket.toml"),
        ("root = {}", "plugins.plugin.root in {} must not be set by a project"),
        ('largest = { env = "HOME" }', "plugins.plugin.largest in {} is an environment variable, and must not be"),
    ],
)
def test_what_is_not_marked_is_not_for_projects(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said.format(tmp_path / "becket.toml"))):
        of_project(tmp_path, Folder, f"[plugins.plugin]\n{content}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('closed.a.base_url = "http://evil"', "plugins.plugin.closed.a.base_url in {} must not be set by a project"),
        ("closed.a = {}", "plugins.plugin.closed.a in {} must not be set by a project"),
        ('open.a = { base_url = "x", api_key = "y" }', "plugins.plugin.open.a.api_key in {} is a secret, and must not"),
        ('keys = ["y"]', "plugins.plugin.keys[0] in {} is a secret, and must not be set by a project"),
    ],
)
def test_a_mark_holds_below_and_never_for_secrets(tmp_path: Path, content: str, said: str) -> None:
    assert of_project(tmp_path, Mixed, '[plugins.plugin]\nopen.a.base_url = "x"').plugins[0].status == "loaded"
    with pytest.raises(ConfigError, match=re.escape(said.format(tmp_path / "becket.toml"))):
        of_project(tmp_path, Mixed, f"[plugins.plugin]\n{content}")


def test_what_the_user_wrote_in_another_kind_is_replaced(tmp_path: Path) -> None:
    class Either(BaseModel):
        place: Annotated[str | dict[str, str], ProjectMaySet()] = ""

    runtime = of_project(tmp_path, Either, '[plugins.plugin]\nplace.a = "b"', '[plugins.plugin]\nplace = "x"')
    assert shown(runtime)["plugins.Plugin.place.a"] == "b"


# -- tables of nobody --------------------------------------------------------------------------------------------------


def test_a_table_of_a_plugin_that_is_not_installed_is_told_where_it_looks_like_a_slip(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One file may serve several environments; a name that is nearly that of a plugin is a slip all the same."""
    with caplog.at_level(logging.WARNING, "becket"):
        Runtime(plugins=[Plugin(Folder)], discover=False, config=Config.of({"plugins": {"another": {}}}))
        assert caplog.messages == []
        runtime = Runtime(plugins=[Plugin(Folder)], discover=False, config=Config.of({"plugins": {"plugn": {}}}))
    said = "[plugins.plugn] in code is of no use: no such plugin is installed; did you mean 'Plugin'?"
    assert caplog.messages == [said]
    assert runtime.config_report().remarks == (said,)


def test_an_alias_of_a_type_is_what_it_stands_for() -> None:
    named = TypeAliasType("named", dict[str, Endpoint])

    class Aliased(BaseModel):
        endpoints: named = {}  # type: ignore[valid-type]

    Aliased.model_rebuild(_types_namespace={"named": named})
    assert "endpoints.a.url is not known" in wrong(Aliased, {"endpoints": {"a": {"url": ""}}})


def test_a_shape_says_what_it_knows() -> None:
    from becket._config_shape import Shape

    assert repr(Shape(Folder)) == "<shape with the keys root, largest, ignore>"
    assert repr(Shape(int)) == "<shape with the keys none>"


class Shop:
    """A plugin with a tool."""

    @hookimpl
    def register_tools(self) -> list[AnyTool]:
        return [tool(name="order", effect="write")(lambda: None)]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            {"approvals": {"deny": ["ordr"]}},
            "'ordr' under 'approvals.deny' in code is of no use: no tool has that name",
        ),
        ({"block": ["shpo"]}, "'shpo' under 'block' in code is of no use: no plugin has that name"),
    ],
)
def test_a_slip_in_a_list_of_names_is_told(caplog: pytest.LogCaptureFixture, table: dict[str, Any], said: str) -> None:
    """It would forbid nothing, and nobody would know."""
    with caplog.at_level(logging.WARNING, "becket"):
        runtime = Runtime(plugins=[Shop()], discover=False, config=Config.of(table))
    (message,) = caplog.messages
    assert message.startswith(f"{said}; did you mean ")
    assert runtime.config_report().remarks == (message,)


def test_a_name_in_a_list_that_is_like_no_other_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """It may be that of a tool which a program hands to its agent, or of a plugin in another environment."""
    table = {"approvals": {"deny": ["paint", "order"], "ask": ["Shop:order"]}, "block": ["colours"], "order": ["Shop"]}
    with caplog.at_level(logging.WARNING, "becket"):
        Runtime(plugins=[Shop()], discover=False, config=Config.of(table))
    assert caplog.messages == []
