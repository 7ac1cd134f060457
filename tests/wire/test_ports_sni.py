"""Several applications at one TCP port, by what clients of TLS say first. TLS is not terminated."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from fleet.routing.route import Route
from interceptor.exchange import stream
from interceptor.tcp.client import GSS_REQUEST, SSL_REQUEST
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.unit.interceptor.tcp.test_hello import hello
from tests.wire.proxy_rig import eventually
from tests.wire.stream_rig import echo, port, port_route, stream_rig

NAMES = ("a.test", "b.test")


def routes(number: int, *, default: bool = False) -> list[Route]:
    found = [port_route(port(number, server_names=(name,)), app=f"default/{name[0]}") for name in NAMES]
    if default:
        found.append(port_route(port(number, server_names=("*",)), app="default/rest"))
    return found


class TlsApp:
    """Echoes over TLS with a certificate of one name; PostgreSQL's request for TLS is answered if it is asked."""

    def __init__(self, directory: Path, authority: Authority, name: str, *, asks: bool = False) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*authority.write(directory, name, name))
        self._asks = asks

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._asks:
            assert await reader.readexactly(8) == SSL_REQUEST
            writer.write(b"S")
        await writer.start_tls(self._context)
        await echo(reader, writer)


async def over_tls(number: int, authority: Authority, name: str, *, asks: bool = False) -> bytes:
    context = ssl.create_default_context(cadata=authority.pem.decode())
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    async with asyncio.timeout(60):
        if asks:
            writer.write(SSL_REQUEST)
            assert await reader.readexactly(1) == b"S"
        await writer.start_tls(context, server_hostname=name)
        writer.write(b"secret")
        found = await reader.readexactly(6)
    writer.transport.abort()
    return found


@pytest.mark.parametrize("asks", [False, True])
async def test_two_names_at_one_port_wake_two_applications(tmp_path: Path, asks: bool) -> None:
    number, authority = free_port(), Authority()
    async with stream_rig(*routes(number)) as rig:
        calls = [asyncio.create_task(over_tls(number, authority, name, asks=asks)) for name in NAMES]
        apps = rig.rig.interceptor.proxy.apps
        await eventually(lambda: all(apps[f"default/{name[0]}"].entry.held == 1 for name in NAMES))
        for name in NAMES:
            await rig.server(TlsApp(tmp_path, authority, name, asks=asks), app=f"default/{name[0]}")
        assert await asyncio.gather(*calls) == [b"secret", b"secret"]


async def test_a_backend_without_tls_ends_the_connection_of_a_client_that_was_promised_it() -> None:
    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"N")
        await reader.read()

    number = free_port()
    async with stream_rig(*routes(number)) as rig:
        await rig.server(refuses)
        client = await rig.connect(number)
        client.send(SSL_REQUEST)
        assert await client.read(1) == b"S"
        client.send(hello("a.test"))
        assert await client.is_reset()


async def test_a_backend_that_does_not_say_whether_it_speaks_tls_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "GREETING_SECONDS", 0.3)

    async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    number = free_port()
    async with stream_rig(*routes(number)) as rig:
        server = await rig.server(says_nothing)
        client = await rig.connect(number)
        client.send(SSL_REQUEST)
        assert await client.read(1) == b"S"
        client.send(hello("a.test"))
        assert await client.is_reset()
        await eventually(lambda: server.connections == 1 and server.open == 0)


async def test_a_split_hello_reaches_the_backend_as_it_is() -> None:
    number, sent = free_port(), hello("a.test")
    async with stream_rig(*routes(number)) as rig:
        server = await rig.server()
        client = await rig.connect(number)
        for at in range(0, len(sent), 50):
            client.send(sent[at : at + 50])
            await client.writer.drain()
            await asyncio.sleep(0.005)  # so that it comes in pieces
        assert await client.read(len(sent)) == sent
        assert server.connections == 1


async def test_clients_that_ask_for_nobody_get_an_alert() -> None:
    number = free_port()
    async with stream_rig(*routes(number)) as rig:
        for name in (None, "c.test"):
            client = await rig.connect(number)
            client.send(hello(name))
            assert await client.rest() == b"\x15\x03\x01\x00\x02\x02\x70"
        wrong = await rig.connect(number)
        wrong.send(b"\x16\x03\x01\xff\xff")
        assert await wrong.rest() == b"\x15\x03\x01\x00\x02\x02\x32"
        plain = await rig.connect(number)
        plain.send(b"PING\r\n")
        assert await plain.is_reset()
        assert sum(rig.rig.interceptor.proxy.refusals.values()) == 4


async def test_the_default_gets_who_has_no_name_and_who_speaks_no_tls() -> None:
    number = free_port()
    async with stream_rig(*routes(number, default=True)) as rig:
        server = await rig.server(app="default/rest")
        for sent in (hello(None), hello("c.test"), b"\x00\x00\x00\x10\x00\x03\x00\x00user"):
            client = await rig.connect(number)
            client.send(sent)
            assert await client.read(len(sent)) == sent
        gss = await rig.connect(number)
        gss.send(GSS_REQUEST)
        assert await gss.read(1) == b"N"
        gss.send(b"startup")
        assert await gss.read(7) == b"startup"
        assert server.connections == 4


async def test_alpn_chooses() -> None:
    number = free_port()
    mqtt = port_route(port(number, server_names=("a.test",), alpn=("mqtt",)), app="default/a")
    async with stream_rig(mqtt) as rig:
        await rig.server()
        client = await rig.connect(number)
        sent = hello("a.test", ["http/1.1", "mqtt"])
        client.send(sent)
        assert await client.read(len(sent)) == sent
        other = await rig.connect(number)
        other.send(hello("a.test", ["h2"]))
        assert await other.rest() == b"\x15\x03\x01\x00\x02\x02\x78"


async def test_a_hello_that_does_not_come_is_not_waited_for() -> None:
    number = free_port()
    async with stream_rig(*routes(number), head_timeout=0.3) as rig:
        client = await rig.connect(number)
        client.send(b"\x16\x03")
        assert await client.is_reset()
        assert rig.entry.requests_total == 0


async def test_bytes_before_the_answer_to_a_request_for_tls_are_refused() -> None:
    number = free_port()
    async with stream_rig(*routes(number)) as rig:
        client = await rig.connect(number)
        client.send(SSL_REQUEST + hello("a.test"))
        assert await client.is_reset()
