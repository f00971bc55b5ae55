"""The lock: plugins on disk as an installer leaves them, something about them changes, and a `Runtime` looks again."""

from __future__ import annotations

import base64
import hashlib
import importlib
import itertools
import os
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from becket import Config, ConfigError, PluginError, Runtime, hookimpl, tool
from becket.discovery import discover
from becket.lock import FORMAT, LeftOut, Lock, LockedDistribution, LockedPlugin, LockedTool
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator

numbers = itertools.count()

CODE = """
from becket import tool

@tool(effect="write")
def {name}() -> str:
    "Say what it is called."
    return "{name}"
"""

VARYING = """
import os
from becket import Allow, Deny, hookimpl, tool
from becket.testing import ListSink

has = os.environ["HAS"].split()

class Policy:
    name = "strict"
    def approve(self, ctx, call, tool):
        return Deny("no")

class Mask:
    name = "hide"
    def mask(self, text):
        return text
    def open(self): raise NotImplementedError

@tool(effect=os.environ.get("EFFECT", "write"), reach=os.environ.get("REACH", "local"))
def erase() -> str:
    "Erase everything."
    return "erased"

class Plugin:
    if "tool" in has:
        @hookimpl
        def register_tools(self):
            return [erase]
    @hookimpl
    def register_sinks(self):
        return [ListSink(name) for name in has if name == "sink"]
    @hookimpl
    def register_policies(self):
        return [Policy()] if "policy" in has else []
    @hookimpl
    def register_masks(self):
        return [Mask()] if "mask" in has else []
    if "approve" in has:
        @hookimpl
        def approve_tool(self, ctx):
            return None
    if "commands" in has:
        @hookimpl
        def register_commands(self, cli):
            raise AssertionError
"""


class Site:
    """A folder on the search path, and the distributions that an installer has put there.

    Module names are new each time, so that none has been imported before.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.others = {one.distribution for one in discover("0.1.0")}

    def name(self) -> str:
        return f"becket_locked_{next(numbers)}"

    def write(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def install(
        self, name: str, files: dict[str, str], value: str, *, version: str = "1.0", record: bool = True
    ) -> Path:
        """Install becket-<name>, whose one plugin is `value`, with these files; the folder of its metadata."""
        info = f"becket_{name}-{version}.dist-info"
        files = {
            **files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: becket-{name}\nVersion: {version}\n",
            f"{info}/entry_points.txt": f"[becket]\n{name} = {value}\n",
            f"{info}/INSTALLER": "the test\n",
        }
        for path, content in files.items():
            self.write(path, content)
        if record:
            rows = [f"{path},sha256={record_digest(self.folder / path)},1" for path in files]
            bytecode = [f"{path.rpartition('/')[0]}/__pycache__/x.cpython-311.pyc,," for path in files]
            self.write(f"{info}/RECORD", "\n".join([*rows, *bytecode, f"{info}/RECORD,,", "../../bin/x,sha256=,1\n"]))
        importlib.invalidate_caches()
        return self.folder / info

    def package(self, name: str = "x", **options: Any) -> str:
        """Install becket-<name> with a package of two modules; the package's name."""
        package = self.name()
        files = {
            f"{package}/__init__.py": f"from {package}._inner import {name}\n",
            f"{package}/_inner.py": CODE.format(name=name),
        }
        self.install(name, files, package, **options)
        return package

    def module(self, name: str = "x", code: str = "", *, attribute: str = "", **options: Any) -> str:
        """Install becket-<name> with one module; its name."""
        module = self.name()
        self.install(name, {f"{module}.py": code or CODE.format(name=name)}, module + attribute, **options)
        return module

    def runtime(self, *, block: tuple[str, ...] = (), **options: Any) -> Runtime:
        """A runtime of what is installed here, as a new process has it; what else this environment has is blocked."""
        forget()
        importlib.invalidate_caches()
        return Runtime(block=[*self.others, *block], **options)

    def lock(self, **options: Any) -> Lock:
        return Lock.of(self.runtime(**options))

    def refused(self, lock: Lock, **options: Any) -> str:
        """What a runtime that is held to the lock says; nothing of ours was imported."""
        with pytest.raises(ConfigError) as caught:
            self.runtime(lock=lock, **options)
        return str(caught.value)


def record_digest(path: Path) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()


def forget() -> None:
    for name in list(sys.modules):
        if name.startswith("becket_locked_"):
            del sys.modules[name]


def imported() -> list[str]:
    return [name for name in sys.modules if name.startswith("becket_locked_")]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Site(folder)
    forget()


# -- as it was ---------------------------------------------------------------------------------------------------------


