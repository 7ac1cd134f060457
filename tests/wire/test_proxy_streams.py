"""What flows rather than arrives: events, tunnels, WebSockets, and bodies far larger than memory should be."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from fleet.discovery.sources import Backend
from tests.support.loopback import APP, route
from tests.support.raw_requests import get
from tests.wire.proxy_backend import BackendPeer, ok
from tests.wire.proxy_rig import eventually, proxy_rig

GIBI = 1 << 30
BLOCK = bytes(1 << 20)
UPGRADE = (b"Connection: Upgrade", b"Upgrade: echo")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


# -- events -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_event_arrives_at_once(chunked: bool) -> None:
    """Each line before the next one is sent, in chunks or in an answer without end; and, but for hiccups, within 50 ms."""
    sent: list[float] = []
    next_one = asyncio.Event()

    async def events(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        peer.send(b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"\r\n")
        for number in range(10):
            await next_one.wait()
            next_one.clear()
            line = b"data: %d\n\n" % number
            sent.append(monotonic())
            peer.send(b"%x\r\n%b\r\n" % (len(line), line) if chunked else line)
        peer.send(b"0\r\n\r\n" if chunked else b"")

    async with proxy_rig(events) as rig:
        client = await rig.client()
        client.send(get())
        late = []
        for number in range(10):
            next_one.set()
            await client.read_until(b"data: %d\n\n" % number)
            late.append(monotonic() - sent[number])
        assert min(late) < 0.05, late


async def test_a_client_that_leaves_ends_an_endless_answer() -> None:
    async def endless(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await peer.read_to_end()

    async with proxy_rig(endless) as rig:
        client = await rig.client()
        client.send(get())
        await client.read_until(b"x\r\n")
        client.close()
        await eventually(rig.ledger.balanced)
        await eventually(lambda: not rig.backends[0].open)


async def test_request_and_answer_flow_at_once() -> None:
    """The answer begins before the request has ended, and each part of one brings a part of the other."""

    async def parrot(peer: BackendPeer) -> None:
        await peer.read_until(b"\r\n\r\n")
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not bytes(peer.received).endswith(b"0\r\n\r\n"):
            peer.send(await peer.read_some())

    async with proxy_rig(parrot) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST"))
        await client.read_until(b"\r\n\r\n")
        for number in range(5):
            client.send(b"1\r\n%d\r\n" % number)
            assert await client.read_until(b"\r\n%d\r\n" % number)
        client.send(b"0\r\n\r\n")
        await client.read_until(b"0\r\n\r\n")


# -- tunnels ------------------------------------------------------------------------------------------------------


async def tunnel(peer: BackendPeer) -> None:
    await peer.request()
    peer.send(SWITCH + b"hello ")
    while data := await peer.read_some():
        peer.send(data.upper())


async def test_a_tunnel_carries_bytes_both_ways_and_is_counted() -> None:
    async with proxy_rig(tunnel) as rig:
        client = await rig.client()
        client.send(get(b"/", *UPGRADE) + b"early ")
        switched = await client.read_until(b"\r\n\r\n")
        assert b" 101 " in switched
        assert b"Upgrade: echo\r\n" in switched
        assert b"Connection: upgrade\r\n" in switched
        await client.read_until(b"hello EARLY ")
        assert tuple(rig.ledger.totals) == (0, 1, 1)
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        await client.read_until(b"GET / HTTP/1.1\r\n\r\n".upper())
        client.writer.write_eof()
        assert await client.ends()
        await eventually(rig.ledger.balanced)
        assert rig.pooled == 0


async def test_a_tunnel_half_closed_by_the_backend_still_takes_bytes() -> None:
    async def half(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(SWITCH + b"last words")
        peer.writer.write_eof()
        await peer.read_to_end()

    async with proxy_rig(half) as rig:
        client = await rig.client()
        client.send(get(b"/", *UPGRADE))
        assert (await client.read_to_end()).endswith(b"last words")
        client.send(b"and mine")
        await eventually(lambda: rig.backends[0].received.endswith(b"and mine"))


@pytest.mark.parametrize("who", ["client", "backend"])
async def test_a_tunnel_that_is_reset_ends_on_both_sides(who: str) -> None:
    async with proxy_rig(tunnel) as rig:
        client = await rig.client()
        client.send(get(b"/", *UPGRADE))
        await client.read_until(b"hello ")
        (client if who == "client" else rig.backends[0].peers[0]).reset()
        await eventually(rig.ledger.balanced)
        await eventually(lambda: not rig.connections_open)
        if who == "backend":
            assert await client.ends()


async def test_a_silent_tunnel_ends_after_the_idle_limit() -> None:
    async with proxy_rig(tunnel, routes=[route(idle=0.3)]) as rig:
        client = await rig.client()
        client.send(get(b"/", *UPGRADE))
        await client.read_until(b"hello ")
        for _ in range(5):
            await asyncio.sleep(0.1)  # a third of the limit, which is of real time here
            client.send(b"x")
            await client.read_until(b"X")
        assert await client.ends()


async def test_an_upgrade_that_is_declined_is_an_answer_like_others() -> None:
    async def decline(peer: BackendPeer) -> None:
        while True:
            message = await peer.request()
            peer.send(ok(message.get(b"upgrade") or b"none"))

    async with proxy_rig(decline) as rig:
        client = await rig.client()
        assert (await client.ask(get(b"/", *UPGRADE))).body == b"echo"
        assert (await client.ask(get())).body == b"none"
        assert len(rig.backends[0].peers) == 1


async def test_websocket_echo() -> None:
    """Text, binary, large and fragmented messages, a ping and a clean close, with a library of its own on both ends."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", 0, max_size=None) as server, proxy_rig(backends=0) as rig:
        port = next(iter(server.sockets)).getsockname()[1]
        rig.sources.set(APP, [Backend("127.0.0.1", port)])
        uri = "ws://a.test/chat?room=1"
        async with connect(uri, host="127.0.0.1", port=rig.interceptor.proxy_port, max_size=None, proxy=None) as client:
            for message in ("text", "ünïcode", b"\x00\xff" * 10, "", b"x" * 2_000_000):
                await client.send(message)
                assert await client.recv() == message
            await client.send(["frag", "ment"])
            assert await client.recv() == "fragment"
            await (await client.ping())
            assert rig.ledger.totals.connections == 1
        await eventually(rig.ledger.balanced)


