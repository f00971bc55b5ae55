"""What every row is measured with: CPU time, medians over interleaved repetitions, and a figure beside its limit."""

from __future__ import annotations

import gc
import resource
import statistics
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = [
    "Figure",
    "Sample",
    "Settings",
    "cpu",
    "cpu_of_command",
    "interleaved",
    "interleaved_async",
]

Sample: TypeAlias = Callable[[], Awaitable[float]]
"""One repetition: does the work, and returns what it cost per unit."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How thorough a measurement is to be.

    Attributes:
        quick: Whether to do a fifth of the repetitions, and leave out what takes longest.
        install: Whether to make environments and install into them.
    """

    quick: bool = False
    install: bool = False

    def repetitions(self, thorough: int) -> int:
        """How many repetitions to make, where `thorough` are enough for a quiet figure."""
        return max(3, thorough // 5) if self.quick else thorough


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        row: What was measured.
        becket: becket's figure; None where it could not be measured.
        limit: That of the least code that does the same work, in the same run; None where there is none.
        unit: Of both.
        most: The budget as a figure of becket's own, or None.
        more: The budget as what becket may add to the limit, or None.
        times: The budget as what becket's figure may be, in multiples of the limit, or None.
        note: What else the reader should know.
        also: Whether what the note speaks of is within its budget, too.
    """

    row: str
    becket: float | None
    limit: float | None = None
    unit: str = "us"
    most: float | None = None
    more: float | None = None
    times: float | None = None
    note: str = field(default="")
    also: bool = True

    @property
    def ratio(self) -> float | None:
        """The figure in multiples of the limit."""
        return self.becket / self.limit if self.becket is not None and self.limit else None

    @property
    def budget(self) -> str:
        """The budget in words, empty where there is none."""
        parts = []
        if self.most is not None:
            parts.append(f"{self.most:g} {self.unit}")
        if self.more is not None:
            parts.append(f"limit + {self.more:g} {self.unit}")
        if self.times is not None:
            parts.append(f"{self.times:g} x limit")
        return ", ".join(parts)

    @property
    def ok(self) -> bool | None:
        """Whether becket is within its budget; None where there is no budget, or nothing could be measured."""
        if self.becket is None or not self.budget:
            return None
        limit = self.limit or 0.0
        bounds = (
            self.most,
            None if self.more is None else limit + self.more,
            None if self.times is None else limit * self.times,
        )
        return self.also and all(self.becket <= bound for bound in bounds if bound is not None)


def cpu() -> float:
    """CPU seconds of this process so far, all of its threads, user and system; children not counted."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def cpu_of_command(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """CPU seconds of `command` and of what it waited for.

    Raises:
        CalledProcessError: It failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def interleaved(samples: Sequence[Callable[[], float]], repetitions: int) -> list[float]:
    """The median of each sample. They take turns, so that a busy moment of the machine falls on all of them."""
    taken: list[list[float]] = [[] for _ in samples]
    for repetition in range(repetitions + 1):
        for sample, into in zip(samples, taken, strict=True):
            gc.collect()
            cost = sample()
            if repetition:  # the first warms up
                into.append(cost)
    return [statistics.median(costs) for costs in taken]


async def interleaved_async(samples: Sequence[Sample], repetitions: int) -> list[float]:
    """As `interleaved`, for samples that need an event loop; all of them in the same one."""
    taken: list[list[float]] = [[] for _ in samples]
    for repetition in range(repetitions + 1):
        for sample, into in zip(samples, taken, strict=True):
            gc.collect()
            cost = await sample()
            if repetition:
                into.append(cost)
    return [statistics.median(costs) for costs in taken]
