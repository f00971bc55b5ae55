"""What the README and the pages under docs say is what happens: Python runs, commands print what is shown."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from becket import Event

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
FIRST = ROOT / "README.md"
PAGES = [
    FIRST,
    *sorted(ROOT.glob("plugins/*/README.md")),
    *sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts),
]
PLUGIN = DOCS / "tutorial" / "plugin.md"
README = FIRST.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(  # noqa: S603  our own commands
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "XDG_CONFIG_HOME": str(cwd / "nobody's"), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


STEP = re.compile(r"(?:`([\w./-]+)`:\n\n)?^```(python|toml|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
"""A block of a page, and the name of the file that it is to be kept in: that with which the line before it ends."""


def steps(page: Path) -> list[tuple[str, str, str]]:
    found = STEP.findall(page.read_text(encoding="utf-8"))
    return [(name, language, text) for name, language, text in found if page != FIRST or "shout" not in text]


def shown(text: str) -> re.Pattern[str]:
    """What is shown of an output: `...` stands for any text, alone on a line for any lines; spaces count once."""
    lines = [re.sub(r"\\\.\\\.\\\.", ".*", re.escape(" ".join(line.split()))) for line in text.splitlines()]
    return re.compile("".join("(?:.*\n)*" if line == ".*" else f"{line}\n" for line in lines))


def check_console(text: str, cwd: Path) -> None:
    """Run each command of a session as a shell does, and compare what it prints with what is shown."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        printed = run("bash", "-c", f"exec 2>&1\n{command}", cwd=cwd, PATH=path, COLUMNS="200")
        printed = "".join(f"{' '.join(line.split())}\n" for line in printed.splitlines())
        assert shown(output).fullmatch(printed), f"{command}\n{printed}"


