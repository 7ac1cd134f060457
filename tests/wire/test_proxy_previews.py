"""Previews on real sockets: the copy that a request goes to, what carries the choice on, and what hostile clients try."""

from __future__ import annotations

from typing import Any

import pytest
from h2.events import StreamEnded

from fleet.discovery.sources import Backend
from fleet.routing.previews import HOST_PATTERNS, Copy, Previews
from fleet.routing.route import Affinity, HeaderChanges, Redirect, Rewrite, Route, Rule, Target
from tests.support.h2_peer import Http2Peer, connected, serving
from tests.support.loopback import APP
from tests.support.raw_requests import get
from tests.support.strict_reader import Message
from tests.wire.proxy_backend import BackendPeer, RawBackend, Script, ok
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

F1, OTHERS = f"{APP}--f1", "evil/a--f2"
HEADER = b"uber-ctx-key"
GRPC = (b"content-type", b"application/grpc")


def based(*copies: Copy, rule: Rule | None = None, more: dict[str, Any] | None = None, **previews: Any) -> Route:
    made = copies or (Copy("f1", F1, Target(F1)),)
    return Route(APP, Target(APP), (rule or Rule(("a.test",)),), previews=Previews(copies=made, **previews), **more or {})


def says(body: bytes) -> Script:
    async def script(peer: BackendPeer) -> None:
        while True:
            await peer.request()
            peer.send(ok(body))

    return script


async def copy_of(rig: Rig, app: str = F1, body: bytes = b"copy") -> RawBackend:
    backend = await rig.backend(says(body), listed=False)
    rig.sources.set(app, [backend.backend])
    return backend


async def asked(rig: Rig, *fields: bytes, host: bytes = b"a.test", target: bytes = b"/") -> Message:
    return await (await rig.client()).ask(get(target, *fields, host=host))


CHOICES: tuple[tuple[bytes, tuple[bytes, ...], bytes, bytes | None], ...] = (
    (b"a.test", (), b"base", None),
    (b"f1.a.test", (), b"copy", b"f1"),
    (b"f1--a.test", (), b"copy", b"f1"),
    (b"a.test", (b"Uber-Ctx-Key: f1",), b"copy", b"f1"),
    (b"a.test", (b"baggage: a=1,preview=f1",), b"copy", b"f1"),
    (b"a.test", (b"Cookie: x=y; preview=f1",), b"copy", b"f1"),
    # The host comes first, then the header, then baggage, then the cookie.
    (b"f1.a.test", (b"uber-ctx-key: f2", b"baggage: preview=f3", b"Cookie: preview=f4"), b"copy", b"f1"),
    (b"f2.a.test", (b"uber-ctx-key: f1",), b"base", b"f2"),
    (b"a.test", (b"uber-ctx-key: f2", b"Cookie: preview=f1"), b"base", b"f2"),
    (b"a.test", (b"baggage: preview=f2", b"Cookie: preview=f1"), b"base", b"f2"),
    # A name without a copy here goes on to the next application; what is no name changes nothing.
    (b"a.test", (b"uber-ctx-key: nothing",), b"base", b"nothing"),
    (b"a.test", (b"uber-ctx-key: f1\x09f2",), b"base", b"f1\x09f2"),
    (b"a.test", (b"uber-ctx-key: " + b"j" * 8192,), b"base", b"j" * 8192),
    (b"a.test", (b"uber-ctx-key: f1,f2",), b"base", b"f1,f2"),
    (b"a.test", (b"uber-ctx-key: ../f1",), b"base", b"../f1"),
    # Of which a hop would remove the header, as named by Connection, it is read, and goes on.
    (b"a.test", (b"Connection: uber-ctx-key", b"uber-ctx-key: f1"), b"copy", b"f1"),
    (b"f1.a.test", (b"Connection: uber-ctx-key, baggage", b"uber_ctx_key: f2", b"baggage: z=1"), b"copy", b"f1"),
)
"""Host and fields of a request, what answers, and the name that it reads in the header."""


