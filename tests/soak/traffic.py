"""What the clients of a soak do, each act with a name for its answer that could be nobody else's.

An act says how it ended: "ok", a status, "lost" in the middle of an answer, or "unanswered". "wrong" is an answer that belongs to
somebody else or is none at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

from tests.soak.pod import fill
from tests.soak.town import SLEEPERS
from tests.support.caller import Caller, Lost, Reply
from tests.support.raw_requests import get, post

__all__ = ["MUST_SUCCEED", "Worker"]

MEBI = 1 << 20
MUST_SUCCEED = ("get", "chunks", "head", "download", "put", "cold", "tunnel", "session", "narrow", "fallen", "stream", "flow")
"""Acts that nothing in a soak excuses from success: sound apps, and what may be sent twice. A pod that is killed excuses those
of which bytes were on their way, which are few."""

_numbers = itertools.count()


class Worker:
    """One client after the other, by the dice of one seed, until it is told to stop."""

    def __init__(self, seed: int, *, port: int, rough_port: int, tcp: int, udp: int, tally: Counter[tuple[str, str]]) -> None:
        self.dice = Random(seed)
        self.stopped = False
        self._port = port
        self._rough_port = rough_port
        self._tcp, self._udp = tcp, udp
        self._tally = tally
        self._steady = Caller(port)
        self._acts: list[tuple[int, Callable[[], Awaitable[str]]]] = [
            (60, self.get), (8, self.chunks), (4, self.head), (15, self.post), (5, self.put), (2, self.upload),
            (2, self.download),
            (2, self.cold), (3, self.tunnel), (5, self.faulty), (5, self.rough), (4, self.leave), (1, self.slow_head),
            (1, self.page), (1, self.nobody), (1, self.never), (5, self.session), (3, self.narrow), (1, self.fallen),
            (5, self.stream), (5, self.flow),
        ]  # fmt: skip

    async def run(self) -> None:
        weights, acts = zip(*self._acts, strict=True)
        while not self.stopped:
            (act,) = self.dice.choices(acts, weights)
            try:
                outcome = await act()
            except Lost as lost:
                outcome = "lost" if lost.came else "unanswered"
            except (OSError, TimeoutError) as error:
                outcome = type(error).__name__
            self._tally[act.__name__, outcome] += 1
        self._steady.leave()

    # -- what must succeed ----------------------------------------------------------------------------------------

    async def get(self) -> str:
        return await self._fill(self._steady, "steady", self.dice.randrange(1, 3000))

    async def chunks(self) -> str:
        return await self._fill(self._steady, "steady", self.dice.randrange(1, 60_000), kind=b"chunks")

    async def head(self) -> str:
        reply = await self._steady.ask(get(b"/fill/x/100", method=b"HEAD", host=b"steady.test"), head=True)
        return "ok" if reply.status == 200 and not reply.body else str(reply.status)

    async def download(self) -> str:
        return await self._fill(self._steady, "steady", MEBI)

    async def cold(self) -> str:
        caller = Caller(self._port)
        try:
            return await self._fill(caller, f"sleepy{self.dice.randrange(SLEEPERS)}", 100)
        finally:
            caller.leave()

    async def put(self) -> str:
        return await self._count(self._steady, b"PUT", self.dice.randrange(1, 30_000))

    async def tunnel(self) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(get(b"/", b"Connection: Upgrade", b"Upgrade: echo", host=b"steady.test"))
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 101 " not in head[:16]:
                return head[9:12].decode()
            for _ in range(self.dice.randrange(1, 10)):
                data = self._name() * self.dice.randrange(1, 200)
                writer.write(data)
                if await reader.readexactly(len(data)) != data:
                    return "wrong"
        except (asyncio.IncompleteReadError, ConnectionResetError):  # cut in the middle: with a reset where bytes were lost
            return "lost"
        finally:
            (writer.close if self.dice.random() < 0.5 else writer.transport.abort)()
        return "ok"

    async def session(self) -> str:
        """One of a few sessions, each with a backend of its own for as long as that lives."""
        session = b"X-Session: %d" % self.dice.randrange(20)
        return await self._fill(self._steady, "session", self.dice.randrange(1, 3000), fields=(session,))

    async def narrow(self) -> str:
        """Of an app that takes one request at a time: nearly everybody waits."""
        return await self._fill(self._steady, "narrow", self.dice.randrange(1, 3000))

    async def fallen(self) -> str:
        """Of an app that never comes up, and has another to stand in for it."""
        return await self._fill(self._steady, "fallen", 100)

    async def stream(self) -> str:
        """A connection at a TCP port, whose app may sleep: each message comes back, and after the last one the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._tcp)
        try:
            for _ in range(self.dice.randrange(1, 10)):
                data = self._name() * self.dice.randrange(1, 5000)
                writer.write(data)
                if await reader.readexactly(len(data)) != data:
                    return "wrong"
            if self.dice.random() < 0.5:
                writer.write(last := self._name() * 1000)
                writer.write_eof()
                return "ok" if await reader.read(-1) == last else "lost"
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return "lost"
        finally:
            (writer.close if self.dice.random() < 0.5 else writer.transport.abort)()
        return "ok"

    async def flow(self) -> str:
        """Datagrams to an app that may sleep, sent again when there is no answer, as clients of UDP do."""
        loop, own = asyncio.get_running_loop(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with own:
            own.setblocking(False)
            own.connect(("127.0.0.1", self._udp))
            for _ in range(self.dice.randrange(1, 5)):
                data = self._name() * self.dice.randrange(1, 100)
                if not await self._insist(loop, own, data):
                    return "unanswered"
        return "ok"

    @staticmethod
    async def _insist(loop: asyncio.AbstractEventLoop, own: socket.socket, data: bytes) -> bool:
        for _ in range(20):
            with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                async with asyncio.timeout(1.0):
                    await loop.sock_sendall(own, data)
                    while await loop.sock_recv(own, 1 << 16) != data:
                        pass  # the answer to what was sent again
                    return True
        return False

    # -- what may fail, in ways that are known --------------------------------------------------------------------

    async def post(self) -> str:
        return await self._count(self._steady, b"POST", self.dice.randrange(1, 3000))

    async def upload(self) -> str:
        return await self._count(self._steady, b"POST", self.dice.randrange(MEBI // 8, MEBI))

    async def faulty(self) -> str:
        caller = Caller(self._port)
        try:
            return await self._fill(caller, "faulty", self.dice.randrange(1, 3000))
        finally:
            caller.leave()

    async def rough(self) -> str:
        """Through a proxy that breaks what passes."""
        caller = Caller(self._rough_port)
        try:
            async with asyncio.timeout(3.0):
                return await self._fill(caller, "steady", self.dice.randrange(1, 20_000))
        finally:
            caller.leave(politely=self.dice.random() < 0.5)

    async def leave(self) -> str:
        """Go before the answer is here."""
        app = self.dice.choice((b"steady", b"sleepy0", b"never", b"faulty"))
        body = post(b"x" * 3000, b"/count/x").replace(b"a.test", app + b".test")
        request = self.dice.choice((self._get(b"fill", 100_000, app), body))
        _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request[: self.dice.randrange(1, len(request) + 1)])
        await asyncio.sleep(self.dice.random() * 0.05)
        (writer.close if self.dice.random() < 0.5 else writer.transport.abort)()
        return "ok"

    async def slow_head(self) -> str:
        """A few bytes, and no more: 408, or nothing."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(get()[: self.dice.randrange(0, 25)])
            async with asyncio.timeout(10.0):
                data = await reader.read()
        finally:
            writer.close()
        return "ok" if not data or data.startswith(b"HTTP/1.1 408 ") else "wrong"

    async def page(self) -> str:
        caller = Caller(self._port)
        try:
            reply = await caller.ask(self._get(b"fill", 10, b"page"))
        finally:
            caller.leave()
        return "ok" if reply.status in (200, 503) else _refusal(reply)

    async def nobody(self) -> str:
        return self._expect(await self._steady.ask(get(host=b"nobody.test")), 404)

    async def never(self) -> str:
        """Of an app that does not come up; its room may be full."""
        caller = Caller(self._port)
        try:
            return self._expect(await caller.ask(get(host=b"never.test")), 504)
        finally:
            caller.leave()

    # -- parts ----------------------------------------------------------------------------------------------------

    def _name(self) -> bytes:
        return b"n%09d." % next(_numbers)

    def _get(self, kind: bytes, size: int, app: bytes, name: bytes = b"x", *fields: bytes) -> bytes:
        return get(b"/%b/%b/%d" % (kind, name, size), *fields, host=app + b".test")

    async def _fill(self, caller: Caller, app: str, size: int, *, kind: bytes = b"fill", fields: tuple[bytes, ...] = ()) -> str:
        name = self._name()
        reply = await caller.ask(self._get(kind, size, app.encode(), name, *fields))
        if reply.status != 200:
            return _refusal(reply)
        body = _unchunked(reply.body) if kind == b"chunks" else reply.body
        return "ok" if body == fill(name, size) else "wrong"

    async def _count(self, caller: Caller, method: bytes, size: int) -> str:
        name = self._name()
        wire = post(fill(name, size), b"/count/" + name, method=method, chunked=self.dice.random() < 0.3 and size < 100_000)
        reply = await caller.ask(wire.replace(b"Host: a.test", b"Host: steady.test", 1))
        if reply.status != 200:
            return _refusal(reply)
        return "ok" if reply.body == b"%b %d" % (name, size) else "wrong"

    @staticmethod
    def _expect(reply: Reply, status: int) -> str:
        return "ok" if reply.status == status else _refusal(reply)


def _refusal(reply: Reply) -> str:
    """Only the interceptor refuses here."""
    return str(reply.status) if reply.body.startswith(b"weir: ") else "wrong"


def _unchunked(data: bytes) -> bytes:
    body = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        body += rest[:length]
        data = rest[length + 2 :] if length else b""
    return body
