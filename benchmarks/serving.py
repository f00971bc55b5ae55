"""The service of the rows over HTTP, started and stopped."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["wire_service"]


@contextlib.contextmanager
def wire_service() -> Iterator[str]:
    """`wireserver.py` in a process of its own; gives its address."""
    script = Path(__file__).with_name("wireserver.py")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 -- for the type checker
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()
