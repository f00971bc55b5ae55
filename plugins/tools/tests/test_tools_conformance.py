"""The tools keep the contract of tools."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from becket.testing import ToolConformance
from becket_tools import calculator, current_time, make_file_tools

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from becket import AnyTool


class TestTools(ToolConformance):
    cases = MappingProxyType({"calculator": [{"expression": "2*(3+4)"}], "current_time": [{}]})
    failing = MappingProxyType({"calculator": [{"expression": "1/0"}]})

    def make_tools(self) -> Sequence[AnyTool]:
        return [calculator, current_time]


class TestFileTools(ToolConformance):
    cases = MappingProxyType({"read_file": [{"path": "a.txt"}], "list_files": [{}], "search_files": [{"text": "one"}]})
    failing = MappingProxyType({"read_file": [{"path": "../a.txt"}]})

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("one\ntwo\n", encoding="utf-8")
        self.root = tmp_path

    def make_tools(self) -> Sequence[AnyTool]:
        made = make_file_tools(self.root)
        return [made.read_file, made.list_files, made.search_files]
