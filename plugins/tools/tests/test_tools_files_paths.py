"""What paths and patterns mean, and where nothing may be written."""

from __future__ import annotations

import pytest
from becket import ToolError
from becket_tools._paths import Pattern, check_writable, parse, shown, spelled
from hypothesis import given
from hypothesis import strategies as st

ROOT = "/home/ann/work"


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("", ()),
        (".", ()),
        ("a.txt", ("a.txt",)),
        ("./a//b/./c.txt", ("a", "b", "c.txt")),
        ("a/../b", ("b",)),
        ("a/b/../../c", ("c",)),
        ("a/", ("a",)),
        ("...", ("...",)),
        ("~/a", ("~", "a")),
        ("a\\b", ("a\\b",)),
        (" a ", (" a ",)),
        (ROOT, ()),
        (f"{ROOT}/a/b", ("a", "b")),
        (f"{ROOT}//a", ("a",)),
    ],
)
def test_a_path_is_the_way_from_the_root(path: str, parts: tuple[str, ...]) -> None:
    assert parse(path, (ROOT,), windows=False) == parts


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "a/../..",
        "../work/a",
        "/",
        "/etc/passwd",
        "/home/ann",
        "/home/ann/worker/a",
        f"{ROOT}/../b",
        f"{ROOT}/../work/a",
        "//home/ann/work/a",
    ],
)
def test_what_leads_out_of_the_root_is_refused_even_where_it_leads_back(path: str) -> None:
    with pytest.raises(ToolError, match="outside of the folder of these tools; give a path relative to it"):
        parse(path, (ROOT,), windows=False)


@pytest.mark.parametrize("path", ["a\0b", "\0", "\ud800", "a/\udcff"])
def test_what_no_name_can_have_is_no_path(path: str) -> None:
    with pytest.raises(ToolError, match="has a character that no name has"):
        parse(path)


def test_a_path_of_many_characters_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(ToolError, match="has 4001 characters, and 4000 is the most"):
        parse("a" * 4001)


def test_a_root_of_everything_takes_every_absolute_path() -> None:
    assert parse("/etc/passwd", ("/",), windows=False) == ("etc", "passwd")


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a\\b.txt", ("a", "b.txt")),
        ("a/b", ("a", "b")),
        ("C:\\Work\\a", ("a",)),
        ("c:/work", ()),
        ("console.txt", ("console.txt",)),
        ("a.b.c", ("a.b.c",)),
    ],
)
def test_windows_has_two_separators_and_one_case(path: str, parts: tuple[str, ...]) -> None:
    assert parse(path, ("C:\\work",), windows=True) == parts


@pytest.mark.parametrize("path", ["..\\a", "D:\\work\\a", "C:a", "\\\\server\\share\\a", "\\a", "C:\\worker"])
def test_windows_has_more_ways_out(path: str) -> None:
    with pytest.raises(ToolError, match="outside"):
        parse(path, ("C:\\work",), windows=True)


@pytest.mark.parametrize(
    "path",
    [
        "nul",
        "a/CON",
        "com1.txt",
        "NUL .txt",
        "LPT¹",
        "a.txt:stream",
        "becket.toml.",
        "becket.toml ",
        "BECKET~1.TOM",
        "a?",
    ],
)
def test_names_that_mean_something_else_on_windows_are_refused_there(path: str) -> None:
    with pytest.raises(ToolError, match="Windows has no name"):
        parse(path, windows=True)
    assert parse(path, windows=False)


@given(st.lists(st.sampled_from(["a", "..", ".", "/", "\\", ":", "C", "\0", " ", ROOT]), max_size=20).map("".join))
def test_whatever_is_given_the_way_goes_down_only(path: str) -> None:
    for windows in (False, True):
        try:
            parts = parse(path, (ROOT,), windows=windows)
        except ToolError:
            continue
        assert not {"", ".", ".."} & set(parts)
        assert not any(separator in part for part in parts for separator in ("/", "\0", "\\" if windows else "/"))


# -- what may be written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "the folder itself"),
        (".git", "version control"),
        (".git/hooks/pre-commit", "version control"),
        ("sub/.GIT/config", "version control"),
        ("a/.g\u200dit/config", "version control"),
        ("\uff0egit/config", "version control"),
        (".git./config", "version control"),
        (".hg/hgrc", "version control"),
        (".venv/bin/python", "installed"),
        ("lib/site-packages/x.py", "installed"),
        ("node_modules/x/index.js", "installed"),
        ("pkg/__pycache__/x.pyc", "installed"),
        ("src/x.dist-info/entry_points.txt", "installed"),
        ("x.pth", "installed"),
        ("becket.toml", "what agents may do"),
        ("sub/Becket.TOML", "what agents may do"),
        ("becket.lock", "what agents may do"),
    ],
)
def test_what_runs_later_or_widens_rights_is_not_written(path: str, why: str) -> None:
    with pytest.raises(ToolError, match=why):
        check_writable(parse(path, windows=False))


@pytest.mark.parametrize(
    "path", ["a", "src/git/x.py", ".gitignore", ".github/x.yml", "my.becket.toml", "pyproject.toml"]
)
def test_everything_else_is(path: str) -> None:
    check_writable(parse(path, windows=False))


# -- patterns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("", "a/b.py", True),
        ("*.py", "b.py", True),
        ("*.py", "a/c/b.py", True),
        ("*.py", "a/b.pyc", False),
        ("b.py", "a/b.py", True),
        ("a/*.py", "a/b.py", True),
        ("a/*.py", "a/c/b.py", False),
        ("./*.py", "a/b.py", False),
        ("a/**/*.py", "a/b.py", True),
        ("a/**/*.py", "a/c/d/b.py", True),
        ("a/**", "a/c/b.py", True),
        ("**/c/*", "c/b", True),
        ("**", "a/b", True),
        ("*.PY", "b.py", False),
        ("[ab].py", "a.py", True),
        ("[", "[", True),
    ],
)
def test_a_pattern_is_of_names_or_of_whole_paths(pattern: str, path: str, matches: bool) -> None:
    assert Pattern(pattern).matches(tuple(path.split("/"))) is matches


def test_a_pattern_may_count_from_either_place() -> None:
    """A model that looks in `src` writes `src/*.py` or `*.py`, and means the same."""
    assert Pattern("src/*.py").matches(("src", "a.py"), ("a.py",))
    assert Pattern("./*.py").matches(("src", "a.py"), ("a.py",))


def test_a_pattern_made_to_take_long_does_not() -> None:
    """Each of these took minutes, if every way to read it were followed on its own."""
    assert not Pattern("/".join(["**", "a"] * 30)).matches(("a",) * 29 + ("b",) * 60)
    assert not Pattern("*a" * 60 + "b").matches(("a" * 200,))


def test_a_long_pattern_is_refused() -> None:
    with pytest.raises(ToolError, match="201 characters, and 200 is the most"):
        Pattern("a" * 201)


# -- what is shown ---------------------------------------------------------------------------------------------------


def test_a_name_is_shown_on_one_line() -> None:
    assert spelled(("a\nb", "c\udcff", "é")) == "a\\nb/c\\udcff/é"
    assert shown("\x1b[31m" + "x" * 300) == "'\\x1b[31m" + "x" * 195 + "...'"
