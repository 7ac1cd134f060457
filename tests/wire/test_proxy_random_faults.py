"""Random exchanges with random faults on both sides, while routes and backends change, all by the dice of one seed.

Whatever happens: nobody has another's answer, nothing that may be sent once is sent twice, no backend has more than it may have
at once, and when all is over every count of the interceptor is back at zero.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from fleet.discovery.sources import Backend
from fleet.routing.route import (
    Affinity,
    ColdStart,
    HeaderMatch,
    Placeholder,
    Protection,
    Route,
    Rule,
    Scaling,
    StaticResponse,
    StaticRoute,
    Target,
    Timeouts,
)
from interceptor.app.app import App
from interceptor.backends.endpoint import Endpoint
from tests.support.full import FULL
from tests.wire.proxy_backend import BackendPeer, RawBackend, ok
from tests.wire.proxy_client import RawClient, get, post
from tests.wire.proxy_rig import Rig, eventually, proxy_rig
from tests.wire.proxy_strict import Message

SEEDS = range(1, 31) if FULL else range(1, 3)
EXCHANGES = 1500 if FULL else 300
CLIENTS = 24
BACKENDS = 4
CEILING = 3
"""Requests that a backend of the bounded application has at once, whatever changes."""
PATIENCE = 1.2
"""Seconds after which a client that still has no answer leaves."""
SMALL, LARGE = 300, 300_000
APPS = ("plain", "bounded", "sticky")
KEYS = ("default/plain", "default/bounded", "default/sticky", "default/shared", "default/fallback")
SETTINGS: dict[str, Any] = {
    "head_timeout": 0.5, "keep_alive_timeout": 0.5, "backend_idle_timeout": 0.4, "max_held": 12, "max_idle_per_backend": 4,
    "max_early_bytes": 128 * 1024,
}  # fmt: skip
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
DEAD = Backend("127.0.0.1", 1)


async def pause(seconds: float) -> None:
    """By chance: at which moment each thing happens is what is tried here, so there is no event to wait for in its place."""
    await asyncio.sleep(seconds)  # the only one in this file


def fill(name: bytes, size: int) -> bytes:
    """A body that is nobody else's."""
    return (name * (size // len(name) + 1))[:size]


class Failure(AssertionError):
    """The interceptor did what it may not do."""


# -- backends -----------------------------------------------------------------------------------------------------


class Origin:
    """Answers each request in a way that its name and number of tries decide."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.heads: Counter[bytes] = Counter()
        """How often a request came to any backend, by name."""
        self.failures: list[str] = []
        self._ways: list[Callable[[BackendPeer, Random, bytes, bytes], Awaitable[bool]]] = [
            *[self.good] * 8, self.chunks, self.late, self.hinted, self.last, self.large, self.until_close, self.twice, self.cut,
            self.reset, self.mute, self.stalled, self.nonsense, self.endless_hints, self.told_late, self.switched,
        ]  # fmt: skip

    async def __call__(self, peer: BackendPeer) -> None:
        while True:
            head = await peer.read_until(b"\r\n\r\n")
            method, target, _ = head.split(b" ", 2)
            name = target.rpartition(b"/")[2]
            if target.startswith(b"/ready"):
                await peer.request()
                peer.send(ok(b"ready"))
                continue
            self.heads[name] += 1
            dice = Random(f"{self.seed} {name.decode()} {self.heads[name]}")
            if b"100-continue" in head and dice.random() < 0.7:
                peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            elif dice.random() < 0.05:
                peer.send(self.whole(b"early", name))
                return
            message = await peer.request()
            self.check(name, message)
            if message.get(b"upgrade") is not None and dice.random() < 0.8:
                await self.echo(peer, dice)
                return
            if not await dice.choice(self._ways)(peer, dice, name, method):
                return

    def check(self, name: bytes, message: Message) -> None:
        if message.body != fill(name, len(message.body)) or message.get(b"x-name") != name:
            self.failures.append(f"{name!r} came with the fields or the body of another: {message.body[:60]!r}")

    @staticmethod
    def whole(body: bytes, name: bytes, *fields: bytes) -> bytes:
        return ok(fill(name, len(body)) if body != b"early" else body, b"X-Name: " + name, *fields)

    async def good(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        answer = self.whole(b"x" * SMALL, name)
        peer.send(answer[: answer.index(b"\r\n\r\n") + 4] if method == b"HEAD" else answer)
        return True

    async def chunks(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        peer.send(b"HTTP/1.1 200 OK\r\nDate: then\r\nX-Name: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % name)
        if method == b"HEAD":
            return True
        for _ in range(3):
            peer.send(b"%x\r\n%b\r\n" % (5 * len(name), name * 5))
            await pause(dice.random() * 0.02)
        peer.send(b"0\r\n\r\n")
        return True

    async def late(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        await pause(dice.random() * 0.3)
        return await self.good(peer, dice, name, method)

    async def hinted(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        for _ in range(3):
            peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: <%b>\r\n\r\n" % name)
            await pause(dice.choice((0, 0.01)))
        return await self.good(peer, dice, name, method)

    async def endless_hints(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        while not peer.ended.is_set() and not peer.writer.is_closing():
            peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await pause(0.01)
            if peer.reader.at_eof():
                return False
        return False

    async def last(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        """Good, but nobody is told that the connection ends."""
        await self.good(peer, dice, name, method)
        await pause(dice.choice((0, 0.02)))
        return False

    async def large(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        if method == b"HEAD":
            return await self.good(peer, dice, name, method)
        peer.send(self.whole(b"x" * LARGE, name))
        return True

    async def until_close(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        peer.send(b"HTTP/1.1 200 OK\r\nDate: then\r\nX-Name: %b\r\n\r\n" % name + (b"" if method == b"HEAD" else name * 5))
        await pause(dice.choice((0, 0.02)))
        return False

    async def twice(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        """A second answer behind the first one: it is nobody's."""
        answer = self.whole(b"x" * SMALL, name)
        if method == b"HEAD":
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        peer.send(answer + self.whole(b"x" * SMALL, b"nobody"))
        return True

    async def cut(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        answer = self.whole(b"x" * SMALL, name)
        peer.send(answer[: dice.randrange(1, len(answer))])
        await pause(dice.choice((0, 0.02)))
        return False

    async def reset(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        await pause(dice.choice((0, 0.02)))
        peer.reset()
        return False

    async def mute(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        await peer.read_to_end()
        return False

    async def stalled(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        answer = self.whole(b"x" * SMALL, name)
        peer.send(answer[: dice.randrange(1, len(answer))])
        await peer.read_to_end()
        return False

    async def nonsense(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        peer.send(dice.randbytes(100) + b"\r\n\r\n")
        return False

    async def told_late(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        peer.send(b"HTTP/1.1 408 Request Timeout\r\nX-Name: %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % name)
        return False

    async def switched(self, peer: BackendPeer, dice: Random, name: bytes, method: bytes) -> bool:
        """Nobody asked for it."""
        peer.send(SWITCH + b"surprise")
        await peer.read_to_end()
        return False

    @staticmethod
    async def echo(peer: BackendPeer, dice: Random) -> None:
        peer.send(SWITCH)
        peer.send(bytes(peer.received[peer._taken :]))
        for _ in range(dice.randrange(1, 6)):
            if not (data := await peer.read_some()):
                return
            peer.send(data)
        if dice.random() < 0.3:
            peer.reset()


# -- clients ------------------------------------------------------------------------------------------------------


class Clients:
    """So many connections at a time, each of which asks for some things and is ended in some way."""

    def __init__(self, rig: Rig, origin: Origin, seed: int) -> None:
        self.rig = rig
        self.origin = origin
        self.seed = seed
        self.tally: Counter[str] = Counter()
        self.once: set[bytes] = set()
        """Names of requests that may be sent once."""
        self.numbers: Iterator[int] = iter(range(EXCHANGES))
        self._acts: list[Callable[[RawClient, Random, list[bytes]], Awaitable[None]]] = [
            *[self.ask] * 6, self.ahead, self.upload, self.slow_upload, self.expect, self.tunnel, self.leave, self.half_close,
            self.slow_read, self.broken, self.part_of_a_head,
        ]  # fmt: skip

    async def run(self) -> None:
        await asyncio.gather(*(self._one_after_the_other() for _ in range(CLIENTS)))

    async def _one_after_the_other(self) -> None:
        for number in self.numbers:
            dice = Random(f"{self.seed} client {number}")
            try:
                client = await RawClient.connect(self.rig.interceptor.proxy_port, limit=1 << 16)
            except ConnectionRefusedError:  # it has ended
                return
            done: list[str] = []
            try:
                async with asyncio.timeout(PATIENCE):
                    for turn in range(dice.randrange(1, 5)):
                        act = dice.choice(self._acts)
                        names = [b"n%05d-%d-%d" % (number, turn, at) for at in range(4)]
                        done.append(act.__name__)
                        await act(client, dice, names)
                        self.tally[act.__name__] += 1
            except Failure as error:
                raise Failure(f"{error} ({', '.join(done)})") from error
            except OSError as error:  # of every kind, and out of patience
                self.tally[type(error).__name__] += 1
            finally:
                dice.choice((client.close, client.reset))()

    # What is asked, with the name of who asks in every part of it.

    def wire(
        self, dice: Random, name: bytes, body: int | None = None, *fields: bytes, method: bytes = b"", sent: bool = True
    ) -> bytes:
        host = dice.choice(APPS).encode() + b".test"
        fields = (b"X-Name: " + name, *fields, *((b"Cookie: where=" + dice.randbytes(8).hex().encode(),) * (dice.random() < 0.2)))
        if body is None:
            return get(b"/" + name, *fields, method=method or b"GET", host=host)
        method = method or dice.choice((b"POST", b"PUT"))
        if method == b"POST":
            self.once.add(name)
        chunked = sent and dice.random() < 0.4
        wire = post(fill(name, body), b"/" + name, *fields, method=method, chunked=chunked)
        return wire.replace(b"Host: a.test", b"Host: " + host, 1)

    async def heard(self, client: RawClient, name: bytes, method: bytes = b"GET") -> Message:
        """The next answer, which has to be this request's."""
        message = await client.response(method)
        if client.was_reset and message.framing == "close":
            raise ConnectionResetError("cut")
        named = message.get(b"x-name")
        own = message.body.startswith(b"weir: ") or (method == b"HEAD" and named is None) or message.status in (418, 503)
        body = message.body in (b"", b"early", fill(name, len(message.body)))
        if not (named == name and body) and not (named is None and (own or message.status == 101)):
            raise Failure(f"{name!r} was answered with {message.status} {named!r} {message.body[:60]!r}")
        self.tally[str(message.status)] += 1
        return message

    async def ask(self, client: RawClient, dice: Random, names: list[bytes]) -> None:
        method = dice.choice((b"GET", b"GET", b"HEAD", b"DELETE", b"POST"))
        if method == b"POST":
            self.once.add(names[0])
        client.send(self.wire(dice, names[0], method=method))
        await self.heard(client, names[0], method)

    async def ahead(self, client: RawClient, dice: Random, names: list[bytes]) -> None:
        bodies = [dice.choice((None, SMALL)) for _ in names]
        client.send(b"".join(self.wire(dice, name, body) for name, body in zip(names, bodies, strict=True)))
        for name in names:
            await self.heard(client, name)

    async def upload(self, client: RawClient, dice: Random, names: list[bytes]) -> None:
        client.send(self.wire(dice, names[0], dice.choice((1, SMALL, LARGE))))
        await self.heard(client, names[0])

    async def slow_upload(self, client: RawClient, dice: Random, names: list[bytes]) -> None:
        wire = self.wire(dice, names[0], dice.choice((SMALL, 20_000, LARGE)))
        size = len(wire) // dice.randrange(2, 8) + 1
        for at in range(0, len(wire), size):
            client.send(wire[at : at + size])
            await pause(dice.random() * 0.05)
        await self.heard(client, names[0])

    async def expect(self, client: RawClient, dice: Random, names: list[bytes]) -> None:
        head, separator, body = self.wire(dice, names[0], SMALL, b"Expect: 100-continue", sent=False).partition(b"\r\n\r\n")
        client.send(head + separator)
        if dice.random() < 0.7 and (await client.response(interim=True)).status != 100:
            return
        client.send(body)
        await self.heard(client, names[0])

    async def tunnel(self, client: RawClient, dice: Random, names: list[bytes]) -> None:
        early = names[1] if dice.random() < 0.5 else b""
        client.send(self.wire(dice, names[0], None, b"Connection: upgrade", b"Upgrade: echo") + early)
        if (await self.heard(client, names[0])).status == 101:
            expected = early
            for name in names[2:]:
                client.send(name)
                expected += name
                while len(client.received) < len(expected) and await client.read_some():
                    pass
                if not expected.startswith(client.received) and not client.received.startswith(b"surprise"):
                    raise Failure(f"{expected!r} came back as {client.received!r}")
            self.tally["tunnelled"] += 1
        raise ConnectionError("tunnels end")

    async def leave(self, client: RawClient, dice: Random, names: list[bytes]) -> None:
        wire = self.wire(dice, names[0], dice.choice((None, SMALL, LARGE)))
        client.send(wire[: dice.choice((len(wire), len(wire), dice.randrange(1, len(wire))))])
        await pause(dice.choice((0, 0.001, 0.02, 0.2)))
        raise ConnectionError("left")

    async def half_close(self, client: RawClient, dice: Random, names: list[bytes]) -> None:
        client.send(self.wire(dice, names[0], dice.choice((None, SMALL))))
        await pause(dice.choice((0, 0.02)))
        if not client.writer.is_closing():
            client.writer.write_eof()
        await self.heard(client, names[0])
        raise ConnectionError("half closed")

    async def slow_read(self, client: RawClient, dice: Random, names: list[bytes]) -> None:
        client.send(b"".join(self.wire(dice, name) for name in names))
        await pause(dice.random() * 0.5)
        for name in names[: dice.randrange(4)]:
            await self.heard(client, name)
        raise ConnectionError("not all was read")

    async def broken(self, client: RawClient, dice: Random, names: list[bytes]) -> None:
        client.send(self.wire(dice, names[0], None, b"Transfer-Encoding: chunked", method=b"PUT") + b"5\r\nhello\r\n")
        await pause(dice.choice((0, 0.02)))
        client.send(b"nonsense\r\n")
        await client.read_to_end()
        raise ConnectionError("it cannot be used again")

    async def part_of_a_head(self, client: RawClient, dice: Random, names: list[bytes]) -> None:
        wire = self.wire(dice, names[0])
        client.send(wire[: dice.randrange(1, len(wire))])
        await pause(dice.random() * 0.7)
        raise ConnectionError("left")


# -- what changes -------------------------------------------------------------------------------------------------


def app_route(dice: Random, name: str) -> Route:
    """One of the ways in which a route may be written. Its ceiling never changes."""
    target = Target(
        dice.choice((f"default/{name}", f"default/{name}", "default/shared")) if name != "bounded" else "default/bounded"
    )
    limits = Timeouts(
        readiness=dice.choice((0.1, 0.5)), connect=0.2, response_header=dice.choice((0.2, 0.5)),
        request=dice.choice((None, None, 0.6)), idle=dice.choice((0.2, 0.5)),
    )  # fmt: skip
    cold = ColdStart(
        placeholder=Placeholder(StaticResponse(status=503)) if dice.random() < 0.1 else None,
        fallback=Target("default/fallback") if dice.random() < 0.3 else None,
        max_held=dice.choice((None, 3)),
    )
    static = StaticRoute(StaticResponse(status=418), rules=(Rule(headers=(HeaderMatch("accept"),)),), always=dice.random() < 0.5)
    return Route(
        app=f"default/{name}", target=target, rules=(Rule(hosts=(f"{name}.test",)),), timeouts=limits, cold_start=cold,
        scaling=Scaling(concurrency=dice.choice((1, 5))), server_timing=dice.random() < 0.3,
        maintenance=StaticResponse() if dice.random() < 0.03 else None,
        static_routes=(static,) if dice.random() < 0.2 else (),
        affinity=Affinity(cookie="where") if name == "sticky" else None,
        protection=Protection(
            backend_concurrency=CEILING if name == "bounded" else dice.choice((None, 0)),
            readiness_path="/ready" if dice.random() < 0.3 else None, max_requests=dice.choice((None, 10)),
        ),
    )  # fmt: skip


class Weather:
    """Changes routes and backends until it is told to stop."""

    def __init__(self, rig: Rig, seed: int, silent: Backend) -> None:
        self.rig = rig
        self.silent = silent
        self.dice = Random(f"{seed} weather")
        self.most = 0
        """Requests that a backend of the bounded application had at once."""
        self._apps: set[App] = set()
        self._endpoints: set[Endpoint] = set()
        self.blowing = asyncio.create_task(self._blow(), name="weather")

    async def _blow(self) -> None:
        while True:
            self.look()
            self.change()
            await pause(self.dice.random() * 0.15)

    def look(self) -> None:
        self._apps.update(self.rig.interceptor.proxy.apps.values())
        for each in self.rig.endpoints:
            self._endpoints.update(each.endpoints)
            if each.key == "default/bounded":
                self.most = max([self.most, *(endpoint.load for endpoint in each.endpoints)])

    @property
    def loaded(self) -> list[Endpoint]:
        """Of all backends that ever were listed: those on which something is going on."""
        return [each for each in self._endpoints if each.load or each.dialing]

    @property
    def reasons(self) -> Counter[str]:
        """Why requests were answered in their backends' place, or went to another one, over all applications that there were."""
        met = Counter(fallback=sum(app.stats.fallbacks for app in self._apps))
        for app in self._apps:
            for (reason, _), count in app.stats.own.items():
                met[reason] += count
            met.update(app.stats.cut)
        return met

    def change(self) -> None:
        dice = self.dice
        for key in dice.sample(KEYS, 2):
            listed = dice.sample([backend.backend for backend in self.rig.backends], dice.choice((0, 1, 2, BACKENDS)))
            self.rig.sources.set(key, listed + [DEAD] * (dice.random() < 0.3) + [self.silent] * (dice.random() < 0.2))
        if dice.random() < 0.3:
            self.rig.set_routes(*(app_route(dice, name) for name in APPS if dice.random() < 0.9))

    async def clear_up(self) -> None:
        """All is well and stays so: every application is there, at one good backend."""
        self.blowing.cancel()
        good = RawBackend()
        await good.start()
        self.rig.backends.append(good)
        self.rig.set_routes(
            *(
                Route(app=f"default/{name}", target=Target("default/good"), rules=(Rule(hosts=(f"{name}.test",)),))
                for name in APPS
            )
        )
        self.rig.sources.set("default/good", [good.backend])


async def nothing_is_left(rig: Rig) -> None:
    """Beyond what the rig looks at itself."""
    proxy = rig.interceptor.proxy
    await rig.settle()
    await eventually(lambda: not rig.pooled)
    await eventually(lambda: not len(proxy.deadlines))
    assert (proxy.early.total, len(proxy.early), len(proxy.hangups)) == (0, 0, 0)
    assert not proxy.outbox._waiting
    await eventually(lambda: not proxy.probes._tasks)
    assert [each.key for each in rig.endpoints] == ["default/good"]
    assert not any(each.waiting_apps or each._leaving or each.probing for each in rig.endpoints)
    await eventually(lambda: not rig.connections_open)


@asynccontextmanager
async def under_way(seed: int, silent: Backend, **settings: Any) -> AsyncIterator[tuple[Rig, Clients, Weather]]:
    """An interceptor, who is about to ask things of it, and what changes meanwhile."""
    dice, origin = Random(f"{seed} routes"), Origin(seed)
    routes = [app_route(dice, name) for name in APPS]
    async with proxy_rig(origin, routes=routes, backends=0, settle=False, **SETTINGS, **settings) as rig:
        for _ in range(BACKENDS):
            await rig.backend(origin, listed=False)
        weather = Weather(rig, seed, silent)
        for key in KEYS:
            rig.sources.set(key, [backend.backend for backend in rig.backends])
        try:
            yield rig, Clients(rig, origin, seed), weather
        finally:
            weather.blowing.cancel()


def nobody_was_wronged(clients: Clients, weather: Weather) -> None:
    origin = clients.origin
    assert not origin.failures, "\n".join(origin.failures)
    assert not [name for name in clients.once if origin.heads[name] > 1]
    assert 0 < weather.most <= CEILING


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_happens_answers_are_ones_own_and_nothing_is_left(seed: int, silent: Backend) -> None:
    async with under_way(seed, silent) as (rig, clients, weather):
        await clients.run()
        nobody_was_wronged(clients, weather)
        assert clients.tally["200"] > EXCHANGES / 4, clients.tally
        assert len(+weather.reasons) > 5, weather.reasons
        await weather.clear_up()
        await nothing_is_left(rig)
        assert not weather.loaded
        for name in APPS:
            client = await rig.client()
            assert (await client.ask(get(host=name.encode() + b".test"))).status == 200


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_drain_whatever_happens_leaves_nothing(seed: int, silent: Backend) -> None:
    """In the middle of it all. Who waits until the end is told so, and what does not end is cut."""
    async with under_way(seed, silent, drain_delay=0.1, drain_timeout=0.8) as (rig, clients, weather):
        running = asyncio.create_task(clients.run())
        await pause(0.3 + Random(f"{seed} drain").random() * 0.5)
        await rig.interceptor.drain()
        await rig.interceptor.close()
        clients.numbers = iter(())
        await running
        nobody_was_wronged(clients, weather)
        assert clients.tally["200"], clients.tally
        await eventually(rig.ledger.balanced)
        proxy = rig.interceptor.proxy
        assert not any(app.room for app in proxy.apps.values())
        assert not weather.loaded
        assert (len(proxy.clients), proxy.early.total, len(proxy.hangups)) == (0, 0, 0)
        await eventually(lambda: not rig.connections_open)
