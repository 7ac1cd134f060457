"""A large answer of the proxy's own, given out as its client takes it. Stands where the exchange stood until it is through.

A tenant's page may have a MiB, and a client may read as slowly as it likes: written at once, each of thousands of such clients
would keep a copy of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from interceptor.core.errors import ExchangeError

__all__ = ["MAX_PART_BYTES", "LargeReply"]

MAX_PART_BYTES = 64 * 1024
"""What one client keeps of it at most: as much as goes to a socket in one call without being missed."""


class Taker(Protocol):
    """A client that takes what it can."""

    congested: bool

    def write_through(self, data: bytes | memoryview) -> None: ...
    def wait_for(self, deadline: float) -> None: ...
    def exchange_done(self, now: float) -> None: ...
    def stuck_for(self) -> float: ...
    def abort(self) -> None: ...


class LargeReply:
    """Needs a client that takes what it can (`congested`), and gives the connection back when all of it is written."""

    __slots__ = ("_at", "_body", "_client", "_clock", "_patience")

    def __init__(self, client: Taker, body: bytes, *, patience: float, clock: Callable[[], float]) -> None:
        """`patience` is how many seconds the client may take none of it."""
        self._clock = clock
        self._client = client
        self._body = memoryview(body)
        self._at = 0
        self._patience = patience

    def begin(self) -> None:
        self._go_on()

    def _go_on(self) -> None:
        client, body = self._client, self._body
        while self._at < len(body) and not client.congested:
            part = body[self._at : self._at + MAX_PART_BYTES]
            self._at += len(part)
            client.write_through(part)
        now = self._clock()
        if self._at < len(body):
            client.wait_for(now + self._patience)
        else:
            client.exchange_done(now)

    def resume_answer(self) -> None:
        self._go_on()

    @property
    def answers_half_closed(self) -> bool:
        """Whoever ends its side before a large page is through has left."""
        return False

    def pause_answer(self) -> None:
        """Seen by `congested`."""

    def on_body(self, data: bytes | memoryview, *, complete: bool) -> None:
        """The request was answered without it."""

    def on_bulk(self, data: bytes | memoryview, source: object, left: int) -> int:
        return 0

    def on_broken_body(self, error: ExchangeError) -> bool:
        return False

    def on_client_lost(self) -> None:
        """Nothing else hangs on it: what it answers was accounted for before."""

    def on_deadline(self, now: float) -> None:
        """Slowly is allowed, not at all is not."""
        stuck = self._client.stuck_for()
        if stuck >= self._patience:
            self._client.abort()
        else:
            self._client.wait_for(now + self._patience - stuck)
