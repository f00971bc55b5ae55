"""How the command starts: by its script, as a module, and without what it does not need."""

from __future__ import annotations

from typing import Any

import pytest


def test_it_runs_as_a_module_too(becket: Any) -> None:
    ended = becket.python("-m", "becket_cli", "run", "-q", "-m", "fake:hello", "hi")
    assert (ended.returncode, ended.stdout) == (0, "Hello, world.\n")


@pytest.mark.parametrize("command", [("--version",), ("run", "--help"), ("tools", "--help")], ids=" ".join)
def test_what_only_describes_imports_nothing_heavy(becket: Any, command: tuple[str, ...]) -> None:
    loaded = _loaded(becket, *command)
    assert not loaded & {"pydantic", "rich", "asyncio", "importlib_metadata", "becket_console", "becket_fake"}


def test_a_run_whose_output_is_no_terminal_does_not_import_rich(becket: Any) -> None:
    assert "rich" not in _loaded(becket, "run", "-m", "fake:hello", "hi")


def _loaded(becket: Any, *arguments: str) -> set[str]:
    """The modules that are loaded by the end of the command."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from becket_cli import main\n"
        f"sys.argv = {['becket', *arguments]!r}\n"
        "main()\n"
    )
    ended = becket.python("-c", code)
    assert ended.returncode == 0
    return set(ended.stderr.split())


def test_every_exit_code_is_in_the_help(becket: Any) -> None:
    shown = becket("--help").stdout
    for code in (0, 1, 2, 3, 4, 130, 141):
        assert f"\n    {code} " in shown


def test_a_shell_can_complete(becket: Any) -> None:
    becket.env |= {"_BECKET_COMPLETE": "bash_complete", "COMP_WORDS": "becket pl", "COMP_CWORD": "1"}
    assert becket().stdout == "plain,plugins\n"


def test_a_process_that_does_not_end_is_ended(becket: Any) -> None:
    code = (
        "import threading\n"
        "from becket_cli._leave import leave_within\n"
        "leave_within(0.05, 7)\n"
        "threading.Event().wait()\n"
    )
    assert becket.python("-c", code).returncode == 7
