"""`write_file` and `edit_file`: whole or not at all, and never what an agent must not write."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from becket import ToolError
from becket_tools import FileTools, make_file_tools
from becket_tools._folder import Folder
from becket_tools._root import Root
from becket_tools._settings import FileLimits
from becket_tools._write import write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def tools(home: Path) -> FileTools:
    return make_file_tools(home)


def names(home: Path) -> list[str]:
    """Everything below a folder; a temporary file that was left behind would show."""
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


# -- write_file ------------------------------------------------------------------------------------------------------


def test_a_new_file_is_made_with_its_folders(home: Path, tools: FileTools) -> None:
    assert tools.write_file("a/b/c.txt", "é\n") == "wrote a/b/c.txt, new, 3 bytes"
    assert (home / "a/b/c.txt").read_bytes() == "é\n".encode()
    assert names(home) == ["a", "a/b", "a/b/c.txt"]


def test_a_new_file_has_the_mode_of_new_files(home: Path, tools: FileTools) -> None:
    before = os.umask(0o027)
    try:
        tools.write_file("a.txt", "x")
    finally:
        os.umask(before)
    assert (home / "a.txt").stat().st_mode & 0o777 == 0o640
    assert (home / "a.txt").stat().st_nlink == 1


def test_a_file_that_exists_is_replaced_only_when_told(home: Path, tools: FileTools) -> None:
    (home / "a.txt").write_text("old", "utf-8")
    with pytest.raises(ToolError, match=r"a\.txt is there already; change it with edit_file, or give overwrite=true"):
        tools.write_file("a.txt", "new!")
    assert (home / "a.txt").read_text("utf-8") == "old"
    assert tools.write_file("a.txt", "new!", overwrite=True) == "wrote a.txt, 4 bytes instead of 3"
    assert (home / "a.txt").read_text("utf-8") == "new!"
    assert names(home) == ["a.txt"]


@pytest.mark.parametrize("mode", [0o600, 0o755, 0o646])
def test_the_mode_of_a_file_is_kept(home: Path, tools: FileTools, mode: int) -> None:
    (home / "a").write_text("old", "utf-8")
    (home / "a").chmod(mode)
    tools.write_file("a", "new", overwrite=True)
    assert (home / "a").stat().st_mode & 0o777 == mode
    tools.edit_file("a", "new", "newer")
    assert (home / "a").stat().st_mode & 0o777 == mode


def test_what_gives_a_file_the_rights_of_its_owner_is_not(home: Path, tools: FileTools) -> None:
    (home / "a").write_text("old", "utf-8")
    (home / "a").chmod(0o4755)
    tools.write_file("a", "new", overwrite=True)
    assert (home / "a").stat().st_mode & 0o7777 == 0o755


def test_a_file_that_is_read_only_stays_as_it_is(home: Path, tools: FileTools) -> None:
    """The system would let it be replaced: it asks for the folder's permission alone."""
    (home / "a").write_text("old", "utf-8")
    (home / "a").chmod(0o444)
    for attempt in (lambda: tools.write_file("a", "new", overwrite=True), lambda: tools.edit_file("a", "old", "new")):
        with pytest.raises(ToolError, match=r"a is (read-only, and was left as it is|closed to this process)"):
            attempt()
    assert (home / "a").read_text("utf-8") == "old"


def test_another_name_of_the_file_keeps_the_old_text(home: Path, tools: FileTools) -> None:
    """So that a hard link to something outside of the root cannot be written through."""
    (home / "a").write_text("old", "utf-8")
    os.link(home / "a", home / "b")
    tools.write_file("a", "new", overwrite=True)
    assert (home / "b").read_text("utf-8") == "old"


def test_whoever_has_the_old_file_open_reads_the_old_text(home: Path, tools: FileTools) -> None:
    (home / "a").write_text("old", "utf-8")
    with (home / "a").open(encoding="utf-8") as file:
        tools.edit_file("a", "old", "new")
        assert file.read() == "old"


@pytest.mark.parametrize("tool", ["write_file", "edit_file"])
def test_what_is_too_big_is_not_written(home: Path, tool: str) -> None:
    (home / "a").write_text("1", "utf-8")
    tools = make_file_tools(home, max_bytes=10)
    with pytest.raises(ToolError, match=r"would (be|have) 11 (bytes|characters), and 10 (bytes )?is the most"):
        tools.write_file("a", "x" * 11, overwrite=True) if tool == "write_file" else tools.edit_file("a", "1", "x" * 11)
    assert (home / "a").read_text("utf-8") == "1"


