"""Queries and answers of DNS (RFC 1035, RFC 3596), for addresses only. Bytes and values; no I/O.

A parser of our own, because answers are read on the event loop that carries requests: a general library takes 40 µs for each
record and half a second for the largest answer; this one about a millisecond. Every loop is bounded by the length of the message.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

__all__ = ["AAAA", "MAX_MESSAGE", "NO_ERROR", "NX_DOMAIN", "A", "Answer", "WireError", "name_bytes", "parse_answer", "query"]

A: Final = 1
AAAA: Final = 28
_CNAME: Final = 5
_SOA: Final = 6
_IN: Final = 1
NO_ERROR: Final = 0
NX_DOMAIN: Final = 3

MAX_MESSAGE: Final = 16 * 1024
"""Bytes of one answer that are read: about a thousand addresses. An answer over TCP may have four times as many."""
MAX_CHAIN: Final = 16
"""Names in one chain of CNAMEs; resolvers give up at 8 to 16."""
MAX_JUMPS: Final = 16
"""Compression pointers in one name. Names as servers write them have one or two."""
LONGEST_NAME: Final = 255
LONGEST_TTL: Final = 0x7FFFFFFF
"""Seconds. A larger one is taken as 0 (RFC 2181 section 8)."""

_HEADER: Final = struct.Struct("!HHHHHH")
_QUESTION: Final = struct.Struct("!HH")
_RECORD: Final = struct.Struct("!HHIH")
_QR: Final = 0x8000
_TC: Final = 0x0200
_RD: Final = 0x0100
_OPCODE: Final = 0x7800
_CODE: Final = 0xF
_POINTER: Final = 0xC0
_LABELS: Final = 0x3F

_Found = dict[bytes, tuple[list[str], int]]
"""Addresses by their owner, and the lowest TTL of them."""


class WireError(ValueError):
    """A message is malformed. One line."""


class Answer(NamedTuple):
    """What a server answered to one question."""

    code: int
    """NO_ERROR, NX_DOMAIN, or another that means that the server could not answer."""
    truncated: bool
    """Whether the rest is only to be had over TCP; then there is nothing else here."""
    addresses: tuple[str, ...] = ()
    ttl: int = 0
    """Seconds for which all of it is valid: of the chain and of the addresses, or of the news that there are none."""


def name_bytes(name: str) -> bytes:
    """A name as messages carry it, in lower case. The name is one that `fleet.routing.outside.is_dns_name` takes."""
    labels = [label.encode("ascii") for label in name.lower().removesuffix(".").split(".")]
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\x00"


def query(number: int, name: bytes, kind: int) -> bytes:
    """A question to a recursive server."""
    return _HEADER.pack(number, _RD, 1, 0, 0, 0) + name + _QUESTION.pack(kind, _IN)


def parse_answer(data: bytes, number: int, name: bytes, kind: int) -> Answer | None:
    """The answer to a question; None if the message is no answer to it, so that the right one may still come. Raises
    WireError."""
    if len(data) < _HEADER.size:
        return None
    found, flags, questions, *counts, _ = _HEADER.unpack_from(data)
    if found != number or not flags & _QR or flags & _OPCODE:
        return None
    code = flags & _CODE
    says = code in (NO_ERROR, NX_DOMAIN)
    reader = _Reader(data)
    if questions == 0 and not says:  # some servers do not repeat the question that they refuse
        return Answer(code, truncated=False)
    if questions != 1 or reader.name() != name or reader.take(_QUESTION) != (kind, _IN):
        return None
    if not says or flags & _TC:
        return Answer(code, truncated=says)
    return _answer(reader, code, (name, kind), counts)


def _answer(reader: _Reader, code: int, asked: tuple[bytes, int], counts: list[int]) -> Answer:
    name, kind = asked
    answers, authorities = counts
    aliases: dict[bytes, tuple[bytes, int]] = {}
    found: _Found = {}
    for _ in range(answers):
        reader.record(kind, aliases, found)
    ttl, seen = LONGEST_TTL, 0
    while name in aliases and name not in found:
        name, seconds = aliases[name]
        ttl, seen = min(ttl, seconds), seen + 1
        if seen > MAX_CHAIN:
            raise WireError("a chain of CNAMEs that is too long, or a circle")
    if name in found:
        addresses, seconds = found[name]
        return Answer(NO_ERROR, truncated=False, addresses=tuple(dict.fromkeys(addresses)), ttl=min(ttl, seconds))
    for _ in range(authorities):
        ttl = min(ttl, reader.negative_ttl())
    return Answer(code, truncated=False, ttl=0 if ttl == LONGEST_TTL else ttl)


class _Reader:
    """Reads one message from its header on."""

    __slots__ = ("_at", "_data", "_names")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = _HEADER.size
        self._names: dict[int, bytes] = {}
        """Names by where they begin: most records point to the same one."""

    def take(self, form: struct.Struct) -> tuple[int, ...]:
        try:
            values: tuple[int, ...] = form.unpack_from(self._data, self._at)
        except struct.error as error:
            raise WireError("ends in the middle") from error
        self._at += form.size
        return values

    def name(self) -> bytes:
        """In lower case, without compression."""
        start = self._at
        name, self._at = self._name_at(start)
        return name

    def _name_at(self, start: int) -> tuple[bytes, int]:
        """A name, and where what follows it begins."""
        data, at, after, jumps, size = self._data, start, 0, 0, 1
        labels: list[bytes] = []
        while True:
            known = self._names.get(at)
            if known is not None:
                labels.append(known)
                size += len(known) - 1
                break
            length = self._byte(at)
            if length >= _POINTER:
                after = after or at + 2
                target = (length & _LABELS) << 8 | self._byte(at + 1)
                jumps += 1
                # Backwards only, so that it ends; what a pointer leads to stands before it.
                if target >= at or target < _HEADER.size or jumps > MAX_JUMPS:
                    raise WireError("a name that points to itself, or too often")
                at = target
                continue
            if length > _LABELS:
                raise WireError("a label of an unknown kind")
            labels.append(data[at : at + 1 + length])
            size += 1 + length
            at += 1 + length
            if length == 0:
                break
            if size > LONGEST_NAME:
                raise WireError("a name that is too long")
        if not after:
            after = at
        name = b"".join(labels).lower()
        if len(name) > LONGEST_NAME or at > len(data):
            raise WireError("a name that is too long, or ends in the middle")
        self._names[start] = name
        return name, after

    def _byte(self, at: int) -> int:
        try:
            return self._data[at]
        except IndexError as error:
            raise WireError("ends in the middle") from error

    def record(self, kind: int, aliases: dict[bytes, tuple[bytes, int]], found: _Found) -> None:
        """One record of the answer."""
        owner = self.name()
        this, group, ttl, length = self.take(_RECORD)
        data, ttl, begin = self._bytes(length), _sane(ttl), self._at - length
        if group != _IN:
            return
        if this == kind:
            if length != (4 if kind == A else 16):
                raise WireError("an address of the wrong length")
            addresses, lowest = found.get(owner, ([], LONGEST_TTL))
            addresses.append(_text(data))
            found[owner] = (addresses, min(lowest, ttl))
        elif this == _CNAME:
            target, _ = self._name_at(begin)
            aliases.setdefault(owner, (target, ttl))

    def negative_ttl(self) -> int:
        """Of one record of the authority: how long the news is valid that there is none, if it is the one to say so."""
        self.name()
        this, group, ttl, length = self.take(_RECORD)
        data = self._bytes(length)
        if this != _SOA or group != _IN or length < 4:
            return LONGEST_TTL
        return min(_sane(ttl), _sane(int.from_bytes(data[-4:], "big")))  # RFC 2308 section 5

    def _bytes(self, length: int) -> bytes:
        data = self._data[self._at : self._at + length]
        if len(data) < length:
            raise WireError("ends in the middle")
        self._at += length
        return data


def _sane(ttl: int) -> int:
    return 0 if ttl > LONGEST_TTL else ttl


def _text(data: bytes) -> str:
    return str(IPv4Address(data) if len(data) == 4 else IPv6Address(data))
