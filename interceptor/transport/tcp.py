"""What connections to clients and to backends have in common: the shared read buffer, writes, back-pressure, closing.

A read is consumed before its callback returns, and all callbacks run on the event loop's thread. So one buffer serves all
connections of the process, and an idle connection needs no memory for reading.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import math
import os
import select
import socket
import struct
import sys
import termios
from collections.abc import Callable
from typing import ClassVar, Final, Protocol, cast

from fleet.runtime.backlog import Backlog
from interceptor.transport.splice import Splicer

__all__ = ["BODY_VIEW", "BULK_VIEW", "CHUNKS_VIEW", "FULL_READ", "HEAD_VIEW", "READ_BUFFER", "Connection", "Outbox"]

READ_BUFFER: Final = bytearray(512 * 1024)
BODY_VIEW: Final = memoryview(READ_BUFFER)
"""For bodies: larger reads need fewer wake-ups, and half a MiB still fits into the processor's cache."""
HEAD_VIEW: Final = BODY_VIEW[: 32 * 1024]
"""For heads: small, to limit how much of a body is read before there is a backend."""

CHUNKS_VIEW: Final = BODY_VIEW[: 64 * 1024]
"""For chunked bodies: smaller, because the data may be buffered until all its chunks have been parsed. For bodies whose length is
unknown, tunnels, and what is to be encrypted or put into frames, because others wait for a read and its writes."""
FULL_READ: Final = len(BODY_VIEW) // 2
"""After a read of at least this many bytes, other connections get a turn before the next read, because some event loops continue
to read from a socket as long as reads are full. Half of the buffer, as measured: with an eighth, a body of 1 MiB costs more; with
all of it, other connections wait longer."""

BULK_VIEW: Final = BODY_VIEW[: 4 * 1024]
"""For spliced bodies: a small read tells that data has arrived; the rest is moved inside the kernel."""

LONG_BODY: Final = 4 * 1024 * 1024
"""Bytes left of a body, from which on it gives way to others. What is left of a shorter one is over in a few milliseconds."""
SMALL_MOVE: Final = 64 * 1024
"""Bytes of a long body that are moved in one turn while others are served; these wait for twice as long with 512 KiB."""
SERVED_SECONDS: Final = 0.1
"""How long others count as being served after the last of their messages that shared a turn with a long body."""

_LAST_DATA_SENT: Final = slice(44, 48)
"""Position of tcpi_last_data_sent (milliseconds) in Linux's struct tcp_info."""

NO_LINGER: Final = struct.pack("ii", 1, 0)
"""Value of SO_LINGER with which closing the socket sends a reset."""
LINGER: Final = struct.pack("ii", 0, 0)
"""The default: written data is sent, and then the end of the stream."""
STUCK_MILLISECONDS: Final = 2000
"""If nothing could be sent for this long, the peer is considered stuck, and its unsent data is not waited for."""
_NOTHING: Final = bytes(4)

_write = os.write
_splicer = Splicer()


class Session(Protocol):
    """A connection that makes its output when it is written."""

    def write_output(self) -> None:
        """Write it now."""


class Outbox:
    """Connections that have something to send at the end of this turn of the event loop.

    Under load one turn reads from dozens of connections. If their writes follow each other directly, a sleeping peer process is
    woken once; a write after each read would wake it each time.
    """

    __slots__ = ("backlog", "due", "giving_way", "sessions", "waiting")

    def __init__(self) -> None:
        self.due = False
        """Whether they are written when this turn is over. Call `schedule` before the first is added."""
        self.waiting: list[Connection] = []
        self.sessions: list[Session] = []
        """Those that make their output then."""
        self.backlog = Backlog()
        """Connections with work left for later turns."""
        self.giving_way = 0.0
        """Until when long bodies give way to others."""

    def schedule(self) -> None:
        """Write at the end of this turn."""
        self.due = True
        asyncio.get_running_loop().call_soon(self._flush)

    def share(self, left: int) -> int:
        """How many of the `left` bytes of a body may be moved in this turn."""
        if left < LONG_BODY:
            return left
        now = self.backlog.clock()
        if self.due:  # others were read from before, in this turn
            self.serves(now)
        return SMALL_MOVE if now < self.giving_way else left

    def serves(self, now: float) -> None:
        """Others than long bodies are served now."""
        self.giving_way = now + SERVED_SECONDS

    def _flush(self) -> None:
        waiting, sessions = iter(self.waiting), iter(self.sessions)
        self.waiting, self.sessions, self.due = [], [], False
        try:
            for connection in waiting:
                data, connection._unsent = connection._unsent, b""  # noqa: SLF001 -- like flush, but saves a call
                if data:
                    connection._send(data)  # noqa: SLF001
            for session in sessions:
                session.write_output()
        except Exception:  # a fault of one must not cost the others theirs
            self.waiting += waiting
            self.sessions += sessions
            if not self.due:
                self.schedule()
            raise


