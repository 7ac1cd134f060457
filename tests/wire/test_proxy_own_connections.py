"""Backends that authenticate connections (NTLM, Negotiate): what one client has authenticated is no other client's."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from fleet.routing.route import Protection, Rule, StaticResponse, StaticRoute
from tests.support.loopback import APP, route
from tests.support.raw_requests import get, post
from tests.support.strict_reader import Message
from tests.wire.proxy_backend import BackendPeer, answer, ok
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import eventually, proxy_rig

CHALLENGE = ok(b"who", b"WWW-Authenticate: NTLM", status=b"401 Unauthorized")


async def ntlm(peer: BackendPeer) -> None:
    """Three steps, after which the connection is the user's, as IIS has it."""
    user = b""
    while True:
        message = await peer.request()
        token = (message.get(b"authorization") or b"").removeprefix(b"NTLM ")
        if token.startswith(b"1"):
            peer.send(ok(b"", b"WWW-Authenticate: NTLM 2" + token[1:], status=b"401 Unauthorized"))
        elif token.startswith(b"3"):
            user = token[1:]
            peer.send(ok(b"hello " + user))
        else:
            peer.send(ok(b"hello " + user) if user else CHALLENGE)


async def authenticate(client: RawClient, user: bytes) -> Message:
    assert (await client.ask(get())).status == 401
    assert (await client.ask(get(b"/", b"Authorization: NTLM 1" + user))).get(b"www-authenticate") == b"NTLM 2" + user
    return await client.ask(get(b"/", b"Authorization: NTLM 3" + user))


async def test_nobody_gets_the_identity_of_another() -> None:
    async with proxy_rig(ntlm) as rig:
        first, second = await rig.client(), await rig.client()
        assert (await authenticate(first, b"A")).body == b"hello A"
        for _ in range(3):
            assert (await second.ask(get())).status == 401
        assert (await first.ask(get())).body == b"hello A"
        assert (await authenticate(second, b"B")).body == b"hello B"
        for _ in range(3):
            assert (await first.ask(post(b"x"))).body == b"hello A"
            assert (await second.ask(post(b"x"))).body == b"hello B"
        assert rig.pooled == 0
        assert len(rig.backends[0].peers) == 2


async def test_the_connection_ends_with_its_client() -> None:
    async with proxy_rig(ntlm) as rig:
        client = await rig.client()
        await authenticate(client, b"A")
        client.close()
        await asyncio.wait_for(rig.backends[0].peers[0].ended.wait(), 60)
        assert (await (await rig.client()).ask(get())).status == 401


@pytest.mark.parametrize("scheme", [b"Negotiate", b"negotiate", b"NTLM", b" \t Nego2", b"Kerberos"])
@pytest.mark.parametrize("name", [b"Authorization", b"AUTHORIZATION"])
async def test_a_client_that_authenticates_unasked_has_a_connection_too(name: bytes, scheme: bytes) -> None:
    """Negotiate may need one step only, and its answer then says nothing."""

    async def negotiate(peer: BackendPeer) -> None:
        user = b"nobody"
        while True:
            user = (await peer.request()).get(b"authorization") or user
            peer.send(ok(user))

    async with proxy_rig(negotiate) as rig:
        first, second = await rig.client(), await rig.client()
        await first.ask(get(b"/", name + b":" + scheme + b" A"))
        assert (await second.ask(get())).body == b"nobody"
        assert (await first.ask(get())).body == scheme.strip() + b" A"


@pytest.mark.parametrize(
    "value", [b"Basic realm=a, NTLM", b"negotiate", b'Digest realm="x",Negotiate abc', b"NTLM\r\nWWW-Authenticate: Basic"]
)
async def test_any_challenge_of_such_a_scheme_ties_the_connection(value: bytes) -> None:
    async def challenge(peer: BackendPeer) -> None:
        while True:
            await peer.request()
            peer.send(ok(b"", b"WWW-Authenticate: " + value))

    async with proxy_rig(challenge) as rig:
        message = await (await rig.client()).ask(get())
        assert b", ".join(message.all(b"www-authenticate")) == value.replace(b"\r\nWWW-Authenticate: ", b", ")
        assert rig.pooled == 0


@pytest.mark.parametrize(
    "fields", [(b"Authorization: Basic QQ==",), (b"Authorization: Bearer ntlm",), (b"X-Authorization: NTLM 1",)]
)
async def test_other_schemes_share_connections(fields: tuple[bytes, ...]) -> None:
    async def basic(peer: BackendPeer) -> None:
        while True:
            await peer.request()
            peer.send(ok(b"", b"WWW-Authenticate: Basic realm=ntlm"))

    async with proxy_rig(basic) as rig:
        for _ in range(2):
            await (await rig.client()).ask(get(b"/", *fields))
        assert (rig.pooled, len(rig.backends[0].peers)) == (1, 1)


