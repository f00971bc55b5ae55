"""The index: what was found of plugins, told again without a look, until something has changed."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from becket import Config, ConfigError, Runtime, hookimpl, load_config
from becket.discovery import discover
from becket.index import IndexState, index_state, recall, remember
from becket.lock import Lock

if TYPE_CHECKING:
    from becket import Plugin

CODE = """
import becket

@becket.hookimpl(tryfirst=True)
def approve_tool(ctx):
    return None

@becket.tool(effect="none")
def look() -> str:
    "Look."
    return "seen"

@becket.hookimpl
def register_tools():
    return [look]
"""

RECORDED = "becket_seen.py,,\n"


@dataclass
class Place:
    """A folder on the search path that has been left alone for a while, and an index."""

    folder: Path
    cache: Path

    def install(self, name: str, code: str = CODE, *, record: str = RECORDED) -> None:
        info = self.folder / f"becket_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: becket-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[becket]\n{name} = becket_{name}\n")
        (info / "RECORD").write_text(record)
        (self.folder / f"becket_{name}.py").write_text(code)
        self.settle()

    def settle(self) -> None:
        """As if nothing had been touched for a minute."""
        for path in (*self.folder.rglob("*"), self.folder, self.cache.parent):
            self.touch(path, 60)

    def touch(self, path: Path, seconds: float = 30) -> None:
        """As if it had been changed so many seconds ago."""
        then = time.time_ns() - int(seconds * 1e9)
        os.utime(path, ns=(then, then))

    @property
    def file(self) -> Path:
        [file] = self.cache.iterdir()
        return file

    def runtime(self, **options: Any) -> Runtime:
        for name in [name for name in sys.modules if name in {"becket_seen", "becket_other"}]:
            del sys.modules[name]
        return Runtime(**options)

    def keep(self, path: str | None = None, **options: Any) -> Runtime:
        runtime = self.runtime(config=load_config(path, lenient=True), **options)
        remember(runtime, path)
        return runtime


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Alone on the path but for the standard library, so that what this environment has does not count."""
    discover("0")  # what becket imports on first use is no longer on the path below
    Runtime(discover=False, config=Config.of({"plugins": {"none": {}}}), lock=Lock())
    folder = tmp_path / "site"
    folder.mkdir()
    standard = Path(os.__file__).parent
    monkeypatch.setattr(sys, "path", [str(folder), str(standard), str(standard / "lib-dynload")])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("BECKET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    monkeypatch.delenv("BECKET_CONFIG", raising=False)
    monkeypatch.delenv("BECKET_PLUGINS", raising=False)
    monkeypatch.delenv("BECKET_LOCK", raising=False)
    desk = tmp_path / "desk"
    desk.mkdir()
    monkeypatch.chdir(desk)
    made = Place(folder, tmp_path / "cache")
    made.install("seen")
    return made


def told(plugins: tuple[Plugin, ...] | None) -> list[tuple[Any, ...]]:
    return [
        (one.name, one.distribution, one.version, one.value, one.status, one.reason, dict(one.adds), one.hooks,
         one.import_seconds, one.metadata, type(one.error), str(one.error or ""))
        for one in plugins or ()
    ]  # fmt: skip


def forgotten(reason: str) -> None:
    """The index does not know, and says why."""
    assert recall() is None
    assert index_state().fresh is False
    assert reason in index_state().reason


# -- what is told ------------------------------------------------------------------------------------------------------


def test_what_was_found_is_told_again_and_nothing_is_imported(place: Place) -> None:
    runtime = place.keep()
    del sys.modules["becket_seen"]
    assert told(recall()) == told(runtime.plugins)
    assert "becket_seen" not in sys.modules
    assert index_state() == IndexState(str(place.file), exists=True, fresh=True, entries=1, reason="")


def test_a_plugin_that_could_not_be_used_is_told_with_its_reason(place: Place) -> None:
    place.install("other", "raise OSError('broken')")
    [other, _seen] = place.keep().plugins
    assert [(one.status, one.reason, one.error) for one in recall() or ()] == [
        ("quarantined", other.reason, None),
        ("loaded", "", None),
    ]


def test_one_that_is_not_configured_is_told_from_one_that_is_broken(place: Place) -> None:
    declares = "from dataclasses import dataclass\n@dataclass\nclass Table:\n    root: str\n"
    place.install("other", f"{CODE}\n{declares}\n@becket.hookimpl\ndef declare_config():\n    return Table\n")
    place.keep()
    [other, _seen] = recall() or ()
    assert isinstance(other.error, ConfigError)
    assert other.status == "quarantined"


def test_what_the_configuration_blocks_is_told_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BECKET_PLUGINS", "no:seen")
    place.keep()
    [one] = recall() or ()
    assert (one.status, one.reason, one.adds, one.hooks) == ("blocked", "it is on the block list", {}, ())
    monkeypatch.delenv("BECKET_PLUGINS")
    assert recall() is None


def test_under_a_lock_it_knows_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.keep()
    monkeypatch.setenv("BECKET_LOCK", "becket.lock")
    forgotten("or by BECKET_LOCK")
    monkeypatch.delenv("BECKET_LOCK")
    assert recall()


def test_what_the_host_has_passed_is_not_kept(place: Place) -> None:
    class Mine:
        @hookimpl
        def approve_tool(self, ctx: object) -> None:
            return None

    place.keep(plugins=[Mine()])
    assert [one.name for one in recall() or ()] == ["seen"]


def test_a_runtime_does_not_know_the_index(place: Place) -> None:
    """What is forged in it, or left out, changes nothing of what is loaded."""
    place.keep()
    content = json.loads(place.file.read_text())
    place.file.write_text(json.dumps({**content, "plugins": []}))
    assert recall() == ()
    assert [one.name for one in place.runtime().plugins] == ["seen"]


# -- what makes it forget ----------------------------------------------------------------------------------------------


def test_a_plugin_that_appears_or_goes_is_noticed(place: Place) -> None:
    place.keep()
    place.install("other")
    place.touch(place.folder)
    forgotten("the search path, a folder on it, the configuration, or the version of becket has changed")


@pytest.mark.parametrize("name", ["entry_points.txt", "METADATA", "RECORD"])
def test_metadata_that_was_written_anew_is_noticed(place: Place, name: str) -> None:
    place.keep()
    place.touch(place.folder / "becket_seen-1.0.dist-info" / name)
    forgotten(f"becket_seen-1.0.dist-info/{name} has changed")


def test_the_code_of_an_editable_install_is_noticed_when_it_changes(place: Place, tmp_path: Path) -> None:
    source = tmp_path / "src"
    (source / "becket_other" / "inner").mkdir(parents=True)
    (source / "becket_other" / "__init__.py").write_text(CODE)
    (source / "becket_other" / "inner" / "deep.py").write_text("")
    sys.path.append(str(source))
    place.install("other", record="")
    (place.folder / "becket_other.py").unlink()
    for path in (*source.rglob("*"), source, place.folder):
        place.touch(path, 60)
    place.keep()
    assert len(recall() or ()) == 2
    place.touch(source / "becket_other" / "inner" / "deep.py")
    forgotten("inner/deep.py has changed")


def test_another_search_path_is_noticed(place: Place, tmp_path: Path) -> None:
    place.keep()
    sys.path.append(str(tmp_path / "more"))
    forgotten("the search path")


def test_a_working_directory_that_is_on_the_path_is_noticed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies there is refused, which it was not when it was remembered."""
    place.keep()
    monkeypatch.chdir(place.folder)
    forgotten("the search path")
    assert [one.status for one in place.runtime().plugins] == ["quarantined"]


def test_a_working_directory_that_was_removed_is_survived(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.keep()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert len(recall() or ()) == 1
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["own/becket/becket.toml", "desk/becket.toml", "desk/pyproject.toml"])
def test_a_configuration_is_noticed_when_it_appears_changes_or_goes(place: Place, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    place.keep()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    place.touch(file, 60)
    forgotten("there is none yet")
    place.keep()
    assert len(recall() or ()) == 1
    file.write_text("[plugins.seen]\n")
    place.touch(file, 40)
    forgotten("the configuration")
    file.unlink()
    assert len(recall() or ()) == 1, "the one without it is still there"


def test_projects_do_not_push_out_each_others(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / ".git").mkdir()
        (tmp_path / name / "becket.toml").write_text("")
        place.touch(tmp_path / name / "becket.toml", 60)
        monkeypatch.chdir(tmp_path / name / "deep")
        place.keep()
    for name in ("one", "two"):
        monkeypatch.chdir(tmp_path / name)
        assert len(recall() or ()) == 1


def test_no_more_than_some_are_kept(place: Place, tmp_path: Path) -> None:
    for number in range(22):
        file = tmp_path / f"{number}.toml"
        file.write_text("")
        place.touch(file, 60)
        place.keep(str(file))
    assert len(list(place.cache.iterdir())) == 20
    assert recall(str(tmp_path / "21.toml")) is not None


def test_a_file_that_is_named_is_a_configuration_of_its_own(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "named.toml"
    file.write_text('block = ["seen"]')
    place.touch(file, 60)
    place.keep(str(file))
    assert [one.status for one in recall(str(file)) or ()] == ["blocked"]
    assert index_state(str(file)).fresh
    assert recall() is None


def test_a_variable_that_the_configuration_names_is_noticed(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declares = "from dataclasses import dataclass\n@dataclass\nclass Table:\n    root: list[str]\n    name: str = ''\n"
    place.install("other", f"{CODE}\n{declares}\n@becket.hookimpl\ndef declare_config():\n    return Table\n")
    file = tmp_path / "named.toml"
    file.write_text('[plugins.other]\nroot = [{ env = "A_ROOT" }]\nname = "x"\n')
    place.touch(file, 60)
    monkeypatch.setenv("A_ROOT", "/srv")
    place.keep(str(file))
    assert recall(str(file)) is not None
    monkeypatch.delenv("A_ROOT")
    assert recall(str(file)) is None
    assert "the environment variable A_ROOT, which the configuration names" in index_state(str(file)).reason


def test_what_finders_of_others_find_has_no_time_to_tell(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_distributions(self, context: object = None) -> list[Any]:
            return []

        def find_spec(self, *args: object) -> None:
            return None

    place.keep()
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    forgotten("distributions are found by <")


# -- what is not kept --------------------------------------------------------------------------------------------------


def test_what_has_just_been_changed_is_not_kept(place: Place) -> None:
    """A change in the same tick of the folder's clock would not show."""
    place.touch(place.folder, 0)
    place.keep()
    forgotten("there is none yet")


def test_what_is_no_longer_so_is_not_kept(place: Place) -> None:
    runtime = place.runtime(config=load_config())
    place.install("other")
    remember(runtime)
    assert recall() is None
    assert not place.cache.exists()


def test_what_a_configuration_from_code_has_found_is_not_kept(place: Place) -> None:
    remember(place.runtime())
    remember(place.runtime(config=Config.of({"block": ["seen"]})))
    assert not place.cache.exists()


def test_where_the_configuration_is_wrong_nothing_is_kept(place: Place, tmp_path: Path) -> None:
    """There is more to say each time than what the plugins are."""
    file = tmp_path / "named.toml"
    file.write_text('modl = "x"')
    place.touch(file, 60)
    place.keep(str(file))
    assert not place.cache.exists()


def test_what_was_held_to_a_lock_is_not_kept(place: Place) -> None:
    """Without the lock, more would be in use."""
    place.keep(lock=Lock())
    assert not place.cache.exists()


# -- the file ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-30],
        lambda text: "",
        lambda text: "[" * 100_000,
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace('"stamps": {', '"stamps": [], "more": {'),
        lambda text: text.replace('"variables": {', '"variables": [], "more": {'),
        lambda text: text.replace('"name"', '"nome"'),
        lambda text: text.replace('"name": "seen"', '"name": 5'),
        lambda text: text.replace('"look"', "[]"),
        lambda text: text.replace('"import_seconds": ', '"import_seconds": "" , "more": '),
        lambda text: text.replace('["approve_tool", "first"]', "5"),
        lambda text: text.replace('"adds": {', '"adds": [], "more": {'),
    ],
)
def test_an_index_that_is_damaged_is_as_if_it_were_not_there(place: Place, damage: Any) -> None:
    place.keep()
    before = place.file.read_text()
    place.file.write_text(damage(before))
    assert place.file.read_text() != before
    forgotten("it cannot be read: ")
    place.keep()
    assert recall() is not None


