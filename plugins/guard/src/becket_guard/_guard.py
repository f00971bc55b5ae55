"""The plugin: its mask, and what it says of tool calls."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from becket import Deny, hookimpl

from becket_guard._patterns import BUILTIN
from becket_guard._scan import SECONDS, SHORTEST, Scanner, Stream
from becket_guard._settings import Settings, fits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from becket import Mask, MaskStream, Tool, ToolCall, Verdict
    from becket.hooks import HookContext

__all__ = ["Guard", "GuardMask"]


class GuardMask:
    """Masks what the settings name, and what well-known secrets look like.

    Args:
        settings: The settings.

    Attributes:
        name: `guard`.
    """

    name = "guard"

    def __init__(self, settings: Settings) -> None:
        values = {form: settings.shown(name) for name, secret in _secrets(settings) for form in _forms(secret)}
        known = [(known, settings.shown(known.name)) for known in BUILTIN] if settings.builtin_patterns else []
        self._scanner = Scanner(values, known, settings.custom())
        self.mask = self._scanner.mask

    def open(self) -> MaskStream:
        """What masks a text that comes in fragments."""
        return Stream(self._scanner)


class Guard:
    """The plugin. Installed, it is configured by `[plugins.guard]`; a host may pass one to its `Runtime` instead.

    Args:
        settings: The settings; None for those of the configuration, or the defaults.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._given = settings
        self._settings: Settings | None = None
        self._rules: dict[str, dict[str, Any]] = {}

    @hookimpl
    def declare_config(self) -> type:
        """The table `[plugins.guard]`."""
        return Settings

    @hookimpl
    def register_masks(self, config: Settings | None) -> list[Mask]:
        """The mask."""
        settings = self._given or config or Settings()
        self._rules = settings.rules()
        self._settings = settings
        return [GuardMask(settings)]

    @hookimpl
    def approve_tool(self, ctx: HookContext, call: ToolCall, tool: Tool[..., Any]) -> Verdict | None:  # noqa: ARG002  a hook's own arguments
        """Deny what the settings do not let through; they grant nothing."""
        if self._settings is None:
            return Deny("becket-guard is not in use as it should be: it was never asked for its masks")
        allowed = self._settings.tools
        if allowed is not None and not fits(call.tool, allowed):
            return Deny(f"{call.tool} is not among the tools that becket-guard lets through (plugins.guard.tools)")
        for name, rule in self._rules.get(call.tool, {}).items():
            if why := _wrong(name, rule, call.arguments.get(name)):
                return Deny(f"{why} (plugins.guard.arguments.{call.tool})")
        return None


def _wrong(name: str, rule: Any, given: object) -> str:
    """Why an argument is not let through, or empty. It is not quoted: it may be a secret.

    Raises:
        TimeoutError: The rule takes too long, which denies the call as well.
    """
    if not isinstance(given, str):
        return f"becket-guard has a rule for the argument {name}, and here it is no text"
    if rule.fullmatch(given, timeout=SECONDS) is None:
        return f"the argument {name} is none that becket-guard lets through"
    return ""


def _secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    """What each secret is called, and the secret; of equal ones the first counts last, since a dict keeps the last."""
    yield from (("secret", secret) for secret in settings.plain_secrets())
    for variable, value in sorted(os.environ.items()):
        if fits(variable, settings.env) and (secret := value.strip()):
            if len(secret) >= SHORTEST:
                yield variable, secret
            else:
                _tell(variable, named=variable in settings.env)


def _tell(variable: str, *, named: bool) -> None:
    import logging  # for the few who have such a variable

    level = logging.WARNING if named else logging.DEBUG
    logging.getLogger("becket.guard").log(
        level,
        "%s has fewer than %d characters, and is not masked: they stand in ordinary text as well",
        variable,
        SHORTEST,
    )


def _forms(secret: str) -> set[str]:
    """A secret as it stands in text: as it is, inside of JSON, in a URL."""
    import json
    from urllib.parse import quote

    return {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret, safe="")}
