"""TLS that ends at a TCP port: backends get the plain bytes, and nothing but a whole handshake wakes an application."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fleet.routing.port import TERMINATE
from fleet.routing.port_index import PortKey
from fleet.routing.route import Route
from interceptor.tcp.client import EARLY_BYTES, GSS_REQUEST, SSL_REQUEST
from interceptor.tcp.over_tls import NO_CERTIFICATE
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.unit.interceptor.tcp.test_hello import hello
from tests.wire.proxy_rig import eventually
from tests.wire.stream_rig import Peer, StreamRig, port, port_route, stream_rig


class Stage:
    """A rig that has certificates of two names."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority()
        for name in ("a.test", "b.test"):
            self.authority.write(directory, name, name)

    @asynccontextmanager
    async def rig(self, *routes: Route, **settings: Any) -> AsyncIterator[StreamRig]:
        given = {"proxy_tls_directories": str(self.directory), "proxy_tls_port": 0, **settings}
        async with stream_rig(*routes, **given) as rig:
            yield rig

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority.pem.decode())

    async def connect(
        self, rig: StreamRig, number: int, name: str = "a.test", *, before: bytes = b"", answer: bytes = b""
    ) -> Peer:
        peer = await rig.connect(number)
        if before:
            peer.send(before)
            assert await peer.read(len(answer)) == answer
        async with asyncio.timeout(60):
            await peer.writer.start_tls(self.context(), server_hostname=name)
        return peer


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def terminating(number: int, **fields: Any) -> Route:
    return port_route(port(number, tls=TERMINATE, **fields))


async def test_a_client_over_tls_wakes_the_application_whose_backend_gets_plain_bytes(stage: Stage) -> None:
    number = free_port()
    async with stage.rig(terminating(number)) as rig:
        client = await stage.connect(rig, number)
        client.send(b"first")
        await eventually(lambda: rig.entry.held == 1)
        server = await rig.server()
        assert await client.read(5) == b"first"
        client.send(b"x" * 3_000_000)
        assert await client.read(3_000_000) == b"x" * 3_000_000
        assert rig.entry.in_flight == server.open == 1
        client.close()
        await eventually(lambda: rig.entry.in_flight == server.open == 0)
        assert rig.rig.interceptor._tls is not None
        assert rig.rig.interceptor._tls.handshakes.counts == {"done": 1}


