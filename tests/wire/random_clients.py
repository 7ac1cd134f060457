"""Clients of the random faults: connections that ask, stop, leave and break rules, as the dice of their numbers decide."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from random import Random

from tests.support.full import FULL
from tests.support.raw_requests import get, post
from tests.support.strict_reader import Message
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import Rig
from tests.wire.random_origin import LARGE, SMALL, Origin, fill, pause

__all__ = ["APPS", "EXCHANGES", "Clients"]

EXCHANGES = 1500 if FULL else 300
CLIENTS = 24
PATIENCE = 1.2
"""Seconds after which a client that still has no answer leaves."""
APPS = ("plain", "bounded", "sticky")


class Failure(AssertionError):
    """The interceptor did what it may not do."""


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
            except (ConnectionRefusedError, ConnectionResetError):  # it has ended, maybe with the connection in its queue
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
