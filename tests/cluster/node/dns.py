"""Names of Services: answers A queries for NAME.NAMESPACE.svc.cluster.local, over UDP, and NXDOMAIN for whatever else.

A Service of type ExternalName is an alias (CNAME), followed where it stands for another Service, as a cluster's DNS does.
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
"""Seconds that an answer may be kept."""
LONGEST_CHAIN = 8
"""Aliases of aliases that are followed; a circle ends."""
TYPE_A, TYPE_CNAME, CLASS_IN = 1, 5, 1
HEADER = struct.Struct("!6H")
QUESTION = struct.pack("!H", 0xC00C)
"""Points back to the name in the question."""

Labels = tuple[str, ...]
Lookup = Callable[[str, str], list[str] | str]
"""What the Service of that namespace and name stands for: addresses, none when there is none, or another name."""


def reply(query: bytes, lookup: Lookup) -> bytes | None:
    """The answer to one query; None for what is none."""
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
    # An answer, of this server's own authority, recursion asked for and had.
    head = HEADER.pack(number, 0x8580 | code, 1, len(records), 0, 0)
    return head + query[HEADER.size : end + 4] + b"".join(records)


class DnsServer(asyncio.DatagramProtocol):
    """Serves from the moment it is bound."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # the loop's own class does not say so

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = reply(data, self._lookup)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


def _followed(labels: Labels, lookup: Lookup) -> tuple[list[Labels], list[str]]:
    """The names that a name stands for, one after the other, and the addresses of the last."""
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
    # Zero byte, type and class must follow.
    return (tuple(labels), position + 1) if position + 5 <= len(query) else (None, position)


def _record(owner: bytes, kind: int, data: bytes) -> bytes:
    return owner + struct.pack("!2HIH", kind, CLASS_IN, LIFETIME, len(data)) + data
