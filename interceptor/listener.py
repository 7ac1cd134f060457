"""Accepts client connections while there is room for them. Knows sockets and numbers, nothing of HTTP.

A process without descriptors can neither accept nor refuse, so the door is closed before: who comes meanwhile waits in the
kernel's queue, and is taken in when somebody has left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Callable, Iterator

from fleet.runtime.listen import bound
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["Listener", "room_for_clients"]

BACKLOG = 4096
"""Connections that may wait to be accepted: a whole burst, since a dropped one comes back only after a second."""
SPARE_DESCRIPTORS = 256
"""For everything that is no client: RPC streams, watches, diagnostics, files, probes."""
DESCRIPTORS_PER_CLIENT = 2
"""A connection to the client, and one to a backend."""
SCARCE = 4096
"""Fewer connections than this are worth a warning: the metrics tell of the limit in any case."""
RETRY_SECONDS = 0.1
LOG_SECONDS = 10.0
"""Between two lines that say the same: under a flood the door opens and closes many times a second."""

logger = logging.getLogger(__name__)


def room_for_clients(wanted: int) -> int:
    """How many client connections there may be: those wanted, or as many as the process may have files open for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    room = max(1, (soft - SPARE_DESCRIPTORS) // DESCRIPTORS_PER_CLIENT)
    if room < wanted:
        level = logging.WARNING if room < SCARCE else logging.DEBUG
        logger.log(level, "room for %d client connections, not %d: only %d files may be open at once", room, wanted, soft)
    return min(room, wanted)


class Listener:
    """A listening socket that stays, and a server on it that comes and goes."""

    def __init__(self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, clock: Callable[[], float]) -> None:
        self._factory = factory
        self._clock = clock
        self._host = host
        self._wanted_port = port
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._opening: asyncio.Task[None] | None = None
        self._next_log = 0.0

    @property
    def port(self) -> int:
        """The port bound; before `start` the port asked for."""
        if self._socket is None:
            return self._wanted_port
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def started(self) -> bool:
        return self._socket is not None

    async def start(self) -> None:
        """Bind and accept. Raises StartError for an address or a port that cannot be had."""
        self._socket = bound(self._host, self._wanted_port, "requests")
        await self._open()

    def pause(self) -> None:
        """Accept no more, from this moment on: also not what else has come in this turn of the event loop."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        now = self._clock()
        if now >= self._next_log:
            self._next_log = now + LOG_SECONDS
            logger.warning("no room for more client connections: those that come wait until others have left")

    def resume(self) -> None:
        """Accept again, in a moment."""
        if self._server is None and self._socket is not None and self._opening is None:
            self._opening = asyncio.create_task(self._open(), name="listener")

    async def close(self) -> None:
        """Listen no more. Connections that were accepted stay, and who waits in the kernel's queue still becomes one."""
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
            with contextlib.suppress(OSError):  # it has left
                await asyncio.get_running_loop().connect_accepted_socket(self._factory, connection)

    async def _open(self) -> None:
        assert self._socket is not None  # noqa: S101
        loop = asyncio.get_running_loop()
        while self._server is None:
            try:
                self._server = await loop.create_server(self._factory, sock=self._socket.dup(), backlog=BACKLOG)
            except OSError as error:
                logger.error("cannot accept connections yet: %s", error.strerror)
                await asyncio.sleep(RETRY_SECONDS)
        self._opening = None


def _accept_all(listening: socket.socket) -> Iterator[socket.socket]:
    """Who is in the queue now; stops at the first one that cannot be had."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listening.accept()
            connection.setblocking(False)
            yield connection
