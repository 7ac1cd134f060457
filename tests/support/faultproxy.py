"""A TCP proxy that injects faults at exact byte positions, between two peers of which one is tested.

The faults of a connection depend only on its number and on the number of bytes passed, never on time or chance: the same plan
breaks the same exchange at the same place every time. Knows no protocol.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from random import Random

from tests.support.ports import KeptPort
from tests.support.sockets import reset

__all__ = ["Act", "Fault", "FaultProxy", "Link", "Plan", "Way", "drawn", "every", "first", "sound"]

CHUNK = 64 * 1024
"""Maximum bytes that are read from one side before they are written to the other."""


class Way(Enum):
    """The direction in which bytes are counted."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class Act(Enum):
    """A kind of fault."""

    CUT = "cut"
    """Both sides see the end of the stream."""
    RESET = "reset"
    """Both sides see a TCP reset."""
    STALL = "stall"
    """Nothing more passes in this direction, not even the end of the stream; the other direction continues."""
    TRICKLE = "trickle"
    """From here on `piece` bytes pass, then nothing for `pause` seconds, repeatedly."""
    HALF_CLOSE = "half-close"
    """The receiver sees the end of the stream, and may continue to send."""


@dataclass(frozen=True)
class Fault:
    """A fault after `after` bytes have passed in one direction: at once, or, if `lazy`, when one more byte arrives."""

    act: Act
    way: Way = Way.TO_SERVER
    after: int = 0
    lazy: bool = False
    piece: int = 16
    pause: float = 0.001


Plan = Callable[[int], Sequence[Fault]]
"""The faults of a connection, by its number, from 0 in the order in which they were accepted."""


def sound(_: int) -> Sequence[Fault]:
    """No faults."""
    return ()


def every(*faults: Fault) -> Plan:
    """The same faults on every connection."""
    return lambda _: faults


def first(*faults: Fault, count: int = 1) -> Plan:
    """Faults on the first `count` connections only."""
    return lambda number: faults if number < count else ()


def drawn(seed: int, rate: float, most: int) -> Plan:
    """One fault on a share `rate` of connections, pseudo-random by the connection's number: any kind, either direction, within
    `most` bytes."""

    def plan(number: int) -> Sequence[Fault]:
        dice = Random(f"{seed} {number}")
        if dice.random() >= rate:
            return ()
        fault = Fault(dice.choice(list(Act)), dice.choice(list(Way)), dice.randrange(most), lazy=dice.random() < 0.5)
        return (fault,)

    return plan


