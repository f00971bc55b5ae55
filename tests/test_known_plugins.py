"""The page of known plugins says what is in its table, and the table what is installed and what the tests inherit."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from becket import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "known-plugins.md"
KNOWN: list[dict[str, Any]] = tomllib.loads((ROOT / "docs" / "known-plugins.toml").read_text("utf-8"))["plugins"]
OURS = [path.parent for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))]


def row(plugin: dict[str, Any]) -> str:
    page = f"[{plugin['distribution']}](plugins/{plugin['name']}.md)"
    gives = "; ".join(f"{kind}: {', '.join(f'`{name}`' for name in names)}" for kind, names in plugin["gives"].items())
    conformance = ", ".join(f"`{name}`" for name in plugin["conformance"]) or "none"
    return f"| `{plugin['name']}` | {page} | {plugin['about']} | {gives} | {conformance} |"


def inherited(project: Path) -> Iterator[str]:
    """The conformance classes that classes in the tests of a project inherit from."""
    for file in project.glob("tests/test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                yield from (base.id for base in node.bases if isinstance(base, ast.Name) and "Conformance" in base.id)


def test_the_page_is_the_table() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    wanted = [row(plugin) for plugin in KNOWN]
    assert rows == wanted, "the rows of the page are to be:\n" + "\n".join(wanted)


def test_the_table_has_every_plugin_that_comes_with_becket() -> None:
    entries = [tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"] for project in OURS]
    ours = [(name, entry["name"]) for entry in entries for name in entry.get("entry-points", {}).get("becket", {})]
    assert sorted((plugin["name"], plugin["distribution"]) for plugin in KNOWN) == sorted(ours)
    assert [plugin["name"] for plugin in KNOWN] == sorted(plugin["name"] for plugin in KNOWN)


@pytest.mark.parametrize("known", KNOWN, ids=[plugin["name"] for plugin in KNOWN])
def test_a_plugin_gives_what_the_table_says(known: dict[str, Any]) -> None:
    runtime = Runtime(allow=[known["distribution"]], require=[known["distribution"]])
    (plugin,) = [plugin for plugin in runtime.plugins if plugin.status == "loaded"]
    gives = {kind: [*names] for kind, names in plugin.adds.items()}
    if any(hook.name == "register_commands" for hook in plugin.hooks):
        gives["hooks"] = [*gives.get("hooks", ()), "register_commands"]
    assert known["gives"] == gives


@pytest.mark.parametrize("known", KNOWN, ids=[plugin["name"] for plugin in KNOWN])
def test_a_plugin_is_held_to_what_the_table_says(known: dict[str, Any]) -> None:
    (project,) = [path for path in OURS if f"becket-{path.name}" == known["distribution"]]
    assert sorted(known["conformance"]) == sorted(set(inherited(project)))
