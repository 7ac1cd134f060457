"""What a client of TLS says first: the server name (SNI) and the protocols (ALPN) of its ClientHello. Pure.

The hello may come in any pieces, and in several records. Each byte is looked at a bounded number of times, and no more than
`LONGEST_HELLO` bytes are taken.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LONGEST_HELLO", "HelloError", "HelloReader"]

LONGEST_HELLO: Final = 16 * 1024
"""Bytes of the records of one hello. Those with keys for post-quantum exchanges have about 2 KiB."""
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_ALPN: Final = 16
_DECODE_ERROR: Final = 50
_RECORD: Final = 5


class HelloError(Exception):
    """No valid ClientHello; `alert` is the description of TLS for it."""

    alert = _DECODE_ERROR


class HelloReader:
    """Takes the first bytes of a connection. `is_tls` is None until the first byte."""

    __slots__ = ("_at", "_body", "_size", "alpn", "done", "is_tls", "name")

    def __init__(self) -> None:
        self._at = 0
        self._body = bytearray()
        self._size = 0
        self.is_tls: bool | None = None
        self.done = False
        self.name = ""
        """In lower case; "" without one."""
        self.alpn: tuple[str, ...] = ()

    def feed(self, data: bytes | bytearray) -> None:
        """`data` is everything since the first byte. Raises HelloError."""
        if self.is_tls is None and data:
            self.is_tls = data[0] == _HANDSHAKE
            self.done = not self.is_tls
        while not self.done and len(data) >= self._at + _RECORD:
            kind, length = data[self._at], int.from_bytes(data[self._at + 3 : self._at + 5], "big")
            if kind != _HANDSHAKE or data[self._at + 1] != 3 or not 0 < length <= LONGEST_HELLO:
                raise HelloError("a record that is none of a handshake")
            end = self._at + _RECORD + length
            if end > LONGEST_HELLO:
                raise HelloError(f"a ClientHello of more than {LONGEST_HELLO} bytes")
            if len(data) < end:
                return
            self._body += data[self._at + _RECORD : end]
            self._at = end
            self._look()

    def _look(self) -> None:
        body = self._body
        if body[0] != _CLIENT_HELLO:
            raise HelloError("a handshake that does not begin with a ClientHello")
        if len(body) < 4:
            return
        size = 4 + int.from_bytes(body[1:4], "big")
        if size > LONGEST_HELLO:
            raise HelloError(f"a ClientHello of more than {LONGEST_HELLO} bytes")
        if len(body) >= size:
            self._read(bytes(body[4:size]))
            self._body = bytearray()
            self.done = True

    def _read(self, hello: bytes) -> None:
        fields = _Fields(hello)
        fields.take(34)  # version and random
        fields.block(1)
        fields.block(2)
        fields.block(1)
        if fields.left:
            self._read_extensions(_Fields(fields.block(2)))

    def _read_extensions(self, extensions: _Fields) -> None:
        while extensions.left:
            kind, content = extensions.number(2), _Fields(extensions.block(2))
            if kind == _SERVER_NAME and not self.name:
                self.name = _name(content)
            elif kind == _ALPN and not self.alpn:
                names = _Fields(content.block(2))
                found = []
                while names.left:
                    found.append(names.block(1).decode("ascii", "replace"))
                self.alpn = tuple(found)


def _name(content: _Fields) -> str:
    names = _Fields(content.block(2))
    while names.left:
        kind, name = names.number(1), names.block(2)
        if kind == 0:
            return name.decode("ascii", "replace").lower().removesuffix(".")
    return ""


class _Fields:
    """Reads lengths and what they announce. Raises HelloError where there is less."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise HelloError("a ClientHello that is cut short")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size: int) -> bytes:
        return self.take(self.number(size))
