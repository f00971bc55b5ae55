"""`read_file`, `list_files` and `search_files`, as a model uses them."""

from __future__ import annotations

import base64
import importlib.util
import os
from typing import TYPE_CHECKING

import pytest
from becket import Document, Image, Text, ToolError
from becket_tools import FileTools, make_file_tools

if TYPE_CHECKING:
    from pathlib import Path

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def tools(home: Path) -> FileTools:
    return make_file_tools(home)


def make(home: Path, **files: str) -> None:
    """Make files; `__` in a name stands for a slash, `_` for a dot."""
    for name, text in files.items():
        path = home / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


# -- read_file -------------------------------------------------------------------------------------------------------


def test_a_text_is_given_as_it_is(home: Path, tools: FileTools) -> None:
    make(home, a_txt="one\n  two\n\nthree\n")
    assert tools.read_file("a.txt") == "one\n  two\n\nthree"


def test_line_ends_are_plain(home: Path, tools: FileTools) -> None:
    make(home, a_txt="one\r\ntwo\r\n")
    assert tools.read_file("a.txt") == "one\ntwo"


def test_lines_can_be_chosen(home: Path, tools: FileTools) -> None:
    make(home, a_txt="".join(f"line {number}\n" for number in range(1, 11)))
    assert tools.read_file("a.txt", offset=9) == "line 9\nline 10\n\n[lines 9 to 10 of 10, 71 bytes]"
    assert tools.read_file("a.txt", limit=1) == "line 1\n\n[line 1 of 10, 71 bytes; go on with offset=2]"
    assert tools.read_file("a.txt", 2, 2) == "line 2\nline 3\n\n[lines 2 to 3 of 10, 71 bytes; go on with offset=4]"
    assert tools.read_file("a.txt", 1, 10).endswith("line 10")


def test_lines_that_are_not_there_cannot(home: Path, tools: FileTools) -> None:
    make(home, a_txt="one\n")
    with pytest.raises(ToolError, match="the file has 1, 4 bytes, and offset is 2"):
        tools.read_file("a.txt", offset=2)
    with pytest.raises(ToolError, match="offset is 0 and limit 0; the first line is 1"):
        tools.read_file("a.txt", offset=0)
    with pytest.raises(ToolError, match="limit -1"):
        tools.read_file("a.txt", limit=-1)


def test_an_empty_file_is_said_to_be_empty(home: Path, tools: FileTools) -> None:
    make(home, a_txt="")
    assert tools.read_file("a.txt") == "[the file is empty]"


def test_a_long_text_is_cut_between_lines_and_says_where_to_go_on(home: Path) -> None:
    make(home, a_txt="12345\n" * 5)
    read = make_file_tools(home, max_chars=12).read_file
    assert read("a.txt") == "12345\n12345\n\n[lines 1 to 2 of 5, 30 bytes; go on with offset=3]"
    assert read("a.txt", offset=5) == "12345\n\n[line 5 of 5, 30 bytes]"


def test_a_long_line_is_cut(home: Path) -> None:
    make(home, a_txt="x" * 20 + "\nend\n")
    read = make_file_tools(home, max_chars=12).read_file
    cut = "[line 1 is cut off here, after 12 characters]"
    assert read("a.txt") == f"{'x' * 12}\n\n{cut}\n[line 1 of 2, 25 bytes; go on with offset=2]"
    assert read("a.txt", limit=1) == f"{'x' * 12}\n\n{cut}\n[line 1 of 2, 25 bytes; go on with offset=2]"


def test_lines_that_fit_exactly_are_not_cut(home: Path) -> None:
    make(home, a_txt="12345\n123456\nx\n")
    read = make_file_tools(home, max_chars=12).read_file
    assert read("a.txt") == "12345\n123456\n\n[lines 1 to 2 of 3, 15 bytes; go on with offset=3]"


def test_of_a_big_file_the_beginning_is_read(home: Path) -> None:
    make(home, a_txt="12345\n" * 5)
    read = make_file_tools(home, max_bytes=15).read_file
    told = "of the 3 in its first 15 bytes; it has 30, and the rest cannot be read]"
    assert read("a.txt") == f"12345\n12345\n123\n\n[lines 1 to 3 {told}"


