"""The mark by which descendants of a process are found: a number in a resource limit.

A daemon leaves its process group, and may change its environment or overwrite it with a title. Resource limits are inherited
through fork and exec, other processes can read them, and hardly any program sets this one: RLIMIT_RTTIME, the CPU time a
real-time process may use without a pause. Here it is set to 146,000 years, and its low bits identify the process. It exists on
Linux only. Where the hard limit is already lower, there is no mark, and only the environment and the process group are used.
"""

from __future__ import annotations

import resource
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["handing_down", "mark_of", "marks"]

BASE = 1 << 62
"""Microseconds, the unit of the limit. Marks are the numbers from here on."""
BITS = 31
"""Bits for the engine's number, and bits for the process's number."""


def marks() -> range:
    """The marks of a new engine, one for each of its processes."""
    first = BASE | secrets.randbits(BITS) << BITS
    return range(first, first + (1 << BITS))


def mark_of(engine: range) -> int:
    """A mark for a new process of the engine."""
    return secrets.choice(engine)


@contextmanager
def handing_down(mark: int | None) -> Iterator[None]:
    """Processes started within this context inherit the mark; None removes a mark that this process may have itself."""
    kind = getattr(resource, "RLIMIT_RTTIME", None)
    if kind is None:
        yield
        return
    soft, hard = resource.getrlimit(kind)
    with suppress(OSError, ValueError):  # the hard limit is lower
        resource.setrlimit(kind, (hard if mark is None else mark, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))
