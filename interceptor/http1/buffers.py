"""The one buffer that every connection of the process reads into, and a look at a socket without reading from it.

A read is consumed before its callback returns, and all callbacks run on the event loop's thread, so sharing is safe and an
idle connection owns no buffer.
"""

from __future__ import annotations

import select

__all__ = ["BODY_VIEW", "HEAD_VIEW", "WRITE_HIGH", "WRITE_LOW", "has_news", "peer_closed"]

BODY_VIEW = memoryview(bytearray(256 * 1024))
"""For bodies: larger reads cost fewer wake-ups and fewer copies."""
HEAD_VIEW = BODY_VIEW[: 32 * 1024]
"""For heads: what is read of a body before there is a backend stays small."""

WRITE_HIGH = 512 * 1024
"""Bytes not yet taken by the peer's socket, at which the other side stops reading: two full reads."""
WRITE_LOW = 64 * 1024


def peer_closed(fd: int) -> bool:
    """Whether the peer has closed its side, even with bytes before that not read yet."""
    return _poll(fd, select.POLLRDHUP)


def has_news(fd: int) -> bool:
    """Whether anything can be read: on a connection at rest that is its end, or bytes that nobody asked for."""
    return _poll(fd, select.POLLRDHUP | select.POLLIN)


def _poll(fd: int, events: int) -> bool:
    poller = select.poll()
    poller.register(fd, events)
    return bool(poller.poll(0))