async def test_many_websockets() -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def talk(port: int, number: int) -> None:
        async with connect("ws://a.test/", host="127.0.0.1", port=port, proxy=None) as client:
            for turn in range(5):
                await client.send(f"{number} {turn}")
                assert await client.recv() == f"{number} {turn}"

    async with serve(echo, "127.0.0.1", 0) as server, proxy_rig(backends=0) as rig:
        rig.sources.set(APP, [Backend("127.0.0.1", next(iter(server.sockets)).getsockname()[1])])
        await asyncio.gather(*(talk(rig.interceptor.proxy_port, number) for number in range(50)))
        await eventually(rig.ledger.balanced)


# -- large bodies -------------------------------------------------------------------------------------------------


class Measured:
    """An interceptor in another process; its highest use of memory in bytes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = self._line()

    def peak(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._line() * 1024

    def _line(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@contextmanager
def measured(backend_port: int) -> Iterator[Measured]:
    command = [sys.executable, "-m", "tests.wire.proxy_process", str(backend_port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Measured(process)
        finally:
            process.kill()


def read_head(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(1 << 16)
    return data.partition(b"\r\n\r\n")[2]


def swallow(sock: socket.socket, count: int) -> None:
    """Read exactly so many bytes."""
    view = memoryview(bytearray(1 << 20))
    while count:
        got = sock.recv_into(view, min(count, len(view)))
        assert got, f"{count} bytes are missing"
        count -= got


def pour(sock: socket.socket, count: int) -> None:
    for _ in range(count // len(BLOCK)):
        sock.sendall(BLOCK)


def giant(listener: socket.socket) -> None:
    """A backend in plain sockets: takes a GiB, then gives one."""
    sock, _ = listener.accept()
    with sock:
        swallow(sock, GIBI - len(read_head(sock)))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIBI)
        pour(sock, GIBI)


def test_a_gib_up_and_down_takes_no_memory() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        backend = threading.Thread(target=giant, args=(listener,), daemon=True)
        backend.start()
        with measured(listener.getsockname()[1]) as interceptor:
            before = interceptor.peak()
            with socket.create_connection(("127.0.0.1", interceptor.port)) as sock:
                sock.sendall(get(b"/", b"Content-Length: %d" % GIBI, method=b"POST"))
                pour(sock, GIBI)
                assert read_head(sock) in (b"ok", b"o", b"")
                sock.sendall(get())
                swallow(sock, GIBI - len(read_head(sock)))
            assert interceptor.peak() - before < 50 << 20
        backend.join(5)
        assert not backend.is_alive()
