"""What the README and the pages under docs say is what happens: their Python runs, their commands are those of CI."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from becket import Event

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(  # noqa: S603  our own commands
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


PYTHON = [
    pytest.param(page, number, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page, "python"))
    if "shout" not in block
]


@pytest.mark.parametrize(("page", "number"), PYTHON)
def test_the_python_of_a_page_runs(page: Path, number: int, tmp_path: Path) -> None:
    program = tmp_path / "example.py"
    program.write_text(blocks(page, "python")[number], encoding="utf-8")
    output = run(sys.executable, "-W", "error", program, cwd=tmp_path)
    if page.name == "README.md":
        assert output == "49"


def test_the_first_command_of_the_readme_answers(tmp_path: Path) -> None:
    (first,) = [line for line in README.splitlines() if line.startswith("pip install uv && uv run becket run")]
    prompt = first.partition('"')[2].rstrip('"')
    assert run(sys.executable, "-m", "becket_cli", "run", prompt, cwd=tmp_path) == "49\n"


def test_the_second_command_of_the_readme_is_what_ci_runs() -> None:
    assert "pip install uv && uv run pytest\n" in README
    assert "uv run pytest\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_smallest_plugin_builds_installs_and_is_found(tmp_path: Path) -> None:
    project, site = tmp_path / "becket-shout", tmp_path / "site"
    project.mkdir()
    (toml,) = blocks(ROOT / "README.md", "toml")
    (module,) = [block for block in blocks(ROOT / "README.md", "python") if "shout" in block]
    assert (len(toml.splitlines()), len(module.splitlines())) == (6, 5)
    (project / "pyproject.toml").write_text(toml, encoding="utf-8")
    (project / "becket_shout.py").write_text(module, encoding="utf-8")
    build = "import setuptools.build_meta as backend; backend.build_wheel('..')"
    run(sys.executable, "-c", build, cwd=project)
    (wheel,) = tmp_path.glob("*.whl")
    run("uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--target", site, wheel, cwd=tmp_path)
    listed = run(sys.executable, "-m", "becket_cli", "tools", cwd=tmp_path, PYTHONPATH=str(site))
    assert "shout" in listed
    use = "import becket\nprint(becket.default_runtime().tool('shout')('hi'))"
    assert run(sys.executable, "-c", use, cwd=tmp_path, PYTHONPATH=str(site)) == "HI\n"


def test_the_page_of_events_names_every_event_and_field() -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*$", page, re.MULTILINE)}
    for cls in get_args(Event):
        own = set(cls.__dataclass_fields__)
        name = cls.__dataclass_fields__["type"].default
        if name != "unknown":
            stamped = {"type", "run_id", "seq", "time", "cycle", "attempt", "parent_run_id", "parent_call_id"}
            assert all(field in rows[name] for field in own - stamped), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            there = (page.parent / target).resolve()
            assert there.exists(), target
