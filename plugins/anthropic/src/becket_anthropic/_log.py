"""What the service sends and this version does not know, said once each."""

from __future__ import annotations

from typing import Final

__all__ = ["Warned"]

_MOST: Final = 100
"""Different things that are told, at most: a server gone wrong may make up new ones for ever."""


class Warned:
    """Warns, once of each.

    Args:
        provider: The provider's name.
    """

    __slots__ = ("_provider", "_told")

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._told: set[str] = set()

    def history(self, error: Exception) -> None:
        """Tell that the service is asked to leave thinking out of the history, and why."""
        self._log("%s: thinking in the history no longer fits what stands before it, and is left out: %s", error)

    def __call__(self, what: str) -> None:
        """Warn of `what`, such as "the event 'x'"."""
        if what in self._told or len(self._told) >= _MOST:
            return
        self._told.add(what)
        self._log("%s sent %s, which this version of becket-anthropic does not know; it is skipped", what)

    def _log(self, text: str, what: object) -> None:
        import logging  # 7 ms, as elsewhere

        logging.getLogger("becket.anthropic").warning(text, self._provider, what)
