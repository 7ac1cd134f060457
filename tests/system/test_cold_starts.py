"""Many requests to an app that sleeps, seen from outside the interceptor's process: who is answered, how soon, with how much
memory.

The daily sizes take seconds; WEIR_FULL_SIZE=1 is what the product promises: ten thousand requests, an upload of 1 GiB.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fleet.discovery.sources import Backend
from fleet.routing.route import Route, Rule, Scaling, Target, Timeouts
from tests.support.caller import Caller, Reply
from tests.support.full import FULL
from tests.support.raw_requests import get
from tests.system.alone import Alone, alone
from tests.system.harness import PATIENCE, app, fleet, running_up
from tests.wire.proxy_backend import BackendPeer, RawBackend, Script, ok
from tests.wire.proxy_client import RawClient

APP = "default/a"
MEBI = 1 << 20
AT_ONCE = 0.1
"""Seconds within which a place must be free again, and its metric must have followed."""

pytestmark = pytest.mark.timeout(600)


def sleeping(*, target: float = 10, **timeouts: float) -> Route:
    limits = Timeouts(**timeouts)
    return Route(
        app=APP, target=Target(APP), rules=(Rule(hosts=("a.test",)),), scaling=Scaling(concurrency=target), timeouts=limits
    )


class Pods:
    """Backends that note how many requests they have at once, and in which order requests came to any of them."""

    def __init__(self, seconds: float) -> None:
        self.backends: list[RawBackend] = []
        self.now: Counter[int] = Counter()
        self.most: Counter[int] = Counter()
        self.order: list[int] = []
        self.go = asyncio.Event()
        """Until then nobody answers."""
        self._seconds = seconds

    async def start(self) -> list[Backend]:
        """One more; gives all of them."""
        pod = RawBackend(self._script(len(self.backends)))
        await pod.start()
        self.backends.append(pod)
        return [each.backend for each in self.backends]

    def _script(self, name: int) -> Script:
        async def script(peer: BackendPeer) -> None:
            while True:
                message = await peer.request()
                self.order.append(int(message.target[1:]))
                self.now[name] += 1
                self.most[name] = max(self.most[name], self.now[name])
                await self.go.wait()
                await asyncio.sleep(self._seconds)
                self.now[name] -= 1
                peer.send(ok(message.target))

        return script

    async def close(self) -> None:
        for pod in self.backends:
            await pod.close()


@asynccontextmanager
async def callers(count: int, port: int, near: str = "127.0.0.1") -> AsyncIterator[list[Caller]]:
    """So many clients that leave when the block ends."""
    clients = [Caller(port, host=near) for _ in range(count)]
    try:
        yield clients
    finally:
        for client in clients:
            client.leave(politely=False)


async def in_order(running: Alone, clients: Sequence[Caller], *, step: int) -> list[asyncio.Task[Reply]]:
    """Each asks for its own number; those of a step may overtake each other on the way, later steps may not."""
    asking: list[asyncio.Task[Reply]] = []
    for number, client in enumerate(clients):
        asking.append(asyncio.create_task(client.ask(get(b"/%d" % number))))
        if len(asking) % step == 0:
            await running.until_queue(APP, held=len(asking))
    return asking


async def test_a_thousand_held_one_pod_then_five(tmp_path: Path) -> None:
    """No pod ever has more than the target, everybody is answered with what was asked for, and who came first goes first."""
    count, step, pods = 1000, 50, Pods(0.01)
    async with alone(tmp_path, sleeping(), head_timeout=PATIENCE) as running, callers(count, running.port) as clients:
        try:
            asking = await in_order(running, clients, step=step)
            running.backends({APP: await pods.start()})
            await running.until(lambda: len(pods.order) >= 10)
            for _ in range(4):
                backends = await pods.start()
            running.backends({APP: backends})
            await running.until(lambda: len(pods.most) == 5)
            pods.go.set()
            replies = await asyncio.gather(*asking)
            assert [(reply.status, reply.body) for reply in replies] == [(200, b"/%d" % number) for number in range(count)]
            assert sorted(pods.order) == list(range(count))
            assert max(pods.most.values()) <= 10
            # Those of one step, and those at the pods: 10 each.
            assert max(abs(place - number) for place, number in enumerate(pods.order)) <= step + 50
            await running.until_queue(APP, held=0, in_flight=0)
        finally:
            await pods.close()


async def test_an_app_that_never_wakes_is_a_504_and_costs_nothing_afterwards(tmp_path: Path) -> None:
    """Memory that many requests took while they waited is used again for the next ones: the process does not grow."""
    count = 2000
    request = get(b"/", b"X-Padding: " + b"x" * 3000)
    # All clients connect before any of them sends, which takes a while.
    async with alone(tmp_path, sleeping(readiness=1.0), head_timeout=PATIENCE) as running:
        sizes = []
        for _ in range(5):
            async with callers(count, running.port) as clients:
                replies = await asyncio.gather(*(client.ask(request) for client in clients))
            assert {(reply.status, reply.body) for reply in replies} == {(504, replies[0].body)}
            assert b"no backend of application default/a was ready within 1 s" in replies[0].body
            assert min(reply.seconds for reply in replies) >= 1.0
            await running.until_queue(APP, held=0)
            sizes.append(running.rss)
        assert max(sizes[2:]) < sizes[1] * 1.05, [size / MEBI for size in sizes]


async def test_a_full_room_refuses_at_once(tmp_path: Path) -> None:
    """Ten thousand requests at a room of a hundred: all others are told to come again, before those in it have waited."""
    count, room, lanes = 10_000 if FULL else 2000, 100, 100
    async with alone(tmp_path, sleeping(), max_held=room, readiness_timeout=30, head_timeout=PATIENCE) as running:
        async with callers(room + lanes, running.port) as clients:

            async def asked(wire: bytes) -> list[Reply]:
                replies: list[Reply] = []

                async def ask(client: Caller) -> None:
                    while len(replies) < count - room:
                        replies.append(await client.ask(wire))

                await asyncio.gather(*(ask(client) for client in clients[room:]))
                return replies

            unknown = await asked(get(host=b"nobody.test"))  # as cheap as an answer can be
            waiting = [asyncio.create_task(client.ask(get())) for client in clients[:room]]
            await running.until_queue(APP, held=room)
            refused = await asked(get())
            assert {(reply.status, reply.field(b"Retry-After")) for reply in refused} == {(503, b"1")}
            assert all(b"too many requests wait for application default/a" in reply.body for reply in refused)
            assert {reply.status for reply in unknown} == {404}
            assert _median(refused) < 5 * _median(unknown)
            assert sum(client.connects for client in clients) == room + lanes  # a refusal ends no connection
            assert not any(task.done() for task in waiting)
            assert (await running.queue(APP))["held"] == room
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
        assert await running.until_queue(APP, held=0) < PATIENCE


def _median(replies: Sequence[Reply]) -> float:
    return statistics.median(reply.seconds for reply in replies)


async def test_an_upload_to_an_app_that_sleeps_is_held_outside(tmp_path: Path) -> None:
    """A client pushes all that it can: while it is held that stays in sockets, and afterwards it flows through."""
    size, piece = MEBI * (1024 if FULL else 128), bytes(MEBI // 4)
    received = 0

    async def count(peer: BackendPeer) -> None:
        nonlocal received
        head = await peer.read_until(b"\r\n\r\n")
        received = len(head.partition(b"\r\n\r\n")[2])
        while received < size:
            received += len(await peer.read_some(MEBI))
            peer.received.clear()
        peer.send(ok(b"%d" % received))

    async with alone(tmp_path, sleeping()) as running:
        client, pod = await RawClient.connect(running.port), RawBackend(count)
        await pod.start()

        async def push() -> None:
            for _ in range(size // len(piece)):
                client.send(piece)
                await client.writer.drain()

        try:
            before = running.rss
            client.send(get(b"/", b"Content-Length: %d" % size, method=b"POST"))
            pushing = asyncio.create_task(push())
            await running.until_queue(APP, held=1)
            most = before
            for _ in range(20):
                await asyncio.sleep(0.05)
                most = max(most, running.rss)
            assert not pushing.done()
            assert most - before < 2 * MEBI, (most - before) / MEBI
            running.backends({APP: [pod.backend]})
            while not pushing.done():
                await asyncio.sleep(0.02)
                most = max(most, running.rss)
            async with asyncio.timeout(PATIENCE):
                assert (await client.response()).body == b"%d" % size
            assert most - before < 2 * MEBI, (most - before) / MEBI
        finally:
            client.close()
            await pod.close()


@pytest.mark.parametrize(
    "wire", [get(), get(b"/", b"Content-Length: 1000000", method=b"PUT") + b"x" * 100_000], ids=["get", "put"]
)
async def test_fifty_clients_that_leave_free_their_places_at_once(wire: bytes, tmp_path: Path) -> None:
    """The shortest of three rounds: a busy machine may delay one, and what only looks now and then delays each."""
    rounds = []
    async with alone(tmp_path, sleeping()) as running:
        for leave in ("close", "reset", "close"):
            clients = [await RawClient.connect(running.port) for _ in range(50)]
            for client in clients:
                client.send(wire)
            await running.until_queue(APP, held=50)
            assert await running.metric("weir_interceptor_held_requests", app="a") == 50
            for client in clients:
                getattr(client, leave)()
            rounds.append(await running.until_queue(APP, held=0))
            assert await running.metric("weir_interceptor_held_requests", app="a") == 0
    assert min(rounds) < AT_ONCE, rounds


async def test_what_keda_gets_follows_clients_that_leave(tmp_path: Path) -> None:
    never: dict[str, Any] = app("web", command="sleep 1000", target=100)
    async with running_up(tmp_path, fleet(never)) as up, callers(50, up.port, up.near) as clients:
        asking = [asyncio.create_task(client.ask(get(host=b"web.localhost"))) for client in clients]
        await up.until_value("web", 50.0)
        for client in clients:
            client.leave()
        await up.until_value("web", 0.0)
        await asyncio.gather(*asking, return_exceptions=True)