def test_what_is_no_character_is_not_written(home: Path, tools: FileTools) -> None:
    with pytest.raises(ToolError, match=r"a is stored as utf-8, which does not have the character \\ud800"):
        tools.write_file("a", "\ud800")
    assert names(home) == []


# -- edit_file -------------------------------------------------------------------------------------------------------


def test_a_text_is_replaced_where_it_stands(home: Path, tools: FileTools) -> None:
    (home / "a").write_text("one\ntwo\nthree\n", "utf-8")
    assert tools.edit_file("a", "two\nth", "2\n\nth") == "replaced in a, line 2"
    assert (home / "a").read_text("utf-8") == "one\n2\n\nthree\n"


def test_a_text_that_stands_there_more_than_once_is_not_guessed_at(home: Path, tools: FileTools) -> None:
    (home / "a").write_text("x\ny\nx\nx\n", "utf-8")
    with pytest.raises(ToolError, match="old is in a 3 times, in lines 1, 3, 4; give more of what is around"):
        tools.edit_file("a", "x", "z")
    assert tools.edit_file("a", "x", "z", all=True) == "replaced in a, lines 1, 3, 4"
    assert (home / "a").read_text("utf-8") == "z\ny\nz\nz\n"


def test_occurrences_that_overlap_are_more_than_one(home: Path, tools: FileTools) -> None:
    (home / "a").write_text("aaa", "utf-8")
    with pytest.raises(ToolError, match="old is in a 2 times, in lines 1, 1"):
        tools.edit_file("a", "aa", "b")
    tools.edit_file("a", "aa", "b", all=True)
    assert (home / "a").read_text("utf-8") == "ba"


def test_of_many_occurrences_the_first_lines_are_named(home: Path, tools: FileTools) -> None:
    (home / "a").write_text("x\n" * 30, "utf-8")
    assert tools.edit_file("a", "x", "y", all=True) == "replaced in a, lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and more"


def test_of_many_that_are_not_meant_the_first_are_counted(home: Path, tools: FileTools) -> None:
    (home / "a").write_text("x" * 5_000_000, "utf-8")
    with pytest.raises(ToolError, match=r"old is in a more than 10 times, in lines 1, 1, .* and more; give more of"):
        tools.edit_file("a", "x" * 2_500_000, "y")


def test_an_edit_that_would_fill_the_memory_is_not_begun(home: Path, tools: FileTools) -> None:
    (home / "a").write_text("x" * 5_000_000, "utf-8")
    (home / "b").write_text("x" * 50_000, "utf-8")
    with pytest.raises(ToolError, match=r"old is in a more than 100,000 times, .*; give less of it at once"):
        tools.edit_file("a", "x", "y", all=True)
    with pytest.raises(ToolError, match="there would be 50,000,000,000 characters, and 5,000,000 bytes is the most"):
        tools.edit_file("b", "x", "y" * 1_000_000, all=True)


def test_a_big_file_can_be_replaced_by_a_small_one(home: Path) -> None:
    (home / "a").write_text("x" * 50, "utf-8")
    tools = make_file_tools(home, max_bytes=10)
    assert tools.write_file("a", "x", overwrite=True) == "wrote a, 1 bytes instead of 50"


def test_line_ends_encoding_and_mark_are_kept(home: Path, tools: FileTools) -> None:
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        (home / "a").write_bytes("é1\r\né2\r\nlone\n\r\n".encode(encoding))
        tools.edit_file("a", "é2\n", "é3\né4\n")
        assert (home / "a").read_bytes() == "é1\r\né3\r\né4\r\nlone\n\r\n".encode(encoding)


def test_a_character_that_the_encoding_lacks_is_named(home: Path, tools: FileTools) -> None:
    (home / "a").write_bytes("é".encode("cp1252"))
    with pytest.raises(ToolError, match=r"a is stored as cp1252, which does not have the character \\u2192"):
        tools.edit_file("a", "é", "→")


