"""TLS to backends as their route says it: who is believed, by which name, and that no connection serves another route."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fleet.discovery.sources import Backend
from fleet.routing.route import ColdStart, Route, Rule, WeightedTarget
from fleet.routing.target import Target, TargetTls
from tests.support.certificates import Authority
from tests.support.loopback import APP, route
from tests.wire.proxy_rig import Rig, eventually, proxy_rig
from tests.wire.tls_backend import GET, TlsBackend, ask, backend

NAME = "a.default.svc"
OTHER = "default/b"
GET_B = GET.replace(b"a.test", b"b.test")
SKIP = TargetTls(insecure_skip_verify=True)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def stranger() -> Authority:
    return Authority("stranger")


def believing(by: Authority, name: str | None = None) -> TargetTls:
    return TargetTls(name, by.pem.decode())


def spoken(tls: TargetTls | None, word: str | None = None, *, app: str = APP, host: str = "a.test", service: str = APP) -> Route:
    return replace(route(app, host), target=Target(service, app_protocol=word, tls=tls))


@asynccontextmanager
async def routed(*routes: Route, port: int, word: str | None = None, **settings: Any) -> AsyncIterator[Rig]:
    """An interceptor with these routes, and a backend of the first app whose port says `word`."""
    async with proxy_rig(routes=routes, backends=0, readiness_timeout=1.0, **settings) as rig:
        rig.sources.set(APP, [Backend("127.0.0.1", port, word)])
        yield rig


async def status(rig: Rig, request: bytes = GET) -> int:
    return int((await ask(rig, request))[0].split()[1])


GOOD = [
    ((NAME,), None, None),
    (("b.test",), "b.test", "b.test"),
    (("*.b.test",), "a.b.test", "a.b.test"),
    (("127.0.0.1",), "127.0.0.1", None),
    (("::1",), "::1", None),
    (("b.test",), "B.Test", "B.Test"),
]


@pytest.mark.parametrize(("names", "name", "asked"), GOOD)
async def test_a_certificate_of_the_routes_authority_for_its_name(
    authority: Authority, tmp_path: Path, names: tuple[str, ...], name: str | None, asked: str | None
) -> None:
    """A name is asked for as well (SNI); an address is not, because that has no form for one (RFC 6066 3)."""
    async with (
        backend(authority, tmp_path, *names) as behind,
        routed(spoken(believing(authority, name)), port=behind.port) as rig,
    ):
        assert [await status(rig) for _ in range(2)] == [200, 200]
        assert behind.names == [NAME if name is None else asked]
        assert (behind.connections, rig.pooled) == (1, 1)


BAD = {
    "another authority": ((NAME,), None, False, "unable to get local issuer certificate"),
    "another name": (("b.default.svc",), None, True, "Hostname mismatch"),
    "another name than the route says": ((NAME,), "b.test", True, "Hostname mismatch"),
    "a wildcard for one label, and two": (("*.b.test",), "a.a.b.test", True, "Hostname mismatch"),
    "a wildcard for one label, and none": (("*.b.test",), "b.test", True, "Hostname mismatch"),
    "a wildcard for everything": (("*",), "b", True, "Hostname mismatch"),
    "a name for an address": (("127.0.0.1.test",), "127.0.0.1", True, "IP address mismatch"),
    "an address for a name": (("127.0.0.1",), "localhost", True, "Hostname mismatch"),
    "another address": (("127.0.0.1",), "127.0.0.2", True, "IP address mismatch"),
}


@pytest.mark.parametrize(("names", "name", "known", "told"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("everybody_else", [{}, {"backend_tls_skip_verify": True}], ids=["", "skipped for all"])
async def test_no_request_goes_to_a_backend_that_has_not_what_the_route_asks_for(  # noqa: PLR0917
    authority: Authority,
    stranger: Authority,
    tmp_path: Path,
    names: tuple[str, ...],
    name: str | None,
    known: bool,
    told: str,
    everybody_else: dict[str, Any],
) -> None:
    """Whatever the setting for all targets says: who names authorities has them asked."""
    tls = believing(authority if known else stranger, name)
    async with (
        backend(authority, tmp_path, *names) as behind,
        routed(spoken(tls), port=behind.port, **everybody_else) as rig,
    ):
        assert await status(rig) in (502, 504)
        assert behind.connections == 0
        assert not behind.received
        (each,) = rig.endpoints
        assert each.last_error.startswith(f"TLS: {told}")


async def test_an_expired_certificate(authority: Authority, tmp_path: Path) -> None:
    async with (
        backend(authority, tmp_path, NAME, ended=True) as behind,
        routed(spoken(believing(authority)), port=behind.port) as rig,
    ):
        assert await status(rig) in (502, 504)
        assert not behind.received
        assert rig.endpoints[0].last_error == "TLS: certificate has expired"


async def test_authorities_of_a_route_are_instead_of_all_others(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    (trusted := tmp_path / "trusted").mkdir()
    (trusted / "ca.crt").write_bytes(authority.pem)
    async with (
        backend(authority, tmp_path, NAME) as behind,
        routed(spoken(TargetTls()), port=behind.port, backend_tls_ca_dirs=str(trusted)) as rig,
    ):
        assert await status(rig) == 200
        rig.set_routes(spoken(believing(stranger)))
        assert await status(rig) in (502, 504)
        assert behind.connections == 1


async def test_a_part_of_the_chain_can_be_the_authority(authority: Authority, tmp_path: Path) -> None:
    """The server's own certificate, which is of an authority that nobody names."""
    async with backend(authority, tmp_path, NAME) as behind:
        own = TargetTls(ca_bundle=(tmp_path / "backend.crt").read_text())
        async with routed(spoken(own), port=behind.port) as rig:
            assert await status(rig) == 200


