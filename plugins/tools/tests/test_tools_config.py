"""What a user sets in `[plugins.tools]`, and which tools there are then."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest
from becket import Config, ConfigError, Runtime, ToolError, load_config
from becket_tools import make_file_tools, make_http_request
from becket_tools._config import FilesConfig, HttpConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASE = ["calculator", "current_time", "http_request"]
FILES = ["read_file", "list_files", "search_files", "write_file", "edit_file"]


def tools(**table: Any) -> dict[str, Any]:
    """The tools of a runtime whose user has this table, by name."""
    runtime = Runtime(allow=["becket-tools"], config=Config.of({"plugins": {"tools": table}} if table else {}))
    return {name: runtime.tool(name) for name in runtime.tools}


def test_without_a_folder_there_are_no_file_tools() -> None:
    assert list(tools()) == list(tools(http={"timeout": 5.0})) == BASE


def test_with_one_there_are_for_that_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("12345\n12345\n", "utf-8")
    made = tools(files={"root": str(tmp_path), "max_chars": 5})
    assert sorted(made) == sorted([*BASE, *FILES])
    assert made["read_file"]("a").startswith("12345\n\n[line 1 of 2")


def test_a_relative_folder_is_that_of_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`root = "."` is the folder that `becket` is started in, and stays that one."""
    (tmp_path / "a").write_text("x", "utf-8")
    (tmp_path / "b").write_text("x", "utf-8")
    monkeypatch.chdir(tmp_path)
    made = tools(files={"root": ".", "secret": ["b"]})
    monkeypatch.chdir("/")
    assert made["read_file"]("a") == "x"
    with pytest.raises(ToolError, match="b is secret"):
        made["read_file"]("b")


def test_a_folder_that_is_not_there_takes_no_other_tool_away(tmp_path: Path) -> None:
    made = tools(files={"root": str(tmp_path / "gone")})
    assert made["calculator"]("1 + 1") == "2"
    with pytest.raises(ToolError, match=r"the folder of these tools, '.*/gone', cannot be opened: No such file"):
        made["list_files"]()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"file": {}}, "file"),
        ({"files": {}}, "root"),
        ({"files": {"root": ""}}, "root is empty; it must be a folder"),
        ({"files": {"root": 1}}, "root"),
        ({"files": {"root": "/", "max_bytes": 0}}, "max_bytes is 0; it must be above 0"),
        ({"files": {"root": "/", "timeout": float("nan")}}, "timeout is nan; it must be above 0"),
        ({"http": {"allow": ["no place!"]}}, "no place!"),
        ({"http": {"timeout": -1}}, "timeout is -1.0; it must be above 0"),
    ],
)
def test_what_is_wrong_is_told(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        tools(**table)


@pytest.mark.parametrize(
    ("model", "function", "besides"),
    [(FilesConfig, make_file_tools, {"root"}), (HttpConfig, make_http_request, {"resolve", "ssl_context"})],
)
def test_the_table_has_the_options_of_the_function_with_the_same_defaults(
    model: Any, function: Callable[..., object], besides: set[str]
) -> None:
    options = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    fields = {field.name: field.default for field in dataclasses.fields(model)}
    assert {name: value for name, value in fields.items() if name not in besides} == {
        name: value for name, value in options.items() if name not in besides
    }


@pytest.mark.parametrize("table", ['[files]\nroot = "/"', '[http]\nallow = ["127.0.0.1"]'])
def test_a_project_sets_none_of_it(tmp_path: Path, table: str) -> None:
    """Who wrote a repository does not open the disk, or the network, of who works in it."""
    (tmp_path / "becket.toml").write_text(table.replace("[", "[plugins.tools.", 1), "utf-8")
    with pytest.raises(ConfigError, match=r"a project may not set|not.*project"):
        Runtime(allow=["becket-tools"], config=load_config(user=False, project=tmp_path, environ={}))


@pytest.mark.anyio
async def test_exceptions_from_the_address_check_reach_the_tool() -> None:
    """Port 1 of this machine answers nothing; that it was asked is what is seen."""
    request = tools(http={"allow": ["127.0.0.1:1"]})["http_request"]
    with pytest.raises(ToolError, match="could not be reached"):
        await request("http://127.0.0.1:1/")
