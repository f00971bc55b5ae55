"""Nothing outside of the root is read or written, whatever path is given and whatever is swapped during a call."""

from __future__ import annotations

import functools
import os
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from becket import ToolError
from becket_tools import FileTools, make_file_tools
from becket_tools._folder import Folder, PathFolder
from becket_tools._list import list_
from becket_tools._read import read
from becket_tools._root import Root
from becket_tools._search import search
from becket_tools._settings import FileLimits
from becket_tools._write import edit, write
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Use: TypeAlias = "Callable[[Root], Any]"

LIMITS = FileLimits(max_bytes=10_000, max_chars=1_000, max_entries=50, max_matches=20, timeout=60)
SECRET = "the secret"  # noqa: S105  of a test


def nothing() -> list[str]:
    return []


def path_folder(path: str) -> Folder:
    return PathFolder(os.path.realpath(path))


def furnish(home: Path) -> None:
    for place, text in (("root", "public"), ("outside", SECRET)):
        (home / place / "a").mkdir(parents=True)
        (home / place / "a" / "f.txt").write_text(text, "utf-8")


@pytest.fixture(params=[Folder.at, path_folder], ids=["by descriptor", "by path"])
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Root:
    """A root with a file in a folder, beside a folder that looks the same and is outside of it."""
    furnish(tmp_path)
    return Root(str(tmp_path / "root"), nothing, enter=request.param)


def outside(tmp_path: Path) -> dict[str, str]:
    """All that is outside, to see whether it has changed."""
    found = (path for path in (tmp_path / "outside").rglob("*") if path.is_file())
    return {str(path): path.read_text("utf-8") for path in found}


USES: dict[str, Use] = {
    "read": lambda root: read(root, LIMITS, "a/f.txt", 1, 0),
    "list": lambda root: list_(root, LIMITS, "a", ""),
    "list all": lambda root: list_(root, LIMITS, "", ""),
    "search": lambda root: search(root, LIMITS, "e", "", "", regex=False, ignore_case=False, context=0),
    "search one": lambda root: search(root, LIMITS, "e", "a/f.txt", "", regex=False, ignore_case=False, context=0),
    "write": lambda root: write(root, LIMITS, "a/f.txt", "written", overwrite=True),
    "write new": lambda root: write(root, LIMITS, "a/b/new.txt", "written", overwrite=False),
    "edit": lambda root: edit(root, LIMITS, "a/f.txt", "public", "edited", every=False),
    "edit secret": lambda root: edit(root, LIMITS, "a/f.txt", "secret", "edited", every=False),
}
uses = pytest.mark.parametrize("use", USES.values(), ids=USES)


def outcome(use: Use, root: Root) -> str:
    """What a model would read."""
    try:
        return str(use(root))
    except ToolError as error:
        return str(error)


# -- links that lie there --------------------------------------------------------------------------------------------


@uses
@pytest.mark.parametrize("swapped", ["a", "a/f.txt"])
def test_a_link_is_not_followed(root: Root, tmp_path: Path, use: Use, swapped: str) -> None:
    before = outside(tmp_path)
    link(tmp_path, swapped)
    assert SECRET not in outcome(use, root)
    assert outside(tmp_path) == before


def link(tmp_path: Path, what: str) -> None:
    """Put a link in place of a file or a folder, to what looks the same outside."""
    (tmp_path / "root" / what).rename(tmp_path / "moved")
    (tmp_path / "root" / what).symlink_to(tmp_path / "outside" / what)


@pytest.mark.parametrize("swapped", ["a", "a/f.txt"])
def test_a_link_is_called_one(root: Root, tmp_path: Path, swapped: str) -> None:
    link(tmp_path, swapped)
    with pytest.raises(ToolError, match=r"a/f\.txt is a link or lies behind one, and links are not followed"):
        read(root, LIMITS, "a/f.txt", 1, 0)


def test_a_link_within_the_root_is_not_followed_either(root: Root, tmp_path: Path) -> None:
    """Where it leads can change between a look at it and its use."""
    (tmp_path / "root" / "same").symlink_to("a")
    with pytest.raises(ToolError, match=r"same/f\.txt is a link or lies behind one"):
        read(root, LIMITS, "same/f.txt", 1, 0)


def test_the_root_itself_may_be_a_link_of_the_host(tmp_path: Path, root: Root) -> None:
    (tmp_path / "alias").symlink_to("root")
    assert read(Root(str(tmp_path / "alias"), nothing), LIMITS, "a/f.txt", 1, 0) == "public"
    assert read(Root(str(tmp_path / "alias"), nothing), LIMITS, f"{tmp_path}/root/a/f.txt", 1, 0) == "public"


# -- links that appear during a call ---------------------------------------------------------------------------------


