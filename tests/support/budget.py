"""The limit for a unit test: two seconds of CPU, so that all of them can be run after every change."""

from __future__ import annotations

import resource
import time

from tests.support.full import FULL

__all__ = ["ALLOWANCE", "BUDGET", "cpu_seconds", "over_budget"]

BUDGET = 2.0
"""Seconds of CPU of the test's process, its threads, and processes that it has waited for. CPU time of other processes does not
count, so no test fails because the machine is busy."""
ALLOWANCE = 2.0
"""Factor for the budget: the same work takes more CPU time if two threads share a core, and on a slow machine."""


def cpu_seconds() -> float:
    """CPU seconds used so far."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def over_budget(seconds: float, excuse: str | None, *, full: bool = FULL) -> str | None:
    """The error message for a test that took this much CPU time, or whose excuse has no text; None if there is no error."""
    if excuse == "":
        return 'a reason is missing: mark it with heavy("…")'
    if full or excuse or seconds <= BUDGET * ALLOWANCE:
        return None
    return (
        f"it took {seconds:.1f} s of CPU, and a unit test has {BUDGET:g}: make it smaller, and full with WEIR_FULL_SIZE=1, "
        'or put it into tests/system, or mark it with heavy("…")'
    )
