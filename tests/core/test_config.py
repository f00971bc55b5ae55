"""What users and projects write into files: where it is found, what it may say, whose word counts, what is wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from becket import (
    Agent,
    Approvals,
    Config,
    ConfigError,
    Limits,
    ModelFinished,
    ModelOptions,
    Runtime,
    ToolCallDelta,
    Usage,
    hookimpl,
    load_config,
    tool,
)
from becket.config import Origin, user_file
from becket.testing import ListSink, ScriptedProvider, text

if TYPE_CHECKING:
    from collections.abc import Callable

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


class Desk:
    """A user's own file and a project in a repository, and the working directory in it."""

    def __init__(self, folder: Path) -> None:
        self.own = folder / "home" / "becket.toml"
        self.repository = folder / "repository"
        self.here = self.repository / "src" / "deep"
        self.own.parent.mkdir()
        self.here.mkdir(parents=True)
        (self.repository / ".git").mkdir()

    def user(self, content: str) -> None:
        self.own.write_text(content, encoding="utf-8")

    def project(self, content: str, name: str = "becket.toml") -> Path:
        path = self.repository / name
        path.write_text(content, encoding="utf-8")
        return path

    def load(self, **more: Any) -> Config:
        return load_config(environ={"BECKET_CONFIG": str(self.own)} if self.own.exists() else {}, **more)

    def wrong(self, **more: Any) -> str:
        """What is said to be wrong."""
        with pytest.raises(ConfigError) as caught:
            self.load(**more)
        lenient = self.load(lenient=True, **more)
        assert all(problem in str(caught.value) for problem in lenient.problems)
        assert lenient.problems
        return str(caught.value)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path)
    monkeypatch.chdir(made.here)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BECKET_CONFIG", raising=False)
    return made


# -- where files are ---------------------------------------------------------------------------------------------------


def test_without_files_everything_is_a_default(desk: Desk) -> None:
    config = desk.load()
    assert (config.model, config.tools, config.sinks, config.limits) == (None, None, (), Limits())
    assert [file.status for file in config.files] == ["absent", "absent"]
    assert {setting.origin for setting in config.settings.values()} == {Origin("default")}


def test_nothing_reads_a_file_unless_it_is_asked_to(desk: Desk) -> None:
    desk.project("this is no TOML")
    assert Runtime(discover=False).config == Config()


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        ("linux", {"XDG_CONFIG_HOME": "/x"}, "/x/becket/becket.toml"),
        ("linux", {"XDG_CONFIG_HOME": "relative"}, "/h/.config/becket/becket.toml"),
        ("linux", {}, "/h/.config/becket/becket.toml"),
        ("darwin", {"XDG_CONFIG_HOME": "/x"}, "/h/Library/Application Support/becket/becket.toml"),
        ("win32", {"APPDATA": "/roaming"}, "/roaming/becket/becket.toml"),
        ("win32", {}, "/h/AppData/Roaming/becket/becket.toml"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="the paths here are those of POSIX")
def test_the_users_file_is_where_the_platform_has_it(
    platform: str, environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", "/h")
    assert user_file(environ) == expected


def test_the_users_file_is_read_from_there(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(desk.own.parent))
    path = Path(user_file())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('model = "a:b"', encoding="utf-8")
    config = load_config()
    assert config.model == "a:b"
    assert config.origin("model") == Origin("user", str(path))


def test_a_user_without_a_home_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "relative")
    monkeypatch.setattr(sys, "platform", "linux")
    assert user_file({}) == ""
    assert load_config(environ={}, project=False).files == ()


def test_a_named_file_stands_in_for_the_users(desk: Desk) -> None:
    desk.user('model = "own:one"\nsystem_prompt = "own"')
    other = desk.here / "other.toml"
    other.write_text('model = "other:one"')
    config = desk.load(path=other)
    assert (config.model, config.system_prompt) == ("other:one", "")


def test_the_users_file_can_be_left_out(desk: Desk) -> None:
    desk.user('model = "own:one"')
    assert desk.load(user=False).model is None


