"""The proxy's port for TLS: what is spoken on it, and that nothing is written to the socket beneath it."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from fleet.runtime.process import on_unraisable
from tests.support.certificates import Authority
from tests.support.waiting import settled
from tests.wire.proxy_backend import BackendPeer, answer, ok
from tests.wire.proxy_rig import Rig, eventually, proxy_rig
from tests.wire.tls_client import TlsClient, connect, relay, trusting

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
SETTINGS_FRAME = 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, SETTINGS_FRAME, 0, 0, 0, 0, 0])
UPGRADE = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@asynccontextmanager
async def tls_rig(authority: Authority, directory: Path, *args: Any, **settings: Any) -> AsyncIterator[Rig]:
    """An interceptor with one certificate, for a.test."""
    cert, key = authority.write(directory, "server", "a.test")
    files = {"proxy_tls_port": 0, "proxy_tls_cert": str(cert), "proxy_tls_key": str(key)}
    async with proxy_rig(*args, **{**files, **settings}) as rig:
        yield rig


def port_of(rig: Rig) -> int:
    port = rig.interceptor.proxy_tls_port
    assert port is not None
    return port


def rig_outcomes(rig: Rig) -> dict[str, int]:
    """How the handshakes that have ended did so."""
    listener = rig.interceptor._tls
    assert listener is not None
    return dict(listener.handshakes.counts)


async def test_a_request_over_tls_tells_the_backend_so(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path) as rig, connect(port_of(rig), trusting(authority)) as client:
        for _ in range(3):  # the connection is kept
            head, body = await client.ask()
            assert head.startswith(b"HTTP/1.1 200 ")
            assert body == b"ok"
        received = bytes(rig.backends[0].peers[0].received)
        assert received.count(b"X-Forwarded-Proto: https\r\n") == 3
        assert received.count(b"X-Forwarded-For: 127.0.0.1\r\n") == 3
        assert rig_outcomes(rig) == {"done": 1}


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["h2", "http/1.1"], "h2"),
        (["http/1.1", "h2"], "h2"),
        (["http/1.1"], "http/1.1"),
        (["spdy/3"], None),
        ([], None),
    ],
)
async def test_the_protocol_is_agreed_during_the_handshake(
    authority: Authority, tmp_path: Path, offered: list[str], chosen: str | None
) -> None:
    async with tls_rig(authority, tmp_path) as rig, connect(port_of(rig), trusting(authority, alpn=offered)) as client:
        assert client.session.selected_alpn_protocol() == chosen
        if chosen == "h2":
            client.writer.write(PREFACE)
            assert (await client.reader.readexactly(9))[3] == SETTINGS_FRAME
        else:
            assert (await client.ask())[1] == b"ok"


async def test_the_preface_of_http2_is_recognised_without_an_agreement(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path) as rig, connect(port_of(rig), trusting(authority)) as client:
        client.writer.write(PREFACE)
        assert (await client.reader.readexactly(9))[3] == SETTINGS_FRAME


MARK = b"this must not be seen on the wire. "


async def test_large_bodies_pass_whole_and_only_encrypted(authority: Authority, tmp_path: Path) -> None:
    """Large enough to be spliced if the sockets were plain, with a head and a body in one write at first."""
    large = MARK * (4 * 1024 * 1024 // len(MARK))

    async def echo(peer: BackendPeer) -> None:
        message = await peer.request()
        assert message.body == large
        peer.send(ok(large))
        await peer.read_to_end()

    async with (
        tls_rig(authority, tmp_path, echo) as rig,
        relay(port_of(rig)) as wire,
        connect(wire.port, trusting(authority)) as client,
    ):
        head, body = await client.ask(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(large) + large)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body == large
        assert len(wire.kept) > 2 * len(large)
        assert MARK not in wire.kept
        assert b"HTTP/1.1" not in wire.kept


async def test_a_client_that_reads_slowly_stops_the_backend(authority: Authority, tmp_path: Path) -> None:
    sent = 0

    async def script(peer: BackendPeer) -> None:
        nonlocal sent
        await peer.request()
        size = 64 * 1024 * 1024
        peer.send(b"HTTP/1.1 200 OK\r\nDate: then\r\nContent-Length: %d\r\n\r\n" % size)
        part = bytes(1 << 16)
        while sent < size:
            peer.send(part)
            sent += len(part)
            await peer.writer.drain()
        await peer.read_to_end()

    async with tls_rig(authority, tmp_path, script) as rig:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port_of(rig), ssl=trusting(authority), server_hostname="a.test", limit=1 << 14
        )
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        await eventually(lambda: any(client.congested for client in rig.connections))
        (connection,) = rig.connections
        await settled(lambda: sent, seconds=0.1)  # what the kernel buffers may still fill
        assert sent < 32 * 1024 * 1024
        total = 0
        while total < 64 * 1024 * 1024:
            data = await reader.read(1 << 20)
            assert data
            total += len(data)
        assert not connection.congested
        writer.close()
        await writer.wait_closed()


async def test_plaintext_on_the_port_for_tls_is_answered_in_plaintext(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(rig))
        writer.write(GET)
        said = await reader.read()
        assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert said.endswith(b"this port speaks TLS: use https://\n")
        writer.close()
        assert rig_outcomes(rig) == {"plaintext": 1}


async def test_clients_that_do_not_finish_their_handshake_in_time_are_cut(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path, head_timeout=0.3) as rig:
        silent = await asyncio.open_connection("127.0.0.1", port_of(rig))
        begun = await asyncio.open_connection("127.0.0.1", port_of(rig))
        begun[1].write(b"\x16\x03\x01\x02\x00\x01")  # a record of 512 bytes, of which one comes
        await eventually(lambda: len(rig.interceptor.proxy.clients) == 2)
        for reader, writer in (silent, begun):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
        assert rig_outcomes(rig) == {"slow": 2}
        assert not rig.interceptor.proxy.clients


async def test_clients_that_leave_or_do_not_agree_are_counted(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path) as rig:
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(rig))
        writer.close()
        await eventually(lambda: rig_outcomes(rig) == {"left": 1})
        with pytest.raises(ssl.SSLError):
            async with connect(port_of(rig), trusting(Authority("another"))):
                pass
        await eventually(lambda: sum(rig_outcomes(rig).values()) == 2)


async def test_a_tunnel_ends_for_the_client_when_the_backend_ends_it(authority: Authority, tmp_path: Path) -> None:
    async def script(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello ")
        await peer.read_until(b"world")
        peer.send(b"world")

    async with tls_rig(authority, tmp_path, script) as rig, connect(port_of(rig), trusting(authority)) as client:
        client.writer.write(UPGRADE)
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        client.writer.write(b"world")
        assert await client.reader.read() == b"hello world"


async def test_a_backend_that_ends_its_body_with_the_connection(authority: Authority, tmp_path: Path) -> None:
    async def script(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.0 200 OK\r\n\r\n" + MARK * 1000)

    async with tls_rig(authority, tmp_path, script) as rig, connect(port_of(rig), trusting(authority)) as client:
        client.writer.write(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
        said = await client.reader.read()
        assert said.endswith(b"\r\n\r\n" + MARK * 1000)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_sessions_are_resumed(authority: Authority, tmp_path: Path, version: ssl.TLSVersion) -> None:
    """By a client on a blocking socket, because asyncio's cannot."""
    context = trusting(authority)
    context.minimum_version = context.maximum_version = version

    def ask(port: int, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
        import socket  # noqa: PLC0415

        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="a.test", session=session) as client,
        ):
            client.sendall(GET)
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
            return client.session, bool(client.session_reused)

    async with tls_rig(authority, tmp_path) as rig:
        session, reused = await asyncio.to_thread(ask, port_of(rig), None)
        assert not reused
        _, reused = await asyncio.to_thread(ask, port_of(rig), session)
        assert reused
        assert rig.interceptor._tls is not None
        assert rig.interceptor._tls.handshakes.resumed == 1