async def test_another_application_gets_another_connection() -> None:
    routes = [route(), route("default/b", "b.test")]
    async with proxy_rig(ntlm, routes=routes) as rig:
        other = await rig.backend(ntlm, listed=False)
        rig.sources.set("default/b", [other.backend])
        client = await rig.client()
        await authenticate(client, b"A")
        assert (await client.ask(get(host=b"b.test"))).status == 401
        assert (await client.ask(get())).status == 401
        await eventually(lambda: rig.connections_open == 1)


async def test_a_backend_that_closes_its_connection_is_asked_on_a_new_one() -> None:
    async with proxy_rig(ntlm) as rig:
        client = await rig.client()
        await authenticate(client, b"A")
        rig.backends[0].peers[0].close()
        await eventually(lambda: rig.connections_open == 0)
        assert (await client.ask(post(b"x"))).status == 401


async def test_bounds_of_the_route_hold_for_them_too() -> None:
    """Two clients whose connections are theirs, one place at the backend: one of them waits, and still goes by its own."""
    gate, served = asyncio.Event(), []

    async def slow(peer: BackendPeer) -> None:
        user = b""
        while True:
            message = await peer.request()
            user = message.get(b"authorization") or user
            if message.target == b"/slow":
                served.append(user)
                await gate.wait()
            peer.send(ok(user))

    routes = [replace(route(), protection=Protection(backend_concurrency=1))]
    async with proxy_rig(slow, routes=routes) as rig:
        clients = [await rig.client() for _ in range(2)]
        for client, user in zip(clients, (b"NTLM A", b"NTLM B"), strict=True):
            assert (await client.ask(get(b"/", b"Authorization: " + user))).body == user
        for client in clients:
            client.send(get(b"/slow"))
        await eventually(lambda: (rig.app.entry.held, rig.app.entry.in_flight) == (1, 1))
        await eventually(lambda: len(served) == 1)
        gate.set()
        assert [(await client.response()).body for client in clients] == [b"NTLM A", b"NTLM B"]


async def test_a_challenge_in_an_interim_answer_ties_the_connection_too() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nWWW-Authenticate: NTLM\r\n\r\n"
    async with proxy_rig(answer(early + ok())) as rig:
        assert (await (await rig.client()).ask(get())).status == 200
        assert rig.pooled == 0


@pytest.mark.parametrize("trusted", ["private", "none"])
async def test_a_proxy_in_front_has_none_of_its_own(trusted: str) -> None:
    """It sends the requests of all its clients by one connection. Whoever only claims to be one is a client."""
    async with proxy_rig(ntlm, trusted_proxies=trusted) as rig:
        client = await rig.client()
        for _ in range(2):
            await client.ask(get(b"/", b"X-Forwarded-For: 192.0.2.1", b"Authorization: NTLM 3A"))
        body = (await client.ask(get(b"/", b"X-Forwarded-For: 192.0.2.2"))).body
        assert body == (b"who" if trusted == "private" else b"hello A")


async def test_it_ends_when_its_backend_is_not_listed_any_more() -> None:
    async with proxy_rig(ntlm) as rig:
        client = await rig.client()
        await authenticate(client, b"A")
        backend = rig.backends[0].backend
        rig.sources.set(APP, [])
        await eventually(lambda: rig.connections_open == 0)
        rig.sources.set(APP, [backend])
        assert (await client.ask(get())).status == 401


async def test_a_client_has_one_at_most() -> None:
    """Also by requests that are not counted, as those that a static route selects are."""
    static = StaticRoute(StaticResponse(status=200), rules=(Rule(paths=("/healthz",)),))
    async with proxy_rig(ntlm, routes=[replace(route(), static_routes=(static,))]) as rig:
        client = await rig.client()
        for _ in range(20):
            await client.ask(get(b"/healthz", b"Authorization: NTLM x"))
            await client.ask(get(b"/", b"Authorization: NTLM x"))
        assert rig.connections_open == 1
        client.close()
        await eventually(lambda: rig.connections_open == 0)


async def test_it_is_kept_for_as_long_as_others_are() -> None:
    async with proxy_rig(ntlm, backend_idle_timeout=0.3) as rig:
        client = await rig.client()
        await authenticate(client, b"A")
        await eventually(lambda: rig.connections_open == 0)
        assert (await client.ask(get())).status == 401