@pytest.mark.parametrize(
    ("old", "hint"),
    [
        ("return 1", "line 2 '    retrun 1'"),
        ("def f():\n  return 2", r"line 1 'def f\(\):' only differ in spaces, or in the lines after it; copy them"),
        ("    def f():", r"line 1 'def f\(\):' only differ in spaces"),
        ("something else altogether", "read it again"),
        ("   ", "read it again"),
    ],
)
def test_where_a_text_is_not_there_the_nearest_lines_are(home: Path, tools: FileTools, old: str, hint: str) -> None:
    (home / "a").write_text("def f():\n    retrun 1\n", "utf-8")
    old = old.replace("   ", "\t\t\t") if not old.strip() else old
    with pytest.raises(ToolError, match=f"old is not in a; .*{hint}"):
        tools.edit_file("a", old, "x")


def test_to_look_for_the_nearest_lines_does_not_take_long(home: Path, tools: FileTools) -> None:
    (home / "a").write_text("".join(f"{number} " * 100 + "\n" for number in range(9_000)), "utf-8")
    with pytest.raises(ToolError, match="old is not in a"):
        tools.edit_file("a", "1 2 3 4 5" * 100, "x")


def test_what_changes_nothing_is_refused(home: Path, tools: FileTools) -> None:
    (home / "a").write_text("x\r\n", "utf-8", newline="")
    with pytest.raises(ToolError, match="old and new are the same"):
        tools.edit_file("a", "x\n", "x\r\n")
    with pytest.raises(ToolError, match="old is empty; give the text to replace"):
        tools.edit_file("a", "", "x")


def test_only_a_text_that_is_there_is_edited(home: Path, tools: FileTools) -> None:
    (home / "a").write_bytes(b"a\0b")
    with pytest.raises(ToolError, match="a is no text, and cannot be edited"):
        tools.edit_file("a", "a", "b")
    with pytest.raises(ToolError, match="there is no b; list_files"):
        tools.edit_file("b", "a", "b")
    with pytest.raises(ToolError, match="there is no c/b; list_files"):
        tools.edit_file("c/b", "a", "b")
    (home / "big").write_text("x" * 20, "utf-8")
    with pytest.raises(ToolError, match="big has 20 bytes, and 10 is the most"):
        make_file_tools(home, max_bytes=10).edit_file("big", "x", "y", all=True)
    assert names(home) == ["a", "big"]


# -- somebody else at the same time ----------------------------------------------------------------------------------