def test_an_encoding_other_than_utf_8_is_told(home: Path, tools: FileTools) -> None:
    (home / "a").write_bytes("é".encode("utf-16"))
    (home / "b").write_bytes("é".encode("cp1252"))
    (home / "c").write_bytes(b"\xef\xbb\xbfx")
    assert tools.read_file("a") == "é\n\n[encoding: utf-16-le]"
    assert tools.read_file("b") == "é\n\n[encoding: cp1252, a guess]"
    assert tools.read_file("c") == "x"


def test_an_image_and_a_document_are_shown_as_what_they_are(home: Path, tools: FileTools) -> None:
    (home / "a.txt").write_bytes(PNG)  # its name does not matter
    (home / "b").write_bytes(b"%PDF-1.7 ...")
    assert tools.read_file("a.txt") == [
        Text(f"a.txt: image/png, {len(PNG)} bytes"),
        Image.from_bytes(PNG, media_type="image/png"),
    ]
    assert tools.read_file("b") == [
        Text("b: application/pdf, 12 bytes"),
        Document.from_bytes(b"%PDF-1.7 ...", media_type="application/pdf", name="b"),
    ]


def test_of_what_cannot_be_shown_type_and_size_are_told(home: Path, tools: FileTools) -> None:
    (home / "a").write_bytes(b"\0" * 1234)
    (home / "b").write_bytes(PNG)
    assert tools.read_file("a") == "[not shown: binary data, 1,234 bytes; it is no text]"
    read = make_file_tools(home, max_bytes=20).read_file
    assert read("b") == f"[not shown: image/png, {len(PNG)} bytes; it is too big]"


def test_what_is_not_there_is_said_with_what_to_do(home: Path, tools: FileTools) -> None:
    with pytest.raises(ToolError, match=r"there is no b\.txt; list_files shows what there is"):
        tools.read_file("b.txt")
    with pytest.raises(ToolError, match="that of the folder itself; list_files shows"):
        tools.read_file(".")


# -- list_files ------------------------------------------------------------------------------------------------------


def test_files_are_listed_by_their_paths_with_what_is_no_file_marked(home: Path, tools: FileTools) -> None:
    make(home, b_txt="", a__x_py="", a__c__y_py="", _git__config="", node___modules__z="")
    (home / "empty").mkdir()
    (home / "link").symlink_to("b.txt")
    os.mkfifo(home / "pipe")
    expected = [".git/", "a/c/y.py", "a/x.py", "b.txt", "empty/", "link (a link)", "pipe (no file)"]
    assert [line for line in tools.list_files().split("\n") if "node" not in line] == expected


def test_what_is_ignored_is_listed_when_asked_for(home: Path, tools: FileTools) -> None:
    make(home, _git__config="", _git__hooks__x="")
    assert tools.list_files() == ".git/"
    assert tools.list_files(".git") == ".git/config\n.git/hooks/x"


def test_a_folder_in_it_can_be_listed(home: Path, tools: FileTools) -> None:
    make(home, b_txt="", a__x_py="")
    assert tools.list_files("a") == tools.list_files("a/") == tools.list_files(str(home / "a")) == "a/x.py"
    (home / "c").mkdir()
    assert tools.list_files("c") == "[the folder is empty]"
    with pytest.raises(ToolError, match="there is no d; list_files shows what there is"):
        tools.list_files("d")


def test_a_list_can_be_of_some_files(home: Path, tools: FileTools) -> None:
    make(home, a_txt="", b__a_py="", b__c__d_py="", _git__x_py="")
    assert tools.list_files(pattern="*.py") == "b/a.py\nb/c/d.py"
    assert tools.list_files(pattern="b/*.py") == "b/a.py"
    assert tools.list_files("b", "c/*") == "b/c/d.py"
    assert tools.list_files(pattern="*.js") == "[no file matches *.js]"


def test_where_there_is_no_room_the_deeper_folders_stay_closed(home: Path) -> None:
    make(home, a__x="", a__y="", b__1="", b__2="", b__3="", c__d__e="", z="")
    listed = make_file_tools(home, max_entries=5).list_files()
    note = "[folders with a number were not opened; ask for one of them to see what is in it]"
    assert listed == f"a/x\na/y\nb/ (3 entries)\nc/d/e\nz\n{note}"


