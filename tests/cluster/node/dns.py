"""Names of Services: answers A queries for NAME.NAMESPACE.svc.cluster.local, over UDP, and NXDOMAIN for whatever else."""

import asyncio
import ipaddress
import struct
from collections.abc import Callable
from typing import cast

__all__ = ["DnsServer", "reply"]

SUFFIX = ("svc", "cluster", "local")
LIFETIME = 1
"""Seconds that an answer may be kept."""
TYPE_A, CLASS_IN = 1, 1
HEADER = struct.Struct("!6H")

Addresses = Callable[[str, str], list[str]]


def reply(query: bytes, addresses: Addresses) -> bytes | None:
    """The answer to one query; None for what is none."""
    if len(query) < HEADER.size:
        return None
    number, flags, questions, *_ = HEADER.unpack_from(query)
    labels, end = _name(query)
    if flags & 0x8000 or questions != 1 or labels is None:
        return None
    kind, _ = struct.unpack_from("!2H", query, end)
    found = addresses(labels[1], labels[0]) if len(labels) == 5 and labels[2:] == SUFFIX else []
    records = [_record(address) for address in found] if kind == TYPE_A else []
    code = 0 if found else 3
    # An answer, of this server's own authority, recursion asked for and had.
    head = HEADER.pack(number, 0x8580 | code, 1, len(records), 0, 0)
    return head + query[HEADER.size : end + 4] + b"".join(records)


class DnsServer(asyncio.DatagramProtocol):
    """Serves from the moment it is bound."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # the loop's own class does not say so

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = reply(data, self._addresses)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


def _name(query: bytes) -> tuple[tuple[str, ...] | None, int]:
    labels, position = [], HEADER.size
    while position < len(query) and query[position]:
        length = query[position]
        labels.append(query[position + 1 : position + 1 + length].decode("ascii", "replace").lower())
        position += 1 + length
    # Zero byte, type and class must follow.
    return (tuple(labels), position + 1) if position + 5 <= len(query) else (None, position)


def _record(address: str) -> bytes:
    """Points back to the name in the question."""
    return struct.pack("!3HIH", 0xC00C, TYPE_A, CLASS_IN, LIFETIME, 4) + ipaddress.IPv4Address(address).packed