async def test_open_connections_are_served_to_the_end_of_a_drain(authority: Authority, tmp_path: Path) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def script(peer: BackendPeer) -> None:
        await peer.request()
        asked.set()
        await go.wait()
        peer.send(ok())
        await peer.read_to_end()

    async with tls_rig(authority, tmp_path, script) as rig, connect(port_of(rig), trusting(authority)) as client:
        asking = asyncio.create_task(client.ask())
        await asked.wait()
        draining = asyncio.create_task(rig.interceptor.drain())
        await eventually(lambda: rig.interceptor.proxy.draining)
        go.set()
        head, _ = await asking
        assert b"Connection: close\r\n" in head
        assert await client.reader.read() == b""
        await draining


async def test_only_tls_where_plaintext_is_off(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path, proxy_plaintext="off") as rig:
        assert rig.interceptor.proxy_port == 0
        async with connect(port_of(rig), trusting(authority)) as client:
            assert (await client.ask())[1] == b"ok"


async def _redirected(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head, _ = await TlsClient(reader, writer).ask(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
    writer.close()
    return _location(head)


async def test_a_redirect_may_follow_the_port_for_tls(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path, proxy_plaintext="redirect", https_port=0) as rig:
        assert await _redirected(rig.interceptor.proxy_port) == b"https://a.test:%d/x" % port_of(rig)
    async with tls_rig(authority, tmp_path, proxy_plaintext="redirect") as rig:
        assert await _redirected(rig.interceptor.proxy_port) == b"https://a.test/x"


def _location(said: bytes) -> bytes:
    return said.partition(b"\r\nLocation: ")[2].partition(b"\r\n")[0]


async def test_plaintext_is_redirected(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path, answer(ok()), proxy_plaintext="redirect", https_port=8443) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.interceptor.proxy_port)
        client = TlsClient(reader, writer)
        for request, told in (
            (b"GET /x?y=1 HTTP/1.1\r\nHost: A.test:8080\r\n\r\n", b"https://A.test:8443/x?y=1"),
            (b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", b"https://a.test:8443"),
            (b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", b"https://[::1]:8443/"),
            (b"GET /.well-known/acme-challenge/../x HTTP/1.1\r\nHost: a.test\r\n\r\n", None),
        ):
            head, body = await client.ask(request)
            assert head.startswith(b"HTTP/1.1 308 ")
            assert told is None or _location(head) == told
            assert body == b""
        assert not rig.backends[0].peers
        for request in (
            b"GET /.well-known/acme-challenge/Tok-en_1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: https\r\n\r\n",  # a proxy in front has ended TLS
        ):
            assert (await client.ask(request))[1] == b"ok"
        head, _ = await client.ask(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc")
        assert _location(head) == b"https://a.test:8443/"
        writer.close()
        async with connect(port_of(rig), trusting(authority)) as secure:
            assert (await secure.ask())[1] == b"ok"


async def test_a_name_that_is_not_ascii_fails_the_handshake_and_fills_no_log(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", on_unraisable)  # as run_component does
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        trusting(authority).wrap_bio(incoming, outgoing, server_hostname="aaaa.test").do_handshake()
    async with tls_rig(authority, tmp_path) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(rig))
        writer.write(outgoing.read().replace(b"aaaa", b"\xff\xfea\xff"))
        with suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        await eventually(lambda: rig_outcomes(rig) == {"failed": 1})
        async with connect(port_of(rig), trusting(authority)) as client:
            assert (await client.ask())[1] == b"ok"
    assert capsys.readouterr().err == ""


async def test_at_the_limit_of_connections_idle_ones_make_room(authority: Authority, tmp_path: Path) -> None:
    """The second connection waits in the kernel's queue, and is accepted when the first one, which is idle, has been closed."""
    async with tls_rig(authority, tmp_path) as rig:
        rig.interceptor.proxy.most_clients = 1
        async with connect(port_of(rig), trusting(authority)) as first:
            assert (await first.ask())[1] == b"ok"
            opening = asyncio.create_task(asyncio.open_connection("127.0.0.1", port_of(rig)))
            await opening
            await eventually(lambda: rig.interceptor.proxy.times_full > 0)
            first.writer.close()
            _, writer = opening.result()
            writer.close()
        async with connect(port_of(rig), trusting(authority)) as third:
            assert (await third.ask())[1] == b"ok"


async def test_a_broken_record_is_answered_with_an_alert_that_arrives(authority: Authority, tmp_path: Path) -> None:
    """Although what comes behind the record is not read any more."""
    async with tls_rig(authority, tmp_path) as rig:
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(rig))
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = trusting(authority).wrap_bio(incoming, outgoing, server_hostname="a.test")
            while not await _agreed(tls, outgoing, writer):
                incoming.write(await reader.read(1 << 16))
            tls.write(GET)
            broken = bytearray(outgoing.read())
            broken[-1] ^= 1
            tls.write(GET)
            writer.write(bytes(broken) + outgoing.read() * 50)
            received = b""
            with suppress(ConnectionResetError):
                while data := await reader.read(1 << 16):
                    received += data
            incoming.write(received)
            with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac"):
                tls.read()
            writer.close()


async def _agreed(tls: ssl.SSLObject, outgoing: ssl.MemoryBIO, writer: asyncio.StreamWriter) -> bool:
    """One step of a handshake. Whether it is done."""
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    finally:
        writer.write(outgoing.read())
    return True
