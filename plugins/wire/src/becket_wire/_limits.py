"""How long a request may take."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from becket import ConfigError

__all__ = ["TimeLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimits:
    """How long a request may take, in seconds. None: no limit.

    Attributes:
        connect: Until there is a connection: name, TCP and TLS together.
        read: Until the head of the reply, and between any two reads of its body. A model that thinks may send nothing
            for minutes; `becket.Limits(silence_seconds=...)` is the run's own limit, and counts events.
        total: From the start of the request to the end of the body.

    Raises:
        ConfigError: A limit is not above 0.
    """

    connect: float | None = 10.0
    read: float | None = 300.0
    total: float | None = None

    @property
    def head(self) -> float | None:
        """Until the head of a reply is there, the connection included, whatever it took; None: no limit."""
        both = None if self.connect is None or self.read is None else self.connect + self.read
        return min((seconds for seconds in (both, self.total) if seconds is not None), default=None)

    def __post_init__(self) -> None:
        for item in fields(self):
            given = getattr(self, item.name)
            if given is not None and not (isinstance(given, int | float) and 0 < given < math.inf):
                raise ConfigError(
                    f"the time limit {item.name} is {given!r}; it must be a number above 0, or None to set none"
                )
