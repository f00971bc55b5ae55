"""The settings of a guard: the table `[plugins.guard]` of the user's configuration, or an object made in code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from becket_guard._expressions import SettingsError, custom, expression
from becket_guard._patterns import BUILTIN
from becket_guard._scan import SHORTEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pydantic

    from becket_guard._scan import Custom
else:

    class _Pydantic:
        """pydantic, imported when the annotations below are looked at: it takes 100 ms, and often there is no table."""

        def __getattr__(self, name: str) -> Any:
            import pydantic

            return getattr(pydantic, name)

    pydantic = _Pydantic()

__all__ = ["ENV", "Settings", "fits"]

ENV: Final = (
    "*_API_KEY",
    "*_ACCESS_KEY",
    "*_SECRET_KEY",
    "*_SECRET",
    "*_TOKEN",
    "*_PASSWORD",
    "*_PASSWD",
    "API_KEY",
    "PASSWORD",
)
"""Names of environment variables that hold secrets by the custom of those who name them."""

_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


@dataclass(kw_only=True)
class Settings:
    """What a guard masks, and which tool calls it lets through.

    Attributes:
        secrets: Secrets, each of at least 8 characters.
        env: Names of environment variables whose values are secrets; `*` stands for any part of a name. Values of fewer
            than 8 characters are left alone, and the log says so.
        patterns: What other secrets look like: a name, and a regular expression as the package `regex` has them. A
        group
            named `secret` is what is masked, instead of the whole match.
        builtin_patterns: Whether the tokens of well-known services, private keys and the like are masked.
        replacement: What stands for a secret; `{name}` is the name of the variable, or the pattern, or `secret`.
        tools: The only tools that may be called, `*` as above; None for all.
        arguments: By tool and argument, the expression that the argument must match from its first to its last
            character; a call without the argument, or with one that is no text, is denied.

    Raises:
        SettingsError: One of them is wrong; it says which and why, without the secret.
    """

    secrets: list[pydantic.SecretStr] = field(default_factory=list, repr=False)
    env: list[str] = field(default_factory=lambda: list(ENV))
    patterns: dict[str, str] = field(default_factory=dict)
    builtin_patterns: bool = True
    replacement: str = "[masked: {name}]"
    tools: list[str] | None = None
    arguments: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("secrets", "env", "tools"):
            _check_list(name, getattr(self, name))
        if not _is_quiet(self.replacement):
            raise SettingsError(
                f"replacement is {self.replacement!r}; it takes a text without quotes, backslashes and control "
                f"characters: it must fit into a JSON text as it is"
            )
        for secret in self.plain_secrets():
            if len(secret) < SHORTEST:
                raise SettingsError(
                    f"secrets has one of {len(secret)} characters in it, and the shortest that can be masked has "
                    f"{SHORTEST}: anything shorter stands in ordinary text as well"
                )
        self.rules()
        self._check_shown([custom for custom, _ in self.custom()])

    def plain_secrets(self) -> list[str]:
        """The secrets as they are."""
        return [plain(secret) for secret in self.secrets]

    def shown(self, name: str) -> str:
        """What stands for a secret of this name."""
        return self.replacement.replace("{name}", name)

    def custom(self) -> list[tuple[Custom, str]]:
        """The configured patterns, compiled, and what stands for each."""
        for name in self.patterns:
            if not name or not set(name) <= _LETTERS:
                raise SettingsError(f"patterns has the name {name!r}; a name has letters, digits, '-' and '_'")
        return [(custom(name, text), self.shown(name)) for name, text in self.patterns.items()]

    def rules(self) -> dict[str, dict[str, Any]]:
        """The rules for arguments, compiled."""
        return {
            tool: {name: expression(f"the rule for {tool}.{name}", text) for name, text in _table(tool, rules).items()}
            for tool, rules in self.arguments.items()
        }

    def _check_shown(self, patterns: Iterable[Custom]) -> None:
        """Refuse a replacement in which there is a secret: to mask twice must be to mask once."""
        for name in (*self.patterns, *(known.name for known in BUILTIN), "secret"):
            shown = self.shown(name)
            found = next((one.name for one in patterns if one.whole.search(shown)), None)
            if found is None and any(secret in shown for secret in self.plain_secrets()):
                found = "secrets"
            if found is not None:
                raise SettingsError(f"the replacement {shown!r} is itself masked by {found!r}; choose another")


def fits(name: str, wanted: Iterable[str]) -> bool:
    """Whether a name is one of those wanted, in which `*` stands for any part."""
    return any(_fits(name, *one.split("*")) for one in wanted)


def _fits(name: str, first: str, *others: str) -> bool:
    if not others:
        return name == first
    *middle, last = others
    if not name.startswith(first) or len(name) < len(first) + len(last) or not name.endswith(last):
        return False
    name = name[len(first) : len(name) - len(last)]
    for part in middle:
        _, found, name = name.partition(part) if part else ("", "*", name)
        if not found:
            return False
    return True


def plain(secret: object) -> str:
    """A secret as a text."""
    reveal = getattr(secret, "get_secret_value", None)
    text = secret if reveal is None else reveal()
    if not isinstance(text, str):
        raise SettingsError(f"secrets has a {type(text).__name__} in it; it takes texts")
    return text


def _check_list(name: str, given: object) -> None:
    if given is None and name == "tools":
        return
    if not isinstance(given, list | tuple):
        raise SettingsError(f"{name} is a {type(given).__name__}; it takes a list of texts")
    if name != "secrets" and not all(isinstance(item, str) for item in given):
        raise SettingsError(f"{name} is {given!r}; it takes a list of texts")


def _table(tool: str, rules: object) -> Mapping[str, object]:
    if not isinstance(rules, dict):
        raise SettingsError(
            f"arguments has {rules!r} for {tool!r}; it takes a table: the argument's name, an expression"
        )
    return rules


def _is_quiet(text: object) -> bool:
    return isinstance(text, str) and text.isprintable() and not set(text) & set("\"'\\")