async def test_the_copy_and_what_it_reads() -> None:
    route = based(hosts=HOST_PATTERNS, baggage="preview", cookie="preview")
    async with proxy_rig(says(b"base"), routes=[route]) as rig:
        copy = await copy_of(rig)
        for host, fields, answer, header in CHOICES:
            assert (await asked(rig, *fields, host=host)).body == answer, fields
            request = (copy if answer == b"copy" else rig.backends[0]).requests[-1]
            lines = [(name.lower().replace(b"_", b"-"), value) for name, value in request.fields]
            assert [value for name, value in lines if name == HEADER] == ([] if header is None else [header])
            assert request.get(b"host") == host
            members = b",".join(value for name, value in lines if name == b"baggage").split(b",")
            own = [b"preview=" + header] if header in (b"f1", b"f2", b"nothing") else []
            assert [member for member in members if member.startswith(b"preview")] == own


async def test_a_name_without_a_copy_may_be_refused() -> None:
    async with proxy_rig(says(b"base"), routes=[based(unknown="refuse")]) as rig:
        await copy_of(rig)
        no_name = b"what the request says is no name of a preview"
        for field, why in ((b"f2", b'has no preview "f2"'), (b"j" * 8192, no_name), (b"f1,f2", no_name)):
            refused = await asked(rig, b"uber-ctx-key: " + field)
            assert (refused.status, why in refused.body) == (404, True)
        assert (await asked(rig, host=b"f2.a.test")).status == 404
        assert (await asked(rig, b"uber-ctx-key: f1")).body == b"copy"
        assert (await asked(rig)).body == b"base"
        assert rig.app.stats.own == {("no_preview", 404): 4}
        assert rig.app.entry.requests_total == 1


async def test_demand_and_waiting_room_are_those_of_the_copy() -> None:
    async with proxy_rig(says(b"base"), routes=[based()]) as rig:
        client = await rig.client()
        client.send(get(host=b"f1.a.test"))
        apps = rig.interceptor.proxy.apps
        await eventually(lambda: len(apps[F1].room) == 1)
        assert (apps[F1].entry.held, apps[APP].entry.requests_total) == (1, 0)
        assert (await asked(rig)).body == b"base"
        rig.set_routes(based(more={"server_timing": True}))  # the request goes on waiting, with its name
        copy = await copy_of(rig)
        assert (await client.response()).body == b"copy"
        assert copy.requests[0].get(HEADER) == b"f1"
        assert (apps[F1].entry.requests_total, apps[APP].entry.requests_total) == (1, 1)


async def test_a_copy_that_is_removed_answers_who_waits_and_the_next_go_to_the_base() -> None:
    async with proxy_rig(says(b"base"), routes=[based()]) as rig:
        client = await rig.client()
        client.send(get(host=b"f1.a.test"))
        await eventually(lambda: len(rig.interceptor.proxy.apps[F1].room) == 1)
        rig.set_routes(based(Copy("f9", f"{APP}--f9", Target(f"{APP}--f9"))))
        assert (await client.response()).status == 503
        assert (await asked(rig, host=b"f1.a.test")).body == b"base"


async def test_previews_of_a_base_that_a_new_table_has_as_before() -> None:
    async with proxy_rig(says(b"base"), routes=[based()]) as rig:
        copy = await copy_of(rig)
        rig.set_routes(based(), Route("default/more", Target(APP), (Rule(("more.test",)),)))
        assert (await asked(rig, host=b"f1.a.test")).body == b"copy"
        assert (await asked(rig, b"uber-ctx-key: f1")).body == b"copy"
        assert [request.get(HEADER) for request in copy.requests] == [b"f1", b"f1"]


async def test_another_tenants_preview_is_never_reached() -> None:
    theirs = Route(
        "evil/a", Target("evil/a"), (Rule(("b.test",)),), previews=Previews(copies=(Copy("f2", OTHERS, Target(OTHERS)),))
    )
    async with proxy_rig(says(b"base"), routes=[based(), theirs]) as rig:
        await copy_of(rig, OTHERS, b"theirs")
        assert (await asked(rig, b"uber-ctx-key: f2")).body == b"base"
        assert (await asked(rig, host=b"f2.a.test")).body == b"base"
        assert (await asked(rig, host=b"f2.b.test")).body == b"theirs"


