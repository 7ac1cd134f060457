"""DNS for Services: answers A queries for NAME.NAMESPACE.svc.cluster.local over UDP, and NXDOMAIN for everything else.

A Service of type ExternalName is an alias (CNAME), which is followed if it names another Service, as in a cluster's DNS.
"""

import asyncio
import ipaddress
import struct
from collections.abc import Callable
from itertools import pairwise
from typing import cast

__all__ = ["DnsServer", "Lookup", "reply"]

SUFFIX = ("svc", "cluster", "local")
LIFETIME = 1
"""Seconds for which an answer may be cached."""
LONGEST_CHAIN = 8
"""Maximum chain of aliases that is followed, so that a cycle ends."""
TYPE_A, TYPE_CNAME, CLASS_IN = 1, 5, 1
HEADER = struct.Struct("!6H")
QUESTION = struct.pack("!H", 0xC00C)
"""A pointer to the name in the question (name compression)."""

Labels = tuple[str, ...]
Lookup = Callable[[str, str], list[str] | str]
"""The addresses of the Service with that namespace and name (empty if there is none), or another name."""


def reply(query: bytes, lookup: Lookup) -> bytes | None:
    """The answer to one query; None if it is not valid."""
    if len(query) < HEADER.size:
        return None
    number, flags, questions, *_ = HEADER.unpack_from(query)
    labels, end = _name(query)
    if flags & 0x8000 or questions != 1 or labels is None:
        return None
    kind, _ = struct.unpack_from("!2H", query, end)
    names, found = _followed(labels, lookup)
    owners = [QUESTION, *map(_encoded, names)]
    records = [_record(owner, TYPE_CNAME, alias) for owner, alias in pairwise(owners)]
    if kind == TYPE_A:
        records += [_record(owners[-1], TYPE_A, ipaddress.IPv4Address(address).packed) for address in found]
    code = 0 if names or found else 3
    # Flags: response, authoritative, recursion desired, recursion available.
    head = HEADER.pack(number, 0x8580 | code, 1, len(records), 0, 0)
    return head + query[HEADER.size : end + 4] + b"".join(records)


class DnsServer(asyncio.DatagramProtocol):
    """The server; it serves as soon as it is bound."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # the event loop's class does not inherit from it

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = reply(data, self._lookup)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


def _followed(labels: Labels, lookup: Lookup) -> tuple[list[Labels], list[str]]:
    """The chain of aliases of a name, and the addresses of the last one."""
    names: list[Labels] = []
    while len(names) < LONGEST_CHAIN:
        found = lookup(labels[1], labels[0]) if len(labels) == 5 and labels[2:] == SUFFIX else []
        if not isinstance(found, str):
            return names, found
        labels = tuple(found.lower().rstrip(".").split("."))
        names.append(labels)
    return names, []


def _encoded(labels: Labels) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def _name(query: bytes) -> tuple[Labels | None, int]:
    labels, position = [], HEADER.size
    while position < len(query) and query[position]:
        length = query[position]
        labels.append(query[position + 1 : position + 1 + length].decode("ascii", "replace").lower())
        position += 1 + length
    # A zero byte, type and class must follow.
    return (tuple(labels), position + 1) if position + 5 <= len(query) else (None, position)


def _record(owner: bytes, kind: int, data: bytes) -> bytes:
    return owner + struct.pack("!2HIH", kind, CLASS_IN, LIFETIME, len(data)) + data
