"""From an accepted socket to a connection over TLS: the first byte, the handshake, and their time limit. Knows no HTTP.

Until its handshake is done, a socket is a client that has not begun (`interceptor.clients`), with the time limit of a head. The
first byte is looked at, and not read, before anything is allocated for TLS: clients that send nothing cost little, and those that
speak plaintext get an answer that says so. Handshakes are started from the backlog, some in each turn of the event loop, because
each costs as much as dozens of requests.

uvloop's own TLS is used, by `connect_accepted_socket`. aiofastnet's takes less CPU: for a small request some 20 µs more than
plaintext, uvloop's some 40 µs more (requests of 60 bytes, answers of 100, keep-alive). But its fast engine makes OpenSSL's
objects itself, out of the memory of Python's SSLContext, so Python's `sni_callback` does not find its own object there, and the
process crashes (1.2.0, Python 3.11): certificates could not be chosen by name. Its other engine is Python's again.

Event loops drop the alert of a handshake that fails, and a client would have to guess why its connection has ended. So it is kept
(`interceptor.tls.alerts`), and sent by a second descriptor of the socket, because the loop has closed the first one by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol, cast

from fleet.runtime.backlog import Backlog
from interceptor.tls.alerts import Failed
from interceptor.transport.tls import CLOSE_SECONDS
from interceptor.trust import plain_address

__all__ = ["OUTCOMES", "Handshake", "Handshakes", "Host"]

OUTCOMES: Final = ("done", "failed", "slow", "left", "plaintext", "evicted")
"""How handshakes end: done; failed, as the two sides could not agree; the time limit passed; the client left before the end; it
does not speak TLS; it had to make room for others."""
HANDSHAKE_RECORD: Final = 0x16
"""The first byte of every TLS connection: the type of the record with the ClientHello (RFC 8446 5.1)."""
DROPPED_BYTES: Final = 64 * 1024
"""Maximum bytes that are read and dropped before a refusal is sent: closing a socket with unread data resets the connection."""

logger = logging.getLogger(__name__)


class Deadlines(Protocol):
    """Time limits of handshakes."""

    def watch(self, client: Handshake, /) -> None: ...
    def forget(self, client: Handshake, /) -> None: ...


class Host(Protocol):
    """What handshakes need of the proxy."""

    clock: Callable[[], float]
    head_timeout: float

    @property
    def deadlines(self) -> Deadlines: ...
    def client_opened(self, client: Handshake, /) -> None: ...
    def client_closed(self, client: Handshake, /) -> None: ...


class Handshakes:
    """The handshakes of one listener. `counts` are of ended ones, by outcome."""

    def __init__(
        self,
        host: Host,
        backlog: Backlog,
        *,
        context: Callable[[], ssl.SSLContext],
        serve: Callable[[asyncio.Transport, str | None, str], None],
        plaintext_answer: Callable[[], bytes],
    ) -> None:
        """`context` is asked for at the start of each handshake. `serve` gets each connection, with the protocol that was agreed
        (ALPN), and the client's address if a load balancer has sent it, otherwise "". `plaintext_answer` is sent to clients that
        do not speak TLS."""
        self.host = host
        self.backlog = backlog
        self.context = context
        self.serve = serve
        self.plaintext_answer = plaintext_answer
        self.counts: Counter[str] = Counter()
        self.resumed = 0
        """How many of those that are done have resumed a session."""
        self.tasks: set[asyncio.Task[None]] = set()

    def accept(self, connection: socket.socket, source: str = "") -> None:
        """Begin with an accepted, non-blocking socket. `source` is the client's address, if a load balancer has sent it."""
        Handshake(self, connection, source).begin()

    async def close(self) -> None:
        """Wait for the tasks of handshakes that were aborted."""
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Handshake(asyncio.Protocol):
    """One client until its handshake is done. A `Client` of the proxy meanwhile, and the protocol of the new transport."""

    __slots__ = ("_begun_tls", "_owner", "_socket", "_source", "_task", "bucket", "deadline", "outcome", "peer", "since")

    protocol = "TLS"
    requests = 0
    trusted = False

    def __init__(self, owner: Handshakes, connection: socket.socket, source: str) -> None:
        self._owner = owner
        self._socket: socket.socket | None = connection
        """Until it belongs to a transport."""
        self._begun_tls = False
        self._task: asyncio.Task[None] | None = None
        self._source = source
        self.peer = plain_address(source).encode() or b"unknown"
        with contextlib.suppress(OSError):  # it has left already
            if not source and isinstance(address := connection.getpeername(), tuple):
                self.peer = plain_address(address[0]).encode()
        self.since = owner.host.clock()
        self.deadline = self.since + owner.host.head_timeout
        self.bucket = 0
        self.outcome = ""
        """One of OUTCOMES, once it has ended."""

    @property
    def activity(self) -> str:
        """For people."""
        return "handshake"

    def begin(self) -> None:
        host = self._owner.host
        host.client_opened(self)
        host.deadlines.watch(self)
        if not self.outcome and not self._look():
            assert self._socket is not None  # noqa: S101 -- it did not end
            asyncio.get_running_loop().add_reader(self._socket, self._on_readable)

    # -- the first byte -------------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        self._stop_reading()
        if not self._look() and self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._on_readable)

    def _look(self) -> bool:
        """Returns False if nothing has arrived."""
        assert self._socket is not None  # noqa: S101 -- it waits for its first byte
        try:
            first = self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            first = b""
        if not first:
            self._end("left")
        elif first[0] == HANDSHAKE_RECORD:
            self._begun_tls = True
            self._owner.backlog.add(self)
        else:
            self._refuse_plaintext(self._socket)
        return True

    def _refuse_plaintext(self, connection: socket.socket) -> None:
        logger.debug("a client at %s speaks plaintext to the port for TLS", self.peer.decode())
        _say(connection, self._owner.plaintext_answer())
        self._end("plaintext")

    def _stop_reading(self) -> None:
        if self._socket is not None and not self._begun_tls:
            asyncio.get_running_loop().remove_reader(self._socket)

    # -- the handshake --------------------------------------------------------------------------------------------

    def catch_up(self) -> bool:
        """Start the handshake; the backlog says when."""
        connection, self._socket = self._socket, None
        if connection is not None:
            self._task = asyncio.get_running_loop().create_task(self._shake(connection), name="TLS handshake")
            self._owner.tasks.add(self._task)
            self._task.add_done_callback(self._owner.tasks.discard)
        return False

    async def _shake(self, connection: socket.socket) -> None:
        outcome = "left"
        second = _second(connection)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self,
                connection,
                ssl=self._owner.context(),
                ssl_handshake_timeout=self._owner.host.head_timeout,
                ssl_shutdown_timeout=CLOSE_SECONDS,
            )
        except asyncio.CancelledError:
            if not self.outcome:  # not by `abort`
                raise
        except ssl.SSLError as error:
            outcome = "failed"
            logger.debug("a TLS handshake failed: %s", error.reason or error)
            if second is not None and isinstance(error, Failed):
                with socket.socket(fileno=second) as kept:
                    second = None
                    _say(kept, error.alert)
        except ConnectionAbortedError:
            outcome = "slow"
        except OSError as error:
            logger.debug("a client left during its TLS handshake: %s", error)
        finally:
            if second is not None:
                os.close(second)
            self._end(outcome)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done: from here on the connection belongs to the protocol that was agreed."""
        if self.outcome:
            cast("asyncio.Transport", transport).abort()
            return
        session = transport.get_extra_info("ssl_object")
        self._owner.resumed += bool(session.session_reused)
        self._end("done")
        self._owner.serve(cast("asyncio.Transport", transport), session.selected_alpn_protocol(), self._source)

    def _end(self, outcome: str) -> None:
        """Once."""
        if self.outcome:
            return
        self.outcome = outcome
        owner = self._owner
        owner.counts[outcome] += 1
        owner.host.deadlines.forget(self)
        owner.host.client_closed(self)
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    # -- as a client of the proxy ---------------------------------------------------------------------------------

    idle = False
    begun = True

    def on_deadline(self, now: float) -> None:
        self._cut("slow")

    def abort(self) -> None:
        self._cut("left")

    def evict(self) -> None:
        self._cut("evicted")

    def close_if_idle(self) -> bool:
        return False

    def wind_down(self, now: float, seconds: float) -> None:
        """It is no tunnel."""

    def _cut(self, outcome: str) -> None:
        self._stop_reading()
        self._end(outcome)
        if self._task is not None:
            self._task.cancel()


def _second(connection: socket.socket) -> int | None:
    """Another descriptor of the socket, while the first one is the event loop's. None if there are too many. A handshake that
    fails makes a socket of it, which costs several system calls."""
    try:
        return os.dup(connection.fileno())
    except OSError:
        return None


def _say(connection: socket.socket, last: bytes) -> None:
    """The last bytes to a client that is refused. They have room in the kernel, or the client reads nothing."""
    with contextlib.suppress(BlockingIOError):
        connection.recv(DROPPED_BYTES)
    with contextlib.suppress(OSError):
        connection.send(last)
        connection.shutdown(socket.SHUT_WR)