class Connection(asyncio.BufferedProtocol):
    """A stream socket that writes directly to the kernel, and to the transport's queue only if the kernel accepts no more."""

    __slots__ = (
        "_behind", "_ends", "_fd", "_outbox", "_paused", "_queued", "_raw", "_transport", "_unsent", "bucket", "congested",
        "deadline", "framer",
    )  # fmt: skip

    encrypted: ClassVar[bool] = False
    """Whether its transport encrypts (`interceptor.transport.tls`)."""
    write_limit: ClassVar[int] = 0
    """Bytes in the transport's buffer from which on it is congested. Any buffered data pauses reading from the other side, so at
    most one read is buffered here. When the buffer is empty again, the kernel's socket buffer is still half full, so the peer
    does not have to wait."""

    def __init__(self, outbox: Outbox, *, deadline: float) -> None:
        self.deadline = deadline
        self.bucket = 0
        self._outbox = outbox
        self._unsent = b""
        self._paused = False
        """Whether the user has paused reading."""
        self._behind = False
        """Whether data that was read is not processed yet. Then reading is paused as well."""
        self._queued = False
        """Whether it is in the backlog: if it is behind and not paused."""
        self.congested = False
        """Whether the peer reads so slowly that sent data is buffered here."""
        self._ends = False
        """Whether `write_eof` waits for the peer to read what was written. Only if it is `encrypted`."""
        self.framer: Callable[[bytes | memoryview], bytes] | None = None
        """If set, encodes data before it is sent by `write_through`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.attach(cast("asyncio.Transport", transport))  # uvloop's transport has all methods but another base class

    def attach(self, transport: asyncio.Transport) -> None:
        """Use this transport from now on."""
        self._transport = transport
        self._transport.set_write_buffer_limits(self.write_limit)
        # Both are valid as long as the transport is not closing; check that before each use.
        self._fd: int = transport.get_extra_info("socket").fileno()
        """Of the socket, to observe it."""
        encrypts = transport.get_extra_info("sslcontext") is not None
        self._raw: int = -1 if encrypts else self._fd
        """The same, to move the connection's own bytes. No descriptor where the transport encrypts: bytes that are written to the
        socket there would go out as plaintext, and those that are read from it are not the peer's."""
        if encrypts != self.encrypted:
            raise TypeError(f"{type(self).__name__} has a transport that {'encrypts' if encrypts else 'does not encrypt'}")

    @property
    def is_bare(self) -> bool:
        """Whether it is open, its bytes are the socket's, and nothing that was read or written waits."""
        transport = self._transport
        return (
            not (self.encrypted or self._paused or self._behind or self.congested or self._unsent or self._ends)
            and self.framer is None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )

    @property
    def paused(self) -> bool:
        """Whether the user has paused reading."""
        return self._paused

    def write(self, data: bytes) -> None:
        """Send a few bytes at the end of this turn of the event loop. Dropped if the connection is aborted before."""
        if self._unsent:
            self._unsent += data
        else:
            self._unsent = data
            outbox = self._outbox
            if not outbox.due:
                outbox.schedule()
            outbox.waiting.append(self)

    def write_through(self, data: bytes | memoryview) -> None:
        """Send many bytes now. A view of the shared buffer may be passed: only what the socket does not accept is copied."""
        if self._unsent:
            self.flush()
        self._send(data if self.framer is None else self.framer(data))

    def pass_on(self, data: memoryview) -> bool:
        """Send a few bytes now. Returns False, without having sent any, if something else has to be sent before, or an error is
        to be reported: `write_through` is for these."""
        transport = self._transport
        if self.congested or self._unsent or self.framer is not None or transport.is_closing():
            return False
        try:
            sent = _write(self._raw, data)
        except BlockingIOError:
            return False
        except OSError as error:
            self.outlives(error)  # a socket tells its error only once
            return False
        if sent < len(data):
            transport.write(bytes(data[sent:]))
        return True

    def splice(self, first: bytes | memoryview, source: object, count: int) -> int:
        """Send `first` now, and then up to `count` further bytes that have arrived at the source's socket. Others have their turn
        after many of them. Returns the number of these further bytes; -1 if there will never be any."""
        if self._unsent:
            self.flush()
        transport = self._transport
        if self.framer is not None or not isinstance(source, Connection) or source.encrypted:
            self.write_through(first)
            return -1
        if transport.is_closing() or transport.get_write_buffer_size():
            self.write_through(first)
            return 0
        share = self._outbox.share(count)
        moved, unsent = _splicer.move(first, source._raw, self._raw, share)  # noqa: SLF001 -- the source is of this class too
        if unsent:
            transport.write(unsent)
        if moved < 0:
            source._transport.abort()  # noqa: SLF001 -- the error is told only once, and not to the transport
        elif moved >= (FULL_READ if share == count else SMALL_MOVE // 2):
            source.fall_behind()
        return moved

    def write_both(self, head: bytes, body: memoryview) -> None:
        """Send a head and a large part of its body now, in one system call."""
        self.flush()
        transport = self._transport
        if transport.is_closing() or transport.get_write_buffer_size():
            self._send(head + body)
            return
        try:
            sent = os.writev(self._raw, (head, body))
        except OSError:
            sent = 0
        if sent < len(head):
            transport.write(head[sent:] + body)
        elif sent < len(head) + len(body):
            transport.write(bytes(body[sent - len(head) :]))

    def flush(self) -> None:
        """Send now what `write` has left for the end of the turn."""
        data, self._unsent = self._unsent, b""
        if data:
            self._send(data)

    def write_eof(self) -> None:
        """Close the sending side after everything that was written."""
        self.flush()
        if self._transport.can_write_eof() and not self._transport.is_closing():
            with contextlib.suppress(OSError):  # the peer has reset the connection; reading will report it
                self._transport.write_eof()

    def reset_on_close(self, *, on: bool) -> None:
        """Whether closing the socket, by this process or because it dies, sends a reset."""
        option = NO_LINGER if on else LINGER
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)

    def close(self) -> None:
        """Close after everything that was written has been sent."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once; unsent data is dropped."""
        self._unsent = b""
        self._transport.abort()

    def _send(self, data: bytes | memoryview) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        if not transport.get_write_buffer_size():
            try:
                sent = _write(self._raw, data)
            except BlockingIOError:  # the socket is full: the transport queues the data
                sent = 0
            except OSError as error:
                if self.outlives(error):
                    return
                sent = 0  # the transport's write reports the error
            if sent == len(data):
                return
            data = data[sent:]
        transport.write(bytes(data))

    def outlives(self, error: OSError) -> bool:
        """Whether to continue reading from a peer after a write failed; otherwise the connection ends at once."""
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
        """Continue with the rest, read or not, in later turns, after other connections have had theirs."""
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
        """Do a bounded part of the remaining work. Returns whether more can be done now."""
        if not self._paused and not self._transport.is_closing():
            self._behind = self.go_on()
        self._queued = self._behind and not self._paused and not self._transport.is_closing()
        if not self._behind and not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()
        return self._queued

    def go_on(self) -> bool:
        """Process more of the data that was read. Returns whether there is still more."""
        return False

    def stuck_for(self) -> float:
        """Seconds since the peer last accepted any of the buffered data; infinite when nothing is buffered or it is unknown.

        The transport only reports when all buffered data has been sent. Only the kernel knows about progress before that: it
        sends as soon as the peer has room, so the time of its last transmission is used.
        """
        if not self.congested or self._transport.is_closing() or sys.platform != "linux":
            return math.inf
        info = self._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_SENT.stop)
        return int.from_bytes(info[_LAST_DATA_SENT], sys.byteorder) / 1000

    def in_flight(self) -> bool:
        """Whether the peer's machine has not yet acknowledged all sent data, but is still accepting it. False if not on Linux,
        where it is unknown."""
        if self._transport.is_closing() or sys.platform != "linux":
            return False
        connection = self._transport.get_extra_info("socket")
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_SENT.stop)
        since = int.from_bytes(info[_LAST_DATA_SENT], sys.byteorder)
        return since < STUCK_MILLISECONDS and fcntl.ioctl(self._fd, termios.TIOCOUTQ, _NOTHING) != _NOTHING

    def has_input(self) -> bool:
        """Whether anything can be read: on an idle connection that is its end, or unexpected bytes."""
        if self._transport.is_closing():
            return True
        poller = select.poll()
        poller.register(self._fd, select.POLLRDHUP | select.POLLIN)
        return bool(poller.poll(0))

    def has_ended(self) -> bool:
        """Whether the peer has closed its sending side or the connection. The kernel is asked, because the end may wait
        behind bytes that are not read yet. Where it does not tell (not on Linux), only the latter."""
        if self._transport.is_closing() or not hasattr(select, "POLLRDHUP"):
            return self._transport.is_closing()
        poller = select.poll()
        poller.register(self._fd, select.POLLRDHUP)
        return bool(poller.poll(0))
