"""Every fault at every point of a TCP connection, on both sides of the interceptor, while its application runs and while it
wakes: nobody gets another's bytes, what was cut by a reset does not look whole, and nothing is left of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from fleet.discovery.sources import Backend
from interceptor.exchange import stream_tunnel
from tests.support.faultproxy import Act, Fault, FaultProxy, Way, first
from tests.support.ports import free_port
from tests.support.sockets import reset
from tests.wire.faults_exchanges import fill
from tests.wire.proxy_rig import eventually
from tests.wire.stream_rig import StreamRig, TcpServer, port, port_route, stream_rig

SILENCE = 0.3
"""Seconds without a byte after which a client goes whose connection stalls; that is what a stall looks like to it."""
PATIENCE = 60.0
PLACES = 12
"""Applications, each with a port of its own: so many cases are under way together."""
GREETING, LARGE = 20, 150_000
"""Bytes of the message that is answered first, and of the one behind it: that is more than one read, and beyond what is kept."""
TOTAL = GREETING + LARGE
POINTS = (0, 5, GREETING, GREETING + 1, TOTAL // 2, TOTAL - 1, TOTAL)


@dataclass(frozen=True)
class Case:
    fault: Fault
    side: str
    cold: bool

    def __str__(self) -> str:
        fault = self.fault
        return f"{fault.act.value} at {self.side} {fault.way.value} after {fault.after}, {'cold' if self.cold else 'warm'}"

    @property
    def allowed(self) -> set[str]:
        act, last = self.fault.act, self.fault.after == TOTAL
        if act is Act.TRICKLE:
            return {"whole"}
        if act is Act.STALL:
            return {"silent"}
        if act is Act.HALF_CLOSE:
            return {"whole"} if last else {"cut"}
        if act is Act.RESET:  # it overtakes what the other side has not read yet
            return {"reset", "whole"} if last else {"reset"}
        # The end reaches a client that still sends: its next bytes are answered by a reset.
        return {"cut", "reset", "whole"} if last else {"cut", "reset"}


def cases(act: Act, side: str) -> Iterator[Case]:
    for way in Way:
        for after in POINTS:
            for cold in (False, True):
                yield Case(Fault(act, way, after, piece=LARGE // 40), side, cold)


class Talk:
    """What one client has of its connection."""

    def __init__(self, name: bytes, answered: Callable[[], None]) -> None:
        """`answered` is called after the first message."""
        self._answered = answered
        self.sent = b"hello " + fill(name, GREETING - 6) + fill(name, LARGE)
        self.received = b""

    async def hold(self, number: int, patience: float) -> str:
        """`whole`, `cut` (an end before that), `reset`, `silent`, or `wrong`: bytes that were not its own."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
        except OSError:
            return "reset"
        sender = asyncio.create_task(self._send(writer))
        try:
            outcome = await self._listen(reader, patience)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            reset(writer)
        return outcome if self.sent.startswith(self.received) else "wrong"

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(self.sent[:GREETING])
            await eventually(lambda: len(self.received) >= GREETING)
            self._answered()
            writer.write(self.sent[GREETING:])
            await writer.drain()
            writer.write_eof()

    async def _listen(self, reader: asyncio.StreamReader, patience: float) -> str:
        try:
            while True:
                async with asyncio.timeout(patience):
                    data = await reader.read(1 << 16)
                if not data:
                    return "whole" if self.received == self.sent else "cut"
                self.received += data
        except TimeoutError:
            return "silent"
        except OSError:
            return "reset"


