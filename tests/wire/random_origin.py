"""Backends of the random faults: each request is answered well, badly or not at all, as the dice of its name decide."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

from tests.support.strict_reader import Message
from tests.wire.proxy_backend import BackendPeer, ok

__all__ = ["LARGE", "SMALL", "Origin", "fill", "pause"]

SMALL, LARGE = 300, 300_000
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


async def pause(seconds: float) -> None:
    """By chance: at which moment each thing happens is what is tried here, so there is no event to wait for in its place."""
    await asyncio.sleep(seconds)  # a moment by chance


def fill(name: bytes, size: int) -> bytes:
    """A body that is nobody else's."""
    return (name * (size // len(name) + 1))[:size]


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
