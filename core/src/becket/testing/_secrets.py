"""Secrets, and how they are kept out of what is written for everybody to read."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, quote_plus

from becket.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["MASK", "Secrets"]

MASK: Final = re.compile(r"\[secret [^\[\]\n]{1,80}\]")
"""What stands where a secret stood: `[secret NAME]`."""

_LEAST: Final = 4
"""Characters of the shortest secret that can be named: what is shorter stands in ordinary words."""

_LIKELY: Final = 8
"""Characters of the shortest that is taken for one without being named."""

_VARIABLE: Final = re.compile(
    r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|DSN)$", re.IGNORECASE
)

_NAMES: Final = (
    r"(?:x-)?api[-_]?key|(?:proxy-)?authorization|(?:set-)?cookie|pass(?:word|wd|phrase)|(?:client[-_]?)?secret"
    r"|(?:(?:access|auth|id|refresh|session)[-_]?)?token|private[-_]?key|credentials?"
)
"""What a key of an object, a header or a parameter is called that holds a secret."""

_KEY: Final = re.compile(_NAMES, re.IGNORECASE)

_SCHEME: Final = re.compile(r"(?:Basic|Bearer|Digest|Token)\s+", re.IGNORECASE)

_SAID: Final = re.compile(
    rf"""\b({_NAMES})["']?\s*[:=]\s*["']?(?:(?:Basic|Bearer|Token)\s+)?([^\s"'\\,;&<>\[\]]{{{_LIKELY},}})""",
    re.IGNORECASE,
)

_WELL_KNOWN: Final = {
    "API key": re.compile(r"\bsk-[A-Za-z0-9_-]{16,}"),
    "AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "GitHub token": re.compile(r"\b(?:gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"),
    "GitLab token": re.compile(r"\bgl(?:pat|oas|dt|rt|cbt|ptt|ft|agent|soat)-[A-Za-z0-9_-]{20,}"),
    "Google key": re.compile(r"\bAIza[A-Za-z0-9_-]{30,}"),
    "Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    "JWT": re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}"),
    "npm token": re.compile(r"\bnpm_[A-Za-z0-9]{36,}"),
    "PyPI token": re.compile(r"\bpypi-[A-Za-z0-9_-]{50,}"),
    "Slack token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "Stripe key": re.compile(r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL),
}

_URL_PASSWORD: Final = re.compile(r"""://[^\s:/?#@"'<>\\]{0,99}:([^\s/?#@"'<>\\]{1,199})@""")
"""What stands in a URL between the user's name and the host (RFC 3986, 3.2.1)."""

_STRUCTURE: Final = frozenset({"type", "role", "run_id", "parent_run_id", "stop_reason", "status", "outcome"})
"""The keys whose values are becket's own words."""


class Secrets:
    """The secrets that are known, and the masks that stand for them.

    Known are those that were named; the values of environment variables that are called like secrets; and what
    `learn` has found in the values that it was shown.

    Args:
        given: Names of environment variables, or a mapping from names to the secrets themselves. A variable that is
            not set is none.

    Raises:
        ConfigError: A secret is too short to be told from ordinary text.
    """

    def __init__(self, given: Iterable[str] | Mapping[str, str] = ()) -> None:
        self._names: dict[str, str] = {}
        if isinstance(given, str):
            raise ConfigError(f"secrets is the text {given!r}; it takes names of environment variables: [{given!r}]")
        named = given if isinstance(given, Mapping) else {name: os.environ.get(name, "") for name in given}
        for name, value in named.items():
            if value and len(value) < _LEAST:
                raise ConfigError(
                    f"the secret {name!r} has {len(value)} characters: it stands in ordinary words, and cannot be "
                    f"masked; a secret has {_LEAST} at least"
                )
            self._add(name, value)
        for name, value in os.environ.items():
            if _VARIABLE.search(name) and len(value) >= _LIKELY and not value.isalpha():
                self._add(name, value)

    def _add(self, name: str, value: str) -> None:
        for form in _forms(value) if value else ():
            self._names.setdefault(form, re.sub(r"[\[\]\n]", "", name)[:80] or "unnamed")

    # -- learning --------------------------------------------------------------------------------------------------

    def learn(self, value: Any) -> None:
        """Take up what `value`, a JSON value, has under a key that is called like a secret, and what looks like one."""
        if isinstance(value, str):
            self._learn_text(value)
        elif isinstance(value, list):
            for item in value:
                self.learn(item)
        elif isinstance(value, dict):
            for key, item in value.items():
                if isinstance(item, str) and _KEY.fullmatch(key):
                    self._learn_value(key, _SCHEME.sub("", item, count=1))
                self.learn(item)

    def _learn_value(self, name: str, value: str) -> None:
        if len(value) >= _LIKELY and not MASK.search(value):
            self._add(name.lower(), value)

    def _learn_text(self, text: str) -> None:
        if text.lstrip().startswith(("{", "[")):
            with contextlib.suppress(ValueError, RecursionError):  # then it is looked at as any other text
                self.learn(json.loads(text))
        for name, pattern in _WELL_KNOWN.items():
            for match in pattern.finditer(text):
                self._add(name, match[0])
        for match in _URL_PASSWORD.finditer(text):
            self._learn_value("url password", match[1])
        for match in _SAID.finditer(text):
            if any(character.isdigit() for character in match[2]):  # else prose about passwords would give away words
                self._learn_value(match[1], match[2])

    # -- masking ---------------------------------------------------------------------------------------------------

    def masked(self, value: Any, *, key: str = "") -> Any:
        """`value`, a JSON value, with its secrets masked."""
        if isinstance(value, str):
            return value if key in _STRUCTURE else self.pieces([value])[0]
        if isinstance(value, list):
            return [self.masked(item, key=key) for item in value]
        if isinstance(value, dict):
            return {self.pieces([name])[0]: self.masked(item, key=name) for name, item in value.items()}
        return value

    def pieces(self, pieces: Sequence[str]) -> list[str]:
        """The pieces of one text, with its secrets masked: also one that is cut by the ends of the pieces.

        There are as many pieces as before. A mask stands in the piece in which the secret begins.
        """
        joined = "".join(pieces)
        spans = [(match.start(), match.end(), f"[secret {self._names[match[0]]}]") for match in self._found(joined)]
        masked = []
        begin = 0
        for piece in pieces:
            end = begin + len(piece)
            text, at = "", begin
            for start, stop, mask in spans:
                if start < end and stop > at:
                    text += joined[at:start] + (mask if start >= begin else "")
                    at = min(stop, end)
            masked.append(text + joined[at:end])
            begin = end
        return masked

    def _found(self, text: str) -> Iterable[re.Match[str]]:
        forms = sorted((form for form in self._names if form in text), key=len, reverse=True)
        return re.finditer("|".join(map(re.escape, forms)), text) if forms else ()

    def left(self, data: bytes) -> list[str]:
        """The names of the secrets that still occur in `data`."""
        return sorted({name for form, name in self._names.items() if form.encode() in data})


def _forms(value: str) -> dict[str, None]:
    """How a text may be written: as it is, in JSON, in a URL, and in base64 on its own."""
    encoded = base64.b64encode(value.encode()).decode().rstrip("=")
    written = (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], quote(value, safe=""))
    return dict.fromkeys((*written, quote_plus(value), encoded))