async def test_any_certificate_where_the_route_says_so(stranger: Authority, tmp_path: Path) -> None:
    async with (
        backend(stranger, tmp_path, "other.test", ended=True) as behind,
        routed(spoken(SKIP), port=behind.port) as rig,
    ):
        assert await status(rig) == 200
        rig.set_routes(spoken(TargetTls()))
        assert await status(rig) in (502, 504)
        assert behind.connections == 1


@pytest.mark.parametrize("word", [None, "http", "tcp", "ws"])
async def test_tls_is_spoken_whatever_the_port_says(authority: Authority, tmp_path: Path, word: str | None) -> None:
    async with (
        backend(authority, tmp_path, NAME) as behind,
        routed(spoken(believing(authority)), port=behind.port, word=word) as rig,
    ):
        assert await status(rig) == 200


async def test_no_plaintext_goes_to_a_backend_without_tls(authority: Authority) -> None:
    received = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.read(1 << 16))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with routed(spoken(believing(authority)), port=server.sockets[0].getsockname()[1]) as rig:
        assert await status(rig) in (502, 504)
    server.close()
    assert received
    assert b"GET" not in received


async def test_a_route_can_say_that_there_is_no_tls_although_the_port_does() -> None:
    async with proxy_rig(routes=[spoken(None, "http")], backends=1) as rig:
        rig.sources.set(APP, [replace(each, app_protocol="https") for each in rig.sources.get(APP)])
        assert await status(rig) == 200


GARBAGE = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("inside", ["", "garbage", "====", "MIIB", "A" * 60_000])
async def test_authorities_that_cannot_be_read_are_nobody(authority: Authority, tmp_path: Path, inside: str) -> None:
    """A file of routes is checked by nobody before."""
    async with (
        backend(authority, tmp_path, NAME) as behind,
        routed(spoken(TargetTls(ca_bundle=GARBAGE.format(inside))), port=behind.port, backend_tls_skip_verify=True) as rig,
    ):
        assert await status(rig) in (502, 504)
        assert [behind.connections, *behind.names] == [0]
        assert rig.endpoints[0].last_error.startswith("TLS: the authorities in tls.caBundle cannot be read (")


async def test_authorities_of_which_one_cannot_be_read_are_not_the_others(authority: Authority, tmp_path: Path) -> None:
    half = authority.pem.decode() + GARBAGE.format("garbage")
    async with (
        backend(authority, tmp_path, NAME) as behind,
        routed(spoken(TargetTls(ca_bundle=half)), port=behind.port) as rig,
    ):
        assert await status(rig) in (502, 504)
        assert behind.connections == 0


async def test_a_name_that_no_certificate_can_have(authority: Authority, tmp_path: Path) -> None:
    long = f"default/{'a' * 100}"
    async with (
        backend(authority, tmp_path, NAME) as behind,
        routed(spoken(believing(authority), service=long), port=behind.port) as rig,
    ):
        rig.sources.set(long, [Backend("127.0.0.1", behind.port)])
        assert await status(rig) in (502, 504)
        assert "no certificate can have the name" in rig.endpoints[0].last_error


# -- connections of several routes ------------------------------------------------------------------------------------


