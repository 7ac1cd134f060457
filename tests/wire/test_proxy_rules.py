"""Rules of a route that change requests, over HTTP/1 and HTTP/2 on either side."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from h2.events import StreamEnded

from fleet.discovery.sources import Backend
from fleet.routing.route import (
    Affinity,
    ColdStart,
    HeaderChanges,
    Redirect,
    Rewrite,
    Route,
    Rule,
    StaticResponse,
    StaticRoute,
    Target,
    Timeouts,
    WeightedTarget,
)
from tests.support.h2_peer import Http2Peer, connected, serving
from tests.support.loopback import APP
from tests.support.raw_requests import get, post
from tests.wire.proxy_backend import BackendPeer, RawBackend, Script, ok
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

GRPC = Rule(hosts=("a.test",), paths=("/grpc",), rewrite=Rewrite("/"))


def ruled(*rules: Rule, **more: Any) -> Route:
    return Route(app=APP, target=Target(APP), rules=rules, **more)


@asynccontextmanager
async def behind_http2(*routes: Route) -> AsyncIterator[tuple[Rig, list[dict[bytes, bytes]]]]:
    """A proxy with a backend of HTTP/2, and the heads of the requests that it got."""
    heads: list[dict[bytes, bytes]] = []

    async def serve(peer: Http2Peer) -> None:
        while await peer.more():
            while any(isinstance(event, StreamEnded) for event in peer.events):
                number, head = await peer.request()
                heads.append(head)
                await peer.content(number)
                peer.say(number, ((b":status", b"200"), (b"server", b"theirs")))
                peer.send(number, b"ok", end=True)

    async with AsyncExitStack() as stack:
        host, port = await stack.enter_async_context(serving(serve))
        rig = await stack.enter_async_context(proxy_rig(routes=routes, backends=0))
        rig.sources.set(APP, [Backend(host, port, "kubernetes.io/h2c")])
        yield rig, heads


async def test_http1_to_http1() -> None:
    async with proxy_rig(routes=[ruled(GRPC, Rule(hosts=("a.test",)))]) as rig:
        client = await rig.client()
        assert (await client.ask(get(b"/grpc/S/M?x=%2F"))).status == 200
        assert (await client.ask(post(b"body", b"/grpc", chunked=True))).status == 200
        assert (await client.ask(get(b"/grpcs"))).status == 200
        first, second, third = rig.backends[0].requests
        assert (first.target, first.get(b"x-forwarded-prefix")) == (b"/S/M?x=%2F", b"/grpc")
        assert (second.target, second.body) == (b"/", b"body")
        assert (third.target, third.get(b"x-forwarded-prefix")) == (b"/grpcs", None)
        assert rig.app.entry.requests_total == 3


@pytest.mark.parametrize("client", ["http/1", "http/2"])
async def test_to_http2(client: str) -> None:
    async with behind_http2(ruled(GRPC)) as (rig, heads):
        if client == "http/1":
            assert (await (await rig.client()).ask(post(b"body", b"/grpc/S/M?q", chunked=True))).body == b"ok"
        else:
            async with connected(rig.interceptor.proxy_port) as peer:
                assert (await peer.answer(peer.ask(asked(b"/grpc/S/M?q"))))[1] == b"ok"
        assert (heads[0][b":path"], heads[0][b":authority"]) == (b"/S/M?q", b"a.test")
        assert (heads[0][b"x-forwarded-prefix"], heads[0][b"x-envoy-original-path"]) == (b"/grpc", b"/grpc/S/M?q")


async def test_http2_to_http1() -> None:
    async with proxy_rig(routes=[ruled(GRPC)]) as rig, connected(rig.interceptor.proxy_port) as peer:
        head, content = await peer.answer(peer.ask(asked(b"/grpc/S/M?q")))
        assert (head[b":status"], content) == (b"200", b"ok")
        assert rig.backends[0].requests[0].target == b"/S/M?q"


def asked(path: bytes, *fields: tuple[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    return ((b":method", b"GET"), (b":scheme", b"http"), (b":path", path), (b":authority", b"a.test"), *fields)


async def test_a_request_that_is_sent_again_is_rewritten_again() -> None:
    async def lose_first(peer: BackendPeer) -> None:
        await peer.request()
        if len(rig.backends[0].requests) == 1:
            peer.close()
        else:
            peer.send(ok())

    async with proxy_rig(lose_first, routes=[ruled(GRPC)]) as rig:
        assert (await (await rig.client()).ask(get(b"/grpc/x"))).status == 200
        assert [request.target for request in rig.backends[0].requests] == [b"/x"] * 2


async def test_a_held_request_is_rewritten_as_its_route_says_when_it_is_sent() -> None:
    async with proxy_rig(routes=[ruled(GRPC)], backends=0) as rig:
        one, other = await rig.client(), await rig.client()
        one.send(get(b"/grpc/x"))
        await eventually(lambda: len(rig.app.room) == 1)
        rig.set_routes(ruled(Rule(hosts=("a.test",), paths=("/grpc",), rewrite=Rewrite("/v2"))))
        other.send(get(b"/grpc/y"))
        await eventually(lambda: len(rig.app.room) == 2)
        await rig.backend()
        await asyncio.gather(one.response(), other.response())
        assert {request.target for request in rig.backends[0].requests} == {b"/v2/x", b"/v2/y"}


async def test_a_path_that_leads_out_of_the_prefix_is_refused_and_wakes_nothing() -> None:
    async with proxy_rig(routes=[ruled(GRPC)], backends=0) as rig:
        client = await rig.client()
        assert (await client.ask(get(b"/grpc/a/../../admin"))).status == 400
        assert rig.app.entry.requests_total == 0
        assert rig.app.stats.own == {("target", 400): 1}


# -- other backends -----------------------------------------------------------------------------------------------


STABLE, CANARY = "default/stable", "default/canary"


def shared(stable: int = 1, canary: int = 1, **more: Any) -> Route:
    backends = (WeightedTarget(STABLE, weight=stable), WeightedTarget(CANARY, weight=canary))
    rules = (Rule(hosts=("a.test",), paths=("/new",), backends=backends), Rule(hosts=("a.test",)))
    return Route(app=APP, target=Target(APP), rules=rules, **more)


def says(body: bytes) -> Script:
    async def script(peer: BackendPeer) -> None:
        while True:
            await peer.request()
            peer.send(ok(body))

    return script


async def up(rig: Rig, service: str, body: bytes) -> RawBackend:
    """One more backend, of this target."""
    backend = await rig.backend(says(body), listed=False)
    rig.sources.set(service, [*rig.sources.get(service), backend.backend])
    return backend


async def test_a_rule_with_a_backend_of_its_own() -> None:
    """As in front of three programs: one host, one application, demand counted once."""
    rules = (
        Rule(hosts=("a.test",), paths=("/grpc",), rewrite=Rewrite("/"), backends=(WeightedTarget("default/grpc"),)),
        Rule(hosts=("a.test",), paths=("/sockjs-node",), backends=(WeightedTarget("default/front"),)),
        Rule(hosts=("a.test",)),
    )
    async with proxy_rig(says(b"web"), routes=[Route(app=APP, target=Target(APP), rules=rules)]) as rig:
        grpc, front = await up(rig, "default/grpc", b"grpc"), await up(rig, "default/front", b"front")
        client = await rig.client()
        bodies = [(await client.ask(get(path))).body for path in (b"/grpc/S/M", b"/sockjs-node/1", b"/", b"/grpcs")]
        assert bodies == [b"grpc", b"front", b"web", b"web"]
        assert [request.target for request in grpc.requests] == [b"/S/M"]
        assert [request.target for request in front.requests] == [b"/sockjs-node/1"]
        assert rig.app.entry.requests_total == 4
        assert sum(rig.app.stats.answers()["GET", "200", "false"].counts) == 4


async def test_requests_are_spread_by_weight() -> None:
    async with proxy_rig(routes=[shared(3, 1)], backends=0) as rig:
        await up(rig, STABLE, b"stable")
        await up(rig, CANARY, b"canary")
        client = await rig.client()
        bodies = Counter([(await client.ask(get(b"/new"))).body for _ in range(400)])
        assert bodies.total() == 400
        assert 60 < bodies[b"canary"] < 140  # 100 are meant; so far away is one in a hundred thousand


async def test_weight_0_gets_nothing_and_its_target_is_not_needed() -> None:
    async with proxy_rig(routes=[shared(1, 0)], backends=0) as rig:
        await up(rig, STABLE, b"stable")
        client = await rig.client()
        assert {(await client.ask(get(b"/new"))).body for _ in range(20)} == {b"stable"}


async def test_a_session_stays_at_its_backend() -> None:
    affinity = Affinity(cookie="s")
    async with proxy_rig(routes=[shared(affinity=affinity)], backends=0) as rig:
        for service, body in ((STABLE, b"stable"), (CANARY, b"canary")):
            for _ in range(2):
                await up(rig, service, body)
        client = await rig.client()
        for _ in range(5):
            first = await client.ask(get(b"/new"))
            cookie = (first.get(b"set-cookie") or b"").partition(b";")[0]
            assert cookie.startswith(b"s-")
            again = [await client.ask(get(b"/new", b"Cookie: " + cookie)) for _ in range(10)]
            assert {answer.body for answer in again} == {first.body}
            assert {answer.get(b"set-cookie") for answer in again} == {None}


async def test_a_session_whose_pod_is_gone_stays_at_its_backend() -> None:
    async with proxy_rig(routes=[shared(affinity=Affinity(cookie="s"))], backends=0) as rig:
        await up(rig, STABLE, b"stable")
        lost = await up(rig, CANARY, b"canary")
        client = await rig.client()
        answers = [await client.ask(get(b"/new")) for _ in range(30)]
        of_canary = next(answer for answer in answers if answer.body == b"canary")
        cookie = (of_canary.get(b"set-cookie") or b"").partition(b";")[0]
        await up(rig, CANARY, b"other canary")
        rig.sources.set(CANARY, [backend for backend in rig.sources.get(CANARY) if backend != lost.backend])
        moved = await client.ask(get(b"/new", b"Cookie: " + cookie))
        assert moved.body == b"other canary"
        # And if none of the canary's is left, it ends there.
        rig.sources.set(CANARY, [])
        moved = await client.ask(get(b"/new", b"Cookie: " + cookie))
        assert moved.body == b"stable"
        (ended,) = (value for value in moved.all(b"set-cookie") if b"Max-Age=0" in value)
        assert ended.startswith(cookie.partition(b"=")[0] + b"=;")
        assert len(moved.all(b"set-cookie")) == 2


async def test_a_session_of_a_header_is_at_the_same_backend_everywhere() -> None:
    async with proxy_rig(routes=[shared(affinity=Affinity(header="X-User"))], backends=0) as rig:
        await up(rig, STABLE, b"stable")
        await up(rig, CANARY, b"canary")
        client = await rig.client()
        found = {}
        for user in range(30):
            found[user] = {(await client.ask(get(b"/new", b"X-User: %d" % user))).body for _ in range(3)}
        assert all(len(bodies) == 1 for bodies in found.values())
        assert set.union(*found.values()) == {b"stable", b"canary"}


async def test_what_has_nothing_ready_gets_nothing_while_another_has() -> None:
    async with proxy_rig(routes=[shared(1, 1000)], backends=0) as rig:
        await up(rig, STABLE, b"stable")
        client = await rig.client()
        assert {(await client.ask(get(b"/new"))).body for _ in range(10)} == {b"stable"}
        assert rig.app.stats.fallbacks == 0


async def test_while_none_is_ready_requests_wait_for_the_one_they_were_given() -> None:
    async with proxy_rig(routes=[shared(1, 1000, timeouts=Timeouts(readiness=30.0))], backends=0) as rig:
        client = await rig.client()
        client.send(get(b"/new"))
        await eventually(lambda: rig.app.entry.held == 1)
        assert [len(part.room) for part in rig.app.parts] == [0, 0, 1]
        await up(rig, STABLE, b"stable")
        assert rig.app.entry.held == 1
        await up(rig, CANARY, b"canary")
        assert (await client.response()).body == b"canary"
        assert rig.app.entry.requests_total == 1


async def test_after_the_readiness_limit_another_takes_it() -> None:
    async with proxy_rig(routes=[shared(1, 1000, timeouts=Timeouts(readiness=0.3))], backends=0) as rig:
        client = await rig.client()
        client.send(get(b"/new"))
        await eventually(lambda: rig.app.entry.held == 1)
        await up(rig, STABLE, b"stable")
        assert (await client.response()).body == b"stable"
        assert rig.app.stats.fallbacks == 1


async def test_held_requests_follow_their_route_to_other_backends() -> None:
    async with proxy_rig(routes=[shared(1, 1000)], backends=0) as rig:
        client, other = await rig.client(), await rig.client()
        client.send(get(b"/new"))
        other.send(get(b"/old"))
        await eventually(lambda: rig.app.entry.held == 2)
        await up(rig, STABLE, b"stable")
        rig.set_routes(shared(1, 0))  # the canary is taken back
        assert (await client.response()).body == b"stable"
        third = WeightedTarget("default/third")
        rig.set_routes(Route(app=APP, target=Target(APP), rules=(Rule(hosts=("a.test",), backends=(third,)),)))
        await up(rig, "default/third", b"third")
        assert (await other.response()).body == b"third"
        assert rig.app.entry.requests_total == 2
        assert [len(part.room) for part in rig.app.parts] == [0, 0]


async def test_the_bound_on_held_requests_is_of_all_together() -> None:
    async with proxy_rig(routes=[shared(cold_start=ColdStart(max_held=3))], backends=0) as rig:
        clients = [await rig.client() for _ in range(6)]
        for number, client in enumerate(clients):
            client.send(get(b"/new" if number % 2 else b"/old"))
        await eventually(lambda: rig.app.stats.own["overflow", 503] == 3)
        assert rig.app.entry.held == 3


async def test_a_removed_route_refuses_all_that_wait() -> None:
    async with proxy_rig(routes=[shared()], backends=0) as rig:
        clients = [await rig.client() for _ in range(4)]
        for client in clients:
            client.send(get(b"/new"))
        app = rig.app
        await eventually(lambda: app.entry.held == 4)
        rig.set_routes()
        assert [(await client.response()).status for client in clients] == [503] * 4
        assert not any(part.room for part in app.parts)


async def test_a_backend_that_refuses_connections_is_left_for_another() -> None:
    async with proxy_rig(routes=[shared(1, 1000)], backends=0) as rig:
        await up(rig, STABLE, b"stable")
        dead = await up(rig, CANARY, b"canary")
        await dead.close()
        client = await rig.client()
        assert (await client.ask(get(b"/new"))).body == b"stable"


# -- headers and redirects ----------------------------------------------------------------------------------------

CHANGED = Rule(
    hosts=("a.test",),
    request_headers=HeaderChanges(set=(("X-Team", "blue"),), add=(("X-More", "2"),), remove=("X-Secret",)),
    response_headers=HeaderChanges(set=(("Server", "ours"),), add=(("X-More", "2"),), remove=("X-Powered-By",)),
)


async def test_headers_are_changed_over_http1() -> None:
    answer = ok(b"ok", b"Server: theirs", b"X-Powered-By: x", b"X-More: 1")

    async def script(peer: BackendPeer) -> None:
        while True:
            await peer.request()
            peer.send(answer)

    async with proxy_rig(script, routes=[ruled(CHANGED)]) as rig:
        client = await rig.client()
        for _ in range(2):
            told = await client.ask(get(b"/x", b"X-Team: red", b"X-More: 1", b"X_Secret: 1", b"x-secret: 2"))
            assert (told.body, told.get(b"server"), told.get(b"x-powered-by")) == (b"ok", b"ours", None)
            assert told.all(b"x-more") == [b"1", b"2"]
        for request in rig.backends[0].requests:
            assert (request.target, request.get(b"x-team"), request.all(b"x-more")) == (b"/x", b"blue", [b"1", b"2"])
            assert not [name for name, _ in request.fields if b"secret" in name]
        assert rig.pooled == 1


@pytest.mark.parametrize("client", ["http/1", "http/2"])
async def test_headers_are_changed_for_http2(client: str) -> None:
    async with behind_http2(ruled(CHANGED)) as (rig, heads):
        if client == "http/1":
            server = (await (await rig.client()).ask(get(b"/x", b"X-Secret: 1"))).get(b"server")
        else:
            async with connected(rig.interceptor.proxy_port) as peer:
                server = (await peer.answer(peer.ask(asked(b"/x", (b"x-secret", b"1")))))[0][b"server"]
        assert server == b"ours"
        assert (heads[0][b"x-team"], heads[0][b"x-more"]) == (b"blue", b"2")
        assert b"x-secret" not in heads[0]


async def test_answers_of_our_own_are_not_changed() -> None:
    async with proxy_rig(backends=0, routes=[ruled(CHANGED, timeouts=Timeouts(readiness=0.1))]) as rig:
        told = await (await rig.client()).ask(get(b"/x"))
        assert (told.status, told.get(b"server")) == (504, None)


async def test_a_switch_of_protocols_is_changed_too() -> None:
    async def script(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nServer: theirs\r\n\r\nhello")
        await peer.read_to_end()

    async with proxy_rig(script, routes=[ruled(CHANGED)]) as rig:
        client = await rig.client()
        client.send(get(b"/x", b"Upgrade: websocket", b"Connection: upgrade"))
        head = await client.read_until(b"hello")
        assert b"\r\nServer: ours\r\n" in head
        assert b"theirs" not in head
        assert b"\r\nUpgrade: websocket\r\n" in head
        assert rig.backends[0].requests[0].get(b"x-team") == b"blue"


MOVED = Rule(hosts=("a.test",), paths=("/old",), redirect=Redirect(scheme="https", prefix="/new", status=308))


@pytest.mark.parametrize("client", ["http/1", "http/2"])
async def test_a_redirect_wakes_nothing(client: str) -> None:
    async with proxy_rig(backends=0, routes=[ruled(MOVED, Rule(hosts=("a.test",)))]) as rig:
        if client == "http/1":
            told = await (await rig.client()).ask(get(b"/old/x?q"))
            status, to = told.status, told.get(b"location")
        else:
            async with connected(rig.interceptor.proxy_port) as peer:
                head, _ = await peer.answer(peer.ask(asked(b"/old/x?q")))
                status, to = int(head[b":status"]), head[b"location"]
        assert (status, to) == (308, b"https://a.test/new/x?q")
        assert rig.app.entry.requests_total == 0
        assert rig.app.stats.own == {("redirect", 308): 1}


async def test_what_comes_before_a_redirect() -> None:
    healthy = StaticRoute(StaticResponse(status=204), (Rule(paths=("/old/health",)),), always=True)
    async with proxy_rig(backends=0, routes=[ruled(MOVED, static_routes=(healthy,))]) as rig:
        client = await rig.client()
        assert (await client.ask(get(b"/old/health"))).status == 204
        assert (await client.ask(get(b"/old/healthy"))).status == 308
        assert (await client.ask(get(b"/old/../x"))).status == 400
        rig.set_routes(ruled(MOVED, maintenance=StaticResponse(status=503)))
        assert (await client.ask(get(b"/old"))).status == 503


async def test_a_held_request_is_redirected_once_its_route_says_so() -> None:
    async with proxy_rig(backends=0, routes=[ruled(Rule(hosts=("a.test",)))]) as rig:
        client = await rig.client()
        client.send(get(b"/old/x"))
        await eventually(lambda: rig.app.room)
        rig.set_routes(ruled(MOVED))
        assert (await client.response()).status == 308
