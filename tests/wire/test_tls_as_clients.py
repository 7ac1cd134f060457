"""Backends spoken to as clients speak: over TLS for requests that came over TLS, as KEDA's HTTP add-on does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from fleet.discovery.sources import Backend
from fleet.routing.route import Affinity, ColdStart, Protection, Redirect, Route, Rule, WeightedTarget
from fleet.routing.target import Target, TargetTls
from tests.support.certificates import Authority
from tests.support.loopback import APP, route
from tests.wire.proxy_backend import BackendPeer
from tests.wire.proxy_rig import Rig, eventually, proxy_rig
from tests.wire.tls_backend import GET, TlsBackend, ask, backend
from tests.wire.tls_client import connect, trusting

NAME = "a.default"
"""In the certificates of backends, as the add-on expects it."""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def behind(authority: Authority, tmp_path: Path) -> AsyncIterator[TlsBackend]:
    (tmp_path / "behind").mkdir()
    async with backend(authority, tmp_path / "behind", NAME) as made:
        yield made


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> dict[str, Any]:
    """The settings of an interceptor with a port for TLS."""
    cert, key = authority.write(tmp_path, "server", "a.test")
    (tmp_path / "authorities").mkdir()
    (tmp_path / "authorities" / "ca.crt").write_bytes(authority.pem)
    return {
        "proxy_tls_port": 0,
        "proxy_tls_cert": str(cert),
        "proxy_tls_key": str(key),
        "backend_tls_ca_dirs": str(tmp_path / "authorities"),
        "backend_tls_as_clients": True,
    }


@asynccontextmanager
async def both(files: dict[str, Any], *routes: Route, port: int, word: str | None = None, **settings: Any) -> AsyncIterator[Rig]:
    async with proxy_rig(routes=routes or [route()], backends=0, **{"readiness_timeout": 0.5, **files, **settings}) as rig:
        rig.sources.set(APP, [Backend("127.0.0.1", port, word)])
        yield rig


async def over_tls(rig: Rig, authority: Authority, request: bytes = GET) -> tuple[bytes, bytes]:
    port = rig.interceptor.proxy_tls_port
    assert port is not None
    async with connect(port, trusting(authority)) as client:
        return await client.ask(request)


async def test_a_backend_over_tls_for_clients_over_tls_only(
    authority: Authority, behind: TlsBackend, files: dict[str, Any]
) -> None:
    async with both(files, port=behind.port) as rig:
        for _ in range(2):
            head, body = await over_tls(rig, authority)
            assert head.startswith(b"HTTP/1.1 200 ")
            assert body == b"ok"
        assert behind.names == [NAME]
        assert b"X-Forwarded-Proto: https\r\n" in behind.received
        head, _ = await ask(rig)
        assert head.startswith(b"HTTP/1.1 502 ")  # it got plain bytes, and closed the connection
        assert behind.connections == 1
        assert (await over_tls(rig, authority))[1] == b"ok"


async def test_a_backend_without_tls_for_clients_without_tls_only(authority: Authority, files: dict[str, Any]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.read(1)) == b"G":
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:  # no HTTP, as most servers say
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with both(files, port=server.sockets[0].getsockname()[1]) as rig:
        assert (await ask(rig))[0].startswith(b"HTTP/1.1 200 ")
        head, body = await over_tls(rig, authority)
        assert head.startswith((b"HTTP/1.1 502 ", b"HTTP/1.1 504 ")), head
        assert b"127.0.0.1" not in body
        assert [each.last_error[:5] for each in rig.endpoints if each.last_error] == ["TLS: "]
        assert (await ask(rig))[0].startswith(b"HTTP/1.1 200 ")
    server.close()


async def test_a_port_that_says_h2c_is_one_of_http2_over_tls(authority: Authority, tmp_path: Path, files: dict[str, Any]) -> None:
    (tmp_path / "next").mkdir()
    cert, key = authority.write(tmp_path / "next", "server", NAME)
    async with (
        proxy_rig(proxy_tls_port=0, proxy_tls_cert=str(cert), proxy_tls_key=str(key)) as behind,
        both(files, port=behind.interceptor.proxy_tls_port or 0, word="kubernetes.io/h2c") as rig,
    ):
        assert (await over_tls(rig, authority))[1] == b"ok"
        (client,) = behind.interceptor.proxy.clients
        assert "Http2" in type(client).__name__


SAID = {
    "tls": Target(APP, tls=TargetTls("other.test")),
    "appProtocol": Target(APP, app_protocol="https"),
    "addresses": Target(addresses=("127.0.0.1:1",)),
    "host": Target(host="a.test", port=1),
}


@pytest.mark.parametrize("target", SAID.values(), ids=SAID)
def test_what_a_target_says_wins(target: Target) -> None:
    assert target.over_tls is None


async def test_what_a_route_says_wins(authority: Authority, files: dict[str, Any]) -> None:
    async with both(files, replace(route(), target=Target(APP, app_protocol="http1")), port=0) as rig:
        await rig.backend()
        assert (await over_tls(rig, authority))[0].startswith(b"HTTP/1.1 200 ")
        assert (await ask(rig))[0].startswith(b"HTTP/1.1 200 ")


async def test_off_by_default(authority: Authority, files: dict[str, Any]) -> None:
    async with proxy_rig(**files | {"backend_tls_as_clients": False}) as rig:
        assert (await over_tls(rig, authority))[0].startswith(b"HTTP/1.1 200 ")
        assert len(rig.endpoints) == 1


async def test_requests_that_wait_are_counted_once_and_go_on_over_tls(
    authority: Authority, behind: TlsBackend, files: dict[str, Any]
) -> None:
    async with both(files, port=1, readiness_timeout=30) as rig:
        rig.sources.set(APP, [])
        asked = [asyncio.create_task(over_tls(rig, authority)) for _ in range(3)]
        await eventually(lambda: rig.interceptor.proxy.apps[APP].entry.held == 3)
        rig.set_routes(replace(route(), affinity=Affinity(cookie="s")))  # another version of the route
        await asyncio.sleep(0)
        assert rig.interceptor.proxy.apps[APP].entry.held == 3
        rig.sources.set(APP, [Backend("127.0.0.1", behind.port)])
        assert [(await each)[1] for each in asked] == [b"ok"] * 3
        head, _ = await over_tls(rig, authority)
        assert head.count(b"Set-Cookie: s=") == 1


async def test_requests_that_wait_follow_a_route_that_comes_to_say_more(
    authority: Authority, behind: TlsBackend, files: dict[str, Any], tmp_path: Path
) -> None:
    async with both(files, port=1, readiness_timeout=30) as rig:
        rig.sources.set(APP, [])
        asked = asyncio.create_task(over_tls(rig, authority))
        await eventually(lambda: rig.interceptor.proxy.apps[APP].entry.held == 1)
        rig.set_routes(replace(route(), target=Target(APP, tls=TargetTls(NAME))))
        rig.sources.set(APP, [Backend("127.0.0.1", behind.port)])
        assert (await asked)[1] == b"ok"
        assert len(rig.endpoints) == 1
        assert (await ask(rig))[1] == b"ok"  # over TLS, as the route says


async def test_backends_of_rules_and_the_fallback(authority: Authority, behind: TlsBackend, files: dict[str, Any]) -> None:
    rule = Rule(backends=(WeightedTarget(APP, weight=1), WeightedTarget("default/b", weight=1)))
    fallback = Target("default/f")
    weighted = replace(route(), rules=(rule,), cold_start=ColdStart(fallback=fallback))
    async with both(files, weighted, port=behind.port) as rig:
        for key in ("default/b", "default/f"):
            rig.sources.set(key, [])
        assert [(await over_tls(rig, authority))[1] for _ in range(8)] == [b"ok"] * 8
        assert behind.names == [NAME]
        rig.sources.set(APP, [])
        rig.sources.set("default/f", [Backend("127.0.0.1", behind.port)])
        head, _ = await over_tls(rig, authority)
        assert head.startswith((b"HTTP/1.1 502 ", b"HTTP/1.1 504 "))
        assert behind.names[-1] == "f.default"  # it was asked for by its own name, which its certificate has not


async def test_a_tunnel(authority: Authority, files: dict[str, Any], tmp_path: Path) -> None:
    """An upgrade by TLS is one by TLS to the backend."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await BackendPeer(reader, writer).request()
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    (tmp_path / "echo").mkdir()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.write(tmp_path / "echo", "echo", NAME))
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with both(files, port=server.sockets[0].getsockname()[1]) as rig:
        port = rig.interceptor.proxy_tls_port
        assert port is not None
        async with connect(port, trusting(authority)) as client:
            client.writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            client.writer.write(b"hello")
            assert await client.reader.readexactly(5) == b"hello"
    server.close()


