"""The PROXY protocol in front of HTTP/1.1 and HTTP/2: whose address counts, with HAProxy as the load balancer too."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from interceptor.core.sides import Client
from tests.support.ports import KeptPort
from tests.support.raw_requests import get
from tests.support.waiting import until
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import Rig, proxy_rig

LINE = b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 8080\r\n"
needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def forwarded(rig: Rig) -> list[bytes | None]:
    """What the backend was told of the client, request by request."""
    return [request.get(b"x-forwarded-for") for request in rig.backends[0].requests]


async def test_the_address_in_the_header_is_the_clients() -> None:
    async with proxy_rig(proxy_protocol="127.0.0.0/8") as rig:
        client = await rig.client()
        client.send(LINE)
        for _ in range(2):
            assert (await client.ask(get(b"/", b"X-Forwarded-For: 192.0.2.99", b"Forwarded: for=192.0.2.99"))).status == 200
        assert forwarded(rig) == [b"203.0.113.7"] * 2, "who is at this address is no trusted proxy, whoever the balancer is"
        assert rig.backends[0].requests[0].get(b"forwarded") is None
        (connection,) = rig.connections
        assert (connection.peer, connection.requests) == (b"203.0.113.7", 2)


async def test_the_header_and_requests_in_one_piece_and_byte_by_byte() -> None:
    async with proxy_rig(proxy_protocol="127.0.0.0/8") as rig:
        client = await rig.client()
        client.send(LINE + get() + get())
        for _ in range(2):
            assert (await client.response()).status == 200
        slow = await rig.client()
        await slow.send_slowly(LINE + get(), 1)
        assert (await slow.response()).status == 200
        assert forwarded(rig) == [b"203.0.113.7"] * 3


async def test_a_trusted_proxy_is_known_by_the_address_in_the_header() -> None:
    async with proxy_rig(proxy_protocol="127.0.0.0/8", trusted_proxies="203.0.113.0/24") as rig:
        client = await rig.client()
        client.send(LINE)
        await client.ask(get(b"/", b"X-Forwarded-For: 198.51.100.9"))
        assert forwarded(rig) == [b"198.51.100.9, 203.0.113.7"]


async def test_nobody_else_can_name_an_address() -> None:
    async with proxy_rig(proxy_protocol="192.0.2.1", trusted_proxies="none") as rig:
        for header in (LINE, bytes.fromhex("0d0a0d0a000d0a515549540a21110000")):
            client = await rig.client()
            assert (await client.ask(header + get())).status == 400
        client = await rig.client()
        assert (await client.ask(get())).status == 200
        assert forwarded(rig) == [b"127.0.0.1"]


async def test_a_load_balancer_without_a_header_is_refused() -> None:
    async with proxy_rig(proxy_protocol="private") as rig:
        client = await rig.client()
        client.send(get())
        assert await client.ends(), "no answer: it might not be HTTP"
        assert rig.interceptor.proxy.refusals == {("proxy_protocol", 400): 1}
        assert rig.backends[0].requests == []


async def test_when_it_is_off_a_header_is_no_request() -> None:
    async with proxy_rig() as rig:
        client = await rig.client()
        assert (await client.ask(LINE + get())).status == 400


async def test_a_header_of_version_2_in_front_of_http_2() -> None:
    async with proxy_rig(proxy_protocol="private") as rig:
        client = await rig.client()
        client.send(bytes.fromhex("0d0a0d0a000d0a515549540a2111000c") + bytes([203, 0, 113, 8, 10, 0, 0, 1, 1, 1, 2, 2]))
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
        await until(lambda: [one.protocol for one in rig.interceptor.proxy.clients] == ["HTTP/2"], seconds=20)
        (connection,) = rig.interceptor.proxy.clients
        assert (connection.peer, connection.trusted) == (b"203.0.113.8", False)


# -- with HAProxy in front ----------------------------------------------------------------------------------------

_CONFIG = """\
global
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen balancer
    bind 127.0.0.1:{port}
    server weir 127.0.0.1:{weir} {option}
"""


@asynccontextmanager
async def haproxy(weir: int, option: str, directory: Path) -> AsyncIterator[int]:
    """HAProxy as a load balancer of TCP in front of a port. Yields its own."""
    with KeptPort() as port:
        config = directory / "haproxy.cfg"
        config.write_text(_CONFIG.format(port=port.number, weir=weir, option=option))
        process = await asyncio.create_subprocess_exec("haproxy", "-db", "-f", str(config))
        try:
            await until(lambda: _listens(port.number), seconds=60)
            yield port.number
        finally:
            process.kill()
            await process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@needs_haproxy
@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,crc32c"])
async def test_clients_of_haproxy_have_their_own_addresses(option: str, tmp_path: Path) -> None:
    async with proxy_rig(proxy_protocol="127.0.0.1", trusted_proxies="none", settle=False) as rig:
        async with haproxy(rig.interceptor.proxy_port, option, tmp_path) as port:
            for address in ("127.0.0.1", "127.0.0.2", "127.8.9.10"):
                transport = httpx.AsyncHTTPTransport(local_address=address)
                async with httpx.AsyncClient(transport=transport, timeout=60.0) as client:
                    for _ in range(2):
                        answer = await client.get(f"http://127.0.0.1:{port}/", headers={"Host": "a.test"})
                        assert answer.status_code == 200
        assert forwarded(rig) == [b"127.0.0.1"] * 2 + [b"127.0.0.2"] * 2 + [b"127.8.9.10"] * 2


@needs_haproxy
@needs_curl
async def test_http_2_behind_haproxy(tmp_path: Path) -> None:
    async with proxy_rig(proxy_protocol="127.0.0.1", trusted_proxies="none", settle=False) as rig:
        async with haproxy(rig.interceptor.proxy_port, "send-proxy-v2", tmp_path) as port:
            curl = ("curl", "-s", "--http2-prior-knowledge", "--interface", "127.0.0.3", "-H", "Host: a.test")
            process = await asyncio.create_subprocess_exec(*curl, f"http://127.0.0.1:{port}/", stdout=asyncio.subprocess.PIPE)
            said, _ = await asyncio.wait_for(process.communicate(), 60)
        assert said == b"ok"
        assert forwarded(rig) == [b"127.0.0.3"]


@needs_haproxy
async def test_checks_of_haproxy_are_local_and_are_answered(tmp_path: Path) -> None:
    """A check says LOCAL: it has no client, and the balancer's own address counts."""
    option = "send-proxy-v2 check check-send-proxy inter 100ms"
    async with proxy_rig(proxy_protocol="127.0.0.1", settle=False) as rig:
        seen: set[tuple[str, bytes]] = set()
        opened = rig.interceptor.proxy.client_opened

        def note(client: Client) -> None:
            seen.add((client.protocol, client.peer))
            opened(client)

        rig.interceptor.proxy.client_opened = note
        async with haproxy(rig.interceptor.proxy_port, option, tmp_path) as port:
            await until(lambda: ("HTTP/1.1", b"127.0.0.1") in seen, seconds=60)
            client = await RawClient.connect(port)
            assert (await client.ask(get())).status == 200
            client.close()
        assert not rig.interceptor.proxy.refusals