class Swap:
    """Does something right before the n-th call that the code under test makes to the operating system."""

    def __init__(self, do: Callable[[], None], number: int) -> None:
        self._do = do
        self._left = number

    @property
    def happened(self) -> bool:
        return self._left <= 0

    def _profile(self, frame: object, event: str, arg: Any) -> None:
        if event == "c_call" and getattr(arg, "__module__", "") == os.open.__module__:
            self._left -= 1
            if self._left == 0:
                sys.setprofile(None)
                self._do()

    @contextmanager
    def armed(self) -> Iterator[None]:
        before = sys.getprofile()
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(before)


def go_through(tmp_path: Path, use: Use, swapped: str, enter: Callable[[str], Folder]) -> None:
    """Make the call again and again, with the swap before its first step, its second one, and so on to its end."""
    happened, number = True, 0
    while happened:
        number += 1
        home = tmp_path / str(number)
        furnish(home)
        before = outside(home)
        swap = Swap(functools.partial(link, home, swapped), number)
        with swap.armed():
            said = outcome(use, Root(str(home / "root"), nothing, enter=enter))
        assert SECRET not in said
        assert outside(home) == before
        happened = swap.happened
    assert number > 5  # it was gone through


@uses
@pytest.mark.parametrize("swapped", ["a", "a/f.txt"])
def test_what_is_swapped_for_a_link_before_any_step_of_a_call_is_not_followed(
    tmp_path: Path, use: Use, swapped: str
) -> None:
    go_through(tmp_path, use, swapped, Folder.at)


@uses
def test_by_path_a_file_that_is_swapped_is_not_followed(tmp_path: Path, use: Use) -> None:
    """Of folders that are swapped, this form promises less."""
    go_through(tmp_path, use, "a/f.txt", path_folder)


def test_a_file_that_becomes_a_fifo_before_it_is_opened_does_not_hold_up(root: Root, tmp_path: Path) -> None:
    """Were it opened as files are, this test would not end."""
    path = tmp_path / "root" / "a" / "f.txt"

    def swap() -> None:
        path.unlink()
        os.mkfifo(path)

    happened, number = True, 0
    while happened:
        number += 1
        step = Swap(swap, number)
        with step.armed():
            outcome(USES["read"], root)
        happened = step.happened
        path.unlink(missing_ok=True)
        path.write_text("public", "utf-8")


# -- what is no file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["read", "search one", "write", "edit"])
def test_a_fifo_is_refused_at_once(root: Root, tmp_path: Path, name: str) -> None:
    path = tmp_path / "root" / "a" / "f.txt"
    path.unlink()
    os.mkfifo(path)
    assert outcome(USES[name], root) == "a/f.txt is no regular file, but a device, a pipe or a socket"


def test_a_socket_is_refused(root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path / "root" / "a")  # the path of a socket has few characters
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(ToolError, match="a/s is no regular file"):
            read(root, LIMITS, "a/s", 1, 0)


def test_a_device_is_refused() -> None:
    with pytest.raises(ToolError, match="null is no regular file"):
        read(Root("/dev", nothing), LIMITS, "null", 1, 0)


def test_a_folder_is_refused_where_a_file_is_wanted(root: Root) -> None:
    with pytest.raises(ToolError, match="a is a folder; list_files shows what is in it"):
        read(root, LIMITS, "a", 1, 0)


def test_a_file_is_refused_where_a_folder_is_wanted(root: Root) -> None:
    for path in ("a/f.txt", "a/f.txt/x"):
        with pytest.raises(ToolError, match=r"a/f\.txt.* is not there, or no folder"):
            list_(root, LIMITS, path, "")


# -- a root that is not there ----------------------------------------------------------------------------------------


@uses
def test_a_root_that_has_gone_is_named(tmp_path: Path, use: Use) -> None:
    said = outcome(use, Root(str(tmp_path / "gone"), nothing))
    assert "the folder of these tools, '" in said
    assert "/gone', cannot be opened: No such file or directory; whoever has set it must see to that" in said


def test_a_root_may_be_moved_away_and_made_again(root: Root, tmp_path: Path) -> None:
    (tmp_path / "root").rename(tmp_path / "old")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "new.txt").write_text("new", "utf-8")
    assert read(root, LIMITS, "new.txt", 1, 0) == "new"


def test_a_path_through_very_many_folders_is_refused(root: Root) -> None:
    with pytest.raises(ToolError, match="101 folders deep, and 100 is the most"):
        read(root, LIMITS, "x/" * 101 + "y", 1, 0)


def test_a_name_that_is_too_long_is_said_to_be(root: Root) -> None:
    with pytest.raises(ToolError, match=r"a name in it that is too long: x{60}\.\.\."):
        read(root, LIMITS, "x" * 256, 1, 0)


# -- becket's own configuration --------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration, in a root that holds it."""
    monkeypatch.setenv("BECKET_CONFIG", str(tmp_path / "mine.toml"))
    (tmp_path / "mine.toml").write_text(SECRET, "utf-8")
    return tmp_path / "mine.toml"


