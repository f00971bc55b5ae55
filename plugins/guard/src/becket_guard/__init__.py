"""Secrets masked in everything that becket shows, records or sends, and limits to what tools are called with."""

from __future__ import annotations

from becket_guard._expressions import SettingsError
from becket_guard._guard import Guard, GuardMask
from becket_guard._settings import Settings

__all__ = ["Guard", "GuardMask", "Settings", "SettingsError"]
