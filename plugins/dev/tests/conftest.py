"""The real command, in a process of its own and with the settings of nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

BECKET = str(Path(sys.executable).with_name("becket"))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables of its process."""
    own = ("BECKET", "COVERAGE_", "PYTEST")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return env | {
        "XDG_CONFIG_HOME": str(tmp_path / "nobody's"),
        "PYTHONWARNINGS": "error",
        "PATH": f"{Path(BECKET).parent}{os.pathsep}{env['PATH']}",
        "NO_PROXY": "*",
    }


@pytest.fixture
def becket(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `becket` in the folder of the test, to its end."""

    def becket(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        given: list[Any] = [BECKET, *map(str, arguments)]
        return subprocess.run(  # noqa: S603  our own command
            given, capture_output=True, check=False, encoding="utf-8", env=environment | env, cwd=tmp_path, timeout=60
        )

    return becket
