"""Counts calls of our own functions, and the instructions that they execute: what a request costs, exactly, where time is not
exact."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ["calls", "instructions"]

OURS = tuple(str(Path(__file__).parents[2] / package) for package in ("interceptor", "fleet"))

Trace = Callable[[FrameType, str, object], "Trace | None"]


@contextmanager
def calls() -> Iterator[Counter[str]]:
    """Calls of our functions, by name. Without comprehensions, which are calls only in some versions of Python."""
    made: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS) and not code.co_name.startswith("<"):
            made[code.co_qualname] += 1

    sys.setprofile(note)
    try:
        yield made
    finally:
        sys.setprofile(None)


@contextmanager
def instructions() -> Iterator[Counter[str]]:
    """Instructions of Python that our functions execute, by function. Exact for one version of Python."""
    made: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> Trace | None:
        if event == "opcode":
            made[frame.f_code.co_qualname] += 1
        return count

    def note(frame: FrameType, event: str, _: object) -> Trace | None:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return count

    sys.settrace(note)
    try:
        yield made
    finally:
        sys.settrace(None)
