"""A transport that encrypts (TLS), for the server's side of a connection whose handshake is done. Knows no HTTP.

It is the protocol of the transport beneath, and the transport of the protocol above. Event loops have one of their own, which
takes more CPU for a new connection and for a small request (figures in handshakes.py): it makes a task, timers and a buffer per
connection, and asks OpenSSL once more after each read, which answers with an exception.

Ciphertext is read into one buffer for all connections, as everything else is (tcp.py). What a connection keeps is bounded: of one
read, as long as the protocol above does not read on.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol, cast

from interceptor.transport.tcp import FULL_READ
from interceptor.transport.tls import CLOSE_SECONDS

__all__ = ["CIPHER_VIEW", "Deadlines", "EncryptedTransport", "Engine"]

CIPHER_VIEW: Final = memoryview(bytearray(256 * 1024))
"""For reads of all connections. OpenSSL's memory for a connection's unread input keeps the size that it once had, so this bounds
it. With a quarter of it, uploads of 100 KB and more cost a tenth more."""
RECORDS_A_TURN: Final = 256
"""Records that are decrypted in one turn of the event loop: of the smallest a read has thousands, which would take 16 ms."""
PLAIN_PART: Final = 64 * 1024
"""Plaintext that is encrypted at once. It bounds OpenSSL's memory for output in the same way."""


class Deadlines(Protocol):
    """Time limits."""

    def watch(self, thing: Any, /) -> None: ...
    def forget(self, thing: Any, /) -> None: ...


class Above(Protocol):
    """The protocol of an asyncio.BufferedProtocol, with the buffers that are used here."""

    def get_buffer(self, sizehint: int) -> memoryview: ...
    def buffer_updated(self, nbytes: int) -> None: ...
    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


class Engine(NamedTuple):
    """TLS without a socket."""

    tls: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO

    @classmethod
    def server(cls, context: ssl.SSLContext) -> Engine:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        return cls(context.wrap_bio(incoming, outgoing, server_side=True), incoming, outgoing)