@pytest.mark.parametrize("name", ["nowhere.toml", ""], ids=["not there", "empty"])
def test_a_named_file_must_be_there(desk: Desk, name: str) -> None:
    said = desk.wrong(path=name)
    assert str(desk.here / name) in said
    assert "cannot be read" in said


def test_a_project_is_found_upwards_to_the_root_of_its_repository(desk: Desk) -> None:
    path = desk.project('model = "project:one"')
    config = desk.load()
    assert (config.model, config.origin("model")) == ("project:one", Origin("project", str(path)))


def test_the_nearest_project_counts(desk: Desk) -> None:
    desk.project('model = "far:one"')
    (desk.here / "becket.toml").write_text('model = "near:one"')
    assert desk.load().model == "near:one"


def test_above_the_repository_nothing_is_looked_for(desk: Desk) -> None:
    (desk.repository.parent / "becket.toml").write_text("nonsense")
    assert desk.load().files[-1].status == "absent"


def test_outside_a_repository_only_the_folder_itself_counts(desk: Desk) -> None:
    desk.project('model = "far:one"')
    (desk.repository / ".git").rmdir()
    assert desk.load().model is None
    assert desk.load(project=desk.repository).model == "far:one"


def test_a_project_can_be_left_out(desk: Desk) -> None:
    desk.project("nonsense")
    assert desk.load(project=False).files[-1].kind == "user"


def test_a_pyproject_has_a_table(desk: Desk) -> None:
    path = desk.project('[tool.becket]\nmodel = "py:one"\n[tool.becket.limits]\ncycles = 3', "pyproject.toml")
    config = desk.load()
    assert (config.model, config.limits.cycles) == ("py:one", 3)
    assert config.origin("model") == Origin("project", str(path), "tool.becket.")


def test_a_file_of_its_own_goes_before_a_pyproject(desk: Desk) -> None:
    desk.project('[tool.becket]\nmodel = "py:one"', "pyproject.toml")
    desk.project('model = "own:one"')
    config = desk.load()
    assert config.model == "own:one"
    assert (config.files[-1].status, "goes before it" in config.files[-1].reason) == ("unused", True)


@pytest.mark.parametrize(
    "content",
    ["this is no TOML", '[project]\nname = "becket-x"', 'tool = "becket"'],
    ids=["broken", "other", "no table"],
)
def test_a_pyproject_that_says_nothing_of_becket_is_passed_over(desk: Desk, content: str) -> None:
    desk.project(content, "pyproject.toml")
    assert desk.load().files[-1].status == "absent"


def test_the_users_file_is_no_project_where_one_works_beside_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.user('system_prompt = "mine"')
    monkeypatch.chdir(desk.own.parent)
    config = desk.load()
    assert config.system_prompt == "mine"
    assert [file.status for file in config.files] == ["read", "absent"]


@pytest.mark.skipif(sys.platform == "win32", reason="the working directory cannot be removed")
def test_in_a_folder_that_was_removed_there_is_no_project(desk: Desk) -> None:
    desk.here.rmdir()
    assert [file.kind for file in desk.load().files] == ["user"]


# -- what cannot be read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"model = \n", "it is not TOML: Invalid value (at line 1, column 9)"),
        (b'model = "a"\nmodel = "b"\n', "it is not TOML: Cannot overwrite a value (at line 2"),
        (b'# fine\nmodel = "\xff"\n', "it is not UTF-8 (line 2)"),
        (b"#" * 1_000_001, "it has more than 1,000,000 bytes"),
        (b"a=" + b"[" * 50_000, "it is not TOML"),
        (b"a." * 400_000 + b"a=1", "a key in it has more than 50 parts"),
        (b"[" + b'"a" . ' * 60 + b"a]", "a key in it has more than 50 parts"),
        (b"a" + b".a" * 45 + b"=" + b"[" * 9 + b"]" * 9, "it is more than 50 tables or lists deep"),
    ],
    ids=["syntax", "twice", "encoding", "large", "deep", "slow", "header", "mixed"],
)
@pytest.mark.parametrize("whose", ["user", "project"])
def test_what_is_no_toml_is_told_with_file_and_line(desk: Desk, content: bytes, said: str, whose: str) -> None:
    path = desk.own if whose == "user" else desk.repository / "becket.toml"
    path.write_bytes(content)
    assert f"{path} cannot be read: {said}" in desk.wrong()


