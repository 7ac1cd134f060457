"""Accepts client connections, up to a limit. Knows sockets and numbers, but not HTTP.

A process without free file descriptors can neither accept nor refuse a connection. So it stops accepting before that: new
connections wait in the kernel's queue, and are accepted after others have been closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import socket
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from fleet.runtime.listen import bound
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["Acceptor", "Listener", "room_for_clients", "room_for_flows"]

BACKLOG: Final = 4096
"""Connections that may wait in the kernel's queue: enough for a burst, because a dropped SYN is repeated only after a second."""
SPARE_DESCRIPTORS: Final = 256
"""Reserved for everything that is not a client: RPC streams, watches, diagnostics, files, probes."""
FLOWS_PART: Final = 8
"""One descriptor in this many is for flows of UDP ports, at most: each has one for its backend."""
ASKED_FLOWS_PART: Final = 2
"""The same where the limit of flows is said: then they matter."""
DESCRIPTORS_PER_CLIENT: Final = 2
"""One for the client's connection, and one for a backend's."""
SCARCE: Final = 4096
"""A warning is logged if fewer connections than this are possible. The metrics show the limit in any case."""
RETRY_SECONDS: Final = 0.1
ACCEPTED_AT_ONCE: Final = 64
"""Connections that an `Acceptor` accepts in one turn of the event loop; others have their turn after that."""
LOG_SECONDS: Final = 10.0
"""Seconds between two equal log lines: under overload, accepting pauses and resumes many times a second."""

logger = logging.getLogger(__name__)


def room_for_flows(wanted: int, *, asked: bool) -> int:
    """The limit of flows: `wanted`, or fewer if the process may not open enough files. `asked` if somebody has set it."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    part = ASKED_FLOWS_PART if asked else FLOWS_PART
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, (soft - SPARE_DESCRIPTORS) // part))


def room_for_clients(wanted: int, *, flows: int = 0) -> int:
    """The limit of client connections: `wanted`, or fewer if the process may not open enough files beside those of `flows`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    room = max(1, (soft - SPARE_DESCRIPTORS - flows) // DESCRIPTORS_PER_CLIENT)
    if room < wanted:
        level = logging.WARNING if room < SCARCE else logging.DEBUG
        logger.log(level, "room for %d client connections, not %d: only %d files may be open at once", room, wanted, soft)
    return min(room, wanted)


class Server(Protocol):
    """Accepts connections until it is closed."""

    def close(self) -> object: ...


class Acceptor:
    """A server that passes on accepted sockets as they are: for TLS behind a header of the PROXY protocol, which comes first."""

    def __init__(self, listening: socket.socket, take: Callable[[socket.socket], None]) -> None:
        self._listening = listening
        self._take = take
        self._open = True
        listening.listen(BACKLOG)
        self._go_on()

    def close(self) -> None:
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()

    def _go_on(self) -> None:
        if self._open:
            asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, _address = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_FILES:  # it would be reported again at once, without end
                    loop.remove_reader(self._listening)
                    loop.call_later(RETRY_SECONDS, self._go_on)
                    return
                continue  # the client has left
            connection.setblocking(False)
            self._take(connection)
            if not self._open:  # there is no room for more
                return


_OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """A listening socket that stays open, and a server on it that is closed and created again to pause and resume."""

    def __init__(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        host: str,
        port: int,
        clock: Callable[[], float],
        *,
        take: Callable[[socket.socket], None] | None = None,
    ) -> None:
        """`factory` makes the protocol of each connection; with `take`, accepted sockets are passed to it instead."""
        self._factory = factory
        self._take = take
        self._clock = clock
        self._host = host
        self._wanted_port = port
        self._socket: socket.socket | None = None
        self._server: Server | None = None
        self._opening: asyncio.Task[None] | None = None
        self._next_log = 0.0

    @property
    def port(self) -> int:
        """The bound port; before `start` the requested one."""
        if self._socket is None:
            return self._wanted_port
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def started(self) -> bool:
        return self._socket is not None

    async def start(self) -> None:
        """Bind and accept. Raises StartError if the address or the port cannot be bound."""
        self._socket = bound(self._host, self._wanted_port, "requests")
        await self._open()

    def pause(self) -> None:
        """Stop accepting at once, also connections that have arrived in this turn of the event loop."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        now = self._clock()
        if now >= self._next_log:
            self._next_log = now + LOG_SECONDS
            logger.warning("no room for more client connections: those that come wait until others have left")

    def resume(self) -> None:
        """Accept again, starting in a later turn of the event loop."""
        if self._server is None and self._socket is not None and self._opening is None:
            self._opening = asyncio.create_task(self._open(), name="listener")

    async def close(self) -> None:
        """Stop listening. Accepted connections stay open, and connections in the kernel's queue are accepted, not reset."""
        opening, self._opening = self._opening, None
        await cancel_and_wait(opening)
        server, self._server = self._server, None
        if server is not None:
            server.close()
        listening, self._socket = self._socket, None
        if listening is None:
            return
        self._wanted_port = listening.getsockname()[1]
        waiting = list(_accept_all(listening))
        listening.close()
        for connection in waiting:
            if self._take is not None:
                self._take(connection)
                continue
            with contextlib.suppress(OSError):  # closed by the client
                await asyncio.get_running_loop().connect_accepted_socket(self._factory, connection)

    async def _open(self) -> None:
        assert self._socket is not None  # noqa: S101
        loop = asyncio.get_running_loop()
        while self._server is None:
            try:
                copy = self._socket.dup()
                if self._take is not None:
                    self._server = Acceptor(copy, self._take)
                else:
                    self._server = await loop.create_server(self._factory, sock=copy, backlog=BACKLOG)
            except OSError as error:
                logger.error("cannot accept connections yet: %s", error.strerror)
                await asyncio.sleep(RETRY_SECONDS)
        self._opening = None


def _accept_all(listening: socket.socket) -> Iterator[socket.socket]:
    """Accept all connections in the queue; stops at the first error."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listening.accept()
            connection.setblocking(False)
            yield connection
