"""Hears when clients leave that are not read from: with the reading paused, the event loop does not look at a socket at all.

One more epoll, itself watched by the event loop, waits for nothing but ends. It costs one system call per pause, and nobody
is asked again and again whether it is still there. Where there is no epoll, such a client is noticed when it is read from again.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from typing import Protocol

__all__ = ["HangupWatch", "Paused"]

MAX_EVENTS = 256
"""Ends taken at once; more are told in the next turn of the event loop."""


class Paused(Protocol):
    """A client connection that is not read from."""

    def on_hangup(self, *, gone: bool) -> None:
        """It has closed its side; with `gone`, both sides are closed. It may have been heard of meanwhile."""


class HangupWatch:
    """Who is watched is told once; a connection that is closed is forgotten by the kernel and has to be forgotten here."""

    __slots__ = ("_epoll", "_watched")

    def __init__(self) -> None:
        self._watched: dict[int, Paused] = {}
        self._epoll: select.epoll | None = None

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, fd: int, client: Paused, *, half_closed: bool = False) -> None:
        """Tell `client` when its peer leaves; of one that is `half_closed`, when the other half ends too. May be called again for
        each pause."""
        if not hasattr(select, "epoll"):
            return
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._tell)
        # Once: who is read from again hears it by reading. The end of both sides is always told.
        ends = select.EPOLLONESHOT if half_closed else select.EPOLLRDHUP | select.EPOLLONESHOT
        if fd in self._watched:
            self._epoll.modify(fd, ends)
        else:
            self._epoll.register(fd, ends)
            self._watched[fd] = client

    def forget(self, fd: int) -> None:
        """The connection is about to be closed."""
        if self._watched.pop(fd, None) is not None and self._epoll is not None:
            with contextlib.suppress(OSError):  # closed already
                self._epoll.unregister(fd)

    def close(self) -> None:
        """Hear no more."""
        epoll, self._epoll = self._epoll, None
        self._watched.clear()
        if epoll is not None:
            asyncio.get_running_loop().remove_reader(epoll.fileno())
            epoll.close()

    def _tell(self) -> None:
        assert self._epoll is not None  # noqa: S101
        for fd, events in self._epoll.poll(0, MAX_EVENTS):
            client = self._watched.get(fd)
            if client is not None:
                client.on_hangup(gone=bool(events & (select.EPOLLHUP | select.EPOLLERR)))