async def test_a_copy_in_another_namespace_is_reached_by_its_base_alone() -> None:
    """By host, header, baggage and cookie: not by a base of the namespace that it is in, nor are copies of that by ours."""
    there = "qa/a--f1"
    ways: dict[str, Any] = {"cookie": "preview", "baggage": "preview"}
    ours = based(Copy("f1", there, Target(there), elsewhere=True), **ways)
    local = Previews(copies=(Copy("f2", "qa/a--f2", Target("qa/a--f2")),), **ways)
    theirs = Route("qa/a", Target("qa/a"), (Rule(("b.test",)),), previews=local)
    async with proxy_rig(says(b"base"), routes=[ours, theirs]) as rig:
        await copy_of(rig, there, b"there")
        await copy_of(rig, "qa/a", b"theirs")
        await copy_of(rig, "qa/a--f2", b"their copy")
        for name, of_ours, of_theirs in ((b"f1", b"there", b"theirs"), (b"f2", b"base", b"their copy")):
            for host, body in ((b"a.test", of_ours), (b"b.test", of_theirs)):
                assert (await asked(rig, host=name + b"." + host)).body == body, (name, host)
                for field in (b"uber-ctx-key: ", b"baggage: preview=", b"Cookie: preview="):
                    assert (await asked(rig, field + name, host=host)).body == body, (name, host, field)


COOKIES: tuple[tuple[bytes, tuple[bytes, ...], bytes | None], ...] = (
    (b"f1.a.test", (), b"preview=f1; Path=/; HttpOnly; SameSite=Lax; Domain=a.test"),
    (b"f1--a.test", (), b"preview=f1; Path=/; HttpOnly; SameSite=Lax"),
    (b"f2.a.test", (), b"preview=f2; Path=/; HttpOnly; SameSite=Lax; Domain=a.test"),
    (b"a.test", (b"uber-ctx-key: f1",), b"preview=f1; Path=/; HttpOnly; SameSite=Lax"),
    (b"a.test", (b"uber-ctx-key: f1", b"X-Forwarded-Proto: https"), b"preview=f1; Path=/; HttpOnly; SameSite=Lax; Secure"),
    (b"a.test", (b"uber-ctx-key: f2",), None),
    (b"a.test", (b"uber-ctx-key: x; Domain=evil",), None),
    (b"a.test", (b"Cookie: preview=f1",), None),
    (b"a.test", (), None),
)


async def test_the_cookie_that_keeps_a_browser_in_the_preview() -> None:
    route = based(hosts=HOST_PATTERNS, cookie="preview", set_cookie=True)
    async with proxy_rig(says(b"base"), routes=[route], trusted_proxies="127.0.0.0/8") as rig:
        await copy_of(rig)
        for host, fields, cookie in COOKIES:
            assert (await asked(rig, *fields, host=host)).get(b"set-cookie") == cookie, (host, fields)


async def test_rules_and_other_treatment_of_the_base_hold_for_its_copies() -> None:
    changes = HeaderChanges(set=(("Uber-Ctx-Key", "f9"), ("X-Own", "1")), remove=("x-gone",))
    rules = (
        Rule(("a.test",), ("/api",), rewrite=Rewrite("/"), request_headers=changes),
        Rule(("a.test",), ("/old",), redirect=Redirect(path="/new")),
    )
    previews = Previews(copies=(Copy("f1", F1, Target(F1)),))
    route = Route(APP, Target(APP), rules, previews=previews, affinity=Affinity(cookie="s"))
    async with proxy_rig(says(b"base"), routes=[route]) as rig:
        copy = await copy_of(rig)
        for host, fields in ((b"f1.a.test", ()), (b"a.test", (b"uber-ctx-key: f1",))):
            answer = await asked(rig, b"X-Gone: 1", *fields, host=host, target=b"/api/x")
            assert (answer.body, (answer.get(b"set-cookie") or b"")[:2]) == (b"copy", b"s=")
            request = copy.requests[-1]
            assert (request.target, request.get(HEADER), request.get(b"x-own"), request.get(b"x-gone")) == (
                b"/x",
                b"f1",
                b"1",
                None,
            )
            assert request.get(b"host") == host
        moved = await asked(rig, host=b"f1.a.test", target=b"/old")
        assert (moved.status, moved.get(b"location")) == (302, b"/new")