def meddle(monkeypatch: pytest.MonkeyPatch, home: Path, text: str) -> None:
    """Write a file once the tool has written its own to the disk, and before it has its name."""
    real = os.fsync

    def fsync(fd: int) -> None:
        real(fd)
        (home / "a").write_text(text, "utf-8")

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("before", ["old", None])
def test_what_somebody_else_wrote_meanwhile_is_not_lost(
    home: Path, tools: FileTools, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    if before is not None:
        (home / "a").write_text(before, "utf-8")
    meddle(monkeypatch, home, "theirs")
    with pytest.raises(ToolError, match=r"a was (changed|made) by somebody else meanwhile; read it"):
        tools.write_file("a", "mine", overwrite=before is not None)
    assert (home / "a").read_text("utf-8") == "theirs"
    assert names(home) == ["a"]


class Linkless(Folder):
    """A folder of a file system that knows no second names, as that of a memory card."""

    def link(self, old: str, new: str) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_a_file_system_without_second_names_does_as_well(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Root(str(home), list, enter=lambda path: Linkless(os.open(path, os.O_RDONLY)))
    limits = FileLimits(max_bytes=100, max_chars=100, max_entries=100, max_matches=100, timeout=60)
    assert write(root, limits, "b", "x", overwrite=False) == "wrote b, new, 1 bytes"
    assert names(home) == ["b"]
    meddle(monkeypatch, home, "theirs")
    with pytest.raises(ToolError, match="a was made by somebody else meanwhile; read it"):
        write(root, limits, "a", "mine", overwrite=False)
    assert names(home) == ["a", "b"]


def test_a_folder_that_takes_no_new_name_is_said_to(home: Path) -> None:
    class Full(Folder):
        def link(self, old: str, new: str) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    root = Root(str(home), list, enter=lambda path: Full(os.open(path, os.O_RDONLY)))
    limits = FileLimits(max_bytes=100, max_chars=100, max_entries=100, max_matches=100, timeout=60)
    with pytest.raises(ToolError, match="a was not written, since the disk is full: No space left on device; nothing"):
        write(root, limits, "a", "x", overwrite=False)
    assert names(home) == []


# -- a disk that takes nothing ---------------------------------------------------------------------------------------


FULL = """
import resource, sys
from becket import ToolError
from becket_tools import make_file_tools
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
tools = make_file_tools(sys.argv[1])
for call in (
    lambda: tools.write_file("new", "x" * 5000),
    lambda: tools.write_file("a", "x" * 5000, overwrite=True),
    lambda: tools.edit_file("a", "old", "x" * 5000),
):
    try:
        call()
    except ToolError as error:
        print(error)
"""


def test_a_disk_that_is_full_loses_nothing(home: Path) -> None:
    """The system lets files grow to 1,000 bytes, and no further: the write breaks off in the middle."""
    (home / "a").write_text("old", "utf-8")
    done = subprocess.run([sys.executable, "-c", FULL, str(home)], capture_output=True, text=True, check=True)  # noqa: S603  our own words
    assert done.stdout.splitlines() == [
        f"{name} was not written, since the disk is full: File too large; nothing was changed"
        for name in ("new", "a", "a")
    ]
    assert (home / "a").read_text("utf-8") == "old"
    assert names(home) == ["a"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_said_to_be_closed(home: Path, tools: FileTools) -> None:
    home.chmod(0o500)
    with pytest.raises(ToolError, match="a is closed to this process: Permission denied"):
        tools.write_file("a", "x")


@pytest.mark.skipif(not os.access("/proc/sys", os.R_OK), reason="a file system that takes no files")
def test_a_file_system_that_takes_no_files_is_said_to() -> None:
    with pytest.raises(ToolError, match=r"becket-test"):
        make_file_tools("/proc/sys").write_file("becket-test", "x")


# -- what an agent must not write ------------------------------------------------------------------------------------


def test_settings_hooks_and_what_is_installed_are_read_and_not_written(home: Path, tools: FileTools) -> None:
    (home / ".git").mkdir()
    (home / ".git" / "config").write_text("x", "utf-8")
    (home / "becket.toml").write_text("x", "utf-8")
    for path in (".git/config", "becket.toml"):
        assert tools.read_file(path) == "x"
        with pytest.raises(ToolError, match="is not written by this tool"):
            tools.edit_file(path, "x", "y")
    assert names(home) == [".git", ".git/config", "becket.toml"]


def test_an_environment_of_python_is_not_written_whatever_its_name(home: Path, tools: FileTools) -> None:
    (home / "env" / "bin").mkdir(parents=True)
    (home / "env" / "pyvenv.cfg").touch()
    with pytest.raises(ToolError, match="env is an environment of Python, and is not written by this tool"):
        tools.write_file("env/bin/python", "x")
    assert not (home / "env" / "bin" / "python").exists()


PROJECT = '[project]\nname = "x"\n[tool.becket]\ntools = ["calculator"]\n'


def test_of_a_project_all_is_written_but_what_it_tells_becket(home: Path, tools: FileTools) -> None:
    (home / "pyproject.toml").write_text(PROJECT, "utf-8")
    tools.edit_file("pyproject.toml", '"x"', '"y"')
    tools.write_file("pyproject.toml", PROJECT.replace("x", "z"), overwrite=True)
    for old, new in (('"calculator"', '"write_file"'), ("[tool.becket]", "[tool.other]"), ("[project]", "[project")):
        with pytest.raises(ToolError, match=r"pyproject\.toml would say other things to becket in \[tool\.becket\]"):
            tools.edit_file("pyproject.toml", old, new)
    assert (home / "pyproject.toml").read_text("utf-8") == PROJECT.replace("x", "z")


def test_no_project_is_made_that_tells_becket_something(home: Path, tools: FileTools) -> None:
    with pytest.raises(ToolError, match="would say other things to becket"):
        tools.write_file("sub/PyProject.toml", PROJECT)
    tools.write_file("sub/pyproject.toml", "[project]\n")
    with pytest.raises(ToolError, match="or be no TOML"):
        tools.write_file("slow/pyproject.toml", "tool.becket" + ".a" * 200_000 + "=1")  # a minute for who reads it
    tools.write_file("odd/pyproject.toml", "tool = 1\n")
