"""What a user may set in `[plugins.google]`. None of it is a project's to set: it says who gets the key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pydantic
else:

    class _Pydantic:
        """pydantic, imported when the annotations below are looked at: it takes 100 ms, and often there is no table."""

        def __getattr__(self, name: str) -> Any:
            import pydantic

            return getattr(pydantic, name)

    pydantic = _Pydantic()

__all__ = ["GoogleConfig"]


@dataclass(frozen=True, kw_only=True)
class GoogleConfig:
    """`[plugins.google]`: the arguments of `GoogleProvider`; see there.

    Attributes:
        api_key: The key, where it is not in the environment.
        base_url: Where the service is.
        api_version: The version in its paths.
        vertex: Whether it is Vertex AI.
        headers: Further headers of each request.
        safety: Harm categories and their thresholds.
        connect_seconds: How long connecting may take.
        read_seconds: How long the service may send nothing.
        total_seconds: How long an answer may take.
    """

    api_key: pydantic.SecretStr | None = field(default=None, repr=False)
    base_url: str | None = None
    api_version: str | None = None
    vertex: bool = False
    headers: dict[str, pydantic.SecretStr] = field(default_factory=dict, repr=False)
    safety: dict[str, str] = field(default_factory=dict)
    connect_seconds: float | None = 10.0
    read_seconds: float | None = 300.0
    total_seconds: float | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that is none."""
        for name in ("connect_seconds", "read_seconds", "total_seconds"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:  # so that NaN is refused, too
                raise ValueError(f"{name} is {seconds}; it must be above 0")
