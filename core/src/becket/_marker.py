"""The mark of a hook's implementation; apart, so that `import becket` does not import pluggy."""

from __future__ import annotations

from pluggy import HookimplMarker

__all__ = ["hookimpl"]

hookimpl = HookimplMarker("becket")
"""Marks a function of a plugin as the implementation of the hook that has its name; see `becket.hookspecs`."""
