"""How work grows with the length of what is worked on: counted where Python runs, timed where C does.

Counts are the same on every machine. Times are those of this thread alone, the least of several, and are only compared with
each other: eight times the length costs eight times as much where the work is linear, and 64 times where it is quadratic.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import thread_time
from types import FrameType
from typing import Any

__all__ = ["STEP", "TooSlow", "count", "grows", "limited", "seconds"]

STEP = 8
"""Times as long as before."""
MOST_GROWTH = 24
"""Between 8, which is linear, and 64, which is quadratic."""
MEANINGFUL_SECONDS = 100e-6
"""What takes less is not compared: the clock and the calls around it would be."""
LIMIT_SECONDS = 3.0
"""Of work that should take a thousandth of it: then it is not waited for."""
FEW, MANY = 1, 5
"""Runs of which the least counts: at first, and when that looks wrong."""


class TooSlow(Exception):
    """Work that was stopped before its end."""


def count(work: Callable[[], object]) -> int:
    """Instructions of Python that some work takes, with all that it calls; what is done in C counts as one."""
    total = 0

    def trace(frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal total
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        total += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return total


def seconds(work: Callable[[], object], runs: int = FEW) -> float:
    """Processor time of this thread; the least of some runs. Raises TooSlow."""
    return min(_once(work) for _ in range(runs))


def grows(make: Callable[[int], Callable[[], object]], sizes: tuple[int, ...]) -> str | None:
    """What is wrong with work of growing sizes, each 8 times the one before; None where it is linear in the size."""
    before = 0.0
    for at, size in enumerate(sizes):
        work = make(size)
        try:
            now = seconds(work)
            if at and now > MEANINGFUL_SECONDS and now > MOST_GROWTH * before:
                smaller = make(sizes[at - 1])
                now, before = seconds(work, MANY), seconds(smaller, MANY)
                if now > MEANINGFUL_SECONDS and now > MOST_GROWTH * before:
                    return f"{now / before:.0f} times as long for {size} as for {sizes[at - 1]} ({now * 1e3:.2f} ms)"
        except TooSlow:
            return f"more than {LIMIT_SECONDS:g} s for {size}"
        before = now
    return None


def _once(work: Callable[[], object]) -> float:
    with limited(LIMIT_SECONDS):
        start = thread_time()
        work()
        return thread_time() - start


@contextmanager
def limited(limit: float) -> Iterator[None]:
    """Processor time of the process, after which work ends with TooSlow, be it inside a regular expression."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