def test_what_is_as_it_was_is_loaded(site: Site, tmp_path: Path) -> None:
    site.package()
    site.lock().write(tmp_path / "becket.lock")
    runtime = site.runtime(lock=tmp_path / "becket.lock", strict=True)
    assert runtime.tool("x")() == "x"


def test_a_lock_says_what_there_is(site: Site) -> None:
    package = site.package()
    [one] = site.lock().distributions
    assert (one.name, one.version, one.covers, len(one.sha256)) == ("becket-x", "1.0", "record", 64)
    tools = (LockedTool("x", "write", by_arguments=False, reach="local"),)
    assert one.plugins == (LockedPlugin("x", package, ("register_tools",), {}, tools),)


def test_bytecode_and_how_it_was_installed_do_not_count(site: Site) -> None:
    """So that a lock of one machine holds on another."""
    package = site.package()
    lock = site.lock()
    site.write(f"{package}/__pycache__/x.cpython-311.pyc", "of another")
    for name in ("INSTALLER", "direct_url.json", "REQUESTED"):
        site.write(f"becket_x-1.0.dist-info/{name}", "of another")
    assert site.runtime(lock=lock, strict=True).tool("x")() == "x"


def test_what_the_host_passes_is_not_held_to_it(site: Site) -> None:
    @tool(effect="none")
    def own() -> str:
        """Own."""
        return "own"

    class Mine:
        @hookimpl
        def register_tools(self) -> list[Any]:
            return [own]

    site.package()
    lock = site.lock(plugins=[Mine()])
    assert [one.name for one in lock.distributions] == ["becket-x"]
    assert list(site.runtime(lock=Lock(), plugins=[Mine()]).tools) == ["own"]


def test_without_discovery_there_is_nothing_to_hold_to_it(site: Site) -> None:
    site.package()
    assert Runtime(lock=site.lock(), discover=False).plugins == ()


# -- what has changed --------------------------------------------------------------------------------------------------


def test_a_changed_file_is_named_and_nothing_of_its_distribution_is_imported(site: Site) -> None:
    package = site.package()
    lock = site.lock()
    site.write(f"{package}/_inner.py", CODE.format(name="x") + "# one line more")
    text = site.refused(lock)
    assert (
        f"becket-x 1.0: its files are not those that were locked: since it was installed, {package}/_inner.py" in text
    )
    assert "was changed. Install what is locked, or, if you trust what is installed" in text
    assert imported() == []


