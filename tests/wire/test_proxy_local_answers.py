"""What is answered in the backends' place, on real sockets: maintenance, static routes, placeholders; and what is counted."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import msgspec
import pytest

from fleet.demand.merge import AppPolicy, FleetDemand, Metric
from fleet.routing.route import ColdStart, Placeholder, Protection, Route, Rule, StaticFile, StaticResponse, StaticRoute, Timeouts
from tests.support.loopback import APP, route
from tests.support.raw_requests import get, post
from tests.wire.proxy_backend import BackendPeer, answer, ok
from tests.wire.proxy_rig import Rig, cold_starts, eventually, proxy_rig

HTML = b"Accept: text/html,application/xhtml+xml,*/*;q=0.8"


def with_(**fields: Any) -> Route:
    return msgspec.structs.replace(route(readiness=30.0), **fields)


def placeholder(response: StaticResponse | None = None, **options: Any) -> Route:
    held = {name: options.pop(name) for name in ("max_held", "overflow_placeholder") if name in options}
    shown = Placeholder(response=response or StaticResponse(), **options)
    return with_(cold_start=ColdStart(placeholder=shown, **held))


def requests_total(rig: Rig) -> int:
    return sum(size.requests_total for size in rig.ledger.sizes(monotonic()))


# -- maintenance --------------------------------------------------------------------------------------------------


async def test_maintenance_answers_everybody_and_counts_nobody() -> None:
    async with proxy_rig(routes=[with_(maintenance=StaticResponse())]) as rig:
        client = await rig.client()
        message = await client.ask(get(b"/any", HTML))
        assert (message.status, message.get(b"cache-control")) == (503, b"no-store")
        assert int(message.get(b"retry-after") or b"") > 0
        assert message.get(b"content-type") == b"text/html; charset=utf-8"
        assert b"a.test is in maintenance" in message.body
        message = await client.ask(post(b"body", b"/any"))  # on the same connection: it goes on
        assert (message.status, message.body) == (503, b"weir: a.test is in maintenance: try again later\n")
        message = await client.ask(get(method=b"HEAD"), b"HEAD")
        assert (message.status, message.body) == (503, b"")
        assert requests_total(rig) == 0
        assert not rig.backends[0].peers
        assert rig.app.stats.own["maintenance", 503] == 3


async def test_waiting_requests_get_a_new_maintenance_page_and_a_new_placeholder() -> None:
    async with proxy_rig(backends=0) as rig:
        clients = [await rig.client() for _ in range(3)]
        for client in clients[:2]:
            client.send(get())
        clients[2].send(get(b"/", b"Content-Length: 5", method=b"POST") + b"abc")
        await eventually(lambda: len(rig.app.room) == 3)
        rig.set_routes(with_(maintenance=StaticResponse(body=b"closed")))
        answers = [await client.response() for client in clients]
        assert {(one.status, one.body) for one in answers} == {(503, b"closed")}
        rig.set_routes(route())
        clients[0].send(get())
        await eventually(lambda: len(rig.app.room) == 1)
        rig.set_routes(with_(cold_start=ColdStart(placeholder=Placeholder(StaticResponse(body=b"soon")))))
        assert (await clients[0].response()).body == b"soon"


async def test_the_end_of_maintenance_is_felt_by_the_next_request() -> None:
    async with proxy_rig(routes=[with_(maintenance=StaticResponse(status=200, body=b"closed"))]) as rig:
        client = await rig.client()
        assert (await client.ask(get())).body == b"closed"
        rig.set_routes(route())
        assert (await client.ask(get())).body == b"ok"
        rig.set_routes(with_(maintenance=StaticResponse(status=404, body=b"gone")))
        assert (await client.ask(get())).status == 404


async def test_an_upload_into_maintenance_is_answered_and_ended() -> None:
    async with proxy_rig(routes=[with_(maintenance=StaticResponse())]) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Content-Length: 1000000", method=b"POST") + b"x" * 1000)
        message = await client.response()
        assert (message.status, message.get(b"connection")) == (503, b"close")


# -- static routes ------------------------------------------------------------------------------------------------

HEALTH = StaticRoute(response=StaticResponse(body=b"fine"), rules=(Rule(paths=("/healthz",)),), always=True)
ROBOTS = StaticRoute(response=StaticResponse(status=404), rules=(Rule(paths=("/robots.txt",)),), user_agents=("*bot*",))


@pytest.mark.parametrize("backends", [0, 1])
async def test_a_static_route_answers_always_and_wakes_nobody(backends: int) -> None:
    async with proxy_rig(backends=backends, routes=[with_(static_routes=(HEALTH,))]) as rig:
        client = await rig.client()
        message = await client.ask(get(b"/healthz"))
        assert (message.status, message.body, message.get(b"content-type")) == (200, b"fine", b"text/plain; charset=utf-8")
        assert message.get(b"x-keda-http-cold-start") is None
        assert requests_total(rig) == 0
        assert rig.app.stats.own["static", 200] == 1


@pytest.mark.parametrize("method", [b"HEAD", b"OPTIONS"])
async def test_a_static_route_by_method_wakes_nobody(method: bytes) -> None:
    preflight = StaticRoute(response=StaticResponse(status=204), rules=(Rule(methods=("HEAD", "OPTIONS")),))
    async with proxy_rig(backends=0, routes=[with_(static_routes=(preflight,))]) as rig:
        client = await rig.client()
        assert (await client.ask(get(b"/", method=method))).status == 204
        assert requests_total(rig) == 0
        client.send(get(b"/"))
        await eventually(lambda: rig.app.room)
        await rig.backend()
        assert (await client.response()).status == 200


async def test_routes_of_one_host_by_method() -> None:
    reads = msgspec.structs.replace(route("default/b"), rules=(Rule(("a.test",), methods=("GET", "HEAD")),))
    async with proxy_rig(routes=[route(), reads]) as rig:
        reader = await rig.backend(answer(ok(b"reads")), listed=False)
        rig.sources.set("default/b", [reader.backend])
        client = await rig.client()
        assert (await client.ask(get())).body == b"reads"
        assert (await client.ask(post(b""))).body == b"ok"


async def test_a_method_that_no_rule_takes() -> None:
    async with proxy_rig(routes=[with_(rules=(Rule(("a.test",), methods=("PUT",)),))]) as rig:
        assert (await (await rig.client()).ask(get())).status == 404


async def test_other_requests_pass_a_static_route() -> None:
    async with proxy_rig(routes=[with_(static_routes=(HEALTH, ROBOTS))]) as rig:
        client = await rig.client()
        assert (await client.ask(get(b"/healthz/"))).body == b"fine"
        assert (await client.ask(get(b"/health"))).body == b"ok"
        assert (await client.ask(get(b"/robots.txt", b"User-Agent: GoogleBot/2.1"))).body == b"ok"  # a backend is ready
        assert requests_total(rig) == 1, "and what a static route selects is not counted"


async def test_probes_that_a_backend_answers_do_not_keep_it_awake() -> None:
    probe = StaticRoute(response=StaticResponse(body=b"asleep"), rules=(Rule(paths=("/healthz",)),))
    async with proxy_rig(routes=[with_(static_routes=(probe,))]) as rig:
        uncounted = rig.app.uncounted
        assert uncounted is not None
        clients = [await rig.client() for _ in range(3)]
        answers = [await client.ask(get(b"/healthz")) for client in clients for _ in range(2)]
        assert {answer.body for answer in answers} == {b"ok"}
        assert requests_total(rig) == 0
        assert (uncounted.requests_total, uncounted.in_flight) == (6, 0)
        rig.sources.set(APP, [])
        await eventually(lambda: not rig.app.endpoints.ready)
        assert (await clients[0].ask(get(b"/healthz"))).body == b"asleep"
        assert requests_total(rig) == 0


async def test_a_probe_of_a_busy_application_waits_and_counts_like_any_other_request() -> None:
    probe = StaticRoute(response=StaticResponse(body=b"asleep"), rules=(Rule(paths=("/healthz",)),))
    one, go = Protection(backend_concurrency=1), asyncio.Event()

    async def slow(peer: BackendPeer) -> None:
        while True:
            await peer.request()
            await go.wait()
            peer.send(ok())

    async with proxy_rig(slow, routes=[with_(static_routes=(probe,), protection=one)]) as rig:
        first, second = await rig.client(), await rig.client()
        first.send(get(b"/"))
        await eventually(lambda: rig.app.entry.in_flight == 1)
        second.send(get(b"/healthz"))
        await eventually(lambda: rig.app.room)
        assert requests_total(rig) == 2
        go.set()
        assert [(await client.response()).body for client in (first, second)] == [b"ok", b"ok"]


async def test_a_static_route_for_the_time_without_backends() -> None:
    async with proxy_rig(backends=0, routes=[with_(static_routes=(HEALTH, ROBOTS))]) as rig:
        client = await rig.client()
        assert (await client.ask(get(b"/robots.txt", b"User-Agent: GoogleBot/2.1"))).status == 404
        assert requests_total(rig) == 0
        client.send(get(b"/robots.txt", b"User-Agent: Firefox"))
        await eventually(lambda: rig.app.room)
        assert requests_total(rig) == 1


async def test_files_of_a_static_route() -> None:
    files = (
        StaticFile("/docs/index.html", b"<!doctype html><p>docs"),
        StaticFile("/docs/a b.css", b"a{}"),
        StaticFile("/docs/data", b"{}", content_type="application/json"),
    )
    static = StaticRoute(response=StaticResponse(files=files), rules=(Rule(paths=("/docs",)),), always=True)
    async with proxy_rig(routes=[with_(static_routes=(static,))]) as rig:
        client = await rig.client()
        for path, kind, body in (
            (b"/docs/", b"text/html; charset=utf-8", files[0].body),
            (b"/docs/a%20b.css?v=1", b"text/css; charset=utf-8", files[1].body),
            (b"/docs/data", b"application/json", files[2].body),
            (b"/docs/none", None, b""),
        ):
            message = await client.ask(get(path))
            assert (message.status, message.get(b"content-type"), message.body) == (200, kind, body)


# -- placeholders -------------------------------------------------------------------------------------------------


async def test_a_placeholder_wakes_the_application_and_is_gone_once_it_is_up() -> None:
    async with proxy_rig(backends=0, routes=[placeholder()]) as rig:
        client = await rig.client()
        message = await client.ask(get(b"/", HTML))
        assert (message.status, message.get(b"cache-control")) == (503, b"no-store")
        assert int(message.get(b"retry-after") or b"") > 0
        assert message.get(b"x-weir-placeholder") == b"true"
        assert message.get(b"x-keda-http-cold-start") is None
        assert b"a.test is waking up" in message.body
        message = await client.ask(get(b"/", HTML, method=b"HEAD"), b"HEAD")  # what the page asks
        assert message.get(b"x-weir-placeholder") == b"true"
        assert requests_total(rig) == 2
        await rig.backend()
        message = await client.ask(get(b"/", HTML))
        assert (message.body, message.get(b"x-weir-placeholder")) == (b"ok", None)


async def test_one_placeholder_makes_an_application_of_any_metric_active() -> None:
    """As the scaler sees it: told at once, active, and active for as long as somebody looks at the page."""
    async with proxy_rig(backends=0, routes=[placeholder()]) as rig:
        woken: list[str] = []
        fleet = FleetDemand(on_wake=woken.append)
        fleet.configure({APP: AppPolicy(activity_period=15.0)})
        edges: list[str] = []
        rig.ledger.on_edge = edges.append
        cursor = rig.ledger.watch()
        fleet.snapshot("m", "i", cursor.take(monotonic()), 0.0)
        assert not fleet.active(APP, 0.0)

        client = await rig.client()
        await client.ask(get(b"/", HTML))
        assert edges == [APP]
        fleet.update("m", "i", cursor.take_edges(monotonic()), 0.1)
        assert woken == [APP]
        assert fleet.active(APP, 15.0)
        assert not fleet.active(APP, 15.2)
        assert fleet.value(APP, Metric.RATE, 0.1) > 0

        await client.ask(get(b"/", HTML))
        fleet.update("m", "i", cursor.take(monotonic()), 14.0)
        assert fleet.active(APP, 28.9)


async def test_programs_are_held_where_the_placeholder_is_for_browsers() -> None:
    async with proxy_rig(backends=0, routes=[placeholder(browsers_only=True)]) as rig:
        browser = await rig.client()
        assert b"waking" in (await browser.ask(get(b"/", HTML))).body
        wires = [get(), get(b"/", b"Accept: */*"), get(b"/", b"Accept: text/html;q=0"), post(b"x", b"/", HTML)]
        programs = [await rig.client() for _ in wires]
        for program, wire in zip(programs, wires, strict=True):
            program.send(wire)
        await eventually(lambda: len(rig.app.room) == len(wires))
        await rig.backend()
        assert [(await program.response()).body for program in programs] == [b"ok"] * len(wires)


async def test_a_placeholder_of_ones_own() -> None:
    own = StaticResponse(status=418, body=b"<html>soon", headers=(("retry-after", "9"), ("X-Mine", "yes")))
    async with proxy_rig(backends=0, routes=[placeholder(own)]) as rig:
        message = await (await rig.client()).ask(get())
        assert (message.status, message.body) == (418, b"<html>soon")
        assert [value for name, value in message.fields if name == b"retry-after"] == [b"9"]
        assert message.get(b"x-mine") == b"yes"
        assert message.get(b"content-type") == b"text/html; charset=utf-8"


async def test_a_placeholder_when_the_last_backend_turns_out_to_be_gone() -> None:
    async with proxy_rig(routes=[placeholder()]) as rig:
        await rig.backends[0].close()
        message = await (await rig.client()).ask(get(b"/", HTML))
        assert message.status == 503
        assert b"waking" in message.body


async def test_requests_beyond_the_bound_get_the_placeholder() -> None:
    async with proxy_rig(backends=0, routes=[placeholder(max_held=1, overflow_placeholder=True)], max_held=1) as rig:
        first, second = await rig.client(), await rig.client()
        first.send(get(b"/", HTML))
        await eventually(lambda: rig.app.room)
        message = await second.ask(get(b"/", HTML))
        assert (message.status, message.get(b"x-weir-placeholder")) == (503, b"true")
        assert rig.app.stats.own["overflow", 503] == 1
        await rig.backend()
        assert (await first.response()).body == b"ok"


# -- fallbacks ----------------------------------------------------------------------------------------------------

FALLBACK = "default/spare"


def fallback(**timeouts: float) -> Route:
    return with_(cold_start=msgspec.convert({"fallback": {"service": FALLBACK}}, ColdStart), timeouts=Timeouts(**timeouts))


async def spare(rig: Rig, body: bytes = b"spare") -> None:
    backend = await rig.backend(answer(ok(body, b"X-KEDA-HTTP-Cold-Start: forged")), listed=False)
    rig.sources.set(FALLBACK, [*rig.sources.get(FALLBACK), backend.backend])


async def test_the_fallback_answers_after_the_readiness_timeout() -> None:
    async with proxy_rig(backends=0, routes=[fallback(readiness=0.3)]) as rig:
        await spare(rig)
        client = await rig.client()
        began = monotonic()
        client.send(get(b"/a"))
        await eventually(lambda: rig.app.room)
        assert requests_total(rig) == 1  # it wakes the application all the same
        message = await client.response()
        assert (message.status, message.body) == (200, b"spare")
        assert monotonic() - began > 0.29
        assert message.get(b"x-keda-http-cold-start") is None
        assert rig.app.stats.fallbacks == 1
        assert cold_starts(rig.app) == {"timeout": 1}


async def test_an_application_that_is_ready_in_time_needs_no_fallback() -> None:
    async with proxy_rig(backends=0, routes=[fallback(readiness=30.0)]) as rig:
        await spare(rig)
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.app.room)
        await rig.backend()
        message = await client.response()
        assert (message.body, message.get(b"x-keda-http-cold-start")) == (b"ok", b"true")


async def test_no_fallback_is_ready_either() -> None:
    async with proxy_rig(backends=0, routes=[fallback(readiness=0.2)]) as rig:
        message = await (await rig.client()).ask(get())
        assert message.status == 504
        assert message.body == b"weir: no backend of application default/a was ready within 0.2 s; its fallback has none either\n"


async def test_a_fallback_that_takes_no_connection() -> None:
    async with proxy_rig(backends=0, routes=[fallback(readiness=0.2)]) as rig:
        await spare(rig)
        await rig.backends[0].close()
        message = await (await rig.client()).ask(get())
        assert message.status == 504
        assert b"fallback" in message.body


async def test_many_requests_at_once_go_to_the_fallback() -> None:
    async with proxy_rig(backends=0, routes=[fallback(readiness=0.4)]) as rig:
        await spare(rig)
        clients = [await rig.client() for _ in range(100)]
        for client in clients:
            client.send(get())
        messages = await asyncio.gather(*(client.response() for client in clients))
        assert {message.body for message in messages} == {b"spare"}


async def test_a_fallback_is_followed_only_while_a_route_names_it() -> None:
    async with proxy_rig(backends=0, routes=[fallback(readiness=0.2)]) as rig:
        await spare(rig)
        assert FALLBACK in {each.key for each in rig.endpoints}
        rig.set_routes(route(readiness=0.2))
        assert FALLBACK not in {each.key for each in rig.endpoints}
        assert (await (await rig.client()).ask(get())).status == 504


async def test_a_fallback_bounds_a_wait_that_has_no_limit() -> None:
    async with proxy_rig(backends=0, routes=[fallback(readiness=0.0)]) as rig:
        assert rig.app.limits.readiness == 30.0