def test_a_mark_that_editors_leave_at_the_start_does_no_harm(desk: Desk) -> None:
    desk.own.write_bytes(b'\xef\xbb\xbfmodel = "a:b"')
    assert desk.load().model == "a:b"


def test_a_table_of_a_pyproject_must_be_one(desk: Desk) -> None:
    path = desk.project('[tool]\nbecket = "on"', "pyproject.toml")
    assert f"{path} cannot be read: tool.becket is no table" in desk.wrong()


def test_a_folder_is_no_file(desk: Desk) -> None:
    assert "cannot be read: Is a directory" in desk.wrong(path=desk.here)


@pytest.mark.skipif(AS_ROOT or os.name == "nt", reason="no file is closed to root")
def test_a_file_that_may_not_be_read_is_told(desk: Desk) -> None:
    desk.user("")
    desk.own.chmod(0)
    assert "Permission denied" in desk.wrong()


def test_a_user_whose_own_file_cannot_be_read_is_told_how_to_do_without(desk: Desk) -> None:
    """Such as one who works with the home of another."""
    desk.own.mkdir()
    assert desk.wrong().endswith("Is a directory; mend it, or name another with BECKET_CONFIG")


def test_a_path_that_cannot_be_one_is_told(desk: Desk) -> None:
    assert "null" in desk.wrong(path="a\0b")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
def test_a_pipe_in_the_place_of_a_project_is_not_waited_for(desk: Desk) -> None:
    os.mkfifo(desk.here / "becket.toml")
    assert desk.load().files[-1].status == "absent"


def test_a_project_that_goes_while_it_is_looked_at_is_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.project('model = "a:b"')
    real = Path.open

    def gone(self: Path, *arguments: Any, **more: Any) -> Any:
        if self.name == "becket.toml":
            self.unlink(missing_ok=True)
        return real(self, *arguments, **more)

    monkeypatch.setattr(Path, "open", gone)
    assert desk.load().files[-1].status == "absent"


# -- what may be said --------------------------------------------------------------------------------------------------


