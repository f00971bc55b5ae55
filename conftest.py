"""What the tests of all packages use: every core, and the clients of others that judge what becket sends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS = Path(__file__).parent / "tests" / "clients"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """All tests run on all cores; those that somebody names run in this process, where a debugger reaches them."""
    return None if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


@pytest.fixture(scope="session")
def judge() -> Callable[..., Any]:
    """Runs a script of `tests/clients` under node, and gives what it has seen: the one line of JSON that it prints.

    Called as `judge("agui.mjs", url, "text", timeout=30)`. A test that asks for it is skipped where node or the clients
    are not there, and fails where the environment says CI.
    """
    lacks = []
    if (node := shutil.which("node")) is None:
        lacks.append("node")
    if not (CLIENTS / "node_modules").is_dir():
        lacks.append("what `npm install --no-package-lock --ignore-scripts` in tests/clients installs")
    if node is None or lacks:
        message = f"the clients that judge the wires need {' and '.join(lacks)}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)

    def run(script: str, *arguments: str, timeout: float = 60) -> Any:
        done = subprocess.run(  # noqa: S603  our own script
            [node, CLIENTS / script, *arguments], capture_output=True, timeout=timeout, check=False, encoding="utf-8"
        )
        if done.returncode:
            pytest.fail(f"{script} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return json.loads(done.stdout)

    return run