def test_a_change_that_keeps_size_and_time_is_a_change(site: Site) -> None:
    package = site.package()
    lock = site.lock()
    path = site.folder / package / "_inner.py"
    before = path.stat()
    path.write_text(path.read_text().replace("called", "cALLED"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "_inner.py was changed" in site.refused(lock)


@pytest.mark.parametrize(
    "added",
    ["_inner/__init__.py", "_inner.abi3.so", "_inner.pyc", "new.py", "deep/below/x.py", "../{}.abi3.so", "../{}.py"],
)
def test_a_file_that_was_added_where_it_may_come_first_is_a_change(site: Site, added: str) -> None:
    """In the folders of the package, and beside it under its name."""
    package = site.package()
    lock = site.lock()
    site.write(f"{package}/{added.format(package)}", "raise SystemExit")
    assert "was added" in site.refused(lock)
    assert imported() == []


def test_a_package_that_comes_before_a_module_is_a_change(site: Site) -> None:
    module = site.module()
    lock = site.lock()
    site.write(f"{module}/__init__.py", "raise SystemExit")
    assert f"{module}/__init__.py was added" in site.refused(lock)


def test_a_folder_that_was_linked_in_is_a_change_and_a_loop_ends(site: Site, tmp_path: Path) -> None:
    package = site.package()
    (site.folder / package / "loop").symlink_to(site.folder / package)
    lock = site.lock()
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "__init__.py").write_text("raise SystemExit")
    (site.folder / package / "_inner").symlink_to(tmp_path / "evil")
    assert f"{package}/_inner/__init__.py was added" in site.refused(lock)


def test_a_file_that_is_gone_is_a_change(site: Site) -> None:
    package = site.package()
    lock = site.lock()
    (site.folder / package / "_inner.py").unlink()
    assert f"{package}/_inner.py is gone" in site.refused(lock)


def test_many_changes_are_not_all_named(site: Site) -> None:
    package = site.package()
    lock = site.lock()
    for number in range(9):
        site.write(f"{package}/a{number}.py", "")
    text = site.refused(lock)
    assert f"{package}/a4.py was added, and 4 more" in text
    assert "a5" not in text


def test_another_version_with_the_same_files_is_another_version(site: Site) -> None:
    module = site.module()
    lock = site.lock()
    site.install("x", {f"{module}.py": CODE.format(name="x")}, module, version="1.1")
    assert "becket-x 1.1: it is version 1.1, and 1.0 is locked" in site.refused(lock)


def test_another_build_of_the_same_version_is_told_from_a_change_by_hand(site: Site) -> None:
    module = site.module()
    lock = site.lock()
    site.install("x", {f"{module}.py": CODE.format(name="x") + "# newer"}, module)
    assert "they are as its installer left them, so it is another build of the same version" in site.refused(lock)


def test_a_changed_entry_point_is_a_change(site: Site) -> None:
    """It may name a module that becket did not look at, such as one of the standard library."""
    site.package()
    lock = site.lock()
    site.write("becket_x-1.0.dist-info/entry_points.txt", "[becket]\nx = antigravity\n")
    assert "becket_x-1.0.dist-info/entry_points.txt was changed" in site.refused(lock)
    assert "antigravity" not in sys.modules


def test_everything_that_differs_is_told_at_once(site: Site) -> None:
    packages = [site.package(name) for name in ("a", "b", "c")]
    lock = site.lock()
    for package in packages[:2]:
        site.write(f"{package}/_inner.py", "")
    text = site.refused(lock)
    assert text.count("was changed") == 2
    assert "becket-c" not in text


def test_a_file_that_cannot_be_read_is_not_vouched_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    package = site.package()
    lock = site.lock()
    real = Path.open

    def refuse(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == "_inner.py":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    assert f"{package}/_inner.py cannot be read: [Errno 13]" in site.refused(lock)


def test_a_folder_that_cannot_be_listed_is_not_vouched_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    package = site.package()
    lock = site.lock()
    real = os.listdir

    def refuse(path: Any = ".") -> Any:
        if str(path).endswith(package):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert "its files cannot be listed: [Errno 13]" in site.refused(lock)


# -- what is not in it -------------------------------------------------------------------------------------------------


def test_a_plugin_that_is_not_in_the_lock_is_not_imported_and_the_others_are_used(site: Site) -> None:
    site.package("a")
    lock = site.lock()
    site.module("b", "raise SystemExit")
    runtime = site.runtime(lock=lock)
    assert [(one.name, one.status, one.reason) for one in runtime.plugins if one.name in {"a", "b"}] == [
        ("a", "loaded", ""),
        ("b", "quarantined", "it is not in the lock"),
    ]
    with pytest.raises(PluginError, match=r"plugin 'b' \(becket-b 1\.0\) cannot be used: it is not in the lock"):
        site.runtime(lock=lock, strict=True)


def test_a_new_distribution_with_the_name_of_a_locked_entry_point_is_not_imported(site: Site) -> None:
    package = site.package()
    lock = site.lock()
    other = site.name()
    site.install("aaa", {f"{other}.py": "raise SystemExit"}, other)
    site.write("becket_aaa-1.0.dist-info/entry_points.txt", f"[becket]\nx = {other}\n")
    runtime = site.runtime(lock=lock)
    assert [(one.value, one.status) for one in runtime.plugins if one.name == "x"] == [
        (other, "quarantined"),
        (package, "loaded"),
    ]
    assert runtime.tool("x")() == "x"


def test_a_new_distribution_that_declares_the_very_plugin_does_not_pass_for_it(site: Site, tmp_path: Path) -> None:
    package = site.package()
    lock = site.lock()
    early = Site(tmp_path / "early")
    sys.path.insert(0, str(early.folder))
    try:
        early.install("aaa", {"other.py": ""}, package)
        (early.folder / "becket_aaa-1.0.dist-info" / "entry_points.txt").write_text(f"[becket]\nx = {package}\n")
        text = site.refused(lock)
    finally:
        sys.path.remove(str(early.folder))
    assert "becket-x 1.0: its plugin 'x' is locked, and is not installed; becket-aaa 1.0 declares the same" in text


def test_a_distribution_of_a_locked_name_that_comes_first_on_the_path_is_looked_at(site: Site, tmp_path: Path) -> None:
    module = site.module()
    lock = site.lock()
    early = Site(tmp_path / "early")
    sys.path.insert(0, str(early.folder))
    try:
        early.install("x", {f"{module}.py": "raise SystemExit"}, module)
        text = site.refused(lock)
    finally:
        sys.path.remove(str(early.folder))
    assert "its files are not those that were locked" in text


def test_a_plugin_that_was_blocked_when_its_distribution_was_locked_is_not_in_it(site: Site) -> None:
    module = site.module()
    other = site.module("unused")
    info = site.folder / "becket_x-1.0.dist-info"
    (info / "entry_points.txt").write_text(f"[becket]\nx = {module}\ny = {other}\n")
    lock = site.lock(block=("y", "unused"))
    runtime = site.runtime(lock=lock, block=("unused",))
    [y] = [one for one in runtime.plugins if one.name == "y"]
    assert (y.status, y.reason) == ("quarantined", "the lock has becket-x, and this plugin of it not")


# -- what is missing ---------------------------------------------------------------------------------------------------


def test_a_locked_plugin_that_is_not_installed_is_an_error(site: Site) -> None:
    site.package()
    lock = site.lock()
    (site.folder / "becket_x-1.0.dist-info" / "entry_points.txt").unlink()
    assert "becket-x 1.0: its plugin 'x' is locked, and is not installed. Install" in site.refused(lock)


def test_a_locked_plugin_that_is_broken_for_another_reason_is_an_error(site: Site, monkeypatch: Any) -> None:
    monkeypatch.setenv("BROKEN", "")
    site.module(code="import os\nassert not os.environ['BROKEN'], 'broken'\n" + CODE.format(name="x"))
    lock = site.lock()
    monkeypatch.setenv("BROKEN", "1")
    assert "becket-x 1.0: it could not be imported: AssertionError: broken" in site.refused(lock)


@pytest.mark.parametrize("installed", [True, False])
def test_a_locked_plugin_that_the_host_blocks_is_passed_over(site: Site, *, installed: bool) -> None:
    package = site.package()
    lock = site.lock()
    if installed:
        site.write(f"{package}/_inner.py", "")
    else:
        (site.folder / "becket_x-1.0.dist-info" / "entry_points.txt").unlink()
    runtime = site.runtime(lock=lock, block=("becket-x",))
    assert "x" not in runtime.tools
    assert imported() == []


def test_with_a_lenient_configuration_it_is_told_instead(site: Site) -> None:
    package = site.package()
    lock = site.lock()
    site.write(f"{package}/_inner.py", "")
    runtime = site.runtime(lock=lock, config=Config(lenient=True))
    [one] = [one for one in runtime.plugins if one.name == "x"]
    assert (one.status, "_inner.py was changed" in one.reason) == ("quarantined", True)
    told = "the installed plugins are not those of the lock: becket-x 1.0: its files are not"
    assert runtime.lock_problem.startswith(told)
    assert runtime.config_report().problems == ()  # it is none of the configuration
    assert imported() == []


# -- where it would be imported from -----------------------------------------------------------------------------------


@pytest.mark.parametrize("made", ["{}/__init__.py", "{}.py", "{}.abi3.so"])
def test_a_module_that_another_folder_has_first_is_not_imported(site: Site, tmp_path: Path, made: str) -> None:
    """Such as the working directory, which Python itself puts first for `python -m` and in a shell."""
    package = site.package()
    lock = site.lock()
    path = tmp_path / "work" / made.format(package)
    path.parent.mkdir(parents=True)
    path.write_text("raise SystemExit")
    sys.path.insert(0, str(tmp_path / "work"))
    try:
        text = site.refused(lock)
    finally:
        sys.path.remove(str(tmp_path / "work"))
    assert f"the module {package!r} would be imported from {path}, which is none of its files" in text
    assert imported() == []


def test_a_part_that_another_folder_has_first_is_not_imported(site: Site, tmp_path: Path) -> None:
    """A second package of the distribution, which no entry point names."""
    first, second = site.name(), site.name()
    site.install(
        "x", {f"{first}.py": CODE.format(name="x"), f"{second}/part.py": "", f"{second}/__init__.py": ""}, first
    )
    lock = site.lock()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / f"{second}.py").write_text("raise SystemExit")
    sys.path.insert(0, str(tmp_path / "work"))
    try:
        text = site.refused(lock)
    finally:
        sys.path.remove(str(tmp_path / "work"))
    assert f"the module {second!r} would be imported from {tmp_path / 'work'}" in text


def test_what_was_imported_from_elsewhere_before_is_not_passed_off_as_locked(site: Site) -> None:
    package = site.package()
    lock = site.lock()
    forget()
    sys.modules[package] = ModuleType(package)
    with pytest.raises(ConfigError, match=f"it cannot be said where the module '{package}' would be imported from"):
        Runtime(block=site.others, lock=lock)


def test_a_namespace_may_be_shared_and_what_others_have_in_it_does_not_count(site: Site) -> None:
    space = site.name()
    files = {f"{space}/inner/one.py": CODE.format(name="x"), f"{space}/single.py": ""}
    site.install("x", {name: text for name, text in files.items() if "inner" in name}, f"{space}.inner.one")
    lock = site.lock()
    site.write(f"{space}/single.py", "of another")
    assert site.runtime(lock=lock).tool("x")() == "x"
    site.write(f"{space}/inner.py", "raise SystemExit")
    assert f"{space}/inner.py was added" in site.refused(lock)
    (site.folder / space / "inner.py").unlink()
    site.write(f"{space}/__init__.py", "raise SystemExit")
    assert f"{space}/__init__.py, which is none of its files" in site.refused(lock)


# -- without a RECORD --------------------------------------------------------------------------------------------------


def test_an_editable_install_is_locked_by_the_package_that_is_found(site: Site, tmp_path: Path) -> None:
    package = site.name()
    source = tmp_path / "work" / "src" / package
    source.mkdir(parents=True)
    (source / "__init__.py").write_text(CODE.format(name="x"))
    (source / "data.txt").write_text("data")
    site.install("x", {f"__editable__.{package}.pth": str(source.parent)}, package)
    sys.path.append(str(source.parent))
    try:
        lock = site.lock()
        assert [one.covers for one in lock.distributions] == ["packages"]
        assert site.runtime(lock=lock).tool("x")() == "x"
        (source / "data.txt").write_text("other")
        assert site.refused(lock).count("its files are not those that were locked. Install") == 1
    finally:
        sys.path.remove(str(source.parent))
    assert f"its module {package!r} is not there" in site.refused(lock)


def test_a_wheel_in_place_of_an_editable_install_is_told(site: Site) -> None:
    module = site.module(record=False)
    lock = site.lock()
    assert [one.covers for one in lock.distributions] == ["packages"]
    site.install("x", {f"{module}.py": CODE.format(name="x")}, module)
    said = "it is installed from a wheel, and was in editable form, or without a RECORD when it was locked"
    assert said in site.refused(lock)


@pytest.mark.parametrize("record", ["", "\0,", '"', "x" * 200_000])
def test_a_record_that_says_nothing_is_none(site: Site, record: str) -> None:
    site.package()
    lock = site.lock()
    site.write("becket_x-1.0.dist-info/RECORD", record)
    assert "it is installed in editable form, or without a RECORD, and was from a wheel" in site.refused(lock)


@pytest.mark.parametrize("digest", ["md5=abc", "sha256=a", "sha256=\u00fc", ""])
def test_a_hash_of_another_kind_tells_no_change_by_hand(site: Site, digest: str) -> None:
    module = site.module()
    own = [f"becket_x-1.0.dist-info/{name},," for name in ("METADATA", "entry_points.txt")]
    rows = [f"{module}.py,{digest},", "/etc/passwd,,", f"{module}_short.py", "", *own]
    site.write("becket_x-1.0.dist-info/RECORD", "\n".join(rows))
    site.write(f"{module}_short.py", "")
    lock = site.lock()
    site.write(f"{module}.py", "")
    assert "another build of the same version" in site.refused(lock)


def test_what_a_record_lists_beside_code_counts_and_what_only_begins_like_it_does_not(site: Site) -> None:
    module = site.name()
    files = {f"{module}.py": CODE.format(name="x"), "README.txt": "read me", "tables/data.csv": "1"}
    site.install("x", files, module)
    lock = site.lock()
    site.write("README.md", "of another")
    assert site.runtime(lock=lock).tool("x")() == "x"
    site.write("tables/data.csv", "2")
    assert "tables/data.csv was changed" in site.refused(lock)


def test_a_dotted_module_without_a_record_is_found_in_its_namespace(site: Site) -> None:
    space = site.name()
    site.install("x", {f"{space}/one.py": CODE.format(name="x")}, f"{space}.one", record=False)
    lock = site.lock()
    assert site.runtime(lock=lock).tool("x")() == "x"
    site.write(f"{space}/one.py", CODE.format(name="x") + "#")
    assert "its files are not those" in site.refused(lock)


def test_a_zip_file_is_locked_as_a_whole(site: Site, tmp_path: Path) -> None:
    info = site.install("x", {"becket_locked_zipped.py": CODE.format(name="x")}, "becket_locked_zipped")
    archive = tmp_path / "x.zip"
    sys.path.insert(0, str(archive))
    try:
        with zipfile.ZipFile(archive, "w") as made:
            made.write(site.folder / "becket_locked_zipped.py", "becket_locked_zipped.py")
            for file in info.iterdir():
                made.write(file, f"{info.name}/{file.name}")
        lock = site.lock()
        assert [one.covers for one in lock.distributions] == ["archive"]
        assert site.runtime(lock=lock).tool("x")() == "x"
        with zipfile.ZipFile(archive, "a") as made:
            made.writestr("more.py", "")
        assert "its files are not those that were locked" in site.refused(lock)
    finally:
        sys.path.remove(str(archive))


# -- what it adds ------------------------------------------------------------------------------------------------------

EVERYTHING = "tool sink policy mask approve"


def varying(site: Site, monkeypatch: pytest.MonkeyPatch, then: str, **changes: str) -> Lock:
    """A lock of a plugin that adds everything, and does what the environment says from then on; its files stay."""
    monkeypatch.setenv("HAS", EVERYTHING)
    site.module(code=VARYING, attribute=":Plugin")
    lock = site.lock()
    monkeypatch.setenv("HAS", then)
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    return lock


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"EFFECT": "read"}, "its tool 'erase' says that it is read, local, and was locked as write, local"),
        ({"EFFECT": "none"}, "its tool 'erase' says that it is none, local, and was locked as write, local"),
        ({"REACH": "network"}, "its tool 'erase' says that it is write, network, and was locked as write, local"),
    ],
)
def test_a_tool_that_says_something_else_of_itself_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], text: str
) -> None:
    """A weaker effect would let calls be made that were asked about."""
    assert text in site.refused(varying(site, monkeypatch, EVERYTHING, **changes))