def every_way(tools: FileTools, path: str) -> list[str]:
    """What a model reads, that tries to get at a file."""
    tries: list[Callable[[], Any]] = [
        lambda: tools.read_file(path),
        lambda: tools.search_files(""),
        lambda: tools.search_files("secret"),
        lambda: tools.search_files("secret", path),
        lambda: tools.write_file(path, "mine", overwrite=True),
        lambda: tools.edit_file(path, "secret", "known"),
    ]
    said: list[str] = []
    for attempt in tries:
        try:
            said.append(str(attempt()))
        except ToolError as error:
            said.append(str(error))
    return said


def test_the_users_configuration_is_not_shown_or_written_within_the_root(own: Path) -> None:
    said = every_way(make_file_tools(own.parent), "mine.toml")
    assert SECRET not in " ".join(said)
    assert own.read_text("utf-8") == SECRET
    assert said[0] == "mine.toml is secret, and is not shown or written by tools"


def test_nor_under_another_name(own: Path) -> None:
    """A hard link is the same file, and looks like any other."""
    os.link(own, own.parent / "innocent.txt")
    said = every_way(make_file_tools(own.parent), "innocent.txt")
    assert SECRET not in " ".join(said)
    assert own.read_text("utf-8") == SECRET


def test_nor_where_a_link_of_the_user_leads_to_it(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with settings that are kept in a repository of their own."""
    (own.parent / "link.toml").symlink_to(own)
    monkeypatch.setenv("BECKET_CONFIG", str(own.parent / "link.toml"))
    assert SECRET not in " ".join(every_way(make_file_tools(own.parent), "mine.toml"))


def test_the_one_in_its_usual_place_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "becket").mkdir()
    (tmp_path / "becket" / "becket.toml").write_text(SECRET, "utf-8")
    assert SECRET not in " ".join(every_way(make_file_tools(tmp_path), "becket/becket.toml"))


def test_a_host_names_others_from_the_root_or_in_full(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(SECRET, "utf-8")
    (tmp_path / "key").write_text(SECRET, "utf-8")
    tools = make_file_tools(tmp_path, secret=[".env", tmp_path / "key", "gone"])
    for path in (".env", "key"):
        assert SECRET not in " ".join(every_way(tools, path))
        assert (tmp_path / path).read_text("utf-8") == SECRET


# -- any path at all -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that is full of ways out, beside what must not be reached. All files outside have the secret in them."""
    home = tmp_path_factory.mktemp("world")
    for folder in ("root/a/b", "out/a/b", "root2"):
        (home / folder).mkdir(parents=True)
    for place in ("out", "out/a", "out/a/b", "root2"):
        (home / place / "f").write_text(SECRET, "utf-8")
    for place in ("root", "root/a", "root/a/b"):
        (home / place / "f").write_text("public", "utf-8")
        (home / place / "up").symlink_to("..")
        (home / place / "out").symlink_to(home / "out")
        (home / place / "file").symlink_to(home / "out" / "f")
        (home / place / "gone").symlink_to(home / "out" / "new")
        (home / place / "self").symlink_to("self")
    return home


NAMES = ["a", "b", "f", "up", "out", "file", "gone", "self", "new", "..", ".", "", "root", "root2", "~", "//", "HOME"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.lists(st.sampled_from(NAMES), max_size=7).map("/".join), st.text(max_size=10)),
    st.sampled_from([Folder.at, path_folder]),
)
@example("a/../out/f", Folder.at)
@example("gone", Folder.at)
def test_whatever_path_is_given_nothing_outside_of_the_root_is_read_or_written(
    world: Path, path: str, enter: Callable[[str], Folder]
) -> None:
    path = path.replace("HOME", str(world))
    root = Root(str(world / "root"), nothing, enter=enter)
    before = snapshot(world)
    reads: list[Use] = [
        lambda root: read(root, LIMITS, path, 1, 0),
        lambda root: list_(root, LIMITS, path, ""),
        lambda root: search(root, LIMITS, "secret", path, "", regex=False, ignore_case=False, context=1),
    ]
    for use in reads:
        assert SECRET not in outcome(use, root)
    assert snapshot(world) == before
    writes: list[Use] = [
        lambda root: write(root, LIMITS, path, "public", overwrite=True),
        lambda root: edit(root, LIMITS, path, SECRET, "public", every=True),
    ]
    for use in writes:
        outcome(use, root)
    changed = [path for path, _ in snapshot(world).items() ^ before.items()]
    assert all(path.is_relative_to(world / "root") for path in changed)
    for path in sorted(changed, reverse=True):  # a test leaves the world as it was
        path.rmdir() if path.is_dir() else path.unlink()


def snapshot(world: Path) -> dict[Path, str]:
    """What each name is, all over the world: a folder, where a link leads, or the text of a file."""
    found: dict[Path, str] = {}
    for folder, folders, files in os.walk(world):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if path.is_symlink():
                found[path] = f"-> {path.readlink()}"
            else:
                found[path] = "folder" if path.is_dir() else path.read_text("utf-8")
    return found
