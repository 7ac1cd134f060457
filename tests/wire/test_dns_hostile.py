"""Name servers that stall, drip, flood and lie, somebody who answers in place of one, and names beside theirs."""

from __future__ import annotations

import asyncio
import socket
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fleet.discovery.outside.backends import OutsideBackends
from fleet.discovery.outside.dnsclient import AskError, ask
from fleet.discovery.outside.dnswire import A, name_bytes
from fleet.discovery.outside.lookup import Failed, Found
from fleet.discovery.outside.names import Ttl
from fleet.discovery.outside.policy import AddressPolicy
from fleet.routing.route import Target
from tests.support.dns_server import DnsServer, addresses
from tests.wire.proxy_rig import eventually

NAME = "api.test"
GOOD = {("api.test.", "A"): ["192.0.2.1"]}
EVIL_NAMES = 50
FLOOD = [b"\xee" * 60_000] * 40
"""More datagrams than are read for one question."""
PEAK_BYTES = 8 * 1024 * 1024
"""Of memory, with 50 names that are flooded: their 100 questions may each have a datagram in hand."""


async def test_an_answer_from_another_port_is_not_taken(tmp_path: Path) -> None:
    """It has the number and the question of the good one, and comes first."""
    async with DnsServer(dict(GOOD)) as server:
        evil = DnsServer({("api.test.", "A"): ["192.0.2.66"]})
        sent = 0

        def beside(question: bytes, answer: bytes) -> Iterator[bytes]:
            nonlocal sent
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                sent += other.sendto(evil.answer(question) or b"", server.heard)
            yield answer

        server.bend = beside
        found = await server.lookup(tmp_path)(NAME)
        assert isinstance(found, Found)
        assert found.v4 == ("192.0.2.1",)
        assert sent > 0


class _SlowTcp(DnsServer):
    """Answers over TCP a byte at a time, after a while or never."""

    pause = 0.0
    accepted = open = 0

    async def on_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open += 1
        with suppress(OSError, EOFError, RuntimeError):  # the last is uvloop's, for what the client has closed
            length = int.from_bytes(await reader.readexactly(2), "big")
            answer = self.answer(await reader.readexactly(length)) or b""
            for byte in len(answer).to_bytes(2, "big") + answer if self.pause else b"":
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(self.pause)  # between two bytes
            await reader.read()
        self.open -= 1
        writer.close()


@pytest.mark.parametrize("pause", [0.0, 0.02])
async def test_a_server_that_accepts_and_stalls_or_drips_ends_in_time(pause: float, tmp_path: Path) -> None:
    async with _SlowTcp({("api.test.", "A"): addresses(200)["A"]}) as server:
        server.pause = pause
        began = time.monotonic()
        with pytest.raises(AskError, match=r"no answer within 0\.3 s"):
            await ask("127.0.0.1", server.port, name_bytes(NAME), A, seconds=0.3)
        assert time.monotonic() - began < 5.0
        assert isinstance(await server.lookup(tmp_path, ask_seconds=0.2, seconds=0.5)(NAME), Failed)
        assert server.accepted >= 2
        await eventually(lambda: server.open == 0)


async def test_an_answer_that_is_truncated_over_tcp_too_says_so(tmp_path: Path) -> None:
    async with DnsServer({("api.test.", "A"): addresses(200)["A"]}) as server:

        def truncated(answer: bytes) -> bytes:
            short = answer[:2] + bytes((answer[2] | 2,)) + answer[3:]
            return len(short).to_bytes(2, "big") + short

        server.tcp_answer = truncated
        with pytest.raises(AskError, match="truncated over TCP too"):
            await ask("127.0.0.1", server.port, name_bytes(NAME), A, seconds=60.0)


async def test_names_whose_server_floods_take_neither_memory_nor_the_turn_of_others(tmp_path: Path) -> None:
    """Fifty of them, asked for all the time, and one good name, whose address changes."""
    records = dict(GOOD) | {(f"e{number}.test.", "A"): ["192.0.2.2"] for number in range(EVIL_NAMES)}
    async with DnsServer(records) as server:
        server.ttl = 0
        server.bend = lambda question, answer: FLOOD if b"\x04test" in question and b"\x03api" not in question else (answer,)
        source = OutsideBackends(
            server.lookup(tmp_path, ask_seconds=0.2, seconds=0.5),
            AddressPolicy.parse("192.0.2.0/24"),
            Ttl(0.1, 300.0),
            clock=asyncio.get_running_loop().time,
        )
        key = Target(host=NAME, port=80).key
        evil = [Target(host=f"e{number}.test", port=80).key for number in range(EVIL_NAMES)]
        await source.start()
        tracemalloc.start()
        try:
            source.want([key, *evil])
            for last in range(1, 9):
                server.records["api.test.", "A"] = [f"192.0.2.{last}"]
                await eventually(lambda: [each.host for each in source.get(key)] == [f"192.0.2.{last}"])  # noqa: B023
            assert all(source.get(each) == () or list(source.get(each)) == [] for each in evil)
            assert any(source.trouble(each) is not None for each in evil)
            assert tracemalloc.get_traced_memory()[1] < PEAK_BYTES
        finally:
            tracemalloc.stop()
            await source.close()
