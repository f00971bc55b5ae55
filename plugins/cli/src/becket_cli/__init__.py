"""The command `becket`."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line with the arguments of this process, and end the process with its exit code."""
    try:
        from becket_cli._main import run
    except KeyboardInterrupt:  # so early that nobody has begun to take care of it
        raise SystemExit(130) from None
    run()