async def test_routes_to_one_service_share_connections_only_if_they_speak_alike(
    stranger: Authority, authority: Authority, tmp_path: Path
) -> None:
    strict, lax = spoken(believing(authority)), spoken(SKIP, app=OTHER, host="b.test")
    third = spoken(SKIP, app="default/c", host="c.test")
    async with backend(stranger, tmp_path, NAME) as behind, routed(strict, lax, third, port=behind.port) as rig:
        for _ in range(2):
            assert await status(rig, GET_B) == 200
            assert rig.pooled == 1
            assert await status(rig) in (502, 504), "there is a connection, of those who did not ask for a certificate"
        assert await status(rig, GET.replace(b"a.test", b"c.test")) == 200
        assert behind.connections == 1, "those who speak alike share it"
        assert len(rig.endpoints) == 2


async def test_names_are_not_shared(authority: Authority, tmp_path: Path) -> None:
    """One backend may have what only one of two routes asks for."""
    routes = [spoken(believing(authority)), spoken(believing(authority, "b.test"), app=OTHER, host="b.test")]
    async with backend(authority, tmp_path, NAME) as behind, routed(*routes, port=behind.port) as rig:
        assert await status(rig) == 200
        assert await status(rig, GET_B) in (502, 504)


@pytest.mark.parametrize("word", ["h2", "grpcs"])
async def test_streams_are_not_shared_either(authority: Authority, stranger: Authority, tmp_path: Path, word: str) -> None:
    cert, key = stranger.write(tmp_path, "server", NAME)
    files = {"proxy_tls_port": 0, "proxy_tls_cert": str(cert), "proxy_tls_key": str(key)}
    strict, lax = spoken(believing(authority), word), spoken(SKIP, word, app=OTHER, host="b.test")
    behind = proxy_rig(routes=[route(), route(OTHER, "b.test", service=APP)], **files)  # type: ignore[arg-type]
    async with behind as server:
        port = server.interceptor.proxy_tls_port
        assert port is not None
        async with routed(strict, lax, port=port) as rig:
            for _ in range(2):
                assert await status(rig, GET_B) == 200
                assert await status(rig) in (502, 504)
            assert len(server.interceptor.proxy.clients) == 1
            rig.set_routes(replace(strict, target=replace(strict.target, tls=believing(stranger))), lax)
            assert await status(rig) == 200
            assert len(server.interceptor.proxy.clients) == 2


async def test_backends_of_rules_and_fallbacks_have_their_own(authority: Authority, stranger: Authority, tmp_path: Path) -> None:
    (other := tmp_path / "other").mkdir()
    first = WeightedTarget("default/first", tls=believing(authority, "first.test"))
    fallback = Target("default/fallback", tls=believing(stranger, "fallback.test"))
    rules = (Rule(hosts=("a.test",), backends=(first,)),)
    whole = replace(route(), rules=rules, cold_start=ColdStart(fallback=fallback))
    async with (
        backend(authority, tmp_path, "first.test", body=b"first") as one,
        backend(stranger, other, "fallback.test", body=b"fallback") as two,
        proxy_rig(routes=[whole], backends=0, readiness_timeout=0.2) as rig,
    ):
        rig.sources.set("default/fallback", [Backend("127.0.0.1", two.port)])
        assert (await ask(rig))[1] == b"fallback"
        rig.sources.set("default/first", [Backend("127.0.0.1", one.port)])
        assert (await ask(rig))[1] == b"first"
        assert (one.names, two.names) == (["first.test"], ["fallback.test"])


@pytest.mark.parametrize("good", [True, False])
async def test_a_fallback_outside_of_discovery(authority: Authority, stranger: Authority, tmp_path: Path, good: bool) -> None:
    tls = believing(authority if good else stranger, "fallback.test")
    async with (
        backend(authority, tmp_path, "fallback.test", body=b"fallback") as two,
        proxy_rig(routes=[], backends=0, readiness_timeout=0.2, outside_allowed="loopback") as rig,
    ):
        fallback = Target(addresses=(f"127.0.0.1:{two.port}",), tls=tls)
        rig.set_routes(replace(route(), cold_start=ColdStart(fallback=fallback)))
        assert ((await ask(rig))[1] == b"fallback") == good
        assert (two.names, bool(two.received)) == (["fallback.test"], good)


# -- another table ----------------------------------------------------------------------------------------------------


async def closed(rig: Rig, behind: TlsBackend) -> None:
    await eventually(lambda: rig.pooled == 0 and behind.open == 0)


@pytest.mark.parametrize("after", ["another authority", "another name", "no tls"])
async def test_connections_from_before_a_change_are_not_used_after_it(
    authority: Authority, stranger: Authority, tmp_path: Path, after: str
) -> None:
    changed = {
        "another authority": spoken(believing(stranger)),
        "another name": spoken(believing(authority, "b.test")),
        "no tls": spoken(None),
    }[after]
    async with (
        backend(authority, tmp_path, NAME) as behind,
        routed(spoken(SKIP), port=behind.port) as rig,
    ):
        assert await status(rig) == 200
        assert (rig.pooled, behind.open) == (1, 1)
        rig.set_routes(changed)
        await closed(rig, behind)
        assert await status(rig) in (502, 504)
        assert behind.connections == 1
        rig.set_routes(spoken(believing(authority)))
        assert await status(rig) == 200
        assert behind.connections == 2


