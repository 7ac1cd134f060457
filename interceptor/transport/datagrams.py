"""UDP sockets, and what reads all of them in turns.

One epoll instance, which the event loop watches, has all of them. So the work in one turn of the event loop is bounded however
many sockets have something, and a socket that has little is read as soon as one that has much. A datagram is used before the next
one is read, so one buffer serves all sockets.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import sys
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final, Protocol

from fleet.runtime.listen import bound

__all__ = ["BUFFER", "BURST", "CONTROL_BYTES", "DATAGRAMS_AT_ONCE", "VIEW", "DatagramPoller", "ListeningSocket", "connected"]

BUFFER: Final = bytearray(1 << 16)
"""No datagram is longer."""
VIEW: Final = memoryview(BUFFER)
DATAGRAMS_AT_ONCE: Final = 64
"""Datagrams read in one turn of the event loop, of all sockets: about half a millisecond of work. Others have their turn then."""
BURST: Final = 16
"""Datagrams read from one socket before other sockets are looked at again."""
RECEIVE_BYTES: Final = 4 * 1024 * 1024
"""The kernel's buffer of a listening socket, as far as the machine permits (net.core.rmem_max): each turn of the event loop
that takes long fills it."""

_IP_PKTINFO: Final = 8
"""Of Linux's <linux/in.h>; Python has it from 3.14 on."""
_INFO_V4: Final = struct.Struct("=i4s4s")
"""struct in_pktinfo: number of the interface, the local address, and the destination of the header."""
_INFO_V6: Final = struct.Struct("=16si")
CONTROL_BYTES: Final = 64
"""Room for one of them with its head."""
_SO_MEMINFO: Final = 55
_DROPS: Final = 8
"""Position of SK_MEMINFO_DROPS in what SO_MEMINFO gives: datagrams for which the kernel's buffer had no room."""

Control = list[tuple[int, int, bytes]]


class Readable(Protocol):
    """What has a socket."""

    def read(self, most: int, now: float) -> int:
        """Read at most `most` datagrams. Returns how much work that was, counted in datagrams, and 1 at least."""


class DatagramPoller:
    """Calls `read` of what can be read. It must be removed before its socket is closed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._epoll: select.epoll | None = None
        self._all: dict[int, Readable] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, own: socket.socket, thing: Readable) -> None:
        number = own.fileno()
        self._all[number] = thing
        if not hasattr(select, "epoll"):
            asyncio.get_running_loop().add_reader(number, self._read_one, thing)
            return
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._read_all)
        self._epoll.register(number, select.EPOLLIN)

    def remove(self, own: socket.socket) -> None:
        number = own.fileno()
        if self._all.pop(number, None) is None:
            return
        if self._epoll is None:
            asyncio.get_running_loop().remove_reader(number)
        else:
            self._epoll.unregister(number)

    def close(self) -> None:
        """Everything has been removed."""
        epoll, self._epoll = self._epoll, None
        if epoll is not None:
            asyncio.get_running_loop().remove_reader(epoll.fileno())
            epoll.close()

    def _read_one(self, thing: Readable) -> None:
        """Where there is no epoll."""
        thing.read(BURST, self._clock())

    def _read_all(self) -> None:
        """One datagram of each socket at first: most have one. Those that have more are read in growing bursts."""
        assert self._epoll is not None  # noqa: S101
        left, most, now, everything, poll = DATAGRAMS_AT_ONCE, 1, self._clock(), self._all, self._epoll.poll
        while left > 0:
            ready = poll(0, left)
            if not ready:
                return
            for number, _ in ready:
                thing = everything.get(number)
                if thing is not None:
                    left -= thing.read(most, now)
            most = min(most * 4, BURST)


class ListeningSocket:
    """A socket that clients send to. One that is bound to every address of the machine tells which of them each datagram was sent
    to, so that the answer can come from there."""

    __slots__ = ("_is_v6", "local", "own", "port", "wild")

    def __init__(self, host: str, port: int) -> None:
        """Raises StartError."""
        own = self.own = bound(host, port, "datagrams", datagrams=True)
        self.port: int = own.getsockname()[1]
        self._is_v6 = own.family == socket.AF_INET6
        self.local = slice(0, 16) if self._is_v6 else slice(4, 8)
        """Where the local address is in the control message."""
        self.wild = ip_address(host).is_unspecified and sys.platform == "linux"
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        if self.wild and self._is_v6:
            own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        elif self.wild:
            own.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)

    def control(self, local: bytes) -> Control:
        """The control message that makes this the source address of a datagram; none for an address that is not known."""
        if not local:
            return []
        if self._is_v6:
            return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _INFO_V6.pack(local, 0))]
        return [(socket.IPPROTO_IP, _IP_PKTINFO, _INFO_V4.pack(0, local, bytes(4)))]

    @property
    def lost(self) -> int:
        """Datagrams that the kernel has dropped, because they came faster than they were read. 0 where that is not known."""
        if sys.platform != "linux":
            return 0
        found = self.own.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * (_DROPS + 1))
        return int.from_bytes(found[4 * _DROPS :], sys.byteorder)


def connected(host: str, port: int) -> socket.socket:
    """A socket for the datagrams to and from this address alone; the kernel reports when nobody is there. Raises OSError."""
    own = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        own.setblocking(False)
        own.connect((host, port))
    except OSError:
        own.close()
        raise
    return own