class EncryptedTransport(asyncio.BufferedProtocol):
    """Has the methods of `asyncio.Transport` that this package uses."""

    __slots__ = (
        "_burst", "_clock", "_closing", "_congested", "_deadlines", "_ended", "_incoming", "_outgoing", "_paused",
        "_protocol", "_raw", "_read", "_stopped", "_tls", "_waits", "bucket", "deadline",
    )  # fmt: skip

    def __init__(self, raw: asyncio.Transport, engine: Engine, deadlines: Deadlines, clock: Callable[[], float]) -> None:
        self._raw = raw
        self._tls, self._incoming, self._outgoing = engine
        self._deadlines, self._clock = deadlines, clock
        self._read = cast("Callable[[int, memoryview], int]", self._tls.read)
        self._protocol: Above = _Nobody()
        self._paused = False
        """Whether the protocol has paused reading."""
        self._stopped = False
        """Whether the transport beneath does not read: while paused, and until all that was read before is passed on."""
        self._congested = False
        """Whether the peer reads so slowly that output is buffered beneath."""
        self._closing = False
        """Whether we have ended our side."""
        self._ended = False
        """Whether the peer has ended its side."""
        self._waits = False
        """Whether `_go_on` is to be called in a later turn."""
        self._burst = 0
        """Bytes of full reads that followed each other."""
        self.deadline = 0.0
        """For the peer's end, once we have ended our side."""
        self.bucket = 0

    # -- for the protocol above -----------------------------------------------------------------------------------

    def set_protocol(self, protocol: Above) -> None:
        self._protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "sslcontext":
            return self._tls.context
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int) -> None:
        self._raw.set_write_buffer_limits(high)

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self._closing or self._raw.is_closing()

    def write(self, data: bytes | memoryview) -> None:
        """Encrypt and send. The data is not kept."""
        if self._closing:
            return
        try:
            if len(data) <= PLAIN_PART:
                self._tls.write(data)
            else:
                self._write_parts(memoryview(data))
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._raw.write(self._outgoing.read())

    def _write_parts(self, data: memoryview) -> None:
        for at in range(0, len(data), PLAIN_PART):
            if at:
                self._raw.write(self._outgoing.read())
            self._tls.write(data[at : at + PLAIN_PART])

    def pause_reading(self) -> None:
        self._paused = True
        self._stop()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            if self._incoming.pending or self._tls.pending():
                self._yield()
            else:
                self._start()

    def close(self) -> None:
        """End our side, after everything that was written, and wait some seconds for the peer's end. Input is dropped."""
        if self._closing:
            return
        self._closing, self._paused = True, False
        with contextlib.suppress(ssl.SSLError):  # it wants the peer's end
            self._tls.unwrap()
        self._send()
        raw = self._raw
        if self._ended:
            raw.close()
            if not raw.get_write_buffer_size():
                return
        if not raw.is_closing() or self._ended:
            self.deadline = self._clock() + CLOSE_SECONDS
            self._deadlines.watch(self)
            self._drop()

    def abort(self) -> None:
        """Close at once; what is not sent is dropped."""
        self._closing = True
        self._raw.abort()

    # -- of the transport beneath -----------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        return CIPHER_VIEW

    def buffer_updated(self, nbytes: int) -> None:
        self._incoming.write(CIPHER_VIEW[:nbytes])
        if self._closing:
            self._drop()
            return
        if nbytes == len(CIPHER_VIEW):
            self._burst += nbytes
            if self._burst >= FULL_READ:  # some event loops read on as long as reads are full: others first
                self._yield()
        elif self._burst:
            self._burst = 0
        self.take()

    def eof_received(self) -> bool:
        """The peer has ended the connection, with or without saying so."""
        self._on_end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._deadlines.forget(self)
        protocol, self._protocol = self._protocol, _Nobody()
        protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._congested = True
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._congested = False
        self._protocol.resume_writing()

    def on_deadline(self, now: float) -> None:
        """The peer has not ended its side in time."""
        self._raw.abort()

    # -- reading ----------------------------------------------------------------------------------------------------

    def take(self) -> None:
        """Decrypt what was read, and pass it on: so many records in this turn, and the rest in later ones."""
        incoming, tls, read = self._incoming, self._tls, self._read
        left = RECORDS_A_TURN
        try:
            while not self._paused and not self._closing:
                view = self._protocol.get_buffer(-1)
                size, room, more = 0, len(view), 1
                left -= 1
                try:
                    more = size = read(room, view)  # one record, or nothing at the peer's end
                    # To ask for more than there is costs an exception.
                    while size < room and more and left > 0 and (incoming.pending or tls.pending()):
                        left -= 1
                        more = read(room - size, view[size:])
                        size += more
                except ssl.SSLWantReadError:
                    pass
                if size:
                    self._protocol.buffer_updated(size)
                if not more:
                    self._on_end()
                    return
                if not (incoming.pending or tls.pending()):
                    break
                if left <= 0:
                    self._yield()
                    break
        except ssl.SSLError as error:
            self._fail(error)
            return
        if self._outgoing.pending:
            self._answer()

    def _yield(self) -> None:
        """Let others have their turn, and go on with what was read before more is read."""
        self._stop()
        if not self._waits:
            self._waits = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """In a later turn: pass on what is left of the last read, or drop it, and then read on."""
        self._waits = False
        if self._closing:
            self._drop()
            return
        if self._paused:
            return
        if self._incoming.pending or self._tls.pending():
            self.take()
        self._start()

    def _stop(self) -> None:
        if not self._stopped and not self._raw.is_closing():
            self._stopped = True
            self._raw.pause_reading()

    def _start(self) -> None:
        """Read on, unless it is not to be yet."""
        if self._stopped and not (self._paused or self._waits or self._raw.is_closing()):
            self._stopped, self._burst = False, 0
            self._raw.resume_reading()

    def _answer(self) -> None:
        """Send what OpenSSL itself answers, as to a KeyUpdate. A peer that asks for more and more, and does not read, is cut."""
        if self._congested:
            self.abort()
        else:
            self._send()

    def _send(self) -> None:
        if self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())

    # -- the end ------------------------------------------------------------------------------------------------------

    def _on_end(self) -> None:
        """The peer has ended its side, and with it the connection."""
        self._ended = True
        if self._closing:
            self._raw.close()
            return
        self._protocol.eof_received()
        self.close()

    def _drop(self) -> None:
        """We have ended our side: drop input, until the peer has ended its own."""
        try:
            for _ in range(RECORDS_A_TURN):
                if not (self._incoming.pending or self._tls.pending()):
                    break
                if not self._read(len(CIPHER_VIEW), CIPHER_VIEW):
                    self._raw.close()
                    return
            else:
                self._yield()
                return
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:  # nonsense, or what is not allowed after our end
            self._raw.close()
            return
        self._start()

    def _fail(self, error: ssl.SSLError) -> None:
        """The peer has broken a rule of TLS: send the alert that says so, if there is room, and end."""
        if not self._congested:
            self._send()
        self.abort()


class _Nobody(asyncio.BufferedProtocol):
    """The protocol before there is one, and after the end."""

    def get_buffer(self, sizehint: int) -> memoryview:
        return CIPHER_VIEW
