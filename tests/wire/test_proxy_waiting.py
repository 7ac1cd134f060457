"""The waiting room over real sockets: its bounds, who leaves it, and how those who wait are let in."""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic, process_time
from typing import Any

import pytest

from fleet.routing.route import ColdStart, Protection, Route, Rule, Scaling, Target, Timeouts
from tests.support.loopback import APP
from tests.support.raw_requests import get, post
from tests.support.waiting import settled, turns
from tests.wire.proxy_backend import BackendPeer, Script, answer, ok
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

MEBI = 1 << 20
AT_ONCE = 0.1
"""Seconds within which a place has to be free again."""


def limited(name: str = APP, *, target: float = 10, **fields: Any) -> Route:
    """The route of the rig's app with bounds of its own."""
    host = f"{name.partition('/')[2]}.test"
    return Route(app=name, target=Target(APP), rules=(Rule(hosts=(host,)),), scaling=Scaling(concurrency=target), **fields)


def at_most(backends: int) -> dict[str, Any]:
    return {"protection": Protection(backend_concurrency=backends)}


class RecordingBackends:
    """Backends that note what they have at once, and the order in which requests came to any of them."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.now: Counter[Any] = Counter()
        self.most: Counter[Any] = Counter()
        self.order: list[int] = []
        self.go = asyncio.Event()
        self._seconds = seconds

    def backend(self, name: object) -> Script:
        async def script(peer: BackendPeer) -> None:
            while True:
                message = await peer.request()
                self.order.append(int(message.target[1:]))
                self.now[name] += 1
                self.most[name] = max(self.most[name], self.now[name])
                # Work that takes so long: those that came meanwhile wait for it.
                await (asyncio.sleep(self._seconds) if self._seconds else self.go.wait())
                self.now[name] -= 1
                peer.send(ok(b"%d" % len(self.order)))

        return script


async def held(rig: Rig, count: int) -> None:
    await eventually(lambda: rig.ledger.totals.held == count)


async def hold(rig: Rig, count: int, **options: Any) -> list[RawClient]:
    """So many clients whose requests wait, in their order: the first asks for /0."""
    clients = []
    before = rig.ledger.totals.held
    for number in range(count):
        client = await rig.client()
        client.send(get(b"/%d" % number, **options))
        await held(rig, before + number + 1)
        clients.append(client)
    return clients


# -- admission ----------------------------------------------------------------------------------------------------


async def test_a_thousand_held_one_backend_then_five() -> None:
    """None of them ever has more than the target, everybody is answered, and who came first goes first."""
    recorder = RecordingBackends(seconds=0.01)
    async with proxy_rig(backends=0, routes=[limited()]) as rig:
        clients = await hold(rig, 1000)
        await rig.backend(recorder.backend(0))
        await eventually(lambda: len(recorder.order) > 100)
        assert rig.ledger.totals.in_flight <= 10
        for name in range(1, 5):
            await rig.backend(recorder.backend(name))
        assert [(await client.response()).status for client in clients] == [200] * 1000
        assert sorted(recorder.order) == list(range(1000))
        assert max(recorder.most.values()) <= 10
        assert len(recorder.most) == 5
        # Ten at once on each of five: within those, sockets decide.
        assert max(abs(place - number) for place, number in enumerate(recorder.order)) <= 100


async def test_a_ceiling_holds_for_every_request() -> None:
    recorder = RecordingBackends()
    async with proxy_rig(backends=0, routes=[limited(**at_most(2))]) as rig:
        for name in range(2):
            await rig.backend(recorder.backend(name))
        clients = [await rig.client() for _ in range(10)]
        for number, client in enumerate(clients):
            client.send(get(b"/%d" % number))
        await eventually(lambda: (len(recorder.order), rig.ledger.totals.held) == (4, 6))
        recorder.go.set()
        assert {(await client.response()).status for client in clients} == {200}
        assert max(recorder.most.values()) == 2


async def test_without_a_ceiling_warm_requests_do_not_wait() -> None:
    recorder = RecordingBackends()
    async with proxy_rig(backends=0, routes=[limited(target=1)]) as rig:
        await rig.backend(recorder.backend(0))
        clients = [await rig.client() for _ in range(10)]
        for number, client in enumerate(clients):
            client.send(get(b"/%d" % number))
        await eventually(lambda: recorder.most[0] == 10)
        recorder.go.set()
        assert {(await client.response()).status for client in clients} == {200}


async def test_no_bound_at_all() -> None:
    recorder = RecordingBackends()
    async with proxy_rig(backends=0, routes=[limited(target=1, **at_most(0))]) as rig:
        clients = await hold(rig, 50)
        await rig.backend(recorder.backend(0))
        await eventually(lambda: recorder.most[0] == 50)
        recorder.go.set()
        assert {(await client.response()).status for client in clients} == {200}


async def test_requests_that_never_end_do_not_starve_the_others() -> None:
    """The target bounds what one replica gets at first; where no second one comes, it yields."""
    recorder = RecordingBackends()
    async with proxy_rig(backends=0, routes=[limited(target=5, timeouts=Timeouts(readiness=2.0))]) as rig:
        clients = await hold(rig, 50)
        await rig.backend(recorder.backend(0))
        await eventually(lambda: len(recorder.order) == 5)
        await eventually(lambda: len(recorder.order) == 50)
        recorder.go.set()
        assert {(await client.response()).status for client in clients} == {200}


async def test_a_place_at_a_shared_backend_goes_to_whichever_app_waits() -> None:
    recorder = RecordingBackends()
    async with proxy_rig(backends=0, routes=[limited(**at_most(1)), limited("default/b", **at_most(1))]) as rig:
        await rig.backend(recorder.backend(0))
        one, other = await rig.client(), await rig.client()
        one.send(get(b"/0"))
        await eventually(lambda: recorder.order)
        other.send(get(b"/1", host=b"b.test"))
        await held(rig, 1)
        recorder.go.set()
        assert [(await client.response()).status for client in (one, other)] == [200, 200]
        assert (recorder.order, recorder.most[0]) == ([0, 1], 1)


async def test_a_request_that_was_sent_to_a_dead_backend_waits_in_front_again() -> None:
    recorder = RecordingBackends()
    async with proxy_rig(backends=0, routes=[limited(target=2, **at_most(2))]) as rig:
        clients = await hold(rig, 6)
        dead = await rig.backend(answer(ok()), listed=False)
        await dead.close()
        rig.sources.set(APP, [dead.backend])
        await eventually(lambda: rig.app.endpoints.last_error)
        await held(rig, 6)
        alive = await rig.backend(recorder.backend(0), listed=False)
        rig.sources.set(APP, [alive.backend])
        await eventually(lambda: len(recorder.order) == 2)
        assert sorted(recorder.order) == [0, 1]
        recorder.go.set()
        assert {(await client.response()).status for client in clients} == {200}


# -- bounds -------------------------------------------------------------------------------------------------------


async def test_ten_thousand_at_a_room_of_a_hundred() -> None:
    """9,900 are told at once to come again, each of them cheaply, and the hundred are answered when a backend comes."""
    async with proxy_rig(backends=0, routes=[limited(cold_start=ColdStart(max_held=100))]) as rig:
        waiting = await hold(rig, 100)
        others = [await rig.client() for _ in range(20)]
        before = process_time()

        async def ask(client: RawClient) -> Counter[tuple[int, bytes | None]]:
            told: Counter[tuple[int, bytes | None]] = Counter()
            for _ in range(99):
                client.send(get() * 5)
                for _ in range(5):
                    message = await client.response()
                    told[message.status, message.get(b"retry-after")] += 1
            return told

        told = sum(await asyncio.gather(*map(ask, others)), Counter())
        took = process_time() - before
        assert told == {(503, b"1"): 9900}
        assert took < 20, "the answers are not cheap"
        assert (len(rig.app.room), rig.ledger.totals.held) == (100, 100)
        await rig.backend()
        assert {(await client.response()).status for client in waiting} == {200}


async def test_the_bytes_of_a_room_are_bounded() -> None:
    async with proxy_rig(backends=0, routes=[limited(cold_start=ColdStart(max_held_bytes=10_000))]) as rig:
        first = await rig.client()
        first.send(get(b"/0", b"X: " + b"x" * 6000))
        await held(rig, 1)
        message = await (await rig.client()).ask(get(b"/1", b"X: " + b"x" * 6000))
        assert (message.status, message.get(b"retry-after")) == (503, b"1")
        message = await (await rig.client()).ask(post(b"x" * 6000))
        assert message.status == 503
        small = await rig.client()
        small.send(get(b"/2"))
        await held(rig, 2)
        first.close()
        await eventually(lambda: rig.app.room.held_bytes < 1000)
        await rig.backend()
        assert (await small.response()).status == 200


async def test_an_upload_is_not_read_while_it_is_held() -> None:
    size = 32 * MEBI

    async def count(peer: BackendPeer) -> None:
        while len(peer.received) < size:
            await peer.read_some(MEBI)
        peer.send(ok(b"got it"))

    async with proxy_rig(backends=0) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Content-Length: %d" % size, method=b"POST"))
        await held(rig, 1)
        sent = 0

        async def send() -> None:
            nonlocal sent
            while sent < size:
                client.send(b"x" * 65536)
                await client.writer.drain()
                sent += 65536

        sending = asyncio.create_task(send())
        await settled(lambda: sent, seconds=0.1)
        assert sent < size // 2  # what sockets take by themselves
        assert rig.app.room.held_bytes < 65536
        await rig.backend(count)
        await sending
        assert (await client.response()).body == b"got it"


async def test_an_app_with_too_many_requests_is_a_503_and_others_are_served() -> None:
    recorder = RecordingBackends()
    routes = [limited(protection=Protection(max_requests=3)), limited("default/b")]
    async with proxy_rig(backends=0, routes=routes) as rig:
        await rig.backend(recorder.backend(0))
        clients = [await rig.client() for _ in range(3)]
        for number, client in enumerate(clients):
            client.send(get(b"/%d" % number))
        await eventually(lambda: len(recorder.order) == 3)
        message = await (await rig.client()).ask(get(b"/9"))
        assert (message.status, message.get(b"retry-after"), APP.encode() in message.body) == (503, b"1", True)
        recorder.go.set()
        assert (await (await rig.client()).ask(get(b"/7", host=b"b.test"))).status == 200
        assert {(await client.response()).status for client in clients} == {200}
        assert (await (await rig.client()).ask(get(b"/8"))).status == 200


async def test_held_requests_count_towards_an_apps_bound() -> None:
    async with proxy_rig(backends=0, routes=[limited(protection=Protection(max_requests=3))]) as rig:
        await hold(rig, 3)
        assert (await (await rig.client()).ask(get(b"/9"))).status == 503


# -- leaving ------------------------------------------------------------------------------------------------------


UPLOAD = get(b"/", b"Content-Length: 99999999", method=b"POST")


@pytest.mark.parametrize("leave", [RawClient.close, RawClient.reset])
@pytest.mark.parametrize("wire", [get(), get() * 3000, UPLOAD + b"x" * 60_000, UPLOAD + b"x", UPLOAD])
async def test_fifty_clients_that_leave_free_their_places_at_once(wire: bytes, leave: Any) -> None:
    """Also those that are not read from. The best of a few times, so that a busy machine does not fail it."""
    took = []
    async with proxy_rig(backends=0) as rig:
        for _ in range(5):
            clients = [await rig.client() for _ in range(50)]
            for client in clients:
                client.send(wire)
            await held(rig, 50)
            await turns()
            before = monotonic()
            for client in clients:
                leave(client)
            await eventually(rig.ledger.balanced)
            took.append(monotonic() - before)
            if took[-1] < AT_ONCE:
                break
        assert min(took) < AT_ONCE
        assert not rig.app.room
        await eventually(lambda: not rig.interceptor.proxy.clients)
        assert not rig.interceptor.proxy.hangups


async def paused(rig: Rig, client: RawClient, piece: bytes) -> None:
    """Send until the proxy reads no more, and no more than the sockets take: behind what waits for a full one, nobody leaves."""
    while not any(each.paused for each in rig.connections):
        client.send(piece)
        await client.writer.drain()
        await asyncio.sleep(0)


@pytest.mark.parametrize("leave", [RawClient.close, RawClient.reset])
@pytest.mark.parametrize(("wire", "piece"), [(UPLOAD, b"x" * 65536), (get(), get() * 100)])
async def test_a_client_that_leaves_while_its_backend_does_nothing(wire: bytes, piece: bytes, leave: Any) -> None:
    """It is not read from: its body is not taken, or it sent very much ahead."""

    async def stuck(peer: BackendPeer) -> None:
        await peer.read_until(b"\r\n\r\n")
        await asyncio.Event().wait()

    async with proxy_rig(backends=0) as rig:
        await rig.backend(stuck, receive_buffer=4096)
        client = await rig.client()
        client.send(wire)
        await eventually(lambda: rig.ledger.totals.in_flight)
        await paused(rig, client, piece)
        leave(client)
        await eventually(rig.ledger.balanced)


async def test_a_client_that_was_read_from_again_and_then_leaves() -> None:
    """It is watched anew with each pause."""
    go = asyncio.Event()

    async def late(peer: BackendPeer) -> None:
        await peer.request()
        await go.wait()

    async with proxy_rig(backends=0) as rig:
        client = await rig.client()
        client.send(post(b"x" * 200_000))
        await held(rig, 1)
        backend = await rig.backend(late)
        await eventually(lambda: backend.requests)
        assert not any(each.paused for each in rig.connections)
        await paused(rig, client, get() * 100)
        client.close()
        await eventually(rig.ledger.balanced)


async def test_a_tunnel_whose_client_leaves_while_its_backend_does_nothing() -> None:
    async def stuck(peer: BackendPeer) -> None:
        await peer.read_until(b"\r\n\r\n")
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        await asyncio.Event().wait()

    async with proxy_rig(backends=0) as rig:
        await rig.backend(stuck, receive_buffer=4096)
        client = await rig.client()
        client.send(get(b"/", b"Connection: upgrade", b"Upgrade: x"))
        assert (await client.response()).status == 101
        await paused(rig, client, b"x" * 65536)
        client.reset()
        await eventually(rig.ledger.balanced)


async def test_a_backend_that_is_listed_again_has_what_it_had() -> None:
    """Discovery loses sight of it while it is at work: the ceiling holds all the same."""
    recorder = RecordingBackends()
    async with proxy_rig(recorder.backend("one"), routes=[limited(**at_most(2))]) as rig:
        working = [await rig.client() for _ in range(2)]
        for number, client in enumerate(working):
            client.send(get(b"/%d" % number))
        await eventually(lambda: recorder.now["one"] == 2)
        listed = rig.sources.get(APP)
        rig.sources.set(APP, [])
        rig.sources.set(APP, listed)
        waiting = await hold(rig, 3)
        recorder.go.set()
        assert [(await client.response()).status for client in (*working, *waiting)] == [200] * 5
        assert recorder.most["one"] == 2


async def test_a_backend_that_goes_for_good_is_forgotten() -> None:
    async with proxy_rig(backends=3) as rig:
        client = await rig.client()
        assert (await client.ask(get())).status == 200
        rig.sources.set(APP, rig.sources.get(APP)[:1])
        assert (await client.ask(get())).status == 200
        rig.sources.set(APP, [])
        assert not rig.app.endpoints._leaving
