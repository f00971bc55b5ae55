"""What a server allows: the table `[plugins.serve]` of the user's configuration, or objects made in code."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from becket import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pydantic
else:

    class _Pydantic:
        """pydantic, imported when the annotations below are looked at: it takes 100 ms, and often there is no table."""

        def __getattr__(self, name: str) -> Any:
            import pydantic

            return getattr(pydantic, name)

    pydantic = _Pydantic()

__all__ = ["ServeLimits", "Settings", "SettingsError", "checked_tokens", "plain"]

SHORTEST: Final = 16
"""Characters that a token has at least: 16 random ones of base64 are 96 bits."""


class SettingsError(ConfigError, ValueError):
    """A setting of becket-serve is wrong. A `ValueError`, so that pydantic tells it with the place in the file."""


@dataclass(frozen=True, kw_only=True)
class ServeLimits:
    """What a server lets its clients have, all together unless it says otherwise.

    Attributes:
        body_bytes: Bytes of one request's body, and of one message over a socket.
        prompt_chars: Characters of one prompt's text.
        runs: Runs that go on at once, those that wait for a decision included.
        readers: WebSockets that are open, and answers that follow the events of a run, both together.
        run_seconds: Wall time of one run, waiting for decisions included; None for no limit but the agent's own. The
            stricter one holds.
        decision_seconds: How long a run waits for one decision. A run whose client has gone is then cancelled, and one
            whose client still listens goes on with the call denied. The stricter one of this and the agent's holds.
        keep_events: Events of one run that are kept for readers who come back, where the runtime does not say how its
            events are logged.
        keep_bytes: About how many bytes those take. All runs together may take so much each: `runs` and `keep_runs`.
        keep_runs: Runs whose events are kept once they are over.
        keep_seconds: How long they are.
        heartbeat: Seconds of silence after which something is sent that keeps a connection open; None for never.
        grace: Seconds that runs have to finish when the server is stopped, before they are cancelled.

    Raises:
        SettingsError: One of them is no number above 0; `grace` may be 0.
    """

    body_bytes: int = 4_000_000
    prompt_chars: int = 200_000
    runs: int = 100
    readers: int = 1000
    run_seconds: float | None = 600.0
    decision_seconds: float = 300.0
    keep_events: int = 10_000
    keep_bytes: int = 8_000_000
    keep_runs: int = 100
    keep_seconds: float = 300.0
    heartbeat: float | None = 15.0
    grace: float = 10.0

    def __post_init__(self) -> None:
        for item in fields(self):
            _check_number(item.name, getattr(self, item.name))


_MAY_BE_NONE: Final = {"run_seconds", "heartbeat"}
_WHOLE: Final = {"body_bytes", "prompt_chars", "readers", "runs", "keep_bytes", "keep_events", "keep_runs"}


def _check_number(name: str, given: object) -> None:
    if given is None and name in _MAY_BE_NONE:
        return
    whole = name in _WHOLE
    number = isinstance(given, int if whole else int | float) and not isinstance(given, bool)
    if number and (0 < given < math.inf or (given == 0 and name == "grace")):  # type: ignore[operator]  # as just seen
        return
    wanted = "a whole number above 0" if whole else "a number of seconds above 0"
    raise SettingsError(f"{name} is {given!r}; it takes {wanted}{', or None' if name in _MAY_BE_NONE else ''}")


@dataclass(kw_only=True)
class Settings:
    """The table `[plugins.serve]`: what `becket serve` goes by.

    Attributes:
        tokens: The bearer tokens that clients may have, each of at least 16 characters. None: only this machine is
            served. An empty list has tokens that were to come from variables which are not set, so nobody is.
        hosts: Names by which clients may call the server, besides `localhost` and addresses; `*` for any.
        origins: Web sites whose pages may call it, as `https://app.example.com`; `*` for any.
        limits: What clients may have.

    Raises:
        SettingsError: One of them is wrong.
    """

    tokens: list[pydantic.SecretStr] | None = field(default=None, repr=False)
    hosts: list[str] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    limits: ServeLimits = field(default_factory=ServeLimits)

    def __post_init__(self) -> None:
        checked_tokens(self.tokens or ())


def checked_tokens(given: Iterable[object]) -> list[str]:
    """Tokens as texts, in their order and each once.

    Raises:
        SettingsError: One is too short, or is no text that a header can carry. It is not said again.
    """
    if isinstance(given, str):
        raise SettingsError("tokens is a text; it takes a list of texts")
    tokens = list(dict.fromkeys(plain(token) for token in given))
    for token in tokens:
        if len(token) < SHORTEST:
            raise SettingsError(
                f"a token has {len(token)} characters, and could be guessed; it takes at least {SHORTEST}, such as "
                f"'python -c \"import secrets; print(secrets.token_urlsafe(32))\"' prints"
            )
        if not token.isascii() or not token.isprintable() or " " in token:
            raise SettingsError("a token has a character that no header can carry; it takes visible ones of ASCII")
    return tokens


def plain(secret: object) -> str:
    """A secret as a text."""
    reveal = getattr(secret, "get_secret_value", None)
    text = secret if reveal is None else reveal()
    if not isinstance(text, str):
        raise SettingsError(f"a token is a {type(text).__name__}; it takes texts")
    return text