def test_a_folder_of_too_many_entries_is_cut_and_says_so(home: Path) -> None:
    make(home, **{f"f{number}": "" for number in range(7)})
    tools = make_file_tools(home, max_entries=5)
    shown = "f0\nf1\nf2\nf3\nf4\n"
    assert tools.list_files() == f"{shown}[not all: 7 entries are in this folder; give a pattern]"
    told = "[not all: these are the first 5; ask for a narrower pattern or a folder]"
    assert tools.list_files(pattern="f*") == f"{shown}{told}"
    assert tools.list_files(pattern="f[0-4]") == shown.rstrip()


def test_names_that_are_no_text_are_listed_on_one_line(home: Path, tools: FileTools) -> None:
    (home / "a\nb").touch()
    os.close(os.open(os.fsencode(home) + b"/c\xff", os.O_CREAT))
    assert tools.list_files() == "a\\nb\nc\\udcff"


def test_a_list_ends_with_its_time(home: Path) -> None:
    make(home, a__b="", c="")
    tools = make_file_tools(home, timeout=1e-9)
    assert tools.list_files() == "a/\nc\n[not all: there was no more time after 1e-09 s; ask for a folder in it]"
    assert "no more time" in tools.list_files(pattern="*")


def test_very_deep_folders_are_not_followed_for_ever(home: Path, tools: FileTools) -> None:
    """Some 300 folders in each other; a list shows the one it has come to."""
    where = os.open(home, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=where)
        inner = os.open("d", os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = inner
    os.close(where)
    assert tools.list_files() == "d/" * 101
    assert tools.list_files(pattern="d") == "d/" * 101
    assert tools.search_files("x") == "['x' is in none of 0 text files]"


# -- search_files ----------------------------------------------------------------------------------------------------


def test_lines_are_found_under_the_path_of_their_file(home: Path, tools: FileTools) -> None:
    make(home, a_txt="one\ntwo\none two\n", b__c_txt="  one\r\n", d_txt="three")
    assert tools.search_files("one") == "a.txt\n1: one\n3: one two\nb/c.txt\n1:   one"
    assert tools.search_files("four") == "['four' is in none of 3 text files]"


def test_a_search_is_of_a_folder_a_file_or_a_pattern(home: Path, tools: FileTools) -> None:
    make(home, a_txt="one", b__c_txt="one", b__d_py="one")
    assert tools.search_files("one", "b") == "b/c.txt\n1: one\nb/d.py\n1: one"
    assert tools.search_files("one", "b/d.py") == "b/d.py\n1: one"
    assert tools.search_files("one", pattern="*.py") == "b/d.py\n1: one"
    with pytest.raises(ToolError, match="there is no e"):
        tools.search_files("one", "e")


def test_case_can_be_ignored(home: Path, tools: FileTools) -> None:
    make(home, a_txt="Straße\nONE\n")
    assert tools.search_files("one", ignore_case=True) == "a.txt\n2: ONE"
    assert tools.search_files("STRASSE", ignore_case=True) == "a.txt\n1: Straße"
    assert tools.search_files("^o.e$", regex=True, ignore_case=True) == "a.txt\n2: ONE"


def test_lines_around_a_match_are_shown_once(home: Path, tools: FileTools) -> None:
    make(home, a_txt="1\nx\n3\nx\n5\n6\n7\n8\nx\n")
    assert tools.search_files("x", context=1) == "a.txt\n1- 1\n2: x\n3- 3\n4: x\n5- 5\n--\n8- 8\n9: x"
    with pytest.raises(ToolError, match="context is 21; it goes from 0 to 20 lines"):
        tools.search_files("x", context=21)


def test_a_regular_expression_is_one_of_re2(home: Path, tools: FileTools) -> None:
    make(home, a_txt="def f():\nclass A:\n  def g():\né\n")
    assert tools.search_files(r"^\s*(def|class) [gA]\b", regex=True) == "a.txt\n2: class A:\n3:   def g():"
    assert tools.search_files(r"^\pL$", regex=True) == "a.txt\n4: é"


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("(", r"missing \): \("),
        ("(?!a)b", r"invalid perl operator: \(\?!"),
        (r"(a)\1", "invalid escape sequence"),
        ("((a{99}){99}){99}", "invalid repetition size"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_what_re2_does_not_take_is_said(
    tools: FileTools, capfd: pytest.CaptureFixture[str], expression: str, why: str
) -> None:
    with pytest.raises(
        ToolError, match=f"cannot be used: .*{why}.*; search for it without regex, or write it otherwise"
    ):
        tools.search_files(expression, regex=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("expression", ["(a+)+$b", "(a|aa)+b", "(.*)(.*)(.*)(.*)b", "(?:a?){500}a{500}b", "((a*)*)*b"])
def test_a_regular_expression_made_to_take_for_ever_does_not(home: Path, expression: str) -> None:
    """There is no limit that stops it here: were it one of Python's, this would not end."""
    make(home, a_txt=("a" * 3000 + "\n") * 3)
    said = make_file_tools(home, timeout=1e6).search_files(expression, regex=True)
    assert said == f"['{expression}' is in none of 1 text files]"


def test_without_re2_a_model_is_not_told_of_regular_expressions(
    home: Path, tools: FileTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(tools: FileTools) -> list[str]:
        return list(tools.search_files.spec.schema["properties"])  # type: ignore[arg-type]

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    without = make_file_tools(home)
    assert (told(tools), told(without)) == (
        ["text", "path", "pattern", "regex", "ignore_case", "context"],
        ["text", "path", "pattern", "ignore_case", "context"],
    )
    assert (without.search_files.name, without.search_files.description) == (
        tools.search_files.name,
        tools.search_files.description,
    )
    make(home, a_txt="x")
    assert without.search_files("x") == "a.txt\n1: x"


def test_text_is_sought_as_it_is_unless_an_expression_is_meant(home: Path, tools: FileTools) -> None:
    make(home, a_txt="a.b\naxb\n")
    assert tools.search_files("a.b") == "a.txt\n1: a.b"


@pytest.mark.parametrize(("text", "regex"), [("", False), ("a\nb", False), ("x" * 1001, False), ("", True)])
def test_what_no_line_has_is_not_sought(tools: FileTools, text: str, regex: bool) -> None:
    with pytest.raises(ToolError, match="search for a"):
        tools.search_files(text, regex=regex)


def test_what_is_no_text_or_is_ignored_is_not_searched(home: Path, tools: FileTools) -> None:
    make(home, a_bin="one\0", _git__config="one", b_txt="one")
    (home / "link").symlink_to("b.txt")
    assert tools.search_files("one") == "b.txt\n1: one"
    assert tools.search_files("one", ".git") == ".git/config\n1: one"
    with pytest.raises(ToolError, match=r"a\.bin is no text, and cannot be searched"):
        tools.search_files("one", "a.bin")


def test_a_search_ends_with_the_most_matches(home: Path) -> None:
    make(home, a_txt="x\n" * 3, b_txt="x\n" * 3)
    tools = make_file_tools(home, max_matches=4)
    told = "[not all: these are the first 4; search for less, or in one file]"
    assert tools.search_files("x") == f"a.txt\n1: x\n2: x\n3: x\nb.txt\n1: x\n{told}"
    assert make_file_tools(home, max_matches=6).search_files("x").endswith("b.txt\n1: x\n2: x\n3: x")


def test_a_search_ends_with_the_most_characters(home: Path) -> None:
    make(home, a_txt="xxxx\n" * 5)
    said = make_file_tools(home, max_chars=20).search_files("x")
    assert said == "a.txt\n1: xxxx\n2: xxxx\n[not all: that is 20 characters; search for less, or in one file]"


def test_a_search_ends_with_its_time(home: Path) -> None:
    make(home, a_txt="x")
    said = make_file_tools(home, timeout=1e-9).search_files("x")
    assert said.endswith("[not all: there was no more time after 1e-09 s; search a folder in it]")


def test_a_big_file_is_searched_in_its_beginning(home: Path) -> None:
    make(home, a_txt="x\n" + "y" * 100 + "\nx")
    assert make_file_tools(home, max_bytes=50).search_files("x") == (
        "a.txt\n1: x\n[1 files were searched only in their first 50 bytes]"
    )


def test_of_a_long_line_what_is_around_the_match_is_shown(home: Path, tools: FileTools) -> None:
    make(home, a_txt="a" * 500 + "needle" + "b" * 500)
    assert tools.search_files("needle") == f"a.txt\n1: ...{'a' * 80}needle{'b' * 154}..."