async def test_a_request_in_hand_ends_as_it_began_and_its_connection_with_it(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    async with (
        backend(authority, tmp_path, NAME) as behind,
        routed(spoken(SKIP), port=behind.port) as rig,
    ):
        behind.gate = asyncio.Event()
        request = asyncio.create_task(status(rig))
        await eventually(lambda: behind.received)
        rig.set_routes(spoken(believing(stranger)))
        assert await status(rig) in (502, 504), "others do not get that connection meanwhile"
        behind.gate.set()
        assert await request == 200
        await closed(rig, behind)
        assert behind.connections == 1


async def test_a_change_of_something_else_keeps_connections(authority: Authority, tmp_path: Path) -> None:
    """The same authorities come with every table, as another text of the same content."""
    async with (
        backend(authority, tmp_path, NAME) as behind,
        routed(spoken(believing(authority)), port=behind.port) as rig,
    ):
        assert await status(rig) == 200
        rig.set_routes(replace(spoken(believing(authority)), server_timing=True))
        assert await status(rig) == 200
        assert behind.connections == 1


async def test_requests_that_wait_follow_a_change(authority: Authority, stranger: Authority, tmp_path: Path) -> None:
    """A mistake in the authorities can be mended before who waits gives up."""
    async with (
        backend(authority, tmp_path, NAME) as behind,
        proxy_rig(routes=[spoken(believing(stranger))], backends=0, readiness_timeout=20) as rig,
    ):
        rig.sources.set(APP, [Backend("127.0.0.1", behind.port)])
        request = asyncio.create_task(status(rig))
        await eventually(lambda: rig.app.room)
        rig.set_routes(spoken(believing(authority)))
        assert await request == 200
        assert behind.connections == 1


# -- ALPN ---------------------------------------------------------------------------------------------------------------


NOT_AGREED = "TLS: the backend does not agree to HTTP/2, which alone is offered (ALPN), and"


@pytest.mark.parametrize("offered", [(), ("http/1.1",)])
async def test_a_backend_that_chooses_something_else_than_http2(
    authority: Authority, tmp_path: Path, offered: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        backend(authority, tmp_path, NAME, alpn=offered) as behind,
        routed(spoken(believing(authority), "h2"), port=behind.port) as rig,
    ):
        assert await status(rig) in (502, 504)
        assert not behind.received
        assert rig.endpoints[0].last_error == f"{NOT_AGREED} has chosen none"
        assert NOT_AGREED in caplog.text


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_a_backend_that_refuses_everything_else_than_http1(authority: Authority, tmp_path: Path) -> None:
    """Python's servers go on without a protocol where they have none in common; others do not."""
    cert, key = authority.write(tmp_path, "server", NAME)
    arguments = ("-accept", "127.0.0.1:0", "-cert", str(cert), "-key", str(key), "-alpn", "http/1.1", "-naccept", "9")
    server = await asyncio.create_subprocess_exec("openssl", "s_server", *arguments, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
    try:
        assert server.stdout is not None
        while not (line := await server.stdout.readline()).startswith(b"ACCEPT "):
            assert line, "it has ended"
        port = int(line.rpartition(b":")[2])
        async with routed(spoken(believing(authority), "h2"), port=port) as rig:
            assert await status(rig) in (502, 504)
            assert rig.endpoints[0].last_error == f"{NOT_AGREED} takes no other protocol"
    finally:
        server.kill()
        await server.wait()


async def test_held_requests_stay_when_a_backend_of_a_rule_is_spoken_to_otherwise() -> None:
    """Their part of the app is the same one; a part that goes away answers them with 503."""

    def divided(app_protocol: str | None) -> Route:
        rule = Rule(("a.test",), backends=(WeightedTarget(OTHER, app_protocol=app_protocol),))
        return Route(APP, Target(APP), (rule,))

    async with proxy_rig(routes=[divided(None)], backends=0) as rig:
        client = await rig.client()
        client.send(GET)
        (part,) = rig.app.branches.values()
        await eventually(lambda: len(part.room) == 1)
        rig.set_routes(divided("http"))
        assert len(part.room) == 1
        backend = await rig.backend(listed=False)
        rig.sources.set(OTHER, [backend.backend])
        assert (await client.response()).status == 200
