"""Backends that keep their application awake after their answers, over real sockets: leases, their ends and their bounds."""

from __future__ import annotations

import asyncio
from time import monotonic

import msgspec

from fleet.routing.route import ColdStart, Route, Rule, Scaling, StaticResponse, StaticRoute, Target
from tests.support.loopback import APP, route
from tests.support.raw_requests import get
from tests.wire.proxy_backend import BackendPeer, ok
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

MOST = 60.0
SOON = 0.4
"""Seconds, in the place of minutes; limits are looked at ten times a second."""


def permitted(most: float = MOST, **changes: object) -> Route:
    return msgspec.structs.replace(route(), scaling=Scaling(max_busy=most), **changes)


async def keeps(peer: BackendPeer) -> None:
    """Answers with the field that the path says: /20m is Weir-Keep-Awake: 20m, and / is none."""
    while True:
        said = (await peer.request()).target.removeprefix(b"/")
        peer.send(ok(b"ok", *([b"Weir-Keep-Awake: " + said] if said else []), status=b"202 Accepted"))


async def ask(rig: Rig, said: bytes) -> None:
    """One request that is answered so; its own lease is over when this returns."""
    client = await rig.client()
    message = await client.ask(get(b"/" + said))
    assert (message.status, message.get(b"weir-keep-awake")) == (202, None)
    await eventually(lambda: rig.app.entry.in_flight == 0)


def ignored(rig: Rig) -> dict[str, int]:
    return dict(rig.app.stats.keeping_ignored)


async def test_a_backend_keeps_its_app_awake_until_it_says_that_it_has_finished() -> None:
    async with proxy_rig(keeps, routes=[permitted()]) as rig:
        entry = rig.app.entry
        await ask(rig, b"")
        assert entry.busy == 0
        await ask(rig, b"20m")
        assert (entry.busy, entry.size(monotonic()).busy, entry.requests_total) == (1, 1, 2)
        await ask(rig, b"")
        assert entry.busy == 1, "an answer without the field changes nothing"
        await ask(rig, b"0")
        assert entry.busy == 0
        await ask(rig, b"0s")
        assert ignored(rig) == {}


async def test_a_backend_has_one_lease_however_often_it_says_so() -> None:
    async with proxy_rig(keeps, routes=[permitted()], backends=2) as rig:
        for _ in range(20):
            await ask(rig, b"20m")
        assert rig.app.entry.busy <= 2
        assert len(rig.app.keeping.kept) == rig.app.entry.busy
        while rig.app.entry.busy:
            await ask(rig, b"0")


async def test_a_lease_ends_by_itself_and_another_answer_makes_it_longer_or_shorter() -> None:
    async with proxy_rig(keeps, routes=[permitted()]) as rig:
        entry, began = rig.app.entry, monotonic()
        await ask(rig, b"%dms" % int(SOON * 1000))
        await eventually(lambda: not entry.busy)
        assert monotonic() - began >= SOON
        await ask(rig, b"%dms" % int(SOON * 1000))
        await ask(rig, b"20m")
        await asyncio.sleep(2 * SOON)  # longer than the first one asked for
        assert entry.busy == 1
        await ask(rig, b"%dms" % int(SOON * 1000))
        await eventually(lambda: not entry.busy)


async def test_nobody_stays_awake_for_longer_than_the_maximum_after_the_last_request() -> None:
    """A hostile backend asks for a thousand hours with each of many answers."""
    async with proxy_rig(keeps, routes=[permitted(SOON)]) as rig:
        for _ in range(10):
            await ask(rig, b"1000h")
            assert rig.app.entry.busy == 1
        last = monotonic()
        await eventually(lambda: not rig.app.entry.busy)
        assert monotonic() - last < SOON + 30


async def test_without_permission_the_field_has_no_effect_and_is_taken_out_all_the_same() -> None:
    async with proxy_rig(keeps) as rig:
        await ask(rig, b"20m")
        assert (rig.app.entry.busy, ignored(rig)) == (0, {"off": 1})


async def test_what_is_no_duration_has_no_effect() -> None:
    async with proxy_rig(keeps, routes=[permitted()]) as rig:
        await ask(rig, b"soon")
        assert (rig.app.entry.busy, ignored(rig)) == (0, {"malformed": 1})
        await ask(rig, b"20m")
        await ask(rig, b"soon")
        assert rig.app.entry.busy == 1, "and takes nothing back"
        await ask(rig, b"0")


