"""The worst clients known: cheap for them, and expensive for a proxy that processes all their input at once. And their backend.

    python -m tests.support.senders NAME PORT HOST [ended]  sends until its standard input ends, and prints what it has sent
    python -m tests.support.senders backend PORT [HOW]      answers as the path says; HOW is `daemon` without standard input

It prints "ready" when all connections are active, or, with `ended`, when the proxy has ended one of them.

Everything is sent from prepared buffers, and responses are dropped without parsing, so that a sender needs a fraction of the
proxy's CPU time. A connection that is refused is replaced at once.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.support.h2_attacks import ATTACKS, Made
from tests.support.idle_loop import IdleLoop, give_way

__all__ = ["SENDERS", "SMALL", "UNKNOWN_HOST", "Sender"]

SMALL = "/small"
"""Path of a small response."""
UNKNOWN_HOST = "nobody.bench.localhost"
"""A host without a route."""

WALL_BYTES = 256 * 1024
"""Bytes written to a socket at once: more than it accepts."""
PIECES = 64
"""Small pieces that a connection sends before the next connection gets its turn."""
REOPEN_SECONDS = 0.01
"""Pause before a refused connection is opened again. A flood of new connections would be another attack."""
ENDLESS = 1 << 40
"""Length of a body that is never sent completely."""
INTERIM = 5000
FEW_INTERIM = 30
"""A number of interim responses that a proxy should accept; Weir accepts 32."""
TRAILERS = 5000
"""Trailers in 20 KB, of which 10 KB are names and values."""
HEAD_BYTES = 30_000

_ONE_BYTE_CHUNK = b"1\r\na\r\n"


def _wall(brick: bytes) -> bytes:
    return brick * max(1, WALL_BYTES // len(brick))


def _head(line: bytes, *fields: bytes, host: bytes = b"{host}") -> bytes:
    return b"\r\n".join((line + b" HTTP/1.1", b"Host: " + host, *fields)) + b"\r\n\r\n"


def _get(path: str, **named: bytes) -> bytes:
    return _head(b"GET " + path.encode(), **named)


@dataclass(frozen=True)
class Sender:
    """What each of its connections sends: first the opening, then the wall (many bricks), repeatedly."""

    what: str
    """A description for tables."""
    opening: bytes = b""
    """`{host}` in it, and in the brick, is replaced by the host of this module's backend."""
    brick: bytes = b""
    """The unit of the wall; without one, nothing is sent after the opening."""
    piece: int = 0
    """Bytes per write, each a packet of its own; 0: as many as the socket accepts."""
    connections: int = 1
    awaits: bool = False
    """Whether the wall begins after the response to the opening."""
    http2: Callable[[bytes], Made] | None = None
    """Over HTTP/2: makes the opening and the brick for a host, since its blocks contain the lengths of values."""
    ends: bool = False
    """Whether each connection is to be ended by the proxy."""

    def made(self, host: bytes) -> Made:
        """The opening and the brick."""
        if self.http2 is not None:
            return self.http2(host)
        return self.opening.replace(b"{host}", host), self.brick.replace(b"{host}", host)


