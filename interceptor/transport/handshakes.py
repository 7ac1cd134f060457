"""From an accepted socket to a connection over TLS: the first byte, the handshake, and their time limit. Knows no HTTP.

Until its handshake is done, a connection is a client that has not begun (`interceptor.clients`), with the time limit of a head.
Before its first byte nothing is allocated for TLS: clients that send nothing cost little, and those that speak plaintext get an
answer that says so. Handshakes are started from the backlog, some in each turn of the event loop, because each costs as much as
dozens of requests. The alert of one that fails, which says why, is sent to the client.

OpenSSL is driven here and in encrypted.py, by Python's SSLObject. The engines that could be used instead, with the CPU of a
connection with a full handshake, one request and the end:

- uvloop's, by `connect_accepted_socket`: a quarter more, for its task, timers and a buffer of 256 KiB; as much for small
  requests on open connections (32 bytes, 50 connections, 31 µs) and for large bodies. It drops the alert.
- aiofastnet's: not measured. For small requests it takes less, but its fast engine makes OpenSSL's objects itself, out of the
  memory of Python's SSLContext, so Python's `sni_callback` does not find its own object there, and the process crashes (1.2.0,
  Python 3.11): certificates could not be chosen by name. Its other engine is Python's again.

What is left is mostly OpenSSL's: of some 300 µs while it is warm, reading the ClientHello and signing takes 240, a session
ticket 27, and the choice of a certificate by name 8.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol, cast

from fleet.runtime.backlog import Backlog
from interceptor.transport.encrypted import Deadlines, EncryptedTransport, Engine
from interceptor.transport.tcp import BODY_VIEW
from interceptor.trust import plain_address

__all__ = ["MAX_FIRST", "OUTCOMES", "Handshake", "Handshakes", "Host"]

OUTCOMES: Final = ("done", "failed", "slow", "left", "plaintext", "evicted")
"""How handshakes end: done; failed, as the two sides could not agree; the time limit passed; the client left before the end; it
does not speak TLS; it had to make room for others."""
HANDSHAKE_RECORD: Final = 0x16
"""The first byte of every TLS connection: the type of the record with the ClientHello (RFC 8446 5.1)."""
HELLO_VIEW: Final = BODY_VIEW[: 64 * 1024]
"""For reads during handshakes. Large, because closing a socket with unread data resets the connection, and with it a refusal."""
MAX_FIRST: Final = 16 * 1024
"""Bytes that are kept of a client whose handshake is in the backlog; beyond that, reading is paused."""

logger = logging.getLogger(__name__)


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
        self._tasks: set[asyncio.Task[None]] = set()

    def new(self) -> Handshake:
        """The protocol of a connection that the event loop accepts."""
        return Handshake(self)

    def accept(self, connection: socket.socket, source: str = "") -> None:
        """Begin with an accepted, non-blocking socket. `source` is the client's address, if a load balancer has sent it."""
        handshake = Handshake(self)
        handshake.open((source,) if source else _peer(connection), source)
        task = asyncio.get_running_loop().create_task(_connect(handshake, connection), name="TLS client")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for sockets that become transports now."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Handshake(asyncio.BufferedProtocol):
    """One client until its handshake is done. A `Client` of the proxy meanwhile, and the protocol of its transport."""

    __slots__ = ("_engine", "_first", "_owner", "_raw", "_source", "bucket", "deadline", "outcome", "peer", "since")

    protocol = "TLS"
    requests = 0
    trusted = False

    def __init__(self, owner: Handshakes) -> None:
        self._owner = owner
        self._raw: asyncio.Transport | None = None
        self._engine: Engine | None = None
        """Once the handshake has begun."""
        self._first = b""
        """What was read before that."""
        self._source = ""
        self.peer = b""
        self.since = 0.0
        self.deadline = 0.0
        self.bucket = 0
        self.outcome = ""
        """One of OUTCOMES, once it has ended."""

    @property
    def activity(self) -> str:
        """For people."""
        return "handshake"

    def open(self, address: object, source: str = "") -> None:
        """Count as a client from now on."""
        self._source = source
        self.peer = plain_address(address[0]).encode() if address and isinstance(address, tuple) else b"unknown"
        host = self._owner.host
        self.since = host.clock()
        self.deadline = self.since + host.head_timeout
        host.client_opened(self)
        host.deadlines.watch(self)

    # -- of the transport -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        raw = self._raw = cast("asyncio.Transport", transport)
        if not self.peer:
            self.open(raw.get_extra_info("peername"))
        if self.outcome:
            raw.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return HELLO_VIEW

    def buffer_updated(self, nbytes: int) -> None:
        data = HELLO_VIEW[:nbytes]
        if self._engine is not None:
            self._engine.incoming.write(data)
            self._shake(self._engine)
        elif self.outcome:
            return
        elif self._first or data[0] == HANDSHAKE_RECORD:
            if not self._first:
                self._owner.backlog.add(self)
            self._first += data
            if len(self._first) >= MAX_FIRST:
                self._transport.pause_reading()
        else:
            logger.debug("a client at %s speaks plaintext to the port for TLS", self.peer.decode())
            self._say(self._owner.plaintext_answer())
            self._end("plaintext")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.outcome:
            logger.debug("a client left during its TLS handshake: %s", exc)
        self._end("left")

    @property
    def _transport(self) -> asyncio.Transport:
        assert self._raw is not None  # noqa: S101 -- it is connected
        return self._raw

    # -- the handshake ----------------------------------------------------------------------------------------------

    def catch_up(self) -> bool:
        """Start the handshake; the backlog says when."""
        if not self.outcome:
            engine = self._engine = Engine.server(self._context())
            engine.incoming.write(self._first)
            if len(self._first) >= MAX_FIRST:
                self._transport.resume_reading()
            self._first = b""
            self._shake(engine)
        return False

    def _shake(self, engine: Engine) -> None:
        """Take a step, with what was read."""
        try:
            engine.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._transport.write(engine.outgoing.read())
            return
        except ssl.SSLError as error:
            logger.debug("a TLS handshake failed: %s", error.reason or error)
            self._say(engine.outgoing.read())  # the alert says why
            self._end("failed")
            return
        raw, owner = self._transport, self._owner
        if engine.outgoing.pending:
            raw.write(engine.outgoing.read())  # session tickets
        if raw.is_closing():
            return
        host = owner.host
        transport = EncryptedTransport(raw, engine, host.deadlines, host.clock)
        raw.set_protocol(transport)
        owner.resumed += bool(engine.tls.session_reused)
        self._end("done")
        self._serve(cast("asyncio.Transport", transport), engine.tls.selected_alpn_protocol())
        if engine.incoming.pending:
            transport.take()

    def _context(self) -> ssl.SSLContext:
        return self._owner.context()

    def _serve(self, transport: asyncio.Transport, protocol: str | None) -> None:
        self._owner.serve(transport, protocol, self._source)

    def _say(self, last: bytes) -> None:
        """The last bytes to a client that is refused. They have room in the kernel, or the client reads nothing."""
        raw = self._transport
        if raw.is_closing():
            return
        raw.write(last)
        if raw.get_write_buffer_size():
            raw.abort()
        else:
            raw.close()

    def _end(self, outcome: str) -> None:
        """Once."""
        if self.outcome:
            return
        self.outcome = outcome
        self._first = b""
        owner = self._owner
        owner.counts[outcome] += 1
        owner.host.deadlines.forget(self)
        owner.host.client_closed(self)

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
        self._end(outcome)
        if self._raw is not None:
            self._raw.abort()


def _peer(connection: socket.socket) -> object:
    try:
        return connection.getpeername()
    except OSError:  # it has left already
        return None


async def _connect(handshake: Handshake, connection: socket.socket) -> None:
    try:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: handshake, connection)
    except OSError:  # the client has left
        handshake.abort()
        connection.close()
