"""Bytes that connections keep of requests that have not begun: parts of heads, and what was sent ahead. Bounded in sum. Pure.

Each connection keeps little, but an interceptor has tens of thousands of them, and a client can send its heads as slowly as it
likes. Beyond the bound, those that have kept bytes for longest give them up.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["EarlyBytes", "EarlyClient"]


class EarlyClient(Protocol):
    """A connection that keeps bytes."""

    def evict(self) -> None:
        """Give up what is kept, which is the longest here."""


class EarlyBytes:
    """How much each connection keeps, the oldest first."""

    __slots__ = ("_sizes", "evicted", "limit", "total")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0
        self.evicted = 0
        """Connections that had to give up theirs."""
        self._sizes: dict[EarlyClient, int] = {}

    def __len__(self) -> int:
        return len(self._sizes)

    def keep(self, client: EarlyClient, size: int) -> None:
        """A connection keeps so many bytes now. It may be its own turn to give them up."""
        before = self._sizes.get(client, 0)
        self._sizes[client] = size
        self.total += size - before
        while self.total > self.limit:
            oldest = next(iter(self._sizes))
            self.drop(oldest)
            self.evicted += 1
            oldest.evict()

    def drop(self, client: EarlyClient) -> None:
        """A connection keeps none any more; harmless for one that did not."""
        self.total -= self._sizes.pop(client, 0)
