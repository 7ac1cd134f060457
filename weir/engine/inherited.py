"""The mark that a process hands down to all that it starts, whatever they do: a number in a resource limit.

A daemon leaves its group, and may change its environment or write its title over it. Limits of resources are inherited by
every fork and exec, anybody may read them, and hardly a program sets this one: the time that a process with real-time
scheduling may compute without a pause. Here it is 146,000 years, and its last bits say whose process it is. Only Linux has it;
where the limit is taken, or is lower already, there is no mark, and the environment and the group have to do.
"""

from __future__ import annotations

import resource
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["handing_down", "mark_of", "marks"]

BASE = 1 << 62
"""Microseconds, as are all of them: of engines are the numbers from here on."""
BITS = 31
"""Of an engine's part of the number, and of a process's."""


def marks() -> range:
    """Those of a new engine, one for each of its processes."""
    first = BASE | secrets.randbits(BITS) << BITS
    return range(first, first + (1 << BITS))


def mark_of(engine: range) -> int:
    """One for a new process of the engine."""
    return secrets.choice(engine)


@contextmanager
def handing_down(mark: int | None) -> Iterator[None]:
    """Processes that are started within have the mark; None takes away the one that this process may have itself."""
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
