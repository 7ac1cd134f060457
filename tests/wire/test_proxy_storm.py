"""Storms of everything that can go wrong, seeded, on real sockets: when they are over, every count is back at zero."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from random import Random
from time import monotonic
from typing import Any

import pytest

from fleet.discovery.sources import Backend
from fleet.routing.route import Route
from tests.support.loopback import APP, route
from tests.support.raw_requests import get, post
from tests.wire.proxy_backend import BackendPeer, RawBackend, ok
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

STORM_SECONDS = 4.0
ENOUGH = 50
"""Answers of a backend."""
ACTS = ("ask", "ahead", "slow_body", "broken", "failed")
CLIENTS = 40
UPGRADE = (b"Connection: Upgrade", b"Upgrade: echo")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Storm:
    """Clients and backends that misbehave by the dice of one seed."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig = rig
        self.rng = Random(seed)
        self.until = monotonic() + STORM_SECONDS
        self.tally: Counter[str] = Counter()

    @property
    def over(self) -> bool:
        """It has lasted for some seconds, and for as long as a slow machine needs for enough of everything."""
        return monotonic() > self.until and self.tally["200"] > ENOUGH and all(self.tally[act] for act in ACTS)

    async def pause(self, most: float = 0.01) -> None:
        await asyncio.sleep(self.rng.random() * most)  # by chance: at which moment things happen is what is tried

    # -- backends ------------------------------------------------------------------------------------------------

    async def backend(self, peer: BackendPeer) -> None:
        """Answer each request in one of many ways, most of them good."""
        ways = [
            self.good,
            self.good,
            self.good,
            self.chunks,
            self.late,
            self.last,
            self.cut,
            self.reset,
            self.mute,
            self.nonsense,
        ]
        while True:
            head = await peer.read_until(b"\r\n\r\n")
            if self.rng.random() < 0.05:  # before the body is here
                peer.send(ok(b"early", status=b"413 Content Too Large"))
                return
            if b"Upgrade: echo" in head:
                await self.tunnel(peer)
                return
            await peer.request()
            if not await self.rng.choice(ways)(peer):
                return

    async def good(self, peer: BackendPeer) -> bool:
        peer.send(ok(b"x" * self.rng.randrange(3000)))
        return True

    async def chunks(self, peer: BackendPeer) -> bool:
        peer.send(CHUNKED)
        for _ in range(self.rng.randrange(4)):
            peer.send(b"5\r\nhello\r\n")
            await self.pause()
        peer.send(b"0\r\n\r\n")
        return True

    async def late(self, peer: BackendPeer) -> bool:
        await self.pause(0.15)
        return await self.good(peer)

    async def last(self, peer: BackendPeer) -> bool:
        """Good, but nobody told that the connection ends."""
        await self.good(peer)
        return False

    async def cut(self, peer: BackendPeer) -> bool:
        peer.send(self.rng.choice((CHUNKED + b"5\r\nhel", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"HTTP/1.1 20")))
        await self.pause()
        return False

    async def reset(self, peer: BackendPeer) -> bool:
        await self.pause()
        peer.reset()
        return False

    async def mute(self, peer: BackendPeer) -> bool:
        await peer.read_to_end()
        return False

    async def nonsense(self, peer: BackendPeer) -> bool:
        peer.send(self.rng.randbytes(200) + b"\r\n\r\n")
        return False

    async def tunnel(self, peer: BackendPeer) -> None:
        peer.send(SWITCH)
        for _ in range(self.rng.randrange(1, 5)):
            if not await peer.read_some():
                return
            peer.send(b"pong")
        if self.rng.random() < 0.5:
            peer.reset()

    # -- clients -------------------------------------------------------------------------------------------------

    async def client(self) -> None:
        """Connection after connection, each of them ended in some way."""
        while not self.over:
            client = await RawClient.connect(self.rig.interceptor.proxy_port)
            acts = [
                self.ask,
                self.ask,
                self.ahead,
                self.slow_body,
                self.leave,
                self.upgrade,
                self.half_head,
                self.broken,
                self.unread,
            ]
            try:
                async with asyncio.timeout(0.6):
                    for _ in range(self.rng.randrange(1, 6)):
                        act = self.rng.choice(acts)
                        await act(client)
                        self.tally[act.__name__] += 1
            except (ConnectionError, TimeoutError, AssertionError):
                self.tally["failed"] += 1
            finally:
                self.rng.choice((client.close, client.reset))()

    async def ask(self, client: RawClient) -> None:
        message = await client.ask(self.rng.choice((get(), post(b"body"), post(b"body", chunked=True), get(method=b"DELETE"))))
        self.tally[str(message.status)] += 1

    async def ahead(self, client: RawClient) -> None:
        count = self.rng.randrange(2, 6)
        client.send(get() * count)
        for _ in range(count):
            await client.response()

    async def slow_body(self, client: RawClient) -> None:
        client.send(get(b"/", b"Content-Length: 30000", method=b"PUT"))
        for _ in range(3):
            client.send(b"x" * 10000)
            await self.pause()
        await client.response()

    async def leave(self, client: RawClient) -> None:
        client.send(self.rng.choice((get(), get() * 3, post(b"x" * 50_000), post(b"x" * 1000)[:-5])))
        await self.pause()
        raise ConnectionError("left")

    async def upgrade(self, client: RawClient) -> None:
        client.send(get(b"/", *UPGRADE) + b"ping")
        if (await client.response()).status != 101:
            return
        for _ in range(3):
            client.send(b"ping")
            await client.read_until(b"pong")
        raise ConnectionError("tunnels end")

    async def half_head(self, client: RawClient) -> None:
        client.send(get()[: self.rng.randrange(1, 25)])
        await self.pause(0.3)
        raise ConnectionError("left")

    async def broken(self, client: RawClient) -> None:
        client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + b"5\r\nhello\r\n")
        await self.pause()
        client.send(b"nonsense\r\n")
        await client.read_to_end()

    async def unread(self, client: RawClient) -> None:
        client.send(get() * 50)
        await self.pause(0.1)
        raise ConnectionError("never read")

    # -- discovery -----------------------------------------------------------------------------------------------

    async def churn(self) -> None:
        """Backends go and come, some listed that do not exist; the route's limits change, and the route is removed."""
        dead = Backend("127.0.0.1", 1)
        while not self.over:
            listed = [backend.backend for backend in self.rig.backends if self.rng.random() < 0.7]
            self.rig.sources.set(APP, listed + ([dead] if self.rng.random() < 0.4 else []))
            if self.rng.random() < 0.3:
                self.rig.set_routes(*([limited(self.rng)] if self.rng.random() < 0.8 else []))
            await self.pause(0.1)
        self.rig.sources.set(APP, [backend.backend for backend in self.rig.backends])
        self.rig.set_routes(limited(self.rng))


