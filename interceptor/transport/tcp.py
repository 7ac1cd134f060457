"""What connections to clients and to backends have in common: one shared read buffer, writes, back-pressure, closing.

A read is consumed before its callback returns, and all callbacks run on the event loop's thread, so one buffer serves every
connection of the process and an idle connection owns none.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import math
import os
import select
import socket
import sys
import termios
from typing import cast

from fleet.runtime.backlog import Backlog
from interceptor.transport.splice import Splicer

__all__ = ["BODY_VIEW", "BULK_VIEW", "CHUNKS_VIEW", "FULL_READ", "HEAD_VIEW", "READ_BUFFER", "Connection", "Outbox"]

READ_BUFFER = bytearray(512 * 1024)
BODY_VIEW = memoryview(READ_BUFFER)
"""For bodies: larger reads cost fewer wake-ups, and half a MiB still fits the processor's cache."""
HEAD_VIEW = BODY_VIEW[: 32 * 1024]
"""For heads: what is read of a body before there is a backend stays small."""

CHUNKS_VIEW = BODY_VIEW[: 64 * 1024]
"""For bodies in chunks: what is read of them may wait in the process until there is time to look at every chunk."""
FULL_READ = len(BODY_VIEW) // 2
"""Bytes moved by one read after which the others have their turn before the next: more has come, and some event loops read on for
as long as a read is full. Half of a buffer: at an eighth a body of 1 MiB costs more, at all of it the others wait for longer."""

BULK_VIEW = BODY_VIEW[: 4 * 1024]
"""For bodies that are spliced: just enough to be woken by; the rest never comes here."""

_LAST_DATA_SENT = slice(44, 48)
"""Of Linux's struct tcp_info: tcpi_last_data_sent, in milliseconds."""

STUCK_MILLISECONDS = 2000
"""Since anything was sent, of a peer that has to take what is on its way."""
_NOTHING = bytes(4)

_write = os.write
_splicer = Splicer()


class Outbox:
    """Connections that have something to send at the end of this turn of the event loop.

    Under load one turn reads from dozens of connections. Their writes, one after the other, wake a sleeping peer once;
    a write after each read wakes it, and lets it sleep again, every time.
    """

    __slots__ = ("_waiting", "backlog")

    def __init__(self) -> None:
        self._waiting: list[Connection] = []
        self.backlog = Backlog()
        """Of the same connections: what is left for turns to come."""

    def add(self, connection: Connection) -> None:
        waiting = self._waiting
        if not waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        waiting.append(connection)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            data, connection._unsent = connection._unsent, b""  # noqa: SLF001 -- as by flush, but for a call
            if data:
                connection._send(data)  # noqa: SLF001