def test_where_it_cannot_be_written_nothing_happens(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.cache.write_text("a file")
    with caplog.at_level(logging.DEBUG, "becket"):
        place.keep()
    assert "is not written" in caplog.text
    forgotten("it cannot be read: NotADirectoryError")


def test_where_it_cannot_be_put_nothing_is_left(place: Place) -> None:
    place.keep()
    file = place.file
    file.unlink()
    file.mkdir()
    place.keep()
    assert place.file == file
    assert index_state().exists is False


@pytest.mark.parametrize("value", ["0", "relative/folder"])
def test_it_can_be_switched_off(place: Place, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("BECKET_CACHE", value)
    place.keep()
    forgotten("it is switched off by BECKET_CACHE or by BECKET_LOCK, or there is no folder for caches")
    assert index_state().path == ""
    assert not place.cache.exists()


@pytest.mark.parametrize(
    ("platform", "environ", "folder"),
    [
        ("linux", {"XDG_CACHE_HOME": "/caches"}, "/caches/becket"),
        ("linux", {"XDG_CACHE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.cache/becket"),
        ("darwin", {"XDG_CACHE_HOME": "/caches", "HOME": "/home/me"}, "/home/me/Library/Caches/becket"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/becket"),
        ("linux", {"HOME": "relative"}, ""),
    ],
)
def test_it_lies_in_the_folder_of_the_platform(
    monkeypatch: pytest.MonkeyPatch, platform: str, environ: dict[str, str], folder: str
) -> None:
    for name in ("BECKET_CACHE", "XDG_CACHE_HOME", "HOME", "BECKET_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert index_state().path.rpartition("/")[0] == folder


def test_environments_do_not_share_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    path = index_state().path
    monkeypatch.setattr(sys, "prefix", "/another")
    assert index_state().path != path


def test_it_is_the_users_alone(place: Place) -> None:
    place.keep()
    assert (place.file.stat().st_mode & 0o777, place.cache.stat().st_mode & 0o777) == (0o600, 0o700)


def test_to_recall_reads_no_metadata_and_imports_no_pydantic() -> None:
    code = """
import sys
from becket.discovery import discover
from becket.index import recall
recall()
print([name for name in sys.modules if name.startswith(("importlib_metadata", "pydantic", "pluggy"))])
"""
    environ = {**os.environ, "BECKET_CACHE": "0"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)  # noqa: S603  this interpreter
    assert ran.stdout.strip() == "[]"
