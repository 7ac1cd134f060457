"""When the machine itself stood still: a virtual machine's processors are taken away now and then, for milliseconds.

    python -m tests.support.stalls PROCESSOR    prints the beginning and the end of each stall, in seconds of `perf_counter`

A process of real-time priority on each processor asks to be woken twice a millisecond. Nothing that runs here goes before it, so
if it is late, no process ran at all, or the kernel worked. Where that priority is not permitted, no stall is seen.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from time import perf_counter

__all__ = ["Stalls", "watched"]

PERIOD_SECONDS = 0.0005
LATE_SECONDS = 0.001
"""More than the kernel works at a stretch, and less than matters to a request."""
PRIORITY = 2
"""Above that of processes that measure."""
_READY = b"ready\n"


class Stalls:
    """Those seen on some processors."""

    def __init__(self, outputs: list[int]) -> None:
        """Descriptors from which the lines of watchers can be read."""
        self._outputs = outputs
        self._partial = dict.fromkeys(outputs, b"")
        self._seen: list[tuple[float, float]] = []
        self.met = 0
        """How many waits have met a stall, of all that were asked about."""
        for output in outputs:
            os.set_blocking(output, False)

    def spared(self, waits: list[tuple[float, float]]) -> list[bool]:
        """For each wait, with its beginning and end by `perf_counter`, whether it has met no stall. Later calls are for later
        waits."""
        self._read()
        first = min((begin for begin, _ in waits), default=math.inf)
        self._seen = [stall for stall in self._seen if stall[1] > first]
        spared = [all(end <= begun or begin >= ended for begun, ended in self._seen) for begin, end in waits]
        self.met += spared.count(False)
        return spared

    def _read(self) -> None:
        for output in self._outputs:
            with contextlib.suppress(BlockingIOError):
                while data := os.read(output, 1 << 16):
                    *lines, self._partial[output] = (self._partial[output] + data).split(b"\n")
                    self._seen += [(float(begun), float(ended)) for begun, ended in map(bytes.split, lines)]


@contextlib.contextmanager
def watched(pid: int) -> Iterator[Stalls]:
    """Watch the processors of that process, and of this one."""
    watchers: list[subprocess.Popen[bytes]] = []
    try:
        if sys.platform == "linux":
            for processor in os.sched_getaffinity(pid) | os.sched_getaffinity(0):
                command = [sys.executable, "-m", "tests.support.stalls", str(processor)]
                watchers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0))
        outputs = [watcher.stdout for watcher in watchers if watcher.stdout is not None]
        yield Stalls([output.fileno() for output in outputs if output.readline() == _READY])
    finally:
        for watcher in watchers:
            watcher.kill()
            watcher.communicate()


def _watch(processor: int) -> None:
    """Until standard input ends."""
    os.sched_setaffinity(0, {processor})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        return
    gc.disable()
    os.write(sys.stdout.fileno(), _READY)
    before = perf_counter()
    while not select.select([sys.stdin], [], [], PERIOD_SECONDS)[0]:
        now = perf_counter()
        if now - before > PERIOD_SECONDS + LATE_SECONDS:
            os.write(sys.stdout.fileno(), b"%.6f %.6f\n" % (before, now))
        before = now


if __name__ == "__main__":
    _watch(int(sys.argv[1]))