def limited(rng: Random) -> Route:
    return route(
        readiness=rng.choice((0.05, 0.5)), response_header=rng.choice((0.1, 0.3)), request=rng.choice((0.2, 5.0)), idle=0.3
    )


@pytest.mark.parametrize("seed", [1])
async def test_a_storm_leaves_every_count_at_zero(seed: int) -> None:
    settings: dict[str, Any] = {"head_timeout": 0.2, "keep_alive_timeout": 0.3, "max_held": 20, "backend_idle_timeout": 0.5}
    async with proxy_rig(backends=0, routes=[limited(Random(seed))], settle=False, **settings) as rig:
        storm = Storm(rig, seed)
        for _ in range(3):
            await rig.backend(storm.backend)
        tasks = asyncio.all_tasks()
        workers = [asyncio.create_task(storm.client()) for _ in range(CLIENTS)]
        await storm.churn()
        await asyncio.gather(*workers)
        await settled(rig, storm)
        leaked = [task for task in asyncio.all_tasks() - tasks if "interceptor" in repr(task.get_coro())]
        assert not leaked, leaked
        await rig.settle()
        await still_works(rig)


async def settled(rig: Rig, storm: Storm) -> None:
    await eventually(lambda: not rig.interceptor.proxy.clients)
    assert rig.ledger.balanced(), rig.ledger.sizes(monotonic())
    busy = [app for app in rig.interceptor.proxy.apps.values() if any(found.sum > 0 for found in app.stats.answers().values())]
    assert len(busy) <= 1
    assert storm.over


async def still_works(rig: Rig) -> None:
    """After all that, a good backend is answered for."""
    good = RawBackend()
    await good.start()
    rig.backends.append(good)
    rig.set_routes(route())
    rig.sources.set(APP, [good.backend])
    client = await rig.client()
    with contextlib.closing(client):
        assert (await client.ask(get())).status == 200