async def test_a_backend_counts_once_as_ready(authority: Authority, behind: TlsBackend, files: dict[str, Any]) -> None:
    async with both(files, port=behind.port, diagnostics=True) as rig:
        await over_tls(rig, authority)
        assert [len(each) for each in rig.endpoints] == [1, 1]
        url = f"http://127.0.0.1:{rig.interceptor.diagnostics_port}/metrics"
        async with httpx.AsyncClient(trust_env=False) as client:
            metrics = (await client.get(url)).text
        (line,) = [line for line in metrics.splitlines() if line.startswith("weir_interceptor_ready_backends{")]
        assert line.endswith(" 1.0")


async def test_a_redirect_is_answered_both_ways(authority: Authority, behind: TlsBackend, files: dict[str, Any]) -> None:
    elsewhere = Rule(hosts=("a.test",), paths=("/old",), redirect=Redirect(prefix="/new"))
    async with both(files, replace(route(), rules=(*route().rules, elsewhere)), port=behind.port) as rig:
        old = GET.replace(b"GET / ", b"GET /old/page ")
        for head, _ in (await ask(rig, old), await over_tls(rig, authority, old)):
            assert head.split()[1] in (b"301", b"302", b"307", b"308"), head
            assert b"/new/page\r\n" in head
        assert (await over_tls(rig, authority))[1] == b"ok"
        assert behind.connections == 1


