"""The limits for a unit test and for all of them: so little CPU that all can be run after every change."""

from __future__ import annotations

import resource
import time

from tests.support.full import UNLIMITED

__all__ = ["ALLOWANCE", "BUDGET", "OF_ALL", "TOTAL", "cpu_seconds", "over_budget", "over_total"]

BUDGET = 2.0
"""Seconds of CPU of the test's process, its threads, and processes that it has waited for. CPU time of other processes does not
count, so no test fails because the machine is busy."""
TOTAL = 50.0
"""Seconds of CPU of all unit tests together, with what pytest takes: half a minute on two cores."""
ALLOWANCE = 2.0
"""Factor for the budget of a test: the same work takes more CPU time if two threads share a core, and on a slow machine."""
OF_ALL = 4.0
"""The same for all tests: a machine that is slow for a second hits one test, and one that is slow for a day hits all of them."""


def cpu_seconds() -> float:
    """CPU seconds used so far."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def over_budget(seconds: float, excuse: str | None, *, full: bool = UNLIMITED) -> str | None:
    """The error message for a test that took this much CPU time, or whose excuse has no text; None if there is no error."""
    if excuse == "":
        return 'a reason is missing: mark it with heavy("…")'
    if full or excuse or seconds <= BUDGET * ALLOWANCE:
        return None
    return (
        f"it took {seconds:.1f} s of CPU, and a unit test has {BUDGET:g}: make it smaller, and full with WEIR_FULL_SIZE=1, "
        'or put it into tests/system, or mark it with heavy("…")'
    )


def over_total(seconds: float, *, full: bool = UNLIMITED) -> str | None:
    """The error message for a run of all unit tests that took this much CPU time; None if there is no error."""
    if full or seconds <= TOTAL * OF_ALL:
        return None
    return f"unit tests have {TOTAL:g} together, so make the slowest smaller: ARGS=--durations=50 tells them"
