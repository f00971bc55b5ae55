"""The regular expressions that a user configures: checked, and made fit for text that is looked at while it comes."""

from __future__ import annotations

from typing import Any, Final

from becket import ConfigError

from becket_guard._scan import Custom, compiled, never

__all__ = ["SettingsError", "custom", "expression"]

_EDGE: Final = r"(?:(?<=\w)(?!\w)|(?<!\w)(?=\w))"
_NO_EDGE: Final = r"(?:(?<=\w)(?=\w)|(?<!\w)(?!\w))"

_ANCHORS: Final = frozenset("AZzGKmM")


class SettingsError(ConfigError, ValueError):
    """A setting of becket-guard is wrong. A `ValueError`, so that pydantic tells it with the place in the file."""


def expression(where: str, text: object) -> Any:
    """What was configured, compiled.

    Args:
        where: The setting, for the error.
        text: The expression.

    Raises:
        SettingsError: It is none.
    """
    if not isinstance(text, str):
        raise SettingsError(f"{where} is {text!r}; it takes a regular expression as a text")
    try:
        return compiled(text)
    except Exception as error:
        raise SettingsError(f"{where} is no regular expression: {error}") from error


def custom(name: str, text: object) -> Custom:
    """A pattern of secrets.

    Raises:
        SettingsError: It is no expression, or none that can be found in text that is still coming.
    """
    where = f"the pattern {name!r}"
    plain = expression(where, text)
    if plain.search("") is not None:
        raise SettingsError(f"{where} matches where there is nothing; let it begin with what the secret begins with")
    if plain.flags & 0x400:  # regex.REVERSE
        raise SettingsError(f"{where} searches backwards, which text that is still coming does not allow")
    fit = _fit(where, str(text))
    return Custom(name, expression(where, fit), expression(where, never(fit)))


def _fit(where: str, text: str) -> str:
    r"""The expression with `\b` and `\B` as what they stand for: at the end of what has come, they would guess.

    Raises:
        SettingsError: It has an anchor.
    """
    fit: list[str] = []
    letters = iter(text)
    inside = False  # of a character class
    for letter in letters:
        if letter == "\\":
            after = next(letters, "")
            if not inside and after in _ANCHORS:
                _refuse(where, f"\\{after}")
            fit.append({"b": _EDGE, "B": _NO_EDGE}.get(after, letter + after) if not inside else letter + after)
            continue
        if not inside and letter in "^$":
            _refuse(where, letter)
        fit.append(letter)
        if letter == "[" and not inside:
            inside = True
            fit.append(_opening(letters))
        elif letter == "]":
            inside = False
    return "".join(fit)


def _opening(letters: Any) -> str:
    """What follows the `[` of a class, in which a first `]` is none that closes it."""
    first = next(letters, "")
    if first == "^":
        first += next(letters, "")
    return first + next(letters, "") if first.endswith("\\") else first


def _refuse(where: str, anchor: str) -> None:
    raise SettingsError(
        f"{where} has the anchor {anchor}; a secret may stand anywhere in a text, which is looked at while it comes; "
        f"leave the anchor out"
    )
