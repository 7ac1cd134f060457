"""Bytes that connections buffer of requests that have not begun: incomplete heads and pipelined data. Their sum is bounded. Pure.

Each connection buffers little, but an interceptor has tens of thousands of them, and a client can send its head as slowly as it
likes. Beyond the bound, the connections that have buffered for longest discard their bytes.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["EarlyBytes", "EarlyClient"]


class EarlyClient(Protocol):
    """A connection with buffered bytes."""

    def evict(self) -> None:
        """Discard the buffered bytes, which are the oldest here."""


class EarlyBytes:
    """The number of buffered bytes of each connection, the oldest first."""

    __slots__ = ("_sizes", "evicted", "limit", "total")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0
        self.evicted = 0
        """Connections that had to discard their bytes."""
        self._sizes: dict[EarlyClient, int] = {}

    def __len__(self) -> int:
        return len(self._sizes)

    def keep(self, client: EarlyClient, size: int) -> None:
        """Set the number of bytes that a connection buffers. The connection itself may be evicted by this call."""
        before = self._sizes.get(client, 0)
        self._sizes[client] = size
        self.total += size - before
        while self.total > self.limit:
            oldest = next(iter(self._sizes))
            self.drop(oldest)
            self.evicted += 1
            oldest.evict()

    def drop(self, client: EarlyClient) -> None:
        """The connection buffers nothing any more. Has no effect if it did not."""
        self.total -= self._sizes.pop(client, 0)
