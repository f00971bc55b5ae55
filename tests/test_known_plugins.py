"""The page of known plugins says what is in its table, and the table what is installed and what the tests inherit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import becket.testing
import pytest
from becket import Runtime

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "known-plugins.md"
KNOWN: list[dict[str, Any]] = tomllib.loads((ROOT / "docs" / "known-plugins.toml").read_text("utf-8"))["plugins"]
OURS = [path.parent for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))]


def row(plugin: dict[str, Any]) -> str:
    page = f"[{plugin['distribution']}](plugins/{plugin['name']}.md)"
    gives = "; ".join(f"{kind}: {', '.join(f'`{name}`' for name in names)}" for kind, names in plugin["gives"].items())
    conformance = ", ".join(f"`{name}`" for name in plugin["conformance"]) or "none"
    return f"| `{plugin['name']}` | {page} | {plugin['about']} | {gives} | {conformance} |"


COLLECT = """
import json, os, sys
import pytest

class Seen:
    def pytest_collection_finish(self, session):
        for item in session.items:
            rule, cls = getattr(item, "originalname", ""), getattr(item, "cls", None)
            mro = [base for base in (cls.__mro__ if cls else ()) if base.__module__.startswith("becket.testing")]
            held = [base for base in mro if base.__name__.endswith("Conformance")]
            if held and hasattr(held[0], rule):
                own = getattr(cls, rule) is not getattr(held[0], rule)
                left_out = any(mark.name in {"skip", "skipif", "xfail"} for mark in item.iter_markers())
                line = [str(item.path), held[0].__name__, rule, own or left_out]
                os.write(int(sys.argv[1]), f"{json.dumps(line)}\\n".encode())

sys.exit(pytest.main(["--collect-only", "-q", "--no-cov", "-p", "no:cacheprovider", *sys.argv[2:]], plugins=[Seen()]))
"""
"""Tells of each test of a contract that pytest would run: file, class, rule, and whether the plugin has a say in it."""


@pytest.fixture(scope="module")
def held() -> Mapping[str, Mapping[str, frozenset[str]]]:
    """By plugin and contract, the rules that its tests run as they are. Collected by pytest itself, once for all."""
    files = [file for file in sorted(ROOT.glob("plugins/*/tests/**/test_*.py")) if "Conformance" in file.read_text()]
    read, write = os.pipe()
    command = [sys.executable, "-c", COLLECT, str(write), *map(str, files)]
    with subprocess.Popen(command, cwd=ROOT, pass_fds=[write], stdout=subprocess.DEVNULL) as process:  # noqa: S603  ours
        os.close(write)
        with open(read, encoding="utf-8") as told:  # noqa: PTH123  a pipe
            lines = [json.loads(line) for line in told]
        assert process.wait() == 0
    found: dict[str, dict[str, set[str]]] = {}
    for file, contract, rule, own in lines:
        rules = found.setdefault(Path(file).relative_to(ROOT).parts[1], {}).setdefault(contract, set())
        if not own:
            rules.add(rule)
    return {name: {one: frozenset(rules) for one, rules in of.items()} for name, of in found.items()}


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
def test_a_plugin_is_held_to_what_the_table_says(
    known: dict[str, Any], held: Mapping[str, Mapping[str, frozenset[str]]]
) -> None:
    """By every rule of the contract: a class that replaces a test, or marks it to be skipped, holds it to less."""
    mine = held.get(known["distribution"].removeprefix("becket-"), {})
    whole = sorted(contract for contract, rules in mine.items() if rules == rules_of(contract))
    part = {contract: sorted(rules_of(contract) - rules) for contract, rules in mine.items()}
    line = f"conformance = {json.dumps(whole)}"
    assert sorted(known["conformance"]) == whole, f"write: {line}; not run as they are: {part}"


def rules_of(contract: str) -> frozenset[str]:
    return frozenset(name for name in dir(getattr(becket.testing, contract)) if name.startswith("test_"))