_CHUNKS = _head(b"POST /sink", b"Transfer-Encoding: chunked")
_TUNNEL = _head(
    b"GET /tunnel",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
_LONG_HEAD = _head(b"GET /small", b"X-Long: ".ljust(HEAD_BYTES, b"l"))

SENDERS = {
    "chunks": Sender("one-byte chunks", _CHUNKS, _ONE_BYTE_CHUNK),
    "tunnel-pieces": Sender("one-byte pieces in a tunnel", _TUNNEL, b"p", piece=1, awaits=True),
    "tunnel-bulk": Sender("a tunnel at full speed", _TUNNEL, b"b", awaits=True),
    "pipelined": Sender("pipelined small requests", brick=_get(SMALL)),
    "pipelined-404": Sender("pipelined requests without a route", brick=_get(SMALL, host=UNKNOWN_HOST.encode())),
    "heads": Sender("50 heads of 30 KB, byte by byte", brick=_LONG_HEAD, piece=1, connections=50),
    "trailers": Sender(
        f"{TRAILERS:,} trailers a request",
        brick=_head(b"POST /trailers", b"Transfer-Encoding: chunked") + b"0\r\n" + b"a:\r\n" * TRAILERS + b"\r\n",
    ),
    "empty-lines": Sender("empty lines", brick=b"\r\n"),
    "interim": Sender(f"{INTERIM:,} interim answers of a backend", brick=_get("/interim")),
    "interim-large": Sender("interim answers of a backend, each of 1,000 fields", brick=_get("/interim-large")),
    "interim-few": Sender(f"{FEW_INTERIM} interim answers of a backend", brick=_get("/interim-few")),
    "answer-chunks": Sender("one-byte chunks of a backend", _get("/chunks")),
    "upload": Sender("an upload", _head(b"PUT /sink", b"Content-Length: %d" % ENDLESS), b"u"),
    "download": Sender("a download", _get("/download")),
    **{
        name: Sender(attack.what, http2=attack.made, connections=attack.connections, ends=attack.ends)
        for name, attack in ATTACKS.items()
    },
    # Last, because a proxy may be busy with their input long after they have ended.
    "chunks-20": Sender("one-byte chunks, 20 connections", _CHUNKS, _ONE_BYTE_CHUNK, connections=20),
}


@dataclass(frozen=True)
class _Answer:
    """The backend's response to a head."""

    opening: bytes = b""
    brick: bytes = b""
    last: bool = True
    """Whether all later input is dropped."""
    trailed: bool = False
    """Whether the request has trailers, so that it ends at another empty line."""


_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_INTERIM = b"HTTP/1.1 103 x\r\n\r\n"
_LARGE_INTERIM = b"HTTP/1.1 103 x\r\n" + b"Link: <>\r\n" * 1000 + b"\r\n"
_SMALL_ANSWER = _Answer(_OK, last=False)
_ANSWERS = {
    b"/sink": _Answer(),
    b"/tunnel": _Answer(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    ),
    b"/trailers": _Answer(_OK, last=False, trailed=True),
    b"/interim": _Answer(_INTERIM * INTERIM + _OK, last=False),
    b"/interim-large": _Answer(_LARGE_INTERIM * FEW_INTERIM + _OK, last=False),
    b"/interim-few": _Answer(_INTERIM * FEW_INTERIM + _OK, last=False),
    b"/chunks": _Answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", _ONE_BYTE_CHUNK),
    b"/download": _Answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % ENDLESS, b"d"),
}
_WALLS: dict[bytes, bytes] = {}
"""Walls by brick, shared by all connections."""

_BUFFER = bytearray(WALL_BYTES)
_DROPPED = socket.MSG_TRUNC if sys.platform == "linux" else 0
"""Flag with which received data is dropped by the kernel without a copy."""


class _Stream:
    """A connection of either side, which reports received data until `drop` is called."""

    def __init__(self, loop: IdleLoop, connection: socket.socket) -> None:
        self._loop = loop
        self._socket = connection
        self._unsent = b""
        self._wall = memoryview(b"")
        self._at = self._piece = 0
        self._drops = False
        self._writes = False
        self.sent = self.received = 0
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop.selector.register(connection, selectors.EVENT_READ, self._happens)

    def send(self, data: bytes) -> None:
        self._unsent += data
        self._asks(True)

    def build(self, brick: bytes, *, piece: int = 0, skipped: int = 0) -> None:
        """Send this repeatedly, beginning `skipped` bytes inside it."""
        if brick not in _WALLS:
            _WALLS[brick] = _wall(brick)
        self._wall, self._piece, self._at = memoryview(_WALLS[brick]), piece, skipped
        self._asks(True)

    def drop(self) -> None:
        """From now on drop received data."""
        self._drops = True

    def heard(self, data: bytes) -> None:
        raise NotImplementedError

    def ended(self) -> None:
        """The connection was closed."""

    def _asks(self, writes: bool) -> None:
        if writes != self._writes:
            self._writes = writes
            events = selectors.EVENT_READ | selectors.EVENT_WRITE if writes else selectors.EVENT_READ
            self._loop.selector.modify(self._socket, events, self._happens)

    def _happens(self) -> None:
        """Try to read and to write; checking which of them is possible would cost as much."""
        try:
            if self._writes:
                self._write()
            self._read()
        except OSError:
            self._end()

    def _write(self) -> None:
        try:
            if self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            elif self._piece:
                for _ in range(PIECES):
                    self._lay(self._piece)
            elif self._wall:
                self._lay(len(self._wall))
            else:
                self._asks(False)
        except BlockingIOError:
            pass

    def _lay(self, count: int) -> None:
        sent = self._socket.send(self._wall[self._at : self._at + count])
        self.sent += sent
        self._at += sent
        if self._at >= len(self._wall):
            self._at = 0

    def _read(self) -> None:
        try:
            count = self._socket.recv_into(_BUFFER, 0, _DROPPED if self._drops else 0)
        except BlockingIOError:
            return
        if not count:
            self._end()
            return
        self.received += count
        if not self._drops:
            self.heard(bytes(_BUFFER[:count]))

    def _end(self) -> None:
        self._loop.selector.unregister(self._socket)
        self._socket.close()
        self.ended()