class Connection(asyncio.BufferedProtocol):
    """A stream socket whose writes go to the kernel, and to the transport's queue only when that takes no more."""

    __slots__ = (
        "_behind", "_fd", "_outbox", "_paused", "_queued", "_transport", "_unsent", "bucket", "congested", "deadline",
    )  # fmt: skip

    def __init__(self, outbox: Outbox, *, deadline: float) -> None:
        self.deadline = deadline
        self.bucket = 0
        self._outbox = outbox
        self._unsent = b""
        self._paused = False
        """Whether what comes next is not wanted now."""
        self._behind = False
        """Whether what was read waits to be looked at. Then there is no reading either."""
        self._queued = False
        """Whether it stands in the backlog. One that is behind does, but while it is paused."""
        self.congested = False
        """Whether the peer takes so little that what is written waits here."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its base class
        # Whatever the peer's full socket does not take holds up the other side, so one read at most waits here. The socket
        # itself is still half full when there is room again: nothing is lost by waiting until then.
        self._transport.set_write_buffer_limits(0)
        # Good for as long as the transport is not closing; each use asks.
        self._fd: int = transport.get_extra_info("socket").fileno()

    @property
    def paused(self) -> bool:
        """Whether it is not read from now."""
        return self._paused

    def write(self, data: bytes) -> None:
        """Send a few bytes when this turn of the event loop is over. Dropped when the connection closes before."""
        if self._unsent:
            self._unsent += data
        else:
            self._unsent = data
            self._outbox.add(self)

    def write_through(self, data: bytes | memoryview) -> None:
        """Send many bytes now; a view of the shared buffer too, of which only what the socket does not take is copied."""
        if self._unsent:
            self.flush()
        self._send(data)

    def splice(self, first: bytes | memoryview, source: object, count: int) -> int:
        """Send the first bytes of a stretch now, and what more of it the source's socket has, at most `count` bytes.

        Returns how many that were.
        """
        if self._unsent:
            self.flush()
        transport = self._transport
        if not isinstance(source, Connection) or transport.is_closing() or transport.get_write_buffer_size():
            self._send(first)
            return 0
        moved, unsent = _splicer.move(first, source._fd, self._fd, count)  # noqa: SLF001 -- it is of this class
        if unsent:
            transport.write(unsent)
        return moved

    def write_both(self, head: bytes, body: memoryview) -> None:
        """Send a head and many bytes of its body now, as one."""
        self.flush()
        transport = self._transport
        if transport.is_closing() or transport.get_write_buffer_size():
            self._send(head + body)
            return
        try:
            sent = os.writev(self._fd, (head, body))
        except OSError:
            sent = 0
        if sent < len(head):
            transport.write(head[sent:] + body)
        elif sent < len(head) + len(body):
            transport.write(bytes(body[sent - len(head) :]))

    def flush(self) -> None:
        """Send what `write` has left for later."""
        data, self._unsent = self._unsent, b""
        if data:
            self._send(data)

    def write_eof(self) -> None:
        """Send no more; what is queued goes out first."""
        self.flush()
        if self._transport.can_write_eof() and not self._transport.is_closing():
            with contextlib.suppress(OSError):  # the peer has reset the connection, which is yet to be read
                self._transport.write_eof()

    def close(self) -> None:
        """Close after what is written has gone out."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once, without what is still unsent."""
        self._unsent = b""
        self._transport.abort()

    def _send(self, data: bytes | memoryview) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        if not transport.get_write_buffer_size():
            try:
                sent = _write(self._fd, data)
            except BlockingIOError:  # a full socket waits in the transport
                sent = 0
            except OSError as error:
                if self.outlives(error):
                    return
                sent = 0  # the transport tells it
            if sent == len(data):
                return
            data = data[sent:]
        transport.write(bytes(data))

    def outlives(self, error: OSError) -> bool:
        """Whether a peer that takes no more is still read from; otherwise the connection ends there and then."""
        return False

    def pause_reading(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            if not self._behind:
                self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            if self._behind:
                self._queue_up()
            else:
                self._transport.resume_reading()

    def fall_behind(self) -> None:
        """Do the rest of what was read, or read the rest of what has come, when the others have had their turn."""
        if self._behind or self._transport.is_closing():
            return
        self._behind = True
        if not self._paused:
            self._transport.pause_reading()
            self._queue_up()

    def _queue_up(self) -> None:
        if not self._queued:
            self._queued = True
            self._outbox.backlog.add(self)

    def catch_up(self) -> bool:
        """A part of what it is behind with."""
        if not self._paused and not self._transport.is_closing():
            self._behind = self.go_on()
        self._queued = self._behind and not self._paused and not self._transport.is_closing()
        if not self._behind and not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()
        return self._queued

    def go_on(self) -> bool:
        """Look at more of what was read. Whether there is still more."""
        return False

    def stuck_for(self) -> float:
        """Seconds since the peer last took any of what waits for it; infinite when nothing does, or nobody knows.

        What waits is written to the transport at once and told to have gone when all of it has: how far it is only the kernel
        knows. It sends as fast as the peer has room.
        """
        if not self.congested or self._transport.is_closing() or sys.platform != "linux":
            return math.inf
        info = self._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_SENT.stop)
        return int.from_bytes(info[_LAST_DATA_SENT], sys.byteorder) / 1000

    def in_flight(self) -> bool:
        """Whether the peer's machine has yet to take some of what was sent, and takes it. Nobody knows but on Linux."""
        if self._transport.is_closing() or sys.platform != "linux":
            return False
        connection = self._transport.get_extra_info("socket")
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_SENT.stop)
        since = int.from_bytes(info[_LAST_DATA_SENT], sys.byteorder)
        return since < STUCK_MILLISECONDS and fcntl.ioctl(self._fd, termios.TIOCOUTQ, _NOTHING) != _NOTHING

    def has_news(self) -> bool:
        """Whether anything can be read: on a connection at rest that is its end, or bytes that nobody asked for."""
        if self._transport.is_closing():
            return True
        poller = select.poll()
        poller.register(self._fd, select.POLLRDHUP | select.POLLIN)
        return bool(poller.poll(0))
