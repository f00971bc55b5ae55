"""What was uninstalled under a running process: what it had imported goes on, until it would import more."""

from __future__ import annotations

import os

__all__ = ["gone"]


def gone(error: BaseException) -> str:
    """What to add to an error's text where the code that raised it is no longer installed; else nothing."""
    if not isinstance(error, ImportError | FileNotFoundError):
        return ""
    step = error.__traceback__
    while step is not None:
        known = step.tb_frame.f_globals
        file, module = known.get("__file__"), known.get("__name__")
        if isinstance(file, str) and isinstance(module, str) and not _there(file):
            package = module.partition(".")[0]
            return (
                f" ({package} was uninstalled or replaced while this process ran: its file {file} is gone; "
                f"start the process anew)"
            )
        step = step.tb_next
    return ""


def _there(file: str) -> bool:
    """Whether the file of a module is there, or the zip file that it lies in. What has no whole path is not judged."""
    if not os.path.isabs(file) or os.path.exists(file):  # noqa: PTH110, PTH117  pathlib is not imported for this
        return True
    from pathlib import Path

    return next((one.is_file() for one in Path(file).parents if one.exists()), False)