class Stage:
    """An interceptor, and applications for cases to take in turn."""

    def __init__(self, rig: StreamRig, numbers: dict[str, int], server: TcpServer, *, relayed: bool) -> None:
        """With `relayed`, connections do without transports after their first message."""
        self.rig = rig
        self.relayed = relayed
        self.taken = 0
        self.numbers = numbers
        self.server = server
        self.free: asyncio.Queue[str] = asyncio.Queue()
        for app in numbers:
            self.free.put_nowait(app)

    async def run(self, case: Case) -> str:
        """What was wrong with it; empty when nothing was."""
        app = await self.free.get()
        try:
            return await self._run(case, app)
        finally:
            self.free.put_nowait(app)

    async def _run(self, case: Case, app: str) -> str:
        number, entry = self.numbers[app], self.rig.rig.interceptor.proxy.apps[app].entry
        sources, target = self.rig.rig.sources, (self.server.backend.host, self.server.backend.port)
        faulty = FaultProxy(target if case.side == "backend" else ("127.0.0.1", number), first(case.fault))
        await faulty.start()
        listed = Backend(*faulty.address) if case.side == "backend" else self.server.backend
        sources.set(app, [] if case.cold else [listed])
        talk = Talk(app[-5:].encode(), lambda: self._relay(app))
        patience = SILENCE if case.fault.act is Act.STALL else PATIENCE
        telling = asyncio.create_task(talk.hold(faulty.port if case.side == "client" else number, patience))
        if case.cold:
            await eventually(lambda: entry.held or telling.done())
            sources.set(app, [listed])
        outcome = await telling
        problems = (
            [] if outcome in case.allowed else [f"{outcome} with {len(talk.received)}, not {'/'.join(sorted(case.allowed))}"]
        )
        if case.side == "client":
            await faulty.close()
        try:
            await eventually(lambda: not any(self._counts(app)))
        except AssertionError:
            problems.append(f"held, in flight, in the room, kept bytes and loads are left: {self._counts(app)}")
        sources.set(app, [self.server.backend])
        again = Talk(app[-5:].encode(), lambda: self._relay(app))
        if (found := await again.hold(number, PATIENCE)) != "whole":
            problems.append(f"the next client had {found}")
        await faulty.close()
        return f"{case}: {'; '.join(problems)}" if problems else ""

    def _relay(self, app: str) -> None:
        for client in self.rig.clients if self.relayed else ():
            tunnel = client._tunnel
            if tunnel is not None and tunnel._app.name == app and tunnel._relayed is False and not tunnel._ends:
                tunnel._relay()
                self.taken += bool(tunnel._relayed)

    def _counts(self, app: str) -> list[int]:
        found = self.rig.rig.interceptor.proxy.apps[app]
        loads = [each.load + each.dialing for part in found.parts for each in part.endpoints.in_use]
        rooms = [count for part in found.parts for count in (len(part.room), part.room.held_bytes)]
        return [found.entry.held, found.entry.in_flight, found.entry.connections, *rooms, *loads]


@functools.cache
def places() -> dict[str, int]:
    """Applications and their ports, the same for all tests: a port that is taken is kept to the end."""
    return {f"default/n{number:04}": free_port() for number in range(PLACES)}


@pytest.mark.parametrize("side", ["client", "backend"])
@pytest.mark.parametrize("act", list(Act), ids=lambda act: act.value)
@pytest.mark.parametrize("relayed", [False, True], ids=["", "relayed"])
async def test_every_fault_at_every_point(act: Act, side: str, relayed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_tunnel, "HALF_CLOSED_SECONDS", 1.0)  # half a connection that is left over ends sooner
    numbers = places()
    routes = [port_route(port(number), app=app) for app, number in numbers.items()]
    async with stream_rig(*routes) as rig:
        server = await rig.server(listed=False)
        stage = Stage(rig, numbers, server, relayed=relayed)
        for number in numbers.values():
            await rig.bound(number)
        every_case = list(cases(act, side))
        problems = [problem for problem in await asyncio.gather(*map(stage.run, every_case)) if problem]
        assert not problems, "\n".join(problems)
        assert len(every_case) == 2 * 2 * len(POINTS)
        assert stage.taken >= len(every_case) * relayed, "the next client of each case, at least"
        await eventually(lambda: server.open == 0)
        assert not len(rig.rig.interceptor.proxy.relay)