def test_every_key_of_becket(desk: Desk) -> None:
    desk.user(
        """
        model = "a:b"
        system_prompt = "Be brief."
        tools = ["one", "other:two"]
        sinks = ["console:verbose"]
        policies = ["careful"]
        allow = ["a"]
        block = ["b"]
        require = ["c"]
        order = ["d", "e"]
        [limits]
        cycles = 7
        seconds = 1.5
        silence_seconds = "none"
        [options]
        temperature = 0
        stop = ["END"]
        tool_choice = "any"
        [approvals]
        allow = ["read_file"]
        deny = ["http_request"]
        """
    )
    config = desk.load()
    assert (config.model, config.system_prompt) == ("a:b", "Be brief.")
    assert (config.tools, config.sinks, config.policies) == (("one", "other:two"), ("console:verbose",), ("careful",))
    assert (config.allow, config.block, config.require, config.order) == (("a",), ("b",), ("c",), ("d", "e"))
    assert config.limits == Limits(cycles=7, seconds=1.5, silence_seconds=None)
    assert config.options == ModelOptions(temperature=0, stop=("END",), tool_choice="any")
    assert config.approvals == Approvals(allow=("read_file",), deny=("http_request",))
    assert config.settings["limits.silence_seconds"].origin == Origin("user", str(desk.own))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('modle = "a:b"', "modle in {} is not known; did you mean 'model'?"),
        ("[limit]\ncycles = 3", "limit in {} is not known; did you mean 'limits'?"),
        ("[limits]\ncycels = 3", "limits.cycels in {} is not known; did you mean 'limits.cycles'?"),
        ("cycles = 3", "cycles in {} is not known; did you mean 'limits.cycles'?"),
        ("[limits]\nzzz = 3", "limits.zzz in {} is not known; there is: cycles, tool_calls, tokens, cost"),
        ("zzz = 3", "zzz in {} is not known; there is: model, system_prompt, tools, sinks"),
        ('model = ["a:b"]', 'model in {} is ["a:b"]; it must be a text'),
        ('tools = "one"', 'tools in {} is "one"; it must be a list of texts'),
        ("tools = [1]", "tools in {} is [1]; it must be a list of texts"),
        ("limits = 3", "limits in {} is 3; it must be a table: [limits]"),
        ("[limits]\ncycles = 1.5", 'limits.cycles in {} is 1.5; it must be a whole number, or "none" for no limit'),
        ("[limits]\ncycles = true", 'limits.cycles in {} is true; it must be a whole number, or "none" for no limit'),
        ("[limits]\nseconds = 0", 'limits.seconds in {} is 0; it must be a number above 0, or "none" for no limit'),
        ('[limits]\nseconds = "1"', 'limits.seconds in {} is "1"; it must be a number, or "none" for no limit'),
        ("[limits]\nseconds = nan", "limits.seconds in {} is NaN; it must be a number above 0"),
        ("[options]\ntemperature = -1", "options.temperature in {} is -1; it must be a number from 0"),
        ("[options]\nseed = 2000-01-01", 'options.seed in {} is "2000-01-01"; it must be a whole number'),
        ("[options.extra]\na = 1", "options.extra in {} is not known"),
        ("plugins = 3", "plugins in {} is 3; it must be a table of tables, as in [plugins.tools]"),
        ("[plugins]\ntools = 3", "plugins.tools in {} must be a table, as in [plugins.tools]"),
    ],
)
def test_what_is_wrong_is_told_with_file_key_and_what_it_must_be(desk: Desk, content: str, said: str) -> None:
    desk.user(content)
    assert said.format(desk.own) in desk.wrong()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[model]\napi_key = "sk-very-secret"', "model in {} is a table; it must be a text"),
        ('[[plugins]]\napi_key = "sk-very-secret"', "plugins in {} is a list; it must be a table of tables"),
    ],
)
def test_what_lies_in_a_table_at_the_wrong_place_is_not_quoted(desk: Desk, content: str, said: str) -> None:
    """A plugin's secret may be there, and the message goes to terminals and logs."""
    desk.user(content)
    assert said.format(desk.own) in desk.wrong()


def test_everything_that_is_wrong_is_told_at_once(desk: Desk) -> None:
    desk.user("a = 1\nb = 2")
    desk.project("c = 3")
    assert "wrong in 3 places" in desk.wrong()


def test_a_lenient_configuration_has_what_is_right(desk: Desk) -> None:
    desk.user('model = "a:b"\ntools = 3\nnonsense = 4')
    config = desk.load(lenient=True)
    assert (config.model, config.tools, len(config.problems)) == ("a:b", None, 2)


def test_a_table_from_code_is_as_a_users_file() -> None:
    table: dict[str, Any] = {"system_prompt": "x", "sinks": ["console:quiet"], "plugins": {"one": {"deep": {"a": 1}}}}
    config = Config.of(table)
    table["plugins"]["one"]["deep"]["a"] = 2
    assert (config.system_prompt, config.sinks) == ("x", ("console:quiet",))
    assert config.plugins[0].content == {"deep": {"a": 1}}
    with pytest.raises(ConfigError, match=r"^the configuration is wrong: modle is not known; did you mean 'model'\?$"):
        Config.of({"modle": "x"})


def test_what_plugins_are_told_is_in_no_repr() -> None:
    assert "sk-123" not in repr(Config.of({"plugins": {"vendor": {"key": "sk-123"}}}))


# -- whose word counts -------------------------------------------------------------------------------------------------


