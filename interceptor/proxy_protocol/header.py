"""The header of the PROXY protocol, versions 1 and 2, out of bytes in whatever pieces they arrive. Pure.

Specification: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt

Never takes a byte of what follows the header: `wants` says how many bytes belong to it for certain, and the caller reads no more
than these. So the connection can be handed to any protocol afterwards, as if the header had never been there: to TLS, for
example, which cannot be given bytes that were read before.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from fleet.defaults import PORT_LIMIT

__all__ = ["LONGEST_V1", "LONGEST_V2", "HeaderError", "HeaderReader"]

LONGEST_V1: Final = 107
"""Bytes of a header of version 1 with its line end, as the specification counts them."""
LONGEST_V2: Final = 4096
"""Bytes of a header of version 2: addresses take up to 216, the rest is for additional values (TLVs), such as a client's
certificate. The format allows 64 KiB, which no load balancer needs; other servers have the same bound."""
SHORTEST: Final = 15
"""Bytes that every header has: those of "PROXY UNKNOWN" and the line end. The fixed part of version 2 is one byte longer."""

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_WORD: Final = b"PROXY "
_FIXED: Final = 16
"""Bytes of version 2 before the addresses."""
_LEAST: Final = {b"TCP4": 7, b"TCP6": 2}
"""Characters of the shortest address of each family: "0.0.0.0" and "::"."""
_ALLOWED: Final = frozenset(b"0123456789abcdefABCDEF:. \r\n")
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_SIZES: Final = {0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216}
"""By address family and transport (unspecified; and TCP over IPv4, over IPv6, and over Unix sockets): bytes of the addresses."""


class HeaderError(Exception):
    """The bytes are no header of the PROXY protocol. The message says why, for people."""


class HeaderReader:
    """One header. `source` is the client's address; empty where the header gives none (LOCAL, UNKNOWN, a Unix socket), so that
    the address of the connection itself counts."""

    __slots__ = ("_data", "done", "source", "wants")

    def __init__(self) -> None:
        self._data = b""
        self.wants = SHORTEST
        """How many bytes belong to the header for certain, and are missing. 0 when it is complete."""
        self.done = False
        self.source = ""

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """Take up to `wants` bytes. Raises HeaderError as soon as they cannot be the beginning of a header."""
        data = self._data = self._data + data
        if data.startswith(_SIGNATURE[: len(data)]):
            self._feed_v2(data)
        elif data.startswith(_WORD[: len(data)]):
            self._feed_v1(data)
        else:
            raise HeaderError("a connection begins without the header of the PROXY protocol")
        self.done = not self.wants

    def _feed_v1(self, data: bytes) -> None:
        if len(data) < SHORTEST:
            self.wants = SHORTEST - len(data)
        elif data.endswith(b"\n"):
            self.source = _source_of_line(data)
            self.wants = 0
        else:
            self.wants = _least_left(data)
            if len(data) + self.wants > LONGEST_V1:
                raise HeaderError(f"a line of more than {LONGEST_V1} bytes")

    def _feed_v2(self, data: bytes) -> None:
        if len(data) < SHORTEST:
            self.wants = SHORTEST - len(data)
        elif len(data) < _FIXED:
            self.wants = _FIXED - len(data)
        else:
            self.wants = _size_of_v2(data) - len(data)
            if not self.wants:
                self.source = _source_of_v2(data)


def _least_left(line: bytes) -> int:
    """How many bytes are missing at least of a line of version 1."""
    kind, words = _words(line)
    ending = line.endswith(b"\r")
    if b"\r" in line[:-1] or b"\n" in line:
        raise HeaderError("a line of version 1 ends otherwise than with CR LF")
    if kind == b"UNKNOWN":  # what follows is ignored, whatever it is
        return 1 if ending else 2
    least = (_LEAST[kind], _LEAST[kind], 1, 1)
    missing = len(least) - len(words)
    if missing < 0:
        raise HeaderError("too many words in a line of version 1")
    if ending:
        return 1
    begun = least[len(words) - 1] - len(words[-1])
    return max(0, begun) + missing + sum(least[len(words) :]) + 2


def _source_of_line(line: bytes) -> str:
    """The client's address of a line of version 1 that has ended."""
    if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\n" in line[:-2]:
        raise HeaderError("a line of version 1 ends otherwise than with CR LF")
    kind, words = _words(line[:-2])
    if kind == b"UNKNOWN":
        return ""
    if len(words) != 4:
        raise HeaderError("not two addresses and two ports")
    source, destination, *ports = (word.decode("ascii") for word in words)
    parse = IPv4Address if kind == b"TCP4" else IPv6Address
    try:
        parse(destination)
        address = str(parse(source))
    except ValueError:
        raise HeaderError("an address that is none") from None
    for port in ports:
        if not port.isdigit() or (port.startswith("0") and port != "0") or int(port) > PORT_LIMIT:
            raise HeaderError("a port that is none")
    return address


def _words(line: bytes) -> tuple[bytes, list[bytes]]:
    """The family and what follows it, with at least one word for an address. Raises HeaderError for an unknown family."""
    _, kind, *words = line.split(b" ")
    if kind in _LEAST and words:
        if not _ALLOWED.issuperset(line[len(_WORD) + len(kind) :]):
            raise HeaderError("characters that no address has")
        return kind, words
    if kind.rstrip(b"\r") == b"UNKNOWN":
        return b"UNKNOWN", words
    raise HeaderError("neither TCP4, TCP6 nor UNKNOWN")


def _size_of_v2(data: bytes) -> int:
    """Bytes of a header whose fixed part is here."""
    command, family = data[12], data[13]
    size = _FIXED + int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise HeaderError("neither version 2 nor a command that it has")
    if size > LONGEST_V2:
        raise HeaderError(f"a header of {size} bytes, more than {LONGEST_V2}")
    if command == _PROXY:
        if family not in _SIZES:
            raise HeaderError(f"addresses of an unknown kind, {family:#04x}")
        if size < _FIXED + _SIZES[family]:
            raise HeaderError("addresses that are cut short")
    return size


def _source_of_v2(data: bytes) -> str:
    """The client's address of a header that is complete."""
    if data[12] == _PROXY and data[13] == 0x11:
        return str(IPv4Address(data[16:20]))
    if data[12] == _PROXY and data[13] == 0x21:
        return str(IPv6Address(data[16:32]))
    return ""