async def test_a_websocket_goes_to_the_copy() -> None:
    async def switch(peer: BackendPeer) -> None:
        request = await peer.request()
        peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            + (request.get(HEADER) or b"")
        )
        await peer.read_to_end()

    async with proxy_rig(says(b"base"), routes=[based(cookie="preview", set_cookie=True)]) as rig:
        copy = await rig.backend(switch, listed=False)
        rig.sources.set(F1, [copy.backend])
        client = await rig.client()
        client.send(get(b"/", b"Connection: Upgrade", b"Upgrade: websocket", host=b"f1.a.test"))
        head = await client.read_until(b"\r\n\r\nf1")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Set-Cookie: preview=f1; " in head


BY: tuple[tuple[bytes, tuple[bytes, bytes]], ...] = (
    (b"f1.a.test", (b"x-none", b"1")),
    (b"a.test", (HEADER, b"f1")),
    (b"a.test", (b"baggage", b"preview=f1")),
    (b"a.test", (b"cookie", b"preview=f1")),
)
"""Each of the ways to a preview."""


@pytest.mark.parametrize("kind", ["http/2", "grpc", "grpc to http/2", "grpc-web"])
async def test_http2_grpc_and_grpc_web(kind: str) -> None:
    heads: list[dict[bytes, bytes]] = []

    async def serve(peer: Http2Peer) -> None:
        while await peer.more():
            while any(isinstance(event, StreamEnded) for event in peer.events):
                number, head = await peer.request()
                await peer.content(number)
                heads.append(head)
                peer.say(number, ((b":status", b"200"), GRPC))
                peer.say(number, ((b"grpc-status", b"0"),), end=True)

    content = {"http/2": b"text/plain", "grpc-web": b"application/grpc-web"}.get(kind, GRPC[1])
    async with (
        serving(serve) as (host, port),
        proxy_rig(says(b"base"), routes=[based(baggage="preview", cookie="preview")]) as rig,
        connected(rig.interceptor.proxy_port) as client,
    ):
        plain = None if kind in ("grpc to http/2", "grpc-web") else await copy_of(rig)
        if plain is None:
            rig.sources.set(F1, [Backend(host, port, "kubernetes.io/h2c")])
        for authority, field in BY:
            line = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/S/M"), (b":authority", authority))
            head, _ = await client.answer(client.ask((*line, (b"content-type", content), (b"te", b"trailers"), field)))
            assert head[b":status"] == b"200"
            got = heads[-1] if plain is None else dict(plain.requests[-1].fields)
            lower = {name.lower(): value for name, value in got.items()}
            assert (lower[HEADER], lower[b"baggage"]) == (b"f1", b"preview=f1")
            assert lower.get(b":authority", lower.get(b"host")) == authority
            assert lower[b"content-type"] == (GRPC[1] if "grpc" in kind else content)


async def test_a_host_that_is_no_longer_of_a_preview_over_http2() -> None:
    """The same head on the same connection is the same request for the codec, whatever the table says now."""
    rule = Rule(("a.test",), ("/api",), rewrite=Rewrite("/"))
    own = Route("default/other", Target(APP), (Rule(("f1.a.test",)),), created=0.0)
    async with (
        proxy_rig(says(b"base"), routes=[based(rule=rule)]) as rig,
        connected(rig.interceptor.proxy_port) as client,
    ):
        copy = await copy_of(rig)
        fields = ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/api/x"), (b":authority", b"f1.a.test"))
        for _ in range(3):
            assert (await client.answer(client.ask(fields)))[1] == b"copy"
        assert {(one.target, one.get(HEADER)) for one in copy.requests} == {(b"/x", b"f1")}
        rig.set_routes(based(rule=rule), own)
        assert (await client.answer(client.ask(fields)))[1] == b"base"
        assert [(one.target, one.get(HEADER)) for one in rig.backends[0].requests] == [(b"/api/x", None)]
