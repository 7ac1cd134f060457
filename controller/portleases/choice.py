"""Which ports are tried for a lease, and in which order. Pure.

The order begins at a place that follows from the lease's name. So callers with different names rarely try the same port first,
those with the same name always do and find each other's lease, and an application that is made anew gets its port back while
nobody else has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator

import msgspec

__all__ = ["PortLimits", "candidates"]


class PortLimits(msgspec.Struct, frozen=True):
    """From which ports leases are given, and how many."""

    first: int
    last: int
    most: int
    """Ports of all applications together: each is a listening socket in every interceptor."""
    most_of_namespace: int
    seconds: float
    """For how long a lease lasts that nothing uses, unless its caller says otherwise."""

    @property
    def span(self) -> str:
        return f"between {self.first} and {self.last}"


def candidates(limits: PortLimits, name: str, taken: Container[int]) -> Iterator[int]:
    """Every port of the range that is not taken, each once."""
    size = limits.last - limits.first + 1
    begin = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % size
    for step in range(size):
        port = limits.first + (begin + step) % size
        if port not in taken:
            yield port