@pytest.mark.parametrize("page", [page for page in PAGES if steps(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    """In the order of the page and in one folder; a block that is a file is kept for the commands after it."""
    for name, language, text in steps(page):
        if name:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        elif language == "console":
            check_console(text, tmp_path)
        elif language == "python":
            program = tmp_path / "example.py"
            program.write_text(text, encoding="utf-8")
            output = run(sys.executable, "-W", "error", program, cwd=tmp_path)
            if page == FIRST:
                assert output == "49"


def test_a_file_on_a_page_is_used_by_a_command() -> None:
    """Else nothing would have run it."""
    for page in PAGES:
        found = steps(page)
        commands = "".join(text for _, language, text in found if language == "console")
        for name in (Path(name).stem for name, *_ in found if name):
            assert name in commands or page == PLUGIN, (page, name)


def test_the_first_command_of_the_readme_answers(tmp_path: Path) -> None:
    (first,) = [line for line in README.splitlines() if line.startswith("pip install uv && uv run becket run")]
    prompt = first.partition('"')[2].rstrip('"')
    assert run(sys.executable, "-m", "becket_cli", "run", prompt, cwd=tmp_path) == "49\n"


def test_the_second_command_of_the_readme_is_what_ci_runs() -> None:
    assert "pip install uv && uv run pytest\n" in README
    assert "uv run pytest\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def installed(project: Path, tmp_path: Path) -> str:
    """The folder that a plugin on a page is installed into, as pip would."""
    build = "import setuptools.build_meta as backend; backend.build_wheel('..')"
    run(sys.executable, "-c", build, cwd=project)
    (wheel,) = tmp_path.glob("*.whl")
    run("uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--target", tmp_path / "site", wheel, cwd=tmp_path)
    return str(tmp_path / "site")


def test_the_smallest_plugin_builds_installs_and_is_found(tmp_path: Path) -> None:
    project = tmp_path / "becket-shout"
    project.mkdir()
    (toml,) = blocks(FIRST, "toml")
    (module,) = [block for block in blocks(FIRST, "python") if "shout" in block]
    assert (len(toml.splitlines()), len(module.splitlines())) == (6, 5)
    (project / "pyproject.toml").write_text(toml, encoding="utf-8")
    (project / "becket_shout.py").write_text(module, encoding="utf-8")
    site = installed(project, tmp_path)
    listed = run(sys.executable, "-m", "becket_cli", "tools", cwd=tmp_path, PYTHONPATH=site)
    assert "shout" in listed
    use = "import becket\nprint(becket.default_runtime().tool('shout')('hi'))"
    assert run(sys.executable, "-c", use, cwd=tmp_path, PYTHONPATH=site) == "HI\n"
    run(sys.executable, "-m", "becket_cli", "check", project, cwd=tmp_path)  # which fails where a rule does not hold


def test_the_plugin_of_the_tutorial_is_installed_tested_and_used(tmp_path: Path) -> None:
    """As `becket new` makes it, which is what the page shows."""
    run(sys.executable, "-m", "becket_cli", "new", "tool", "word-count", cwd=tmp_path)
    project = tmp_path / "becket-word-count"
    for name, _, text in steps(PLUGIN):
        if name.startswith(project.name):
            assert (tmp_path / name).read_text(encoding="utf-8") == text
    install = ("uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--target", tmp_path / "site", project)
    run(*install, cwd=tmp_path)
    site = str(tmp_path / "site")
    tested = ("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis")
    output = run(sys.executable, "-m", *tested, cwd=project, PYTHONPATH=site)
    (passed,) = re.findall(r"^(\d+) passed", output, re.MULTILINE)
    assert "A good dozen of tests" in PLUGIN.read_text(encoding="utf-8")
    assert 12 < int(passed) < 24
    (command,) = {
        line for block in blocks(PLUGIN, "sh") for line in block.splitlines() if line.startswith("becket run")
    }
    asked = ["run", "-q", "-t", "word_count", command.split('"')[1]]
    output = run(sys.executable, "-m", "becket_cli", *asked, cwd=tmp_path, PYTHONPATH=site)
    assert output == '{"words": 6, "characters": 18}\n'


def test_the_wheel_of_the_tutorial_is_tried_in_a_clean_environment(tmp_path: Path, becket_environment: Any) -> None:
    """What `uv build` makes, and nothing of its folder."""
    assert "\nuv build\n" in PLUGIN.read_text(encoding="utf-8")
    run(sys.executable, "-m", "becket_cli", "new", "tool", "word-count", cwd=tmp_path)
    project = tmp_path / "becket-word-count"
    run("uv", "build", "--quiet", "--offline", cwd=project)
    assert [file.suffix for file in sorted((project / "dist").glob("becket_word_count-0.1.0*"))] == [".whl", ".gz"]
    (wheel,) = project.glob("dist/*.whl")
    becket_environment.install("becket-cli")
    becket_environment.install(wheel)
    listed = becket_environment.run("becket", "plugins").stdout
    assert re.search(r"^word-count +becket-word-count +0\.1\.0 +loaded +tools: word_count$", listed, re.MULTILINE), (
        listed
    )


def test_the_page_of_events_names_every_event_and_field() -> None:
    page = (DOCS / "reference" / "events.md").read_text(encoding="utf-8")
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*$", page, re.MULTILINE)}
    for cls in get_args(Event):
        own = set(cls.__dataclass_fields__)
        name = cls.__dataclass_fields__["type"].default
        if name != "unknown":
            stamped = {"type", "run_id", "seq", "time", "cycle", "attempt", "parent_run_id", "parent_call_id"}
            assert all(field in rows[name] for field in own - stamped), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            there = (page.parent / target).resolve()
            assert there.exists(), target


def contents(page: Path) -> list[Path]:
    """The pages that the tables of contents of a page list."""
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    entries = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    targets = [re.sub(r".*<(.*)>", r"\1", entry) for entry in entries]  # `title <target>` gives a title of its own
    return [(page.parent / f"{target}.md").resolve() for target in targets]


def test_every_page_is_reached_from_the_first() -> None:
    reached, left = set[Path](), [DOCS / "index.md"]
    while left:
        page = left.pop()
        reached.add(page)
        left += [each for each in contents(page) if each not in reached]
    assert reached == {page for page in PAGES if DOCS in page.parents}


PUBLIC = [
    "becket",
    "becket.config",
    "becket.hookspecs",
    "becket.index",
    "becket.lock",
    "becket.plugins",
    "becket.testing",
    "becket_console",
    "becket_journal",
    "becket_local",
    "becket_serve",
    "becket_serve.testing",
    "becket_tools",
]


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").rglob("*.md"))
    if f".. automodule:: {module}\n" in pages:
        return  # with all that is public in it
    named = {full.rpartition(".")[2] for full in re.findall(r"^\.\. (?:auto|py:)\w+:: ([\w.]+)", pages, re.MULTILINE)}
    hooks = set(importlib.import_module("becket.hookspecs").__all__)  # an implementation says nothing new
    assert set(importlib.import_module(module).__all__) - hooks <= named


DECISIONS = sorted(page for page in (DOCS / "explanation" / "decisions").glob("*.md") if page.stem != "index")
TESTS = "".join(
    file.read_text(encoding="utf-8") for file in ROOT.glob("**/tests/**/test_*.py") if ".venv" not in file.parts
)


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_names_tests_and_files_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    tests = re.findall(r"`(test_\w+)`", text)
    files = re.findall(r"`([\w/]+/[\w/]*\.py)`", text)
    assert tests or files
    assert [name for name in tests if f"def {name}(" not in TESTS] == []
    assert [name for name in files if not (ROOT / name).exists()] == []