async def test_a_backend_that_discovery_does_not_list_any_more_keeps_nothing_awake() -> None:
    async with proxy_rig(keeps, routes=[permitted()]) as rig:
        await ask(rig, b"20m")
        rig.sources.set(APP, [])
        assert (rig.app.entry.busy, rig.app.keeping.kept) == (0, {})
        rig.sources.set(APP, [backend.backend for backend in rig.backends])
        assert rig.app.entry.busy == 0, "nor when it is listed again"


async def test_an_answer_of_a_backend_that_is_gone_keeps_nothing_awake() -> None:
    last = asyncio.Event()

    async def slow(peer: BackendPeer) -> None:
        await peer.request()
        await last.wait()
        peer.send(ok(b"ok", b"Weir-Keep-Awake: 20m"))

    async with proxy_rig(slow, routes=[permitted()]) as rig:
        client = await rig.client()
        asking = asyncio.create_task(client.ask(get()))
        await eventually(lambda: rig.app.entry.in_flight == 1)
        rig.sources.set(APP, [])
        last.set()
        assert (await asking).status == 200
        assert (rig.app.entry.busy, ignored(rig)) == (0, {"other_backend": 1})


async def test_a_smaller_maximum_holds_for_leases_that_there_are() -> None:
    async with proxy_rig(keeps, routes=[permitted()]) as rig:
        await ask(rig, b"20m")
        rig.set_routes(permitted(SOON))
        assert rig.app.entry.busy == 1
        await eventually(lambda: not rig.app.entry.busy)
        rig.set_routes(permitted())
        await ask(rig, b"20m")
        rig.set_routes(permitted(0.0))
        assert rig.app.entry.busy == 0


async def test_a_route_that_is_removed_takes_its_leases_with_it() -> None:
    async with proxy_rig(keeps, routes=[permitted()]) as rig:
        await ask(rig, b"20m")
        rig.set_routes()
        assert rig.ledger.balanced()
        rig.set_routes(permitted())
        assert rig.app.entry.busy == 0


async def test_probes_that_a_static_route_matches_keep_nothing_awake() -> None:
    """They are not counted, so an app that answers them could stay awake for ever."""
    probes = StaticRoute(StaticResponse(body=b"asleep"), rules=(Rule(paths=("/20m",)),))
    async with proxy_rig(keeps, routes=[permitted(static_routes=(probes,))]) as rig:
        await ask(rig, b"20m")
        assert (rig.app.entry.busy, ignored(rig)) == (0, {"uncounted": 1})
        await ask(rig, b"21m")
        assert rig.app.entry.busy == 1
        await ask(rig, b"0")


async def test_a_fallback_keeps_nobody_awake() -> None:
    asleep = ColdStart(fallback=Target("default/other"))
    sleeping = msgspec.structs.replace(
        permitted(cold_start=asleep), timeouts=msgspec.structs.replace(route().timeouts, readiness=0.1)
    )
    async with proxy_rig(keeps, routes=[sleeping], backends=0) as rig:
        other = await rig.backend(keeps, listed=False)
        rig.sources.set("default/other", [other.backend])
        await ask(rig, b"20m")
        assert (rig.app.entry.busy, ignored(rig)) == (0, {"other_backend": 1})


async def test_two_apps_of_one_backend_have_a_lease_each() -> None:
    other = msgspec.structs.replace(route("default/b", "b.test", service=APP), scaling=Scaling(max_busy=MOST))
    async with proxy_rig(keeps, routes=[permitted(), other]) as rig:
        await ask(rig, b"20m")
        client = await rig.client()
        await client.ask(get(b"/20m", host=b"b.test"))
        second = rig.interceptor.proxy.apps["default/b"]
        assert (rig.app.entry.busy, second.entry.busy) == (1, 1)
        await ask(rig, b"0")
        assert (rig.app.entry.busy, second.entry.busy) == (0, 1)
        rig.sources.set(APP, [])
        assert second.entry.busy == 0


async def test_a_backend_at_work_is_seen_as_such() -> None:
    """By it the engine of one machine knows which replicas are idle, and stops those first."""
    async with proxy_rig(keeps, routes=[permitted()], backends=1) as rig:
        (backend,) = rig.backends
        await ask(rig, b"20m")
        assert rig.interceptor.proxy.at_work()[APP] == {backend.backend: 1}
        await ask(rig, b"0")
        assert rig.interceptor.proxy.at_work()[APP] == {backend.backend: 0}


async def test_bounds_on_requests_do_not_count_leases() -> None:
    busy = permitted()
    busy = msgspec.structs.replace(
        busy, protection=msgspec.structs.replace(busy.protection, max_requests=1, backend_concurrency=1)
    )
    async with proxy_rig(keeps, routes=[busy]) as rig:
        for _ in range(3):
            await ask(rig, b"20m")
        await ask(rig, b"0")
