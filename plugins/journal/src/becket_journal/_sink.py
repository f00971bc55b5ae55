"""The sink: what is written when, and what becomes of a run whose journal cannot be written."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from becket import BecketError, ConfigError

from becket_journal._file import JournalFile
from becket_journal._format import cannot_write, logger

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from becket import BatchSinkRun, Event, RunInfo, SinkRun
    from becket.sinks import Overflow

__all__ = ["Fsync", "JournalSink"]

Fsync: TypeAlias = Literal["never", "batch", "always"]
"""When events are forced onto the disk: by the operating system's own time; what came together; each one."""

_LIMITS: Final = {"batch": 256, "always": 1}
"""Events that wait for the disk before the run waits, too. 256: as many as core has between a run and its reader."""


class JournalSink:
    """Records runs in a file: one event a line, as `event.to_json()` gives it.

    With `fsync="never"` each event is written to the operating system in the middle of the run, before the run's reader
    gets it: when the process is killed, at whatever moment, no event is missing but the one that was being written.
    That costs one write of some microseconds per event, less than a queue would; but a write waits where the file
    system does (one on a network may).

    The other two write in a worker thread, behind a bounded queue that holds up the run when it is full, and force
    what they write onto the disk, so that it also survives a power cut. When the process is killed, what waits in the
    queue is lost: with `batch` up to 256 events and those being written, with `always` those that came while one was
    being written, for the model waits for the disk after each.

    Any number of runs, threads and processes may write to one file. If it cannot be written, the run goes on without
    it and says so once, as `plugin_failed` and in the log; a required journal fails the run with `PluginError`.

    Args:
        path: The file; its folder must exist. It is made with mode 0600 and appended to if it is a journal already.
            None for the sink that has to be given one as its argument.
        required: Whether a run must fail when it cannot be recorded.
        fsync: When events are forced onto the disk.
        max_bytes: Size above which the file is moved aside, to `path.1`, `path.2`, ..., and a new one begun. None for
            never.
        keep: How many files moved aside to keep, at least 1; older ones are deleted. None for all.

    Raises:
        ConfigError: An option is none of those.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        required: bool = False,
        fsync: Fsync = "never",
        max_bytes: int | None = None,
        keep: int | None = None,
    ) -> None:
        if fsync not in get_args(Fsync):
            raise ConfigError(f"fsync is {fsync!r}; it must be one of: {', '.join(get_args(Fsync))}")
        _check_positive("max_bytes", max_bytes)
        _check_positive("keep", keep)
        self.name = "journal"
        self.required = required or path is None  # a journal that goes nowhere is a mistake, not a misfortune
        self._fsync: Fsync = fsync
        self._file = None
        if path is not None:
            self._file = JournalFile(Path(path).absolute(), max_bytes=max_bytes, keep=keep, fsync=fsync != "never")

    def open(self, run: RunInfo, /) -> SinkRun | BatchSinkRun:  # noqa: ARG002  the events say which run they are of
        """What records this run.

        Raises:
            ConfigError: There is no path, or the file cannot be opened.
        """
        if self._file is None:
            raise ConfigError("a journal needs the path of a file; write 'journal:PATH', such as journal:runs.jsonl")
        self._file.acquire()
        return _Direct(self._file) if self._fsync == "never" else _Queued(self._file, _LIMITS[self._fsync])

    def with_argument(self, argument: str, /) -> JournalSink:
        """The sink for `PATH`, or `PATH,OPTION,...` with `required`, `fsync=batch`, `max_bytes=N`, `keep=N`.

        Raises:
            ConfigError: There is no path, or an option is not known.
        """
        path, *options = argument.split(",")
        if not path:
            raise ConfigError(f"'journal:{argument}' has no path; write 'journal:PATH'")
        return JournalSink(Path(path).expanduser(), **dict(map(_option, options)))


def _check_positive(name: str, given: int | None) -> None:
    if given is not None and given < 1:
        raise ConfigError(f"{name} is {given}; it must be 1 or above, or None for no limit")


def _option(text: str) -> tuple[str, Any]:
    name, equals, given = text.partition("=")
    if text == "required":
        return name, True
    if name == "fsync" and equals:
        return name, given
    if name in {"max_bytes", "keep"} and given.isdecimal():
        return name, int(given)
    raise ConfigError(
        f"the sink 'journal' does not know the option {text!r}; after the path and a comma it knows: required, "
        f"fsync={'|'.join(get_args(Fsync))}, max_bytes=N, keep=N (a path with a comma in it: JournalSink(path))"
    )


class _Recorder:
    """Writes the events of one run; after its first failure nothing more, so that the record has no gap."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file
        self._failure: BecketError | None = None

    def _record(self, lines: bytes, *, sync: bool = False) -> None:
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        try:
            self._file.append(lines)
            if sync:
                self._file.sync()
        except OSError as error:
            raise self._failed(cannot_write(self._file.path, error)) from error
        except BecketError as error:
            self._failed(error)
            raise

    def _failed(self, failure: BecketError) -> BecketError:
        """Remember it, and log it: core does not before the third in a row, and the run may be over by then."""
        self._failure = failure
        logger().error("%s", failure)
        return failure


class _Direct(_Recorder):
    """Writes each event in the middle of the run."""

    def emit(self, event: Event, /) -> None:
        """Write one event."""
        self._record(event.to_json() + b"\n")

    def close(self) -> None:
        """Give the file back."""
        self._file.release()


class _Queued(_Recorder):
    """Writes lists of events in a worker thread, and waits there until they are on the disk."""

    def __init__(self, file: JournalFile, limit: int) -> None:
        super().__init__(file)
        self.overflow: Overflow = "block"  # it is the record
        self.limit = limit

    async def emit_batch(self, events: Sequence[Event], /) -> None:
        """Put these events on the disk."""
        from anyio import to_thread

        await to_thread.run_sync(functools.partial(self._put, tuple(events)))

    def _put(self, events: tuple[Event, ...]) -> None:
        self._record(b"".join([event.to_json() + b"\n" for event in events]), sync=True)

    async def aclose(self) -> None:
        """Give the file back."""
        self._file.release()
