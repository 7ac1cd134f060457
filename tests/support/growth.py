"""Measures how work grows with the length of its input: by counting instructions of Python code, and by timing C code.

Counts are the same on every machine. Times are CPU times of this thread, the lowest of several runs, and are only compared with
each other: eight times the length takes eight times as long if the work is linear, and 64 times if it is quadratic.
"""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import thread_time
from types import FrameType
from typing import Any

__all__ = ["STEP", "TooSlow", "count", "grows", "limited", "seconds"]

STEP = 8
"""Factor between two input lengths."""
MOST_GROWTH = 24
"""Maximum growth per step: between 8 (linear) and 64 (quadratic)."""
MEANINGFUL_SECONDS = 100e-6
"""Shorter times are not compared, because they mostly measure the clock and the calls around the work."""
LIMIT_SECONDS = 0.5
"""Work is stopped after this CPU time; it should take a hundredth of it."""
FEW, MANY = 1, 5
"""Runs of which the lowest time counts: at first, and if the result looks wrong."""


class TooSlow(Exception):
    """Work that was stopped before its end."""


def count(work: Callable[[], object]) -> int:
    """The number of Python instructions that the work takes, including everything it calls; a call of C code counts as one.

    Lines are traced as well: without, 3.13 reports no instructions of code that was not traced before.
    """
    total = 0

    def trace(frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal total
        frame.f_trace_opcodes = True
        total += event == "opcode"
        return trace

    before = sys.gettrace()
    with _uncollected():
        sys._getframe().f_trace_opcodes = True  # 3.12 checks only when a trace function is set whether a frame has this
        sys.settrace(trace)
        try:
            work()
        finally:
            sys.settrace(before)
    return total


def seconds(work: Callable[[], object], runs: int = FEW) -> float:
    """CPU time of this thread, the lowest of some runs. Raises TooSlow."""
    return min(_once(work) for _ in range(runs))


def grows(make: Callable[[int], Callable[[], object]], sizes: tuple[int, ...]) -> str | None:
    """The error message for work that grows faster than its size, which is 8 times larger in each step; None if it is linear."""
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
def _uncollected() -> Iterator[None]:
    """Without garbage collections, which look at all objects of the process, and call what others have put into gc.callbacks."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def limited(limit: float) -> Iterator[None]:
    """Stop the work with TooSlow after this CPU time of the process, even inside a regular expression."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
