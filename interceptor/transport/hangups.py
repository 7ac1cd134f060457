"""Detects disconnects of clients while reading from them is paused: then the event loop does not watch their sockets at all.

A second epoll instance, which the event loop watches, waits only for disconnects. It costs one system call per pause, and no
polling. Without epoll (not on Linux) such a disconnect is noticed when reading resumes.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from typing import Final, Protocol

__all__ = ["HangupWatch", "Paused"]

MAX_EVENTS: Final = 256
"""Events handled at once; more are handled in the next turn of the event loop."""


class Paused(Protocol):
    """A client connection whose reading is paused."""

    _fd: int

    def on_hangup(self, *, gone: bool) -> None:
        """The client has closed its sending side; with `gone`, the connection is reset. It may know that already."""


class HangupWatch:
    """Reports a disconnect once per call of `watch`. The kernel forgets a socket when it is closed, but its number stays in the
    table here, so `forget` must be called first."""

    __slots__ = ("_epoll", "_watched")

    def __init__(self) -> None:
        self._watched: dict[int, Paused] = {}
        self._epoll: select.epoll | None = None

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, client: Paused, *, half_closed: bool = False) -> None:
        """Call `on_hangup` when the peer closes its side or, if it is already `half_closed`, only when the connection is reset.
        May be called again for each pause."""
        if not hasattr(select, "epoll"):
            return
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._tell)
        # One-shot: after reading has resumed, reading itself detects the end. EPOLLHUP and EPOLLERR are always reported.
        ends = select.EPOLLONESHOT if half_closed else select.EPOLLRDHUP | select.EPOLLONESHOT
        fd = client._fd  # noqa: SLF001 -- only this package uses descriptors
        if fd in self._watched:
            self._epoll.modify(fd, ends)
        else:
            self._epoll.register(fd, ends)
            self._watched[fd] = client

    def forget(self, client: Paused) -> None:
        """Stop watching; call it before the connection is closed."""
        fd = client._fd  # noqa: SLF001
        if self._watched.pop(fd, None) is not None and self._epoll is not None:
            with contextlib.suppress(OSError):  # closed already
                self._epoll.unregister(fd)

    def close(self) -> None:
        """Stop watching all connections."""
        epoll, self._epoll = self._epoll, None
        self._watched.clear()
        if epoll is not None:
            asyncio.get_running_loop().remove_reader(epoll.fileno())
            epoll.close()

    def _tell(self) -> None:
        assert self._epoll is not None  # noqa: S101
        for fd, events in self._epoll.poll(0, MAX_EVENTS):
            client = self._watched.get(fd)
            # EPOLLHUP alone: both sides have closed their sending sides. What the peer has sent before is still to be read.
            if client is not None and events & (select.EPOLLERR | select.EPOLLRDHUP):
                client.on_hangup(gone=bool(events & select.EPOLLERR))
