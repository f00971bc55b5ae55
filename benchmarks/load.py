"""Load on becket-serve, by hand: `python benchmarks/load.py [--clients N] [--seconds S] [--stall S]`.

Clients ask one run after the other, all at once; a tenth of the runs lose their client at a random moment. Then the
server is asked what is left: each run has ended once, and no task, file or memory stays behind. Memory is compared
between two rounds, since the first one fills what is kept on purpose (`ServeLimits.keep_runs`, caches, the allocator).

Then a few clients stop reading in the middle of a large answer, and the others are timed beside them.

Everything happens on loopback, in two processes; it ends by itself, with 1 where something does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from serving import event_service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving import Service

PIECES: Final = 20
LARGE: Final = 15_000
"""Pieces of 1,000 characters that are asked for by who then stops reading: more than all buffers hold."""

STALLED: Final = 5
FILLS: Final = 4.0
"""Seconds until nothing more can be sent to them; that is work, too."""

WHOLE_RUN: Final = 1.2
"""Seconds, about, that a paced run takes; a client is killed at some moment of that."""

SETTLES: Final = 5.0
"""Seconds that the server has until it is at rest."""

GROWTH: Final = 4.0
"""MB that the server may have grown from one round to the next."""

SLOWER: Final = 1.1
"""Times as long that a run may take beside clients that do not read."""


@dataclass
class Tally:
    """What the clients saw.

    Attributes:
        whole: Answers that were read to their end.
        killed: Answers whose client was killed.
        broken: Answers that ended too early, by what they ended with.
        first: Seconds to the first text of each.
        lasted: Seconds to the end of each that was read to it.
    """

    whole: int = 0
    killed: int = 0
    broken: list[bytes] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    lasted: list[float] = field(default_factory=list)


async def _crowd(service: Service, clients: int, seconds: float, *, killed: float) -> Tally:
    """So many clients for so long; of their runs, this share loses its client."""
    tally, until = Tally(), time.monotonic() + seconds
    async with asyncio.TaskGroup() as tasks:
        for _number in range(clients):
            tasks.create_task(_client(service, tally, until, killed))
    return tally


async def _client(service: Service, tally: Tally, until: float, killed: float) -> None:
    await asyncio.sleep(random.uniform(0, WHOLE_RUN))  # noqa: S311  not all in step
    while time.monotonic() < until:
        begun = time.monotonic()
        reader, writer = await service.ask("POST", "/events", f"paced {PIECES}")
        try:
            if random.random() < killed:  # noqa: S311  no secret
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(), random.uniform(0, WHOLE_RUN))  # noqa: S311
                writer.transport.abort()
                tally.killed += 1
                continue
            await reader.readuntil(b'"type":"text_delta"')
            tally.first.append(time.monotonic() - begun)
            _ended(tally, await reader.read())
            tally.lasted.append(time.monotonic() - begun)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            tally.broken.append(repr(error).encode())
        finally:
            writer.close()


def _ended(tally: Tally, body: bytes) -> None:
    if body.count(b'"type":"run_finished"') == 1 and b'"stop_reason":"end_turn"' in body[-500:]:
        tally.whole += 1
    else:
        tally.broken.append(body[-200:])


async def _stops_reading(service: Service, seconds: float) -> bool:
    """Ask for a large answer, read nothing for so long, then all. Whether it was whole."""
    reader, writer = await service.ask("POST", "/events", f"large {LARGE}", limit=2**12)
    try:
        await asyncio.sleep(seconds)
        count, rest = 0, b""
        while piece := await reader.read(2**20):
            count += (rest + piece).count(b'"type":"text_delta"')
            rest = (rest + piece)[-18:]  # one less than what is looked for
    finally:
        writer.close()
    return count == LARGE


async def _at_rest(service: Service) -> dict[str, Any]:
    """What is left once nothing goes on, or time is up."""
    until = time.monotonic() + SETTLES
    while True:
        await asyncio.sleep(0.2)  # the server is another process: there is nothing else to wait for
        left = await service.measure()
        if not left["running"] or time.monotonic() > until:
            return left


class Report:
    """The table, and what did not hold."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        counts = f"{'runs':>7}{'whole':>7}{'killed':>8}{'ended once':>12}"
        print(f"{'':34}{counts}{'tasks':>7}{'files':>7}{'MB':>8}{'CPU s':>8}")

    def left(self, name: str, left: dict[str, Any], tally: Tally | None = None) -> None:
        """A line on the server, which is at rest."""
        self.line(name, left, tally)
        self.holds(
            left["runs"] == left["ended_once"], f"{name}: {left['runs'] - left['ended_once']} runs not ended once"
        )
        self.holds(not left["running"], f"{name}: {left['running']} runs go on")

    def line(self, name: str, left: dict[str, Any], tally: Tally | None = None) -> None:
        """A line on the server."""
        seen = Tally() if tally is None else tally
        print(
            f"{name:34}{left['runs']:7}{seen.whole:7}{seen.killed:8}{left['ended_once']:12}{left['tasks']:7}"
            f"{left['files']:7}{left['resident'] / 1e6:8.1f}{left['cpu']:8.1f}",
            flush=True,
        )
        self.holds(not seen.broken, f"{name}: {len(seen.broken)} answers broken, such as {seen.broken[:1]}")

    def same(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Nothing more is there after than before."""
        for what in ("tasks", "files"):
            self.holds(after[what] <= before[what], f"{what}: {before[what]} before, {after[what]} after")

    def took(self, name: str, tally: Tally) -> None:
        """A line on how long it took."""
        first, lasted = tally.first, tally.lasted
        ms = [_percent(*of) * 1000 for of in ((first, 50), (first, 99), (lasted, 50), (lasted, 99))]
        print(f"{name:34}{ms[0]:12.1f}{ms[1]:8.1f}{ms[2]:10.1f}{ms[3]:8.1f}", flush=True)

    def holds(self, condition: object, otherwise: str) -> None:
        """Note what does not hold."""
        if not condition:
            self.wrong.append(otherwise)


def _percent(values: Sequence[float], at: int) -> float:
    return statistics.quantiles(values, n=100)[at - 1] if len(values) > 1 else float("nan")


async def _main(service: Service, clients: int, seconds: float, stall: float) -> list[str]:
    report = Report()
    await _crowd(service, clients, 3, killed=0.1)  # imports and first uses are not what stays
    before = await _at_rest(service)
    report.left("after a warm-up", before)
    measured = []
    for number in (1, 2):
        tally = await _crowd(service, clients, seconds, killed=0.1)
        measured.append(await _at_rest(service))
        report.left(f"round {number}, {clients} clients for {seconds:g} s", measured[-1], tally)
        report.same(before, measured[-1])
    grown = (measured[1]["resident"] - measured[0]["resident"]) / 1e6
    report.holds(grown < GROWTH, f"memory: {grown:.1f} MB more after the second round than after the first")
    if stall:
        await _beside_the_stalled(service, report, clients // 4, stall)
        report.same(before, await _at_rest(service))
    return report.wrong


async def _beside_the_stalled(service: Service, report: Report, clients: int, seconds: float) -> None:
    alone = await _crowd(service, clients, seconds, killed=0)
    async with asyncio.TaskGroup() as tasks:
        stalled = [tasks.create_task(_stops_reading(service, seconds)) for _number in range(STALLED)]
        await asyncio.sleep(FILLS)
        beside = await _crowd(service, clients, seconds - FILLS - 2 * WHOLE_RUN, killed=0)
        meanwhile = await service.measure()
        report.line(f"while {STALLED} do not read", meanwhile)
        report.holds(meanwhile["running"] == STALLED, "those that do not read were not held up")
    report.left("after they have read on", await _at_rest(service))
    await _crowd(service, clients, 5, killed=0)  # their events are kept until enough others were run
    report.left("after some more", await _at_rest(service))
    report.holds(all(task.result() for task in stalled), "an answer that was read late was not whole")
    print(f"\n{'milliseconds to':34}{'first 50%':>12}{'99%':>8}{'end 50%':>10}{'99%':>8}")
    report.took(f"{clients} clients", alone)
    report.took(f"beside {STALLED} that do not read", beside)
    slower = _percent(beside.lasted, 50) / _percent(alone.lasted, 50)
    report.holds(slower < SLOWER, f"beside those that do not read, the others took {slower:.2f} times as long")


def main() -> None:
    """Load the server, and say what did not hold."""
    parser = argparse.ArgumentParser(description="Load becket-serve, and look at what is left.")
    parser.add_argument("--clients", type=int, default=200, metavar="N", help="clients at once (200)")
    parser.add_argument("--seconds", type=float, default=60, metavar="S", help="of each of the two rounds (60)")
    parser.add_argument("--stall", type=float, default=30, metavar="S", help="that some do not read; 0 for none (30)")
    given = parser.parse_args()
    with event_service() as service:
        wrong = asyncio.run(_main(service, given.clients, given.seconds, given.stall))
    for line in wrong:
        print(f"DOES NOT HOLD: {line}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