class _Client(_Stream):
    """One of a sender's connections."""

    def __init__(self, clients: _Clients, number: int) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", clients.port))
        super().__init__(clients, connection)
        self._clients = clients
        self._number = number
        self.send(clients.opening)
        if not clients.sender.awaits:
            self._begin()

    def heard(self, data: bytes) -> None:
        clients = self._clients
        clients.first = clients.first or data[:40]
        if clients.sender.awaits:
            self._begin()
        self.drop()

    def ended(self) -> None:
        clients = self._clients
        clients.sent += self.sent
        clients.received += self.received
        self.sent = self.received = 0
        clients.later(REOPEN_SECONDS, partial(clients.connect, self._number))

    def _begin(self) -> None:
        """With small pieces, the connections begin at different offsets, so that one is always at the worst position."""
        clients, sender = self._clients, self._clients.sender
        if not clients.brick:
            return
        skipped = self._number * len(clients.brick) // sender.connections if sender.piece else 0
        self.send(clients.brick[:skipped])
        self.build(clients.brick, piece=sender.piece, skipped=skipped)


class _Clients(IdleLoop):
    """All connections of a sender."""

    def __init__(self, sender: Sender, port: int, host: bytes) -> None:
        super().__init__()
        self.sender, self.port = sender, port
        self.opening, self.brick = sender.made(host)
        self.sent = self.received = self.opened = 0
        self.first = b""
        self.clients: dict[int, _Client] = {}
        for number in range(sender.connections):
            self.connect(number)

    def connect(self, number: int) -> None:
        self.opened += 1
        self.clients[number] = _Client(self, number)

    def under_way(self) -> bool:
        """Whether every connection has sent or received something, or has been refused."""
        return self.opened > self.sender.connections or all(client.sent + client.received for client in self.clients.values())

    def any_ended(self) -> bool:
        return self.opened > self.sender.connections

    def moved(self) -> dict[str, int | str]:
        sent = self.sent + sum(client.sent for client in self.clients.values())
        received = self.received + sum(client.received for client in self.clients.values())
        return {"sent": sent, "received": received, "opened": self.opened, "first": self.first.decode("latin-1")}


class _Backend(_Stream):
    """A connection that a proxy opened to the backend."""

    def __init__(self, loop: IdleLoop, connection: socket.socket) -> None:
        super().__init__(loop, connection)
        self._data = b""

    def heard(self, data: bytes) -> None:
        self._data = (self._data + data).lstrip(b"\r\n")
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            answer = _ANSWERS.get(self._data.split(b" ", 2)[1], _SMALL_ANSWER)
            if answer.trailed and (end := self._data.find(b"\r\n\r\n", end + 4)) < 0:
                return
            self._data = self._data[end + 4 :]
            self.send(answer.opening)
            if answer.last:
                self.drop()
                if answer.brick:
                    self.build(answer.brick)
                return


def _accept(loop: IdleLoop, listener: socket.socket) -> Callable[[], None]:
    def accept() -> None:
        try:
            _Backend(loop, listener.accept()[0])
        except BlockingIOError:
            return

    return accept


def _serve(port: int, *, daemon: bool) -> None:
    _leave_the_first_processor()
    loop = IdleLoop()
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    loop.selector.register(listener, selectors.EVENT_READ, _accept(loop, listener))
    if daemon:
        while loop.turn():
            pass
    else:
        loop.run(lambda: True)


def _leave_the_first_processor() -> None:
    """`tests.support.neighbour.apart` reserves it for the proxy."""
    if sys.platform == "linux" and len(processors := os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, processors - {min(processors)})


def _main(name: str, port: int, more: str = "", ended: str = "") -> None:
    if name == "backend":
        give_way()
        _serve(port, daemon=more == "daemon")
        return
    clients = _Clients(SENDERS[name], port, more.encode())
    clients.run(clients.any_ended if ended else clients.under_way)
    print(json.dumps(clients.moved()), flush=True)  # noqa: T201 -- it is a command


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
