"""Make the picture in the README, from a real run: `uv run python docs/terminal.py > docs/terminal.svg`."""

from __future__ import annotations

import subprocess
import sys

from becket import event_from_json
from becket_console import render_svg

PROMPT = "What is 42 + 7?"


def main() -> None:
    """Run the README's first command for its events, and print what the console shows of them as SVG."""
    command = [sys.executable, "-m", "becket_cli", "run", "--json", PROMPT]
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()  # noqa: S603  our own
    events = [event_from_json(line) for line in lines]
    sys.stdout.write(render_svg(events, columns=88, title=f'becket run "{PROMPT}"'))


if __name__ == "__main__":
    main()
