"""Backends that die or hang up at any moment, under load: what may be sent twice never fails.

WEIR_FULL_SIZE=1 is 2,000 requests a second for a minute while pods are killed; every day it is a few seconds of less.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from fleet.discovery.sources import Backend
from fleet.routing.route import Route, Rule, Target
from tests.support.caller import Caller, Lost
from tests.support.full import FULL
from tests.support.raw_requests import get, post
from tests.system.alone import Alone, alone
from tests.wire.proxy_backend import BackendPeer, RawBackend, ok

APP = "default/a"
ROUTE = Route(app=APP, target=Target(APP), rules=(Rule(hosts=("a.test",)),))
POD = [sys.executable, "-I", "-S", str(Path(__file__).parent / "apps" / "echo.py")]
PODS = 4
RATE, SECONDS = (2000, 60.0) if FULL else (300, 6.0)
CLIENTS = 16
KILLS = 3
"""At least so many, for however long that takes: the load goes on until then."""
DISCOVERY_LAG = 0.3
"""Seconds for which a pod that died is still listed, as it is on a cluster."""

pytestmark = pytest.mark.timeout(600)


class Herd:
    """Pods that are killed at random and replaced."""

    def __init__(self, running: Alone, seed: int) -> None:
        self.running = running
        self.dice = Random(seed)
        self.kills = 0
        self._pods: dict[int, asyncio.subprocess.Process] = {}
        """By port, those that are listed: a pod that was killed is, for a while, and one that starts is not yet."""
        self._left: set[asyncio.subprocess.Process] = set()
        """Those that were not waited for."""

    async def add(self) -> None:
        """One more, listed once it takes connections."""
        process = await asyncio.create_subprocess_exec(*POD, env={**os.environ, "PORT": "0"}, stdout=asyncio.subprocess.PIPE)
        self._left.add(process)
        assert process.stdout is not None
        self._pods[int(await process.stdout.readline())] = process
        self.tell()

    def tell(self) -> None:
        self.running.backends({APP: [Backend("127.0.0.1", port) for port in self._pods]})

    async def kill_one(self) -> None:
        port = self.dice.choice(list(self._pods))
        process = self._pods[port]
        process.send_signal(signal.SIGKILL)
        self.kills += 1
        await asyncio.sleep(DISCOVERY_LAG)
        del self._pods[port]
        self.tell()
        await self._end(process)
        await self.add()

    async def kill_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(self.dice.uniform(0.2, 1.0))
            await self.kill_one()

    async def close(self) -> None:
        for process in [*self._left]:
            await self._end(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        # Killed already, perhaps, and perhaps not yet seen to have ended: the transport then refuses to signal nobody.
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        self._left.discard(process)


async def load(port: int, herd: Herd, outcomes: Counter[tuple[str, str]]) -> None:
    """One client's share of the rate; one request of five is a POST."""
    loop, caller = asyncio.get_running_loop(), Caller(port)
    began = loop.time()
    for number in itertools.count():
        if number >= RATE * SECONDS / CLIENTS and herd.kills >= KILLS:
            break
        await asyncio.sleep(max(0.0, began + number * CLIENTS / RATE - loop.time()))
        method = "POST" if number % 5 == 0 else "GET"
        try:
            reply = await caller.ask(post(b"") if method == "POST" else get())
            outcomes[method, str(reply.status)] += 1
        except Lost as lost:
            outcomes[method, f"lost after {len(lost.came)} bytes"] += 1
    caller.leave()


async def test_pods_that_are_killed_lose_nothing_that_may_be_sent_twice(tmp_path: Path) -> None:
    outcomes: Counter[tuple[str, str]] = Counter()
    async with alone(tmp_path, ROUTE) as running:
        herd = Herd(running, seed=1)
        try:
            await asyncio.gather(*(herd.add() for _ in range(PODS)))
            killing = asyncio.create_task(herd.kill_again_and_again())
            await asyncio.gather(*(load(running.port, herd, outcomes) for _ in range(CLIENTS)))
            killing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await killing
            assert {key for key in outcomes if key[0] == "GET"} == {("GET", "200")}, outcomes
            # What was sent and may not be sent again: at most what a pod had in hand.
            assert {key for key in outcomes if key[0] == "POST"} <= {("POST", "200"), ("POST", "502")}, outcomes
            assert outcomes["POST", "502"] <= herd.kills * CLIENTS, outcomes
            await running.until_queue(APP, held=0, in_flight=0)
        finally:
            await herd.close()


class Moody:
    """Answers, and then hangs up: politely or not, at once or just when the next request is on its way, or with a 408."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)

    async def __call__(self, peer: BackendPeer) -> None:
        while True:
            message = await peer.request()
            peer.send(ok(message.target + b" " + message.body))
            mood = self.dice.random()
            if mood < 0.3:
                await asyncio.sleep(self.dice.random() * 0.005)
                if mood < 0.1:
                    peer.reset()
                elif mood < 0.15:
                    peer.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                return


async def ask_on(port: int, lane: int, outcomes: Counter[tuple[bytes, int]]) -> None:
    """Request after request on one connection, each with an answer of its own."""
    caller, dice = Caller(port), Random(lane)
    for number in range(600 if FULL else 120):
        target, body = b"/%d/%d" % (lane, number), b"x" * dice.randrange(1, 2000)
        method = dice.choice((b"GET", b"PUT", b"DELETE", b"POST"))
        bodiless = method in (b"GET", b"DELETE")
        reply = await caller.ask(get(target, method=method) if bodiless else post(body, target, method=method))
        outcomes[method, reply.status] += 1
        if reply.status == 200:
            assert reply.body == target + b" " + (b"" if bodiless else body)
    caller.leave()


async def test_backends_that_hang_up_between_requests(tmp_path: Path) -> None:
    outcomes: Counter[tuple[bytes, int]] = Counter()
    backends = [RawBackend(Moody(seed)) for seed in range(2)]
    for backend in backends:
        await backend.start()
    try:
        async with alone(tmp_path, ROUTE, backends={APP: [backend.backend for backend in backends]}) as running:
            await asyncio.gather(*(ask_on(running.port, lane, outcomes) for lane in range(16)))
            assert {key for key in outcomes if key[0] != b"POST"} == {(b"GET", 200), (b"PUT", 200), (b"DELETE", 200)}, outcomes
            assert {status for method, status in outcomes if method == b"POST"} <= {200, 502, 408}, outcomes
            assert outcomes[b"POST", 200] > outcomes[b"POST", 502] + outcomes[b"POST", 408], outcomes
            await running.until_queue(APP, held=0, in_flight=0)
    finally:
        for backend in backends:
            await backend.close()
