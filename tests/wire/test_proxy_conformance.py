"""HTTP to the letter, where servers and clients that people use depend on it (RFC 9110, RFC 9112)."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from fleet.routing.route import Route, Rule, Target
from tests.support.raw_requests import get, post
from tests.wire.proxy_backend import BackendPeer, answer
from tests.wire.proxy_rig import eventually, proxy_rig

ANY = Route(app="default/a", target=Target("default/a"), rules=(Rule(hosts=("*",)),))


def head(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


# -- heads that can no longer become valid ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: \x00",
        b"HTTP/1.1 200 OK\r\n : x",
        b"220 mail.test ESMTP",
    ],
)
async def test_an_answer_that_is_none_is_told_while_its_connection_is_open(wire: bytes) -> None:
    async def broken(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(wire)
        await peer.read_to_end()

    async with proxy_rig(broken) as rig:
        message = await (await rig.client()).ask(get())
        assert message.status == 502
        assert b"malformed response" in message.body


@pytest.mark.parametrize(
    "wire", [b"GET / HTTP/1.1\nHost: a.test\n\n", b"GET / HTTP/1.1\r\nHost : a", b"GET\t/", b"\nGET / HTTP/1.1"]
)
async def test_a_request_that_is_none_is_told_while_its_connection_is_open(wire: bytes) -> None:
    async with proxy_rig() as rig:
        assert (await (await rig.client()).ask(wire)).status == 400


# -- methods and versions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [b"LIST", b"VERSION-CONTROL", b"REFRESH", b"get", b"PURGE", b"QUERY", b"M-SEARCH", b"1a!"])
async def test_any_method_is_forwarded(method: bytes) -> None:
    async with proxy_rig() as rig:
        client = await rig.client()
        for _ in range(2):
            assert (await client.ask(get(b"/v1/secret", method=method))).status == 200
            assert (await client.ask(post(b"body", method=method))).status == 200
        seen = [(request.method, request.target, request.body) for request in rig.backends[0].requests]
        assert seen == [(method, b"/v1/secret", b""), (method, b"/", b"body")] * 2


async def test_methods_of_their_own_are_one_for_metrics() -> None:
    async with proxy_rig() as rig:
        client = await rig.client()
        for number in range(300):
            await client.ask(get(method=b"M%d" % number))
        ((kind, found),) = rig.app.stats.answers().items()
        assert (kind, found.count) == (("_OTHER", "200", "false"), 300)


async def test_what_is_not_known_to_be_idempotent_is_sent_once() -> None:
    async def lost(peer: BackendPeer) -> None:
        await peer.request()

    async with proxy_rig(lost) as rig:
        assert (await (await rig.client()).ask(get(method=b"LIST"))).status == 502
        assert len(rig.backends[0].peers) == 1


async def test_higher_minor_versions_are_processed_as_the_highest_known() -> None:
    async with proxy_rig(answer(b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok")) as rig:
        client = await rig.client()
        for request in (get(version=b"1.2"), get(b"/", b"X-Forwarded-For: 192.0.2.1", version=b"1.9")):
            assert (await client.ask(request)).body == b"ok"
        assert rig.backends[0].received.count(b" / HTTP/1.1\r\n") == 2
        assert rig.pooled == 1


# -- chunks of answers --------------------------------------------------------------------------------------------


async def test_blanks_around_chunk_sizes_of_answers_are_written_clean() -> None:
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2   \r\nab\r\n2 ; a=b\r\ncd\r\n0\r\n\r\n"
    async with proxy_rig(answer(wire)) as rig:
        client = await rig.client()
        for _ in range(2):
            assert (await client.ask(get())).body == b"abcd"
        assert rig.pooled == 1


# -- fields of answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found", b"503 Busy"])
async def test_an_answer_without_a_date_gets_one(status: bytes) -> None:
    async with proxy_rig(answer(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nok")) as rig:
        message = await (await rig.client()).ask(get())
        (date,) = message.all(b"date")
        assert date.endswith(b" GMT")


@pytest.mark.parametrize("field", [b"Date: then", b"date:then", b"DATE:\tthen"])
async def test_a_date_of_its_own_is_kept(field: bytes) -> None:
    async with proxy_rig(answer(b"HTTP/1.1 200 OK\r\n" + field + b"\r\nContent-Length: 2\r\n\r\nok")) as rig:
        assert (await (await rig.client()).ask(get())).all(b"date") == [b"then"]


async def test_upgrade_required_says_what_to() -> None:
    wire = b"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: HTTP/3.0, websocket\r\nContent-Length: 0\r\n\r\n"
    async with proxy_rig(answer(wire)) as rig:
        client = await rig.client()
        message = await client.ask(get())
        assert (message.status, message.get(b"upgrade"), message.get(b"connection")) == (426, b"HTTP/3.0, websocket", b"upgrade")
        message = await client.ask(get(b"/", b"Connection: close"))
        assert (message.get(b"upgrade"), message.get(b"connection")) == (b"HTTP/3.0, websocket", b"upgrade, close")


# -- upgrades -----------------------------------------------------------------------------------------------------


def switching(protocol: bytes) -> bytes:
    return head(b"HTTP/1.1 101 x", b"Connection: upgrade", b"Upgrade: " + protocol)


@pytest.mark.parametrize("told", [b"h2c", b"websocket, h2c", b"web", b"websockets"])
async def test_a_switch_to_what_was_not_asked_for_is_refused(told: bytes) -> None:
    async def switch(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(switching(told))
        await peer.read_to_end()

    async with proxy_rig(switch) as rig:
        assert (await (await rig.client()).ask(get(b"/", b"Connection: upgrade", b"Upgrade: websocket"))).status == 502


@pytest.mark.parametrize("told", [b"websocket", b"WebSocket", b"foo/2", b"websocket,", b", websocket"])
async def test_a_switch_to_one_of_those_asked_for_is_a_tunnel(told: bytes) -> None:
    async def switch(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(switching(told) + b"hello")

    async with proxy_rig(switch) as rig:
        client = await rig.client()
        message = await client.ask(get(b"/", b"Connection: upgrade", b"Upgrade: websocket, Foo/2"))
        assert (message.status, await client.read_until(b"hello")) == (101, b"hello")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_request_with_a_body_may_turn_into_a_tunnel(chunked: bool) -> None:
    """As `docker exec` asks for one."""

    async def attach(peer: BackendPeer) -> None:
        message = await peer.request()
        assert (message.body, message.get(b"upgrade"), message.get(b"connection")) == (b'{"Tty":true}', b"tcp", b"upgrade")
        peer.send(switching(b"tcp"))
        while data := await peer.read_some():
            peer.send(data.upper())

    async with proxy_rig(attach) as rig:
        client = await rig.client()
        message = await client.ask(
            post(b'{"Tty":true}', b"/exec/1/start", b"Connection: Upgrade", b"Upgrade: tcp", chunked=chunked)
        )
        assert message.status == 101
        client.send(b"whoami\n")
        assert await client.read_until(b"\n") == b"WHOAMI\n"
        assert rig.app.entry.in_flight == 1


async def test_a_switch_before_all_of_the_request_is_refused() -> None:
    async def hasty(peer: BackendPeer) -> None:
        await peer.read_until(b"\r\n\r\n")
        peer.send(switching(b"tcp"))
        await peer.read_to_end()

    async with proxy_rig(hasty) as rig:
        client = await rig.client()
        message = await client.ask(get(b"/", b"Content-Length: 5", b"Connection: Upgrade", b"Upgrade: tcp", method=b"POST"))
        assert message.status == 502


# -- requests that are not to be forwarded any further ------------------------------------------------------------


async def test_max_forwards_counts_down_for_trace_and_options_only() -> None:
    async with proxy_rig() as rig:
        client = await rig.client()
        for method, sent, came in (
            (b"TRACE", b"5", b"4"),
            (b"OPTIONS", b"1", b"0"),
            (b"GET", b"0", b"0"),
            (b"TRACE", b"x", b"x"),
        ):
            assert (await client.ask(get(b"/", b"Max-Forwards: " + sent, method=method))).status == 200
            received = rig.backends[0].received
            assert received.count(method + b" / ") >= 1
            assert received.rpartition(b"Max-Forwards: ")[2].startswith(came + b"\r\n")


async def test_options_that_ends_here_is_answered_here() -> None:
    async with proxy_rig() as rig:
        for target in (b"/", b"*"):
            message = await (await rig.client()).ask(get(target, b"Max-Forwards: 0", method=b"OPTIONS"))
            assert (message.status, message.body) == (200, b"")
        assert not rig.backends[0].received


async def test_trace_that_ends_here_shows_the_request_without_secrets() -> None:
    async with proxy_rig() as rig:
        client = await rig.client()
        message = await client.ask(
            get(b"/a?b", b"Cookie: a=b", b"X-A: 1", b"authorization: Bearer x", b"Max-Forwards: 0", method=b"TRACE")
        )
        assert (message.status, message.get(b"content-type")) == (200, b"message/http")
        assert message.body == head(b"TRACE /a?b HTTP/1.1", b"Host: a.test", b"X-A: 1", b"Max-Forwards: 0")
        assert not rig.backends[0].received


async def test_options_for_a_whole_server_has_the_asterisk_as_its_target() -> None:
    async with proxy_rig() as rig:
        client = await rig.client()
        for target, sent in ((b"http://a.test", b"*"), (b"http://a.test/", b"/"), (b"http://a.test?x", b"/?x")):
            await client.ask(get(target, method=b"OPTIONS"))
            assert rig.backends[0].received.rpartition(b"OPTIONS ")[2].startswith(sent + b" HTTP/1.1\r\n")
        await client.ask(get(b"http://a.test"))
        assert rig.backends[0].received.rpartition(b"GET ")[2].startswith(b"/ HTTP/1.1\r\n")


# -- hosts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", [b"Host:", b"Host: \t", b"Host: :80"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_a_host_without_a_name_is_refused(field: bytes, version: bytes) -> None:
    async with proxy_rig(routes=[ANY]) as rig:
        assert (await (await rig.client()).ask(head(b"GET / HTTP/" + version, field))).status == 400


async def test_a_request_of_http_1_0_without_a_host_names_the_backend() -> None:
    async with proxy_rig(routes=[ANY]) as rig:
        client = await rig.client()
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.response()).status == 200
        (request,) = rig.backends[0].requests
        assert request.all(b"host") == [b"127.0.0.1:%d" % rig.backends[0].backend.port]
        assert request.get(b"x-forwarded-host") is None


# -- fields of requests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sent", "came"), [(b"trailers", b"trailers"), (b"gzip;q=0.5, Trailers", b"trailers"), (b"gzip", None)])
async def test_a_client_that_accepts_trailers_says_so_to_the_backend(sent: bytes, came: bytes | None) -> None:
    async with proxy_rig() as rig:
        await (await rig.client()).ask(get(b"/", b"TE: " + sent, b"Connection: TE"))
        (request,) = rig.backends[0].requests
        assert (request.get(b"te"), request.get(b"connection")) == (came, came and b"TE")


async def test_blanks_around_chunked_are_none_of_its_name() -> None:
    async with proxy_rig() as rig:
        wire = head(b"POST / HTTP/1.1", b"Host: a.test", b"Transfer-Encoding:  chunked \t") + b"2\r\nab\r\n0\r\n\r\n"
        assert (await (await rig.client()).ask(wire)).status == 200
        assert rig.backends[0].requests[0].body == b"ab"


TOLD = (
    b"X-Forwarded-For: 203.0.113.7",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: public.test",
    b"Forwarded: for=203.0.113.7;proto=https",
    b"X-Real-IP: 203.0.113.7",
    b"X-Forwarded-Port: 443",
    b"X-Forwarded-Prefix: /a",
    b"X-Envoy-Original-Path: /a/b",
)


async def test_forwarding_fields_of_a_trusted_proxy_are_kept() -> None:
    async with proxy_rig() as rig:
        await (await rig.client()).ask(get(b"/", *TOLD))
        (request,) = rig.backends[0].requests
        assert request.all(b"x-forwarded-for") == [b"203.0.113.7, 127.0.0.1"]
        assert [request.all(name) for name in (b"x-forwarded-proto", b"x-forwarded-host")] == [[b"https"], [b"public.test"]]
        assert {line.partition(b":")[0].lower() for line in TOLD} <= {name for name, _ in request.fields}


async def test_nobody_else_does() -> None:
    async with proxy_rig(trusted_proxies="none") as rig:
        await (await rig.client()).ask(get(b"/", *TOLD))
        (request,) = rig.backends[0].requests
        told = {name: value for name, value in request.fields if name.startswith((b"x-", b"forw"))}
        assert told == {b"x-forwarded-for": b"127.0.0.1", b"x-forwarded-proto": b"http", b"x-forwarded-host": b"a.test"}


async def test_an_ipv4_client_has_an_ipv4_address_on_a_dual_stack_listener() -> None:
    async with proxy_rig(host="::", trusted_proxies="127.0.0.1") as rig:
        await (await rig.client()).ask(get(b"/", b"X-Forwarded-For: 203.0.113.7"))
        assert rig.backends[0].requests[0].get(b"x-forwarded-for") == b"203.0.113.7, 127.0.0.1"


# -- answers that end with their connection -----------------------------------------------------------------------


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_an_answer_that_ends_with_its_connection_is_reset_when_the_process_dies(version: bytes) -> None:
    """The kernel closes what a process leaves behind, and does so cleanly unless it was told otherwise before."""
    part = asyncio.Event()

    async def stream(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(
            b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\n"
            if version == b"1.1"
            else head(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked")
        )
        peer.send(b"event" if version == b"1.1" else b"5\r\nevent\r\n")
        await part.wait()

    async with proxy_rig(stream, settle=False) as rig:
        client = await rig.client()
        client.send(get(version=version))
        await client.read_until(b"event")
        (connection,) = rig.connections
        sock = connection._transport.get_extra_info("socket")
        await eventually(lambda: linger(sock) == (1, 0))
        part.set()


async def test_an_answer_that_came_to_its_end_is_closed_cleanly() -> None:
    async def stream(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(20):
            peer.send(b"event" * 10_000)
            await peer.writer.drain()

    async with proxy_rig(stream) as rig:
        client = await rig.client()
        client.send(get())
        data = await client.read_to_end()
        assert data.endswith(b"event" * 200_000)
        assert not client.was_reset


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_the_last_of_an_answer_is_guarded_until_the_client_has_taken_it(version: bytes) -> None:
    size = 8_000_000
    chunked = version == b"1.0"

    async def large(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(head(b"HTTP/1.1 200 OK", *([b"Transfer-Encoding: chunked"] if chunked else [])))
        peer.send((b"%x\r\n" % size if chunked else b"") + b"x" * size + (b"\r\n0\r\n\r\n" if chunked else b""))
        await peer.writer.drain()

    async with proxy_rig(large) as rig:
        client = await rig.client(receive_buffer=4096, limit=4096)
        client.send(get(version=version))
        await client.read_until(b"\r\n\r\n")
        (connection,) = rig.connections
        sock = connection._transport.get_extra_info("socket")
        while rig.ledger.outstanding:
            assert linger(sock) == (1, 0)
            await client.read_some()
        if connection.congested:
            assert linger(sock) == (1, 0)
        assert (await client.read_to_end()).count(b"x") == size
        assert not client.was_reset


def linger(sock: socket.socket) -> tuple[int, int]:
    on, seconds = struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
    return on, seconds
