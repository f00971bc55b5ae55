"""What a user may set in `[plugins.tools]`. None of it is a project's to set: it opens folders and networks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from becket import ConfigError

from becket_tools._settings import FileLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FilesConfig", "HttpConfig", "ToolsConfig"]

# Dataclasses, and no pydantic models: pydantic is then imported only where there is a table to validate.


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesConfig:
    """`[plugins.tools.files]`: the folder of the file tools, and the limits of `make_file_tools`.

    Attributes:
        root: The folder. `~` is the home folder; what is relative counts from the working directory.
        secret: Files that are never shown or written; what is relative counts from the root.
    """

    root: str
    secret: tuple[str, ...] = ()
    max_bytes: int = 5_000_000
    max_chars: int = 30_000
    max_entries: int = 500
    max_matches: int = 100
    timeout: float = 10.0

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that is none."""
        if not self.root:
            raise ValueError("root is empty; it must be a folder")
        _check_above_0(asdict(self), besides={"root", "secret"})

    @property
    def limits(self) -> FileLimits:
        """The limits among them."""
        return FileLimits(self.max_bytes, self.max_chars, self.max_entries, self.max_matches, self.timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """`[plugins.tools.http]`: the arguments of `make_http_request`."""

    allow: tuple[str, ...] = ()
    timeout: float = 30.0
    connect_timeout: float = 10.0
    max_bytes: int = 5_000_000
    max_chars: int = 30_000
    max_redirects: int = 5

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value that is none."""
        _check_above_0(asdict(self), besides={"allow", "max_redirects"})
        if self.allow:
            from becket_tools._addresses import parse_exemptions

            try:
                parse_exemptions(self.allow)
            except ConfigError as error:
                raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsConfig:
    """`[plugins.tools]`.

    Attributes:
        files: The folder of the file tools; without it there are none.
        http: What `http_request` may do.
    """

    files: FilesConfig | None = None
    http: HttpConfig = field(default_factory=HttpConfig)


def _check_above_0(table: Mapping[str, Any], besides: set[str]) -> None:
    for name, value in table.items():
        if name not in besides and not value > 0:  # so that NaN is refused, too
            raise ValueError(f"{name} is {value}; it must be above 0")