async def test_a_session_stays_whichever_way_it_comes(authority: Authority, files: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with (
        backend(authority, tmp_path / "one", NAME, body=b"1") as one,
        backend(authority, tmp_path / "two", NAME, body=b"2") as two,
        both(files, replace(route(), affinity=Affinity(cookie="s")), port=one.port) as rig,
    ):
        rig.sources.set(APP, [Backend("127.0.0.1", one.port), Backend("127.0.0.1", two.port)])
        head, body = await over_tls(rig, authority)
        cookie = head.partition(b"Set-Cookie: ")[2].partition(b";")[0]
        asked = GET.replace(b"\r\n\r\n", b"\r\nCookie: " + cookie + b"\r\n\r\n")
        for _ in range(12):
            again, same = await over_tls(rig, authority, asked)
            assert same == body
            assert b"Set-Cookie" not in again


async def test_a_session_of_a_rule_is_not_forgotten_over_tls(
    authority: Authority, behind: TlsBackend, files: dict[str, Any]
) -> None:
    """The cookies of the rule's other backends are; the same backend without TLS is no other one."""
    rule = Rule(backends=(WeightedTarget(APP, weight=1), WeightedTarget("default/b", weight=1)))
    async with both(files, replace(route(), rules=(rule,), affinity=Affinity(cookie="s")), port=behind.port) as rig:
        rig.sources.set("default/b", [])
        head, _ = await over_tls(rig, authority)
        assert head.count(b"Set-Cookie: ") == 1
        cookie = head.partition(b"Set-Cookie: ")[2].partition(b";")[0]
        head, body = await over_tls(rig, authority, GET.replace(b"\r\n\r\n", b"\r\nCookie: " + cookie + b"\r\n\r\n"))
        assert (body, b"Set-Cookie" in head) == (b"ok", False)
        old = cookie.partition(b"=")[0] + b"=of-a-backend-that-is-gone"
        head, _ = await over_tls(rig, authority, GET.replace(b"\r\n\r\n", b"\r\nCookie: " + old + b"\r\n\r\n"))
        assert (head.count(b"Set-Cookie: "), head.count(b"Max-Age=0")) == (1, 0)
        for part in rig.app.branches.values():
            assert part.over_tls is not None
            assert part.over_tls.shares is part.shares is not None


async def test_a_part_that_is_needed_no_more_is_closed(files: dict[str, Any]) -> None:
    rule = Rule(backends=(WeightedTarget("default/b", weight=1),))
    async with both(files, replace(route(), rules=(rule,)), port=1) as rig:
        parts = [part.over_tls for part in (rig.app, *rig.app.branches.values())]
        rig.set_routes(replace(route(), target=Target(APP, app_protocol="http1")))
        await eventually(lambda: rig.app.over_tls is None)
        assert [part.removed for part in parts if part is not None] == [True, True]


async def test_the_readiness_path_is_asked_for_over_tls(authority: Authority, behind: TlsBackend, files: dict[str, Any]) -> None:
    guarded = replace(route(), protection=Protection(readiness_path="/ready"))
    async with both(files, guarded, port=behind.port, readiness_timeout=30) as rig:
        assert (await over_tls(rig, authority))[1] == b"ok"
        assert rig.interceptor.proxy.probes.passes == 1