class Link:
    """One connection through the proxy, and a record of all bytes that have passed."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.passed = {way: bytearray() for way in Way}
        """The bytes sent to the receiver."""
        self.over = False
        self._faults = {way: sorted((each for each in faults if each.way is way), key=lambda each: each.after) for way in Way}
        self._trickle: dict[Way, Fault] = {}
        self._readers: dict[Way, asyncio.StreamReader] = {}
        self._writers: dict[Way, asyncio.StreamWriter] = {}
        self._ended = asyncio.Event()
        """Nothing passes any more; further bytes are dropped."""

    @property
    def stillborn(self) -> Fault | None:
        """The fault before the connection to the server is opened, if any."""
        due = [fault for way in Way for fault in self._faults[way] if not fault.after and not fault.lazy]
        return next((fault for fault in due if fault.act in (Act.CUT, Act.RESET)), None)

    def meet_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._readers[Way.TO_SERVER], self._writers[Way.TO_CLIENT] = reader, writer

    def meet_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._readers[Way.TO_CLIENT], self._writers[Way.TO_SERVER] = reader, writer

    async def carry(self) -> None:
        """Run until every connected side has closed its half."""
        tasks = [asyncio.create_task(self._carry(way), name=f"link {way.value}") for way in self._readers]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            self.close()

    def end(self, act: Act) -> None:
        """End the connection on both sides. Without a reset, input is read until the peer closes, because otherwise the kernel
        would answer it with a reset."""
        self._ended.set()
        for writer in self._writers.values():
            if act is Act.RESET:
                reset(writer)
            else:
                _end_of(writer)

    def close(self) -> None:
        self.over = True
        for writer in self._writers.values():
            writer.close()

    async def _carry(self, way: Way) -> None:
        reader = self._readers[way]
        try:
            while not self._ended.is_set() and not await self._struck(way):
                data = await reader.read(CHUNK)
                if not data:
                    _end_of(self._writers[way])
                    return
                if not await self._pass_on(way, data):
                    break
            while await reader.read(CHUNK):
                pass  # dropped
        except ConnectionError:
            self.end(Act.RESET)

    async def _pass_on(self, way: Way, data: bytes) -> bool:
        """Pass on data. Returns False if a fault ended this direction before all of it had passed."""
        while data:
            if await self._struck(way, more=True) or self._ended.is_set():
                return False
            faults, passed = self._faults[way], self.passed[way]
            room = faults[0].after - len(passed) if faults else len(data)
            piece, data = data[:room], data[room:]
            await self._send(way, piece)
        return True

    async def _send(self, way: Way, data: bytes) -> None:
        slow = self._trickle.get(way)
        size = slow.piece if slow else len(data)
        writer = self._writers[way]
        for at in range(0, len(data), size):
            if writer.is_closing():
                raise ConnectionResetError("the receiver has left")
            piece = data[at : at + size]
            self.passed[way] += piece
            writer.write(piece)
            await writer.drain()
            if slow:
                await asyncio.sleep(slow.pause)

    async def _struck(self, way: Way, *, more: bool = False) -> bool:
        """Apply faults that are due. Returns whether this direction has ended. `more`: one more byte has arrived."""
        faults = self._faults[way]
        while faults and faults[0].after <= len(self.passed[way]) and (more or not faults[0].lazy):
            if await self._strike(faults.pop(0)):
                return True
        return False

    async def _strike(self, fault: Fault) -> bool:
        if fault.act is Act.TRICKLE:
            self._trickle[fault.way] = fault
            return False
        if fault.act is Act.STALL:
            await self._ended.wait()
        elif fault.act is Act.HALF_CLOSE:
            _end_of(self._writers[fault.way])
        else:
            self.end(fault.act)
        return True


def _end_of(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, RuntimeError):  # already closed
        if not writer.is_closing():
            writer.write_eof()


class FaultProxy:
    """Listens on loopback and forwards every connection to one server, with the faults of a plan."""

    def __init__(self, server: tuple[str, int], plan: Plan = sound) -> None:
        self.server = server
        self.plan = plan
        self.links: list[Link] = []
        self._kept = KeptPort()
        self.port = self._kept.number
        self._accepted = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    @property
    def live(self) -> list[Link]:
        return [link for link in self.links if not link.over]

    def forget(self) -> None:
        """Drop the records of closed connections, for tests that pass more data than they check."""
        self.links = self.live

    async def start(self) -> None:
        """Listen; after `refuse`, on the same port as before."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(self.address)
        self._listener = await asyncio.start_server(self._serve, sock=sock, backlog=1024)

    def refuse(self) -> None:
        """Refuse new connections; open ones continue."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def strike(self, act: Act) -> None:
        """Apply a fault to every open connection now."""
        for link in self.live:
            link.end(act)

    async def close(self) -> None:
        self.refuse()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._kept.release()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        link = Link(self.plan(self._accepted))
        self._accepted += 1
        self.links.append(link)
        link.meet_client(reader, writer)
        try:
            stillborn = link.stillborn
            if stillborn is None:
                link.meet_server(*await asyncio.open_connection(*self.server))
            else:
                link.end(stillborn.act)
            await link.carry()
        except (OSError, asyncio.CancelledError):  # the server refuses, or the test has ended
            link.end(Act.RESET)
            link.close()
