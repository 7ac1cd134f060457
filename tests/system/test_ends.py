"""`kill -TERM` of an interceptor under load: nothing that had begun is lost, and it ends with exit code 0."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest

from fleet.routing.route import Route, Rule, Target
from tests.support.caller import Caller, Lost
from tests.support.raw_requests import get
from tests.system.alone import Alone, alone
from tests.system.harness import PATIENCE, fetch
from tests.wire.proxy_backend import BackendPeer, RawBackend, ok

IN_FLIGHT, HELD, BUSY = 100, 20, 20
DELAY, GRACE = 1.0, 120.0


def route(name: str) -> Route:
    return Route(app=f"default/{name}", target=Target(f"default/{name}"), rules=(Rule(hosts=(f"{name}.test",)),))


class Slow:
    """Answers at once, but for /slow: not before it may."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.served: Counter[bytes] = Counter()

    async def __call__(self, peer: BackendPeer) -> None:
        while True:
            message = await peer.request()
            if message.target == b"/slow":
                await self.go.wait()
            self.served[message.target] += 1
            peer.send(ok(message.target))


async def busy(port: int, outcomes: Counter[str]) -> None:
    """Ask on and on, until nobody listens any more."""
    caller = Caller(port)
    while True:
        try:
            reply = await caller.ask(get(b"/quick", host=b"awake.test"))
        except Lost as lost:
            # A connection that was made in the last moment and never accepted is as good as refused.
            outcomes["lost" if lost.came or lost.reused else "refused"] += 1
            return
        except OSError:
            outcomes["refused"] += 1
            return
        outcomes[str(reply.status)] += 1
        outcomes["told to go"] += reply.field(b"Connection") == b"close"
        await asyncio.sleep(0.01)


async def begin(running: Alone) -> list[asyncio.Task[int]]:
    """100 requests in flight and 20 held."""

    async def ask(target: bytes, host: bytes) -> int:
        reply = await Caller(running.port).ask(get(target, host=host))
        return reply.status if reply.body == target else 0

    asking = [asyncio.create_task(ask(b"/slow", b"awake.test")) for _ in range(IN_FLIGHT)]
    asking += [asyncio.create_task(ask(b"/held", b"asleep.test")) for _ in range(HELD)]
    await running.until_queue("default/awake", in_flight=IN_FLIGHT)
    await running.until_queue("default/asleep", held=HELD)
    return asking


async def test_sigterm_under_load_loses_nothing(tmp_path: Path) -> None:
    slow, outcomes = Slow(), Counter[str]()
    backend = RawBackend(slow)
    await backend.start()
    backends = {"default/awake": [backend.backend]}
    try:
        async with alone(
            tmp_path, route("awake"), route("asleep"), backends=backends, drain_delay=DELAY, drain_timeout=GRACE
        ) as running:
            asking = await begin(running)
            load = [asyncio.create_task(busy(running.port, outcomes)) for _ in range(BUSY)]
            await running.until(lambda: outcomes["200"] > 100)
            running.process.send_signal(signal.SIGTERM)
            await running.until(lambda: "draining" in running.log)
            answer = await fetch(running.diagnostics_port, "localhost", "/readyz")
            assert (answer.status, answer.body) == (503, "draining\n")
            await asyncio.gather(*load)
            assert outcomes["told to go"], "nothing was answered in the delay"
            assert set(outcomes) == {"200", "told to go", "refused"}, outcomes
            # Nobody listens now: who is held is told of to the end, and gets its backend.
            assert (await running.queue("default/asleep"))["held"] == HELD
            running.backends({**backends, "default/asleep": [backend.backend]})
            await running.until_queue("default/asleep", held=0)
            assert running.process.returncode is None
            slow.go.set()
            assert await asyncio.gather(*asking) == [200] * (IN_FLIGHT + HELD)
            assert await running.ends(within=PATIENCE) == 0
            assert (slow.served[b"/slow"], slow.served[b"/held"]) == (IN_FLIGHT, HELD)
            assert "cut" not in running.log
    finally:
        await backend.close()


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    slow = Slow()
    backend = RawBackend(slow)
    await backend.start()
    try:
        async with alone(tmp_path, route("awake"), backends={"default/awake": [backend.backend]}, drain_timeout=60) as running:
            caller = Caller(running.port)
            asking = asyncio.create_task(caller.ask(get(b"/slow", host=b"awake.test")))
            await running.until_queue("default/awake", in_flight=1)
            running.process.send_signal(signal.SIGTERM)
            await running.until(lambda: "draining" in running.log)
            assert running.process.returncode is None
            running.process.send_signal(signal.SIGTERM)
            assert await running.ends(within=PATIENCE) == 128 + signal.SIGTERM
            assert isinstance((await asyncio.gather(asking, return_exceptions=True))[0], Lost)
    finally:
        await backend.close()


async def stream(peer: BackendPeer) -> None:
    """An answer that ends with its connection, and has not come to its end."""
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + b"data: 1\n\n" * 7)
    await peer.read_to_end()


@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT), (signal.SIGKILL,)])
async def test_an_answer_that_is_cut_never_looks_whole(tmp_path: Path, signals: tuple[signal.Signals, ...]) -> None:
    """However the process ends. curl tells a reset (56, or 18) from an end (0)."""
    backend = RawBackend(stream)
    await backend.start()
    try:
        async with alone(tmp_path, route("awake"), backends={"default/awake": [backend.backend]}, drain_timeout=60) as running:
            url = f"http://127.0.0.1:{running.port}/"
            curl = await asyncio.create_subprocess_exec(
                "curl", "-sS", "-N", "-H", "Host: awake.test", url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            assert curl.stdout is not None
            for _ in range(14):
                await asyncio.wait_for(curl.stdout.readline(), 60)
            for number, sent in enumerate(signals):
                running.process.send_signal(sent)
                if number == 0 and len(signals) > 1:
                    await running.until(lambda: "draining" in running.log)
            await running.ends(within=PATIENCE)
            _, complaint = await asyncio.wait_for(curl.communicate(), 60)
            assert curl.returncode in (18, 56), complaint
    finally:
        await backend.close()