def test_a_project_goes_before_the_user_where_it_may_speak(desk: Desk) -> None:
    desk.user('model = "own:one"\ntools = ["own"]\n[options]\ntemperature = 1\nseed = 5')
    desk.project('model = "project:one"\ntools = ["theirs"]\n[options]\ntemperature = 0')
    config = desk.load()
    assert (config.model, config.tools) == ("project:one", ("theirs",))
    assert config.options == ModelOptions(temperature=0, seed=5)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ('system_prompt = "x"', "system_prompt"),
        ('policies = ["x"]', "policies"),
        ('allow = ["x"]', "allow"),
        ('block = ["guard"]', "block"),
        ("require = []", "require"),
        ("order = []", "order"),
        ('[approvals]\nallow = ["x"]', "approvals.allow"),
        ("[limits]\nhook_seconds = 1", "limits.hook_seconds"),
    ],
)
def test_what_a_project_must_not_set_is_told_with_where_it_is_to_go(desk: Desk, content: str, key: str) -> None:
    desk.user("")
    path = desk.project(content)
    said = f"{key} in {path} must not be set by a project; write it into {desk.own}, if you want it"
    assert said in desk.wrong()


def test_what_a_project_must_not_set_is_not_suggested_to_it(desk: Desk) -> None:
    desk.project("polcies = []")
    assert "did you mean" not in desk.wrong()


def test_a_key_of_a_pyproject_is_named_in_full(desk: Desk) -> None:
    path = desk.project('[tool.becket]\nmodle = "x"', "pyproject.toml")
    assert f"tool.becket.modle in {path} is not known" in desk.wrong()


@pytest.mark.parametrize(
    ("own", "theirs", "effective", "whose"),
    [
        ("", "5", 5, "project"),
        ("", "500", 500, "project"),
        ("", '"none"', 100, "default"),
        ("50", "5", 5, "project"),
        ("50", "500", 50, "user"),
        ("50", '"none"', 50, "user"),
        ('"none"', "500", 500, "project"),
    ],
)
def test_a_project_may_lower_what_the_user_allows(
    desk: Desk, own: str, theirs: str, effective: int, whose: str
) -> None:
    desk.user(f"[limits]\ncycles = {own}" if own else "")
    desk.project(f"[limits]\ncycles = {theirs}")
    config = desk.load()
    setting = config.settings["limits.cycles"]
    assert (config.limits.cycles, setting.origin.kind) == (effective, whose)
    assert ("does not count: a project may only lower it" in setting.note) == (whose != "project")


def test_a_project_adds_sinks_and_takes_none_away(desk: Desk) -> None:
    desk.user('sinks = ["journal:/var/log/audit"]')
    desk.project('sinks = ["trace", "journal:/var/log/audit"]')
    said = desk.wrong()
    assert "sinks in" in said
    assert "a project may name a sink, and give it no argument" in said
    desk.project('sinks = ["trace"]')
    config = desk.load()
    assert config.sinks == ("journal:/var/log/audit", "trace")
    assert config.settings["sinks"].note == f"with those of {desk.own}"


def test_the_variable_goes_before_all_files(desk: Desk) -> None:
    desk.project('model = "project:one"')
    config = load_config(environ={"BECKET_MODEL": "variable:one"})
    assert (config.model, str(config.origin("model"))) == ("variable:one", "BECKET_MODEL")


def test_a_variable_requires_and_blocks_plugins_besides_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('block = ["console"]\n')
    config = load_config(path, project=False, environ={"BECKET_PLUGINS": "guard, no:wire no:agui"})
    assert (config.require, config.block) == (("guard",), ("console", "wire", "agui"))
    assert (str(config.origin("require")), config.settings["require"].note) == ("BECKET_PLUGINS", "")
    assert config.settings["block"].note == f"with those of {path}"
    assert load_config(path, project=False, environ={"BECKET_PLUGINS": " "}).block == ("console",)


