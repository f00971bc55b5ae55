"""Command lines as the tests of commands make them: in this process, as `becket` does; and what came of them."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from becket.errors import BecketError, ConfigError
from becket.testing._importing import Ear

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import click

__all__ = ["HELP", "INTERRUPTED", "PIPE", "USAGE", "Ended", "Seen", "called", "watched"]

HELP: Final[Mapping[str, Any]] = MappingProxyType({"help_option_names": ("-h", "--help")})
"""What the group of `becket` has in its context, for all that is below it."""

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
CONFIG: Final = 3
INTERRUPTED: Final = 130
PIPE: Final = 141


@dataclass(slots=True)
class Seen:
    """What was seen of the process meanwhile: seconds of CPU time, and what was touched, a sentence each."""

    seconds: float = 0.0
    touched: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command line ended.

    Attributes:
        code: The exit code that `becket` gives.
        out: What was printed to standard output.
        said: What was printed to standard error, before a traceback.
        bug: What was raised that is no way to end a command, as a traceback would name it; else empty.
        wrote: Whether it was told that it cannot write.
        seen: What was seen of the process meanwhile.
    """

    code: int
    out: str
    said: str
    bug: str
    wrote: bool
    seen: Seen

    def __str__(self) -> str:
        """As messages tell it."""
        tail = f", and says {self.said[-300:]!r}" if self.said else ""
        return f"raises {self.bug}{tail}" if self.bug else f"ends with the exit code {self.code}{tail}"


class _Kept(io.BytesIO):
    """What was written to a stream, also to one that is closed."""

    def close(self) -> None:
        """It is still to be read."""


class _Raising(io.RawIOBase):
    """A stream that cannot be written to."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error
        self.tried = False

    def writable(self) -> bool:
        """So that it is tried."""
        return True

    def write(self, data: Any, /) -> int:
        """Raise."""
        if not data:
            return 0
        self.tried = True
        raise self.error


def called(group: click.Group, arguments: Sequence[str], raising: type[BaseException] | None = None) -> Ended:
    """Call a command, in an empty folder, with nothing on standard input.

    Args:
        group: The group that has it.
        arguments: Its name, and what follows.
        raising: What is raised where it writes to standard output; other than for a reader who has gone, to standard
            error, too.
    """
    out, err = _Kept(), _Kept()
    nobody = None if raising is None else _Raising(raising)
    both = nobody is not None and raising is not BrokenPipeError
    with (
        tempfile.TemporaryDirectory(prefix="becket-command-", ignore_cleanup_errors=True) as folder,
        contextlib.chdir(folder),
        _standard(io.BytesIO(), nobody or out, nobody if nobody and both else err),
        watched() as seen,
    ):
        code, bug, said = _outcome(group, arguments)
    printed, told = (stream.getvalue().decode(errors="replace") for stream in (out, err))
    return Ended(code, printed, told + said, bug, nobody is not None and nobody.tried, seen)


@contextlib.contextmanager
def watched() -> Iterator[Seen]:
    """What is done to the process within the block."""
    ear, seen = _ear(), Seen()
    ear.touched, started = {}, time.process_time()
    ear.open = True
    try:
        yield seen
    finally:
        ear.open = False
        seen.seconds = time.process_time() - started
        seen.touched = [f"{kind}: {told}" for kind, told in ear.touched]


@functools.cache
def _ear() -> Ear:
    """One for the process, since an audit hook stays; it hears nothing but what `watched` does."""
    ear = Ear()
    sys.addaudithook(ear.hear)
    return ear


def _outcome(group: click.Group, arguments: Sequence[str]) -> tuple[int, str, str]:
    """The exit code, as the program `becket` gives it; what is a bug; and what `becket` says of an error."""
    import click

    code, bug, said = OK, "", io.StringIO()
    try:
        with group.make_context("becket", [*arguments]) as ctx:
            group.invoke(ctx)  # what it returns is not its exit code
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else FAILED if ended.code else OK
        said.write("" if code is ended.code or not code else f"{ended.code}\n")  # as Python does
    except (KeyboardInterrupt, click.Abort):
        code = INTERRUPTED
        said.write("becket: interrupted\n")
    except EOFError:
        code = FAILED
        said.write("becket: standard input has ended, and an answer was wanted\n")
    except BrokenPipeError:
        code = PIPE
    except click.ClickException as error:
        error.show(said)
        code = error.exit_code
    except BecketError as error:
        said.write(f"becket: {error}\n")
        code = CONFIG if isinstance(error, ConfigError) else FAILED
    except Exception as error:  # noqa: BLE001  it is what is looked for
        code, bug = FAILED, _named(error)
    return code, bug, said.getvalue()


def _named(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{error!r} at {os.path.basename(place.filename)}:{place.lineno}"  # noqa: PTH119  it is text


@contextlib.contextmanager
def _standard(*given: io.BytesIO | _Raising) -> Iterator[None]:
    """Replace the standard streams. What is written is there at once."""
    names = ("stdin", "stdout", "stderr")
    before = [getattr(sys, name) for name in names]
    streams = [io.TextIOWrapper(one, "utf-8", write_through=True) for one in given]  # type: ignore[type-var]  # it is raw
    try:
        for name, stream in zip(names, streams, strict=True):
            setattr(sys, name, stream)
        yield
    finally:
        for name, stream in zip(names, before, strict=True):
            setattr(sys, name, stream)
        for stream in streams:
            with contextlib.suppress(ValueError):  # the command has closed it
                stream.detach()