async def test_data_that_comes_with_the_end_of_the_handshake_is_not_lost(stage: Stage) -> None:
    number = free_port()
    async with stage.rig(terminating(number)) as rig:
        received = asyncio.Queue[bytes]()

        async def keeps(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(1 << 16):
                received.put_nowait(data)

        await rig.server(keeps)
        raw = await rig.connect(number)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = stage.context().wrap_bio(incoming, outgoing, server_hostname="a.test")
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.send(outgoing.read())
                async with asyncio.timeout(60):
                    incoming.write(await raw.reader.read(1 << 16))
        session.write(b"at once")
        raw.send(outgoing.read())  # one segment: the client's Finished, and data
        async with asyncio.timeout(60):
            assert await received.get() == b"at once"


async def test_a_server_that_speaks_first_and_ends_is_heard_to_the_end(stage: Stage) -> None:
    async def greets(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello" + b"y" * 500_000)
        writer.write_eof()

    number = free_port()
    async with stage.rig(terminating(number)) as rig:
        await rig.server(greets)
        client = await stage.connect(rig, number)
        assert len(await client.rest()) == 500_005


async def test_a_client_that_does_not_read_holds_its_backend_back(stage: Stage) -> None:
    sent, stuck = 0, asyncio.Event()

    async def floods(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(4000):
            writer.write(b"z" * 10_000)
            try:
                async with asyncio.timeout(0.5):
                    await writer.drain()
            except TimeoutError:
                stuck.set()
                await writer.drain()
            sent += 10_000

    number = free_port()
    async with stage.rig(terminating(number)) as rig:
        await rig.server(floods)
        client = await stage.connect(rig, number)
        assert await client.read(1) == b"z"
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await eventually(stuck.is_set)
        assert sent < 30_000_000
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await client.read(39_999_999)) == 39_999_999


async def test_one_port_terminates_for_one_name_and_passes_on_for_another(stage: Stage) -> None:
    number, sent = free_port(), hello("b.test")
    through = port_route(port(number, server_names=("b.test",)), app="default/b")
    async with stage.rig(terminating(number, server_names=("a.test",)), through) as rig:
        await rig.server()
        await rig.server(app="default/b")
        client = await stage.connect(rig, number)
        client.send(b"plain")
        assert await client.read(5) == b"plain"
        other = await rig.connect(number)
        other.send(sent)
        assert await other.read(len(sent)) == sent


async def test_postgresql_asks_for_tls_in_its_own_form(stage: Stage) -> None:
    number = free_port()
    async with stage.rig(terminating(number)) as rig:
        await rig.server()
        client = await stage.connect(rig, number, before=SSL_REQUEST, answer=b"S")
        client.send(b"startup")
        assert await client.read(7) == b"startup"
        declined = await rig.connect(number)
        declined.send(GSS_REQUEST)
        assert await declined.read(1) == b"N"
        declined.send(SSL_REQUEST)
        assert await declined.read(1) == b"S"
        async with asyncio.timeout(60):
            await declined.writer.start_tls(stage.context(), server_hostname="a.test")
        declined.send(b"startup")
        assert await declined.read(7) == b"startup"


async def test_the_client_s_address_goes_on_in_the_proxy_protocol(stage: Stage) -> None:
    number = free_port()
    async with stage.rig(terminating(number, proxy_protocol="v1")) as rig:
        await rig.server()
        client = await stage.connect(rig, number)
        source = client.writer.get_extra_info("sockname")[1]
        client.send(b"data")
        head = f"PROXY TCP4 127.0.0.1 127.0.0.1 {source} {number}\r\n".encode()
        assert await client.read(len(head) + 4) == head + b"data"


async def test_what_is_no_tls_wakes_nothing(stage: Stage) -> None:
    number = free_port()
    async with stage.rig(terminating(number), head_timeout=1.0) as rig:
        plain = await rig.connect(number)
        plain.send(b"PING\r\n")
        assert await plain.is_reset()
        startup = await rig.connect(number)
        startup.send(b"\x00\x00\x00\x10\x00\x03\x00\x00user\x00\x00\x00\x00")
        assert await startup.is_reset()
        large = await rig.connect(number)
        large.send(b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xff" + bytes(EARLY_BYTES))
        assert await large.rest() == b"\x15\x03\x01\x00\x02\x02\x32"
        slow = await rig.connect(number)
        slow.send(hello("a.test")[:40])
        silent = await rig.connect(number)
        half = await rig.connect(number)
        half.send(hello("a.test"))  # and nothing after the server's part of the handshake
        assert await slow.is_reset()
        assert await silent.is_reset()
        await half.is_reset()
        nonsense = await rig.connect(number)
        nonsense.send(hello("a.test") + b"nonsense")
        assert not (await nonsense.rest()).endswith(b"nonsense")
        await eventually(lambda: not rig.clients)
        assert rig.entry.size(0.0).requests_total == rig.entry.held == rig.entry.in_flight == 0


async def test_a_hello_in_pieces_is_one(stage: Stage) -> None:
    number = free_port()
    async with stage.rig(terminating(number)) as rig:
        await rig.server()
        raw = await rig.connect(number)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = stage.context().wrap_bio(incoming, outgoing, server_hostname="a.test")
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        sent = outgoing.read()
        for at in range(60, len(sent), 60):
            raw.send(sent[at - 60 : at])
            await eventually(partial(lambda size: [len(one._stash) for one in rig.clients] == [size], at))
        raw.send(sent[at:])
        async with asyncio.timeout(60):
            incoming.write(await raw.reader.readuntil(b"\x17\x03\x03"))
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()


async def test_without_a_certificate_it_is_said_and_other_names_are_served() -> None:
    number, sent = free_port(), hello("b.test")
    through = port_route(port(number, server_names=("b.test",)), app="default/b")
    async with stream_rig(terminating(number, server_names=("a.test",)), through) as rig:
        await rig.server(app="default/b")
        assert list(rig.rig.interceptor._ports.unbound()) == [(PortKey("TCP", number), NO_CERTIFICATE)]
        client = await rig.connect(number)
        client.send(hello("a.test"))
        assert await client.rest() == b"\x15\x03\x01\x00\x02\x02\x50"
        other = await rig.connect(number)
        other.send(sent)
        assert await other.read(len(sent)) == sent


async def test_a_renewed_certificate_is_shown_to_the_next_client(stage: Stage) -> None:
    number = free_port()
    async with stage.rig(terminating(number)) as rig:
        await rig.server()

        async def shown() -> int:
            client = await stage.connect(rig, number)
            certificate = client.writer.get_extra_info("peercert")
            client.close()
            return int(certificate["serialNumber"], 16)

        first = await shown()
        stage.authority.write(stage.directory, "a.test", "a.test")
        termination = rig.rig.interceptor._ports.termination
        assert termination is not None
        await eventually(lambda: termination._certificates.reloads == 1)
        assert await shown() != first


async def test_a_connection_that_ends_while_it_is_held_frees_its_place(stage: Stage) -> None:
    number = free_port()
    async with stage.rig(terminating(number)) as rig:
        client = await stage.connect(rig, number)
        await eventually(lambda: rig.entry.held == 1)
        client.writer.transport.abort()
        await eventually(lambda: rig.entry.held == 0 and not rig.clients)