def test_a_variable_allows_no_plugin_but_those_that_it_names(tmp_path: Path) -> None:
    """What the file does not allow stays so."""
    path = tmp_path / "own.toml"
    path.write_text("")
    environ = {"BECKET_PLUGINS": "guard,no:*,wire"}
    config = load_config(path, project=False, environ=environ)
    assert (config.allow, config.require, config.block) == (("guard", "wire"), ("guard", "wire"), ())
    path.write_text('allow = ["becket-guard", "console"]\n')
    config = load_config(path, project=False, environ=environ)
    assert (config.allow, config.settings["allow"].note) == (("guard",), f"of those of {path}")
    assert load_config(path, project=False, environ={"BECKET_PLUGINS": "no:*"}).allow == ()


def test_a_variable_names_the_lock_and_no_file_does(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("")
    config = load_config(path, project=False, environ={"BECKET_LOCK": "becket.lock"})
    assert (config.lock, str(config.origin("lock"))) == ("becket.lock", "BECKET_LOCK")
    assert load_config(path, project=False, environ={"BECKET_LOCK": ""}).lock is None
    path.write_text('lock = "becket.lock"\n')
    with pytest.raises(ConfigError, match=r"lock in .* is not known"):
        load_config(path, project=False, environ={})


def test_a_runtime_is_held_to_the_lock_of_its_configuration(tmp_path: Path) -> None:
    absent = str(tmp_path / "becket.lock")
    config = load_config(user=False, project=False, environ={"BECKET_LOCK": absent})
    with pytest.raises(ConfigError, match="there is no lock"):
        Runtime(config=config)


@pytest.mark.parametrize("text", ["no:", "a,openai:gpt", "no:a:b"])
def test_a_variable_that_names_no_plugin_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"BECKET_PLUGINS has '.*' for a plugin; it takes names, as in 'one,no:two'"):
        load_config(user=False, project=False, environ={"BECKET_PLUGINS": text})


# -- what becomes of it ------------------------------------------------------------------------------------------------


class Both:
    """A plugin with a provider and a sink."""

    def __init__(self) -> None:
        self.model = ScriptedProvider(text("hi"), name="scripted")
        self.sink = ListSink()

    @hookimpl
    def register_providers(self) -> list[ScriptedProvider]:
        return [self.model]

    @hookimpl
    def register_sinks(self) -> list[ListSink]:
        return [self.sink]


def used(table: dict[str, Any], *, lenient: bool = False, **more: Any) -> tuple[Runtime, Both]:
    plugin = Both()
    return Runtime(plugins=[plugin], discover=False, config=Config.of(table, lenient=lenient), **more), plugin


def test_an_agent_takes_from_it_what_it_was_not_given() -> None:
    runtime, plugin = used(
        {"model": "scripted:small", "sinks": ["list"], "limits": {"cycles": 3}, "options": {"seed": 5}, "tools": ["x"]}
    )
    agent = Agent(runtime=runtime)
    assert agent("hello").text == "hi"
    assert agent.model == "scripted:small"
    assert plugin.model.requests[0].options == ModelOptions(seed=5)
    assert plugin.sink.events
    assert not agent.tools  # a file gives none to an agent that names none


def test_an_agent_s_own_arguments_go_before_it() -> None:
    runtime, plugin = used({"model": "nowhere", "options": {"seed": 5}, "limits": {"cycles": 3}})
    agent = Agent("scripted:large", options=ModelOptions(), limits=Limits(cycles=9), runtime=runtime)
    agent("hello")
    assert (agent.model, plugin.model.requests[0].options) == ("scripted:large", ModelOptions())


def test_an_argument_of_the_runtime_goes_before_it() -> None:
    runtime, _ = used({"sinks": ["list"], "allow": ["nothing"]}, sinks=[], allow=["other"])
    assert runtime.sinks == ()


