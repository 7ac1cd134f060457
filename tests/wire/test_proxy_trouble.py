"""An application of which it is known why it has no backend: the reason is told, and nobody waits where nothing is to come."""

from __future__ import annotations

import msgspec

from fleet.discovery.sources import Trouble
from fleet.routing.route import ColdStart, Placeholder, Route
from tests.support.loopback import APP, route
from tests.support.raw_requests import get, post
from tests.wire.proxy_backend import BackendPeer, answer, ok
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

WHY = "ended with exit code 1: no such table"
HTML = b"Accept: text/html"
SPARE = "default/spare"


def _told(rig: Rig, *, hopeless: bool = True) -> None:
    rig.sources.set_trouble(APP, Trouble(WHY, hopeless=hopeless))


def _route(*, placeholder: bool = False, fallback: bool = False, readiness: float = 60.0) -> Route:
    cold = msgspec.convert({"fallback": {"service": SPARE}} if fallback else {}, ColdStart)
    shown = Placeholder(browsers_only=True) if placeholder else None
    return msgspec.structs.replace(route(readiness=readiness), cold_start=msgspec.structs.replace(cold, placeholder=shown))


async def _silent(peer: BackendPeer) -> None:
    await peer.request()
    await peer.read_to_end()


async def test_the_504_names_the_reason() -> None:
    async with proxy_rig(backends=0, routes=[_route(readiness=0.2)]) as rig:
        _told(rig, hopeless=False)
        message = await (await rig.client()).ask(get())
        assert message.status == 504
        assert message.body == f"weir: no backend of application {APP} was ready within 0.2 s: {WHY}\n".encode()


async def test_without_hope_the_503_comes_at_once_and_is_counted_as_demand() -> None:
    async with proxy_rig(backends=0, routes=[_route()]) as rig:
        _told(rig)
        client = await rig.client()
        for request in (get(), post(b"body")):
            message = await client.ask(request)
            assert (message.status, message.get(b"retry-after")) == (503, b"5")
            assert message.body == f"weir: application {APP} does not start: {WHY}\n".encode()
        assert rig.app.stats.own["failing", 503] == 2
        assert rig.app.entry.requests_total == 2, "who is refused keeps the application awake, which is tried again"


async def test_waiting_requests_are_answered_when_the_app_becomes_hopeless() -> None:
    async with proxy_rig(backends=0, routes=[_route()]) as rig:
        clients = [await rig.client() for _ in range(3)]
        for client in clients:
            client.send(get())
        await eventually(lambda: len(rig.app.room) == 3)
        _told(rig)
        assert [(await client.response()).status for client in clients] == [503] * 3
        assert not rig.app.room


async def test_a_page_that_is_open_learns_the_reason_and_that_it_is_over() -> None:
    async with proxy_rig(backends=0, routes=[_route(placeholder=True)]) as rig:
        client = await rig.client()
        waking = await client.ask(get(b"/", HTML))
        assert b"is waking up" in waking.body
        _told(rig)
        failing = await client.ask(get(b"/", HTML))
        assert (failing.status, WHY.encode() in failing.body) == (503, True)
        states = {one.get(b"x-weir-placeholder") for one in (waking, failing)}
        assert len(states) == 2
        rig.sources.set_trouble(APP, None)
        assert b"is waking up" in (await client.ask(get(b"/", HTML))).body


async def test_it_heals() -> None:
    async with proxy_rig(backends=0, routes=[_route()]) as rig:
        _told(rig)
        client = await rig.client()
        assert (await client.ask(get())).status == 503
        rig.sources.set_trouble(APP, None)
        client.send(get())
        await eventually(lambda: len(rig.app.room) == 1)
        await rig.backend(answer(ok(b"up")))
        assert (await client.response()).body == b"up"
        _told(rig)  # old news, while there is a backend
        assert (await client.ask(get())).body == b"up"


async def test_the_fallback_answers_at_once() -> None:
    async with proxy_rig(backends=0, routes=[_route(fallback=True)]) as rig:
        backend = await rig.backend(answer(ok(b"spare")), listed=False)
        rig.sources.set(SPARE, [backend.backend])
        _told(rig)
        assert (await (await rig.client()).ask(get())).body == b"spare"


async def test_what_is_at_each_backend_is_reported_until_the_last_exchange_is_over() -> None:
    async with proxy_rig(backends=0) as rig:
        backend = await rig.backend(_silent)
        client = await rig.client()
        client.send(get())
        await eventually(lambda: backend.peers)
        proxy = rig.interceptor.proxy
        await eventually(lambda: proxy.at_work() == {APP: {backend.backend: 1}})
        rig.sources.set(APP, [])
        assert proxy.at_work() == {APP: {backend.backend: 1}}, "listed no longer"
        rig.set_routes(route("default/other", "b.test"))
        assert proxy.at_work() == {APP: {backend.backend: 1}}, "nor is the application"
        client.close()
        await eventually(lambda: proxy.at_work() == {})


async def _switches(peer: BackendPeer) -> None:
    await peer.request()
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    await peer.read_to_end()


async def test_a_tunnel_is_at_its_backend_until_it_ends() -> None:
    async with proxy_rig(backends=0) as rig:
        backend = await rig.backend(_switches)
        client = await rig.client()
        client.send(get(b"/", b"Connection: upgrade", b"Upgrade: x"))
        proxy = rig.interceptor.proxy
        await eventually(lambda: sum(size.connections for size in rig.ledger.sizes(0.0)) == 1)
        rig.sources.set(APP, [])
        assert proxy.at_work() == {APP: {backend.backend: 1}}
        client.close()
        await eventually(lambda: proxy.at_work() == {})
