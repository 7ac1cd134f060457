"""A name server on the loopback address, over UDP and TCP, with dnspython for its messages: it answers from a table, and can be
told to be silent, to lie, and to send what no server sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from fleet.discovery.outside.lookup import Lookup
from fleet.discovery.outside.system import System

__all__ = ["DnsServer", "Records"]

Records = dict[tuple[str, str], list[str]]
"""Data by name and type: {("a.test.", "A"): ["192.0.2.1"]}. A name without any record does not exist."""
UDP_BYTES = 512
Bend = Callable[[bytes, bytes], Iterable[bytes]]
"""From the question and the good answer to what is sent over UDP instead, as many datagrams as it likes."""


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.heard = addr
        answer = self._server.answer(data, most=UDP_BYTES)
        for datagram in () if answer is None else self._server.bend(data, answer):
            self._transport.sendto(datagram, addr)


class DnsServer:
    """Listens from `async with` on."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.ttl = 60
        self.rcode = 0
        """Of every answer, if not 0."""
        self.silent = False
        self.bend: Bend = lambda _, answer: (answer,)
        self.tcp_answer: Callable[[bytes], bytes] = lambda answer: len(answer).to_bytes(2, "big") + answer
        """What is sent over TCP for an answer."""
        self.asked: list[tuple[str, str]] = []
        """Names and types, in the order in which they were asked for, over UDP."""
        self.by_tcp = 0
        self.heard = ("", 0)
        """Where the last question over UDP came from."""
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(20):  # a port that is free for both
            self._tcp = await asyncio.start_server(self.on_tcp, "127.0.0.1", 0)
            self.port = self._tcp.sockets[0].getsockname()[1]
            try:
                self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=("127.0.0.1", self.port))
            except OSError:
                self._tcp.close()
            else:
                return self
        raise OSError("no port is free for both")

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._udp.close()
        self._tcp.close()

    def lookup(self, directory: Path, *, search: str = "", seconds: float = 60.0, ask_seconds: float = 60.0) -> Lookup:
        """A resolver that asks this server alone, and has time for it on any machine."""
        (directory / "resolv.conf").write_text(f"nameserver 127.0.0.1\nsearch {search}\n")
        (directory / "hosts").write_text("")
        system = System(directory / "resolv.conf", directory / "hosts")
        return Lookup(system, port=self.port, seconds=seconds, ask_seconds=ask_seconds)

    def answer(self, data: bytes, *, most: int = 65535) -> bytes | None:
        question = dns.message.from_wire(data)
        if self.silent:
            return None
        asked = question.question[0]
        kind = dns.rdatatype.to_text(asked.rdtype)
        if most == UDP_BYTES:
            self.asked.append((asked.name.to_text(), kind))
        answer = dns.message.make_response(question)
        if self.rcode:
            answer.set_rcode(dns.rcode.Rcode(self.rcode))
        else:
            self._fill(answer, asked.name, kind)
        try:
            return answer.to_wire(max_size=most)
        except dns.exception.TooBig:
            short = dns.message.make_response(question)
            short.flags |= dns.flags.TC
            return short.to_wire()

    def _fill(self, answer: dns.message.Message, name: dns.name.Name, kind: str) -> None:
        at = name.to_text().lower()
        for _ in range(30):
            target = self.records.get((at, "CNAME"))
            if target is None:
                break
            answer.answer.append(dns.rrset.from_text_list(at, self.ttl, "IN", "CNAME", target))
            at = target[0]
        data = self.records.get((at, kind))
        if data is not None:
            answer.answer.append(dns.rrset.from_text_list(at, self.ttl, "IN", kind, data))
        elif not any(known == at for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        if data is None:
            soa = f"ns.test. root.test. 1 2 3 4 {self.ttl}"
            answer.authority.append(dns.rrset.from_text("test.", self.ttl, "IN", "SOA", soa))

    async def on_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError, RuntimeError):  # the last is uvloop's, for what the client has closed
            length = int.from_bytes(await reader.readexactly(2), "big")
            answer = self.answer(await reader.readexactly(length))
            self.by_tcp += 1
            if answer is not None:
                writer.write(self.tcp_answer(answer))
                await writer.drain()
        writer.close()


def addresses(count: int) -> Mapping[str, list[str]]:
    """So many addresses of both families, by type."""
    return {
        "A": [f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(count)],
        "AAAA": [f"2001:db8::{n + 1:x}" for n in range(count)],
    }