def test_what_it_blocks_stays_blocked() -> None:
    runtime, _ = used({"block": ["both"]}, block=["other"])
    assert [plugin.status for plugin in runtime.plugins] == ["blocked"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"sinks": ["nowhere"]}, "'nowhere' under 'sinks' in code: there is no sink 'nowhere'"),
        ({"policies": ["nowhere"]}, "'nowhere' under 'policies' in code: there is no policy 'nowhere'"),
        ({"require": ["Guard"]}, "'Guard' under 'require' in code: the plugin 'Guard' is required, and it is not inst"),
    ],
)
def test_what_it_names_must_be_there(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        used(table)
    runtime, _ = used(table, lenient=True)
    assert said in runtime.config_report().problems[0]
    assert said in runtime.config_problems[0]


def test_a_model_that_is_not_there_is_told_with_the_place_of_its_name() -> None:
    runtime, _ = used({"model": "nowhere:x"})
    with pytest.raises(ConfigError, match=r"^'nowhere:x' under 'model' in code: there is no provider 'nowhere'"):
        Agent(runtime=runtime)("hello")


def test_a_runtime_takes_nothing_else() -> None:
    wrong: Any = "becket.toml"
    with pytest.raises(ConfigError, match=r"config is 'becket.toml'; it takes a becket\.Config"):
        Runtime(discover=False, config=wrong)


def test_a_configuration_made_by_hand_has_its_values_from_code() -> None:
    config = Config(model="nowhere")
    assert config.origin("model") == Origin("code")
    with pytest.raises(ConfigError, match=r"'nowhere' under 'model' in code"):
        Runtime(discover=False, config=config).model()


def test_reading_one_imports_no_more_than_it_needs() -> None:
    """`becket run` reads one each time it starts; pydantic is for tables of plugins."""
    import subprocess

    code = "import sys, becket; becket.load_config(); print(*{'pydantic', 'logging', 'asyncio'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  ours
    assert ended.stdout.strip() == ""


def test_it_is_found_under_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    import becket

    names: list[Callable[..., Any]] = [becket.Config, becket.Approvals, becket.ProjectMaySet, becket.load_config]
    assert [item.__module__ for item in names] == ["becket.config"] * 4
    with pytest.raises(AttributeError, match="no attribute 'load_confit'"):
        becket.load_confit  # noqa: B018  the attribute is the test


# -- prices ------------------------------------------------------------------------------------------------------------


def test_prices_are_the_users_and_limit_the_cost_of_runs(desk: Desk) -> None:
    desk.user('[prices."scripted:*"]\ninput = 1_000\noutput = 2_000\n[limits]\ncost = 0.01\n')
    config = desk.load()
    runtime = Runtime(discover=False, config=config)
    used = ModelFinished("tool_use", Usage(10, 0))  # 0.01 at 1,000 a million
    model = ScriptedProvider([ToolCallDelta("c", "probe", "{}"), used])
    result = Agent(model, [probe], runtime=runtime)("go")
    assert (result.stop_reason, result.cost) == ("limit_cost", pytest.approx(0.01))
    setting = config.settings['prices."scripted:*"']
    assert (setting.value, setting.origin.kind) == ({"input": 1000, "output": 2000}, "user")


def test_prices_from_code_go_before_those_of_the_configuration(desk: Desk) -> None:
    desk.user('[prices."a:*"]\ninput = 1\noutput = 1\n[prices."b:*"]\ninput = 2\noutput = 2\n')
    prices = Runtime(discover=False, config=desk.load(), prices={"a:*": {"input": 9, "output": 9}}).prices
    assert [prices.need(model).input for model in ("a:x", "b:x")] == [9, 2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("prices = 1", "prices in {own} is 1; it must be a table of prices by model"),
        ("[prices.x]\ninput = -1\noutput = 1", 'prices."x" in {own} is no price: '),
        ("[prices.x]\ninput = 1", "lacks 'output'"),
        ("[prices]\nx = 3", "it takes Price(input=..., output=...)"),
        ("[price.x]\ninput = 1", "price in {own} is not known; did you mean 'prices'?"),
    ],
)
def test_what_is_no_price_is_told_with_its_place(desk: Desk, content: str, said: str) -> None:
    desk.user(content)
    assert said.format(own=desk.own) in desk.wrong()


def test_a_project_sets_no_prices_which_would_lift_the_limits_on_cost(desk: Desk) -> None:
    desk.project("[prices.x]\ninput = 0\noutput = 0")
    assert "must not be set by a project" in desk.wrong()


@tool(effect="none")
def probe() -> str:
    """Answer."""
    return "yes"
