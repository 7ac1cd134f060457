"""A large reply of the proxy itself, sent in parts as fast as the client reads. It replaces the exchange until it is sent.

A tenant's page may be a MiB, and clients may read slowly. If it were written at once, thousands of slow clients would each buffer
a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from interceptor.core.errors import ExchangeError
from interceptor.core.messages import Fields

__all__ = ["MAX_PART_BYTES", "LargeReply"]

MAX_PART_BYTES: Final = 64 * 1024
"""Bytes of the reply that are written at once, so at most this is buffered per client. Larger parts would hardly be faster."""


class LargeReplyClient(Protocol):
    """The client connection."""

    congested: bool

    def write_through(self, data: bytes | memoryview) -> None: ...
    def wait_for(self, deadline: float) -> None: ...
    def exchange_done(self, now: float) -> None: ...
    def stuck_for(self) -> float: ...
    def abort(self) -> None: ...


class LargeReply:
    """Writes while the client is not `congested`; calls `exchange_done` when everything is written."""

    __slots__ = ("_at", "_body", "_client", "_clock", "_patience", "method")

    def __init__(self, client: LargeReplyClient, body: bytes, *, patience: float, clock: Callable[[], float]) -> None:
        """`patience`: seconds after which a client that reads nothing is disconnected."""
        self.method = b""  # that of a request that is over
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
        """A client that closes its sending side before a large page is sent is treated as disconnected."""
        return False

    def pause_answer(self) -> None:
        """Nothing to do: `congested` is checked before each part."""

    def on_body(self, data: bytes | memoryview, *, complete: bool, trailers: Fields = ()) -> None:
        """Ignored: the request was answered without its body."""

    def on_bulk(self, data: bytes | memoryview, source: object, left: int) -> int:
        return 0

    def on_broken_body(self, error: ExchangeError) -> bool:
        return False

    def on_client_lost(self) -> None:
        """Nothing to do: the request was already counted when it was answered."""

    def on_deadline(self, now: float) -> None:
        """Disconnect a client that has read nothing for `patience` seconds; a slow one gets more time."""
        stuck = self._client.stuck_for()
        if stuck >= self._patience:
            self._client.abort()
        else:
            self._client.wait_for(now + self._patience - stuck)
