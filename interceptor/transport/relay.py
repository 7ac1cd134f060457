"""Passes small reads on between the two sockets of a tunnel, without transports of the event loop.

A second epoll instance, which the event loop watches, waits for the sockets of all tunnels here. A read then costs two system
calls and a few lines of Python, and an idle connection takes a third of the memory that it takes with transports. All else goes
back to transports at once: the end or a fault of a side, much data, a peer that does not read, a drain. Only Linux has epoll;
elsewhere every connection keeps its transport.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from interceptor.transport.tcp import Connection, Outbox

if TYPE_CHECKING:
    from socket import socket as Socket  # noqa: N812

__all__ = ["RELAYED_READ", "Relay", "Relayed", "Talk"]

RELAYED_READ: Final = 16 * 1024
"""Bytes of one read. More than that at once is cheaper by transports, which read larger pieces, and splice."""
MAX_EVENTS: Final = 64
"""Sockets that are served at once, with one read each; others are served in the next turn of the event loop."""

_read, _write = os.read, os.write
_NOBODY: Final = asyncio.Protocol()
"""What a transport has in place of its connection, while it closes its copy of the socket."""


class Talk(Protocol):
    """The tunnel of two connections."""

    touched: float
    """When the last byte came."""
    looks: bool
    """Whether it is to be called for each read from its client: it does not count, and may count again."""

    def heard(self, now: float) -> None:
        """Bytes of the client came while it `looks`."""

    def returned(self) -> None:
        """Its connections have transports again, or will have them soon."""


class Relay:
    """All pairs of sockets. `close` it after their connections have ended, or were aborted."""

    __slots__ = ("_clock", "_enabled", "_epoll", "_outbox", "_poll", "_sides", "_tasks")

    def __init__(self, clock: Callable[[], float], outbox: Outbox, *, enabled: bool = True) -> None:
        """The outbox is told that these connections are served."""
        self._clock, self._outbox = clock, outbox
        self._enabled = enabled and hasattr(select, "epoll")
        self._epoll: select.epoll | None = None
        self._sides: dict[int, Relayed] = {}
        """By descriptor."""
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Sockets without a transport."""
        return len(self._sides)

    def take(self, client: Connection, backend: Connection, talk: Talk) -> bool:
        """Go on without transports, if both sides are connected, and nothing that was read or written waits. Returns whether."""
        if not self._enabled or not all(each.is_bare and not _waits(each) for each in (client, backend)):
            return False
        try:
            copies = self._watch(client, backend)
        except OSError:  # the process has no more descriptors, or the kernel no room to watch them
            return False
        first = Relayed(self, client, copies[0], talk, is_client=True)
        second = Relayed(self, backend, copies[1], talk, is_client=False)
        first.other, second.other = second, first
        for side in (first, second):
            before = side.connection._transport  # noqa: SLF001
            before.set_protocol(_NOBODY)
            before.abort()  # nobody reads there from now on; the connection stays open by the copy
            side.connection.attach(cast("asyncio.Transport", side))
            self._sides[side.fd] = side
        return True

    def _watch(self, *connections: Connection) -> list[int]:
        """Descriptors of their sockets, which are watched from now on. Raises OSError if that is not possible for all."""
        if self._epoll is None:
            epoll = select.epoll()
            try:
                asyncio.get_running_loop().add_reader(epoll.fileno(), self._pass_on)
            except OSError:
                epoll.close()
                raise
            self._epoll, self._poll = epoll, epoll.poll
        copies: list[int] = []
        try:
            for each in connections:
                copies.append(os.dup(each._fd))  # noqa: SLF001 -- only this package uses descriptors
                self._epoll.register(copies[-1], select.EPOLLIN | select.EPOLLRDHUP)
        except OSError:
            for copy in copies:
                with contextlib.suppress(OSError):  # the last one may not be watched
                    self._epoll.unregister(copy)  # or its number would be reported as long as the socket is open
                os.close(copy)
            raise
        return copies

    def forget(self, side: Relayed) -> bool:
        """Do not serve this socket any more. Returns whether it was served."""
        if self._sides.pop(side.fd, None) is None:
            return False
        if self._epoll is not None:
            self._epoll.unregister(side.fd)
        return True

    def run(self, side: Relayed) -> None:
        """Give the connection a transport again, in later turns of the event loop."""
        task = asyncio.create_task(side.rejoin(), name="relayed socket")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for the sockets that get a transport, and stop watching. Those of connections that were aborted in this turn are
        closed in the next ones."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        epoll, self._epoll = self._epoll, None
        if epoll is not None:
            asyncio.get_running_loop().remove_reader(epoll.fileno())
            epoll.close()

    def _pass_on(self) -> None:
        sides, now, simple = self._sides, self._clock(), select.EPOLLIN
        self._outbox.serves(now)
        for fd, events in self._poll(0, MAX_EVENTS):
            side = sides.get(fd)
            if side is None:  # it has left meanwhile
                continue
            if events != simple:
                side.leave()
                continue
            try:
                data = _read(fd, RELAYED_READ)
            except OSError:
                side.leave()
                continue
            other = side.other
            try:
                sent = _write(other.fd, data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                other.connection.outlives(error)  # a socket tells its error only once
                sent = 0
            talk = side.talk
            talk.touched = now
            if sent != len(data):
                other.connection.write_through(data[sent:])
                other.leave()
            elif sent == RELAYED_READ or not sent:
                side.leave()
            if talk.looks and side.is_client:
                talk.heard(now)


class Relayed:
    """A socket without a transport of the event loop. The connection has this in place of one: whatever it is asked for that a
    relay does not do gives both sides of the tunnel a transport again, and until then this keeps what is to be sent."""

    __slots__ = ("_after", "_ends", "_pending", "_relay", "connection", "fd", "is_client", "other", "talk")

    other: Relayed

    def __init__(self, relay: Relay, connection: Connection, fd: int, talk: Talk, *, is_client: bool) -> None:
        self._relay = relay
        self.connection = connection
        self.fd = fd
        self.talk = talk
        self.is_client = is_client
        self._pending = b""
        self._ends = False
        """Whether the sending side is to be closed after what is pending."""
        self._after = ""
        """What is to be done with the transport as soon as there is one: close or abort."""

    def leave(self) -> None:
        """Give both sides a transport."""
        relay = self._relay
        if relay.forget(self):
            relay.run(self)
            if relay.forget(self.other):
                relay.run(self.other)
            self.talk.returned()

    async def rejoin(self) -> None:
        """Hand the socket to a new transport."""
        if self._after and not self._pending:
            self._lose()
            return
        own = socket.socket(fileno=self.fd)
        own.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: _Door(self), own)
        except Exception as error:
            if _waits(self.connection):  # otherwise its transport reports the end
                own.detach()
                self.connection.reset_on_close(on=True)
                self._lose(error)
            if not isinstance(error, OSError):
                raise

    def arrived(self, transport: asyncio.Transport) -> None:
        """There is a transport."""
        connection = self.connection
        del self.other  # or both would wait for a search for cycles: full ones are rare
        transport.set_protocol(connection)
        connection.attach(transport)
        if self._pending:
            transport.write(self._pending)
        if self._ends:
            with contextlib.suppress(OSError):  # the peer has reset the connection; reading will report it
                transport.write_eof()
        if self._after == "abort":
            transport.abort()
        elif self._after:
            transport.close()
        elif not transport.is_closing():
            if connection.congested and not transport.get_write_buffer_size():
                connection.resume_writing()  # the transport, which has never had to wait, does not say it
            if connection.paused:
                # Some event loops begin to read after this call.
                transport.pause_reading()
                asyncio.get_running_loop().call_soon(_pause_again, connection, transport)

    def _lose(self, error: Exception | None = None) -> None:
        connection, other, self._after = self.connection, self.other, "abort"
        del self.connection, self.other, self.talk  # or they would wait for a search for cycles
        try:
            connection.connection_lost(error)
        finally:
            other.leave()  # unless it is closed by now as well: nothing more is passed on to this number, which
            os.close(self.fd)  # is another socket's from now on

    # -- asyncio.Transport ----------------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return bool(self._after)

    def get_write_buffer_size(self) -> int:
        return len(self._pending)

    def set_write_buffer_limits(self, high: int) -> None:
        """Anything that is pending is too much."""

    def can_write_eof(self) -> bool:
        return True

    def write(self, data: bytes) -> None:
        """Keep it: the socket does not take it now."""
        if self._after:
            return
        self._pending += data
        self.leave()
        if not self.connection.congested:
            self.connection.pause_writing()

    def write_eof(self) -> None:
        self._ends = True
        self.leave()

    def pause_reading(self) -> None:
        self.leave()

    def resume_reading(self) -> None:
        """Where it has left, the transport to come reads unless its connection is paused by then."""

    def close(self) -> None:
        """Close after what is pending."""
        self._end("close")

    def abort(self) -> None:
        """Close at once."""
        self._pending = b""
        self._end("abort")

    def _end(self, after: str) -> None:
        ended, self._after = self._after, after
        if ended or not self._relay.forget(self):
            return
        asyncio.get_running_loop().call_soon(self._lose)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return self
        if name == "peername":
            return self.getpeername()
        return self.getsockname() if name == "sockname" else default

    # -- socket.socket --------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self.fd

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        with self._borrowed() as own:
            own.setsockopt(level, option, value)

    def getsockopt(self, level: int, option: int, size: int = 0) -> int | bytes:
        with self._borrowed() as own:
            return own.getsockopt(level, option, size) if size else own.getsockopt(level, option)

    def getsockname(self) -> Any:
        with self._borrowed() as own:
            return own.getsockname()

    def getpeername(self) -> Any:
        with self._borrowed() as own:
            return own.getpeername()

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[Socket]:
        own = socket.socket(fileno=self.fd)
        try:
            yield own
        finally:
            own.detach()


class _Door(asyncio.Protocol):
    """Waits for a socket's new transport."""

    def __init__(self, side: Relayed) -> None:
        self._side = side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._side.arrived(cast("asyncio.Transport", transport))


def _waits(connection: Connection) -> bool:
    """Whether it has no transport yet, or none any more."""
    return isinstance(cast("object", connection._transport), Relayed)  # noqa: SLF001


def _pause_again(connection: Connection, transport: asyncio.Transport) -> None:
    if connection.paused and connection._transport is transport and not transport.is_closing():  # noqa: SLF001
        transport.pause_reading()