def test_what_was_locked_by_its_arguments_stays_so(site: Site) -> None:
    said = str(LockedTool("x", "write", by_arguments=True, reach="network"))
    assert said == "write at most, by its arguments, network"


@pytest.mark.parametrize(
    ("then", "text"),
    [
        ("tool sink policy mask", "its hook 'approve_tool' is locked, and it no longer has it"),
        ("tool sink mask approve", "its policy 'strict' is locked, and it no longer has it"),
        ("tool sink policy approve", "its mask 'hide' is locked, and it no longer has it"),
        (f"{EVERYTHING} commands", "it adds the hook 'register_commands', which is not locked"),
        (f"{EVERYTHING} sink2", ""),
        ("policy mask approve", ""),
    ],
)
def test_what_is_added_must_be_locked_and_what_guards_a_run_must_not_be_lacking(
    site: Site, monkeypatch: pytest.MonkeyPatch, then: str, text: str
) -> None:
    lock = varying(site, monkeypatch, then)
    if text:
        assert text in site.refused(lock)
    else:
        assert site.runtime(lock=lock, strict=True).policies == ()


def test_more_than_was_locked_is_refused_by_kind(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAS", "tool")
    site.module(code=VARYING.replace('if "tool" in has', "if True").replace("[erase]", '[erase] * ("tool" in has)'))
    site.module("y", code=VARYING, attribute=":Plugin")
    monkeypatch.setenv("HAS", "")
    lock = site.lock(block=("becket-x",))
    monkeypatch.setenv("HAS", "sink policy mask")
    text = site.refused(lock, block=("becket-x",))
    for what in ("sink 'sink'", "policy 'strict'", "mask 'hide'"):
        assert f"it adds the {what}, which is not locked" in text


def test_a_tool_beyond_the_lock_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORE", "")
    code = CODE.format(name="x") + "import os\nif os.environ['MORE']:\n    y = tool(name='y')(x.function)\n"
    site.module(code=code)
    lock = site.lock()
    monkeypatch.setenv("MORE", "1")
    assert "it adds the tool 'y', which is not locked" in site.refused(lock)


def test_an_installed_plugin_that_the_host_passes_too_is_held_to_what_it_adds(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.module()
    lock = site.lock()
    [plugin] = lock.distributions[0].plugins
    weaker = Lock(
        (
            LockedDistribution(
                "becket-x",
                "1.0",
                "record",
                lock.distributions[0].sha256,
                (LockedPlugin(plugin.name, plugin.value, plugin.hooks, {}, ()),),
            ),
        )
    )
    forget()
    importlib.invalidate_caches()
    module = importlib.import_module(plugin.value)
    with pytest.raises(ConfigError, match="it adds the tool 'x', which is not locked"):
        Runtime(block=site.others, plugins=[module], lock=weaker)


# -- differences -------------------------------------------------------------------------------------------------------


def test_the_differences_are_told_of_a_runtime_that_is_not_held_to_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAS", "tool")
    site.module("varies", VARYING, attribute=":Plugin")
    package = site.package("a")
    site.module("gone")
    site.module("blocked")
    lock = site.lock()
    assert lock.differences(site.runtime()) == []
    monkeypatch.setenv("EFFECT", "read")
    site.write(f"{package}/_inner.py", CODE.format(name="a") + "# more")
    (site.folder / "becket_gone-1.0.dist-info" / "entry_points.txt").unlink()
    (site.folder / "becket_blocked-1.0.dist-info" / "entry_points.txt").write_text("")
    site.module("late")
    site.module("broken", "raise OSError")
    changed = f"since it was installed, {package}/_inner.py was changed"
    assert lock.differences(site.runtime(block=("blocked",))) == [
        f"becket-a 1.0: its files are not those that were locked: {changed}",
        "becket-broken 1.0: it is not in the lock",
        "becket-late 1.0: it is not in the lock",
        "becket-varies 1.0: its tool 'erase' says that it is read, local, and was locked as write, local",
        "becket-gone 1.0: its plugin 'gone' is locked, and is not installed",
    ]


def test_what_was_broken_when_it_was_locked_is_told_and_is_no_difference(site: Site) -> None:
    site.module("broken", "raise OSError('no luck')")
    lock = site.lock()
    assert lock.remarks == (
        "plugin 'broken' (becket-broken 1.0) is left out of the lock: it could not be imported: OSError: no luck",
    )
    assert lock.differences(site.runtime()) == []
    assert lock.differences(site.runtime(lock=lock)) == []


def test_what_was_broken_when_it_was_locked_and_is_mended_is_not_imported(site: Site) -> None:
    module = site.module("broken", "raise OSError")
    lock = site.lock()
    site.write(f"{module}.py", CODE.format(name="mended"))
    runtime = site.runtime(lock=lock)
    [one] = [one for one in runtime.plugins if one.name == "broken"]
    why = "it could not be used when the lock was written; 'becket lock' says why, or locks it"
    assert (one.status, one.reason) == ("quarantined", why)
    assert imported() == []
    assert lock.differences(site.runtime()) == [f"becket-broken 1.0: {why}"]


def test_another_version_of_what_was_broken_when_it_was_locked_is_a_difference(site: Site) -> None:
    site.module("broken", "raise OSError")
    lock = site.lock()
    info = site.folder / "becket_broken-1.0.dist-info" / "METADATA"
    info.write_text(info.read_text().replace("Version: 1.0", "Version: 1.1"))
    assert lock.differences(site.runtime()) == ["becket-broken 1.1: it is not in the lock"]


def test_whoever_locks_what_is_not_as_it_was_installed_is_told(site: Site) -> None:
    package = site.package()
    assert site.lock().remarks == ()
    site.write(f"{package}/_inner.py", CODE.format(name="x") + "# more")
    [remark] = site.lock().remarks
    assert remark == (
        f"becket-x 1.0 is locked as it is, and not as it was installed: since it was installed, {package}/_inner.py "
        f"was changed"
    )


def test_what_would_be_imported_from_elsewhere_cannot_be_locked(site: Site, tmp_path: Path) -> None:
    package = site.package()
    runtime = site.runtime()
    forget()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / f"{package}.py").write_text("")
    sys.path.insert(0, str(tmp_path / "work"))
    try:
        with pytest.raises(ConfigError, match=r"becket-x 1\.0 cannot be locked: .* or block it with -p no:x"):
            Lock.of(runtime)
    finally:
        sys.path.remove(str(tmp_path / "work"))


# -- the file ----------------------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.lists(WORDS).map(tuple)
TOOLS = st.builds(
    LockedTool, WORDS, st.sampled_from(["none", "read", "write"]), st.booleans(), st.sampled_from(["local", "network"])
)
PLUGINS = st.builds(
    LockedPlugin,
    WORDS,
    WORDS,
    NAMES,
    st.dictionaries(st.sampled_from(["providers", "sinks", "policies", "masks", "wires"]), NAMES.filter(bool)),
    st.lists(TOOLS, unique_by=lambda one: one.name, max_size=3).map(tuple),
)
DISTRIBUTIONS = st.builds(
    LockedDistribution,
    WORDS,
    WORDS,
    st.sampled_from(["record", "packages", "archive"]),
    WORDS,
    st.lists(PLUGINS, unique_by=lambda one: (one.name, one.value), max_size=3).map(tuple),
)


@given(st.lists(DISTRIBUTIONS, max_size=3), st.lists(st.builds(LeftOut, WORDS, WORDS, WORDS, WORDS), max_size=3))
def test_whatever_is_written_is_read_again(
    tmp_path_factory: Any, every: list[LockedDistribution], left_out: list[LeftOut]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.lock"
    named = {f"{number}{one.name}": one for number, one in enumerate(every)}
    lock = Lock(
        tuple(
            LockedDistribution(name, one.version, one.covers, one.sha256, one.plugins) for name, one in named.items()
        ),
        left_out=tuple(left_out),
    )
    lock.write(path)
    read = Lock.read(path)
    assert (read, read.path) == (lock, str(path))


def test_a_link_where_it_is_written_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine")
    (tmp_path / "becket.lock").symlink_to(tmp_path / "other")
    Lock().write(tmp_path / "becket.lock")
    assert (tmp_path / "other").read_text() == "mine"
    assert Lock.read(tmp_path / "becket.lock") == Lock()


def test_it_can_be_written_into_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Lock().write("becket.lock")
    assert [path.name for path in tmp_path.iterdir()] == ["becket.lock"]


def test_where_it_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "becket.lock").mkdir()
    with pytest.raises(ConfigError, match=r"the lock .*becket\.lock cannot be written: .*; name another file"):
        Lock().write(tmp_path / "becket.lock")
    assert [path.name for path in tmp_path.iterdir()] == ["becket.lock"]
    with pytest.raises(ConfigError, match="cannot be written"):
        Lock().write(tmp_path / "nowhere" / "becket.lock")


def test_a_lock_that_is_not_there_is_an_error_and_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no lock .*; write one with 'becket lock'"):
        Runtime(lock=str(tmp_path / "becket.lock"), discover=False)
    with pytest.raises(ConfigError, match=r"the lock .* cannot be read: \[Errno 21\]"):
        Runtime(lock=tmp_path, discover=False)


def test_what_is_no_lock_is_an_error() -> None:
    wrong: Any = True
    with pytest.raises(ConfigError, match=r"lock is True; it takes a becket\.lock\.Lock, or the path of a file"):
        Runtime(lock=wrong, discover=False)


HEAD = f"format = {FORMAT}\n"
ONE = HEAD + '[[distributions]]\nname = "a"\nversion = "1"\ncovers = "record"\nsha256 = ""\n'
PLUGIN = ONE + '[[distributions.plugins]]\nname = "p"\nvalue = "m"\n'
A_TOOL = '{ name = "t", effect = "none", reach = "local" }'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'format' of the file is None"),
        ("format = true", "'format' of the file is True"),
        ("format = 2", "its format is 2, and this becket knows 1"),
        ("format = 1\nformat = 1", "Cannot overwrite"),
        (HEAD + "more = 1", "the file has 'more', which this becket does not know"),
        (HEAD + "distributions = 1", "'distributions' of the file is no list of tables"),
        (HEAD + "distributions = [1]", "'distributions' of the file is no list of tables"),
        (ONE + "extra = 1", "the distribution 'a' has 'extra', which this becket does not know"),
        (ONE.replace('"1"', "1"), "'version' of the distribution 'a' is 1"),
        (ONE.replace("record", "nothing"), "the distribution 'a' has 'nothing', which is none of: record, packages"),
        (ONE + ONE.removeprefix(HEAD).replace('"a"', '"A"'), "the distribution 'a' stands twice in the file"),
        (PLUGIN + PLUGIN.removeprefix(ONE), "the plugin 'p = m' stands twice in the distribution 'a'"),
        (HEAD + '[[left_out]]\ndistribution = "a"', "'version' of what was left out of 'a' is None"),
        (HEAD + '[[left_out]]\nwhy = "a"', "what was left out of None has 'why', which this becket does not know"),
        (PLUGIN + "hooks = 1", "'hooks' of the plugin 'p' of the distribution 'a' is 1, and no list of texts"),
        (PLUGIN + "sinks = [1]", r"'sinks' of the plugin 'p' of the distribution 'a' is \[1\], and no list of texts"),
        (PLUGIN + "guards = []", "'guards', which this becket does not know"),
        (PLUGIN + f"tools = [{A_TOOL}, {A_TOOL}]", "the tool 't' stands twice"),
        (PLUGIN + f"tools = [{A_TOOL.replace('none', 'no')}]", "has 'no', which is none of: none, read, write"),
        (PLUGIN + f"tools = [{A_TOOL.replace('local', 'far')}]", "has 'far', which is none of: local, network"),
        (PLUGIN + f"tools = [{A_TOOL.replace('name', 'by_arguments = 1, name')}]", "'by_arguments' of the tool 't'"),
        (
            PLUGIN + f"tools = [{A_TOOL.replace('name', 'safe = true, name')}]",
            "'safe', which this becket does not know",
        ),
        (HEAD + "a = " + "[" * 100_000, "it is nested too deeply"),
        ("#" * 10_000_001, "it has more than 10000000 bytes"),
        ("\udcff", "'utf-8' codec"),
    ],
    ids=lambda text: text[-30:],
)
def test_a_file_that_is_no_lock_is_an_error_that_says_why(tmp_path: Path, text: str, why: str) -> None:
    """Whatever this becket does not know might be meant to be held to, so it is refused."""
    path = tmp_path / "becket.lock"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=rf"the lock .* is none: .*{why}.*; write it anew with 'becket lock'"):
        Lock.read(path)
