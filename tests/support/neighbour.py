"""How one application's requests fare beside a flood or the worst senders: the load, what it is beside, what keeps them apart."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from time import clock_gettime, perf_counter

from tests.support.caller import Caller
from tests.wire.proxy_client import get

__all__ = ["Sent", "apart", "calm", "felt_p99", "flooded", "p99", "sending", "work_of", "worst_backend"]

Clock = Callable[[], float]
"""Gives seconds."""

CLIENTS = 8
REQUESTS = 200
"""Of each client."""
PAUSE_SECONDS = 0.005
OPENING_SECONDS = 60.0
ENDING_SECONDS = 10.0
CALM_SECONDS = 60.0
"""For a proxy that stood still to come through what it has taken from a sender that is gone."""
CALM_ANSWERS, CALM_ANSWER_SECONDS = 30, 0.1
ROUND_SECONDS = 5.0
"""A round takes little more than a second, unless its proxy stands still."""


async def p99(port: int, host: str, path: str = "/", *, clock: Clock = perf_counter) -> float:
    """Seconds of the clock. Of a load so light that it waits for itself only: eight clients, each asking every 5 ms."""
    seconds: list[float] = []
    wire = get(path.encode(), host=host.encode())

    async def ask(caller: Caller) -> None:
        for _ in range(REQUESTS):
            began = clock()
            assert (await caller.ask(wire)).status == 200
            seconds.append(clock() - began)
            await asyncio.sleep(PAUSE_SECONDS)
        caller.leave()

    await asyncio.gather(*(ask(Caller(port)) for _ in range(CLIENTS)))
    return sorted(seconds)[len(seconds) * 99 // 100]


async def felt_p99(
    port: int,
    host: str,
    path: str = "/",
    *,
    requests: int = REQUESTS,
    within: float = ROUND_SECONDS,
    clocks: Sequence[Clock] = (perf_counter,),
) -> list[float]:
    """As `p99`, for whoever comes at any time: a stall counts for all the requests that it has kept from being sent too.

    A client that waits for an answer sends nothing meanwhile, so a second without answers would be one slow request among
    hundreds. What is not answered within so many seconds counts as what it has waited until then. One figure for each clock.
    """
    waits: list[list[float]] = [[] for _ in clocks]
    wire = get(path.encode(), host=host.encode())
    end = asyncio.get_running_loop().time() + within

    async def ask(caller: Caller) -> None:
        for _ in range(requests):
            began = [clock() for clock in clocks]
            try:
                async with asyncio.timeout_at(end):
                    assert (await caller.ask(wire)).status == 200
            except TimeoutError:
                break
            finally:
                for clock, start, seconds in zip(clocks, began, waits, strict=True):
                    seconds.append(clock() - start)
            await asyncio.sleep(PAUSE_SECONDS)
        caller.leave(politely=False)

    await asyncio.gather(*(ask(Caller(port)) for _ in range(CLIENTS)))
    felt = (sorted(left for wait in seconds for left in _felt(wait)) for seconds in waits)
    return [seconds[len(seconds) * 99 // 100] for seconds in felt]


async def calm(port: int, host: str, path: str = "/") -> None:
    """Wait until a proxy answers promptly, many times one after the other."""
    caller, prompt = Caller(port), 0
    async with asyncio.timeout(CALM_SECONDS):
        while prompt < CALM_ANSWERS:
            reply = await caller.ask(get(path.encode(), host=host.encode()))
            prompt = prompt + 1 if reply.seconds < CALM_ANSWER_SECONDS else 0
            await asyncio.sleep(PAUSE_SECONDS)
    caller.leave()


def work_of(pid: int) -> Clock:
    """A clock of the seconds that a process has worked; it stands while others have the processor.

    By it a wait is what a proxy did for others meanwhile, however busy the machine is.
    """
    if sys.platform != "linux":
        return perf_counter
    number = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(number)):
        raise ProcessLookupError(pid)
    return partial(clock_gettime, number.value)


def _felt(seconds: float) -> Iterator[float]:
    """A wait, and those of requests that would have been sent in its course, one after the other."""
    yield seconds
    while (seconds := seconds - PAUSE_SECONDS) > 0:
        yield seconds


@asynccontextmanager
async def flooded(port: int, host: str, connections: int) -> AsyncIterator[None]:
    """A flood for an application, from the moment that nearly all of its connections are open."""
    async with _beside("flood", str(port), host, str(connections)):
        yield


@dataclass
class Sent:
    """What a sender has moved, known when it has ended."""

    sent: int = 0
    """Bytes, as is the next."""
    received: int = 0
    opened: int = 0
    """Connections, of which more than it has were refused or closed."""
    first: str = ""
    """The beginning of the first answer."""
    seconds: float = 0.0
    """From when it was under way."""

    def add(self, other: Sent) -> None:
        self.sent += other.sent
        self.received += other.received
        self.opened += other.opened
        self.first = self.first or other.first
        self.seconds += other.seconds


@asynccontextmanager
async def sending(name: str, port: int, host: str) -> AsyncIterator[Sent]:
    """One of `tests.support.senders`, from the moment that every connection of it has sent or heard something."""
    moved = Sent()
    async with _beside("senders", name, str(port), host) as process:
        began = perf_counter()
        yield moved
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        async with asyncio.timeout(ENDING_SECONDS):
            told = json.loads(await process.stdout.readline())
        moved.__dict__.update(told, seconds=perf_counter() - began)


@asynccontextmanager
async def worst_backend(port: int) -> AsyncIterator[None]:
    """The backend of `tests.support.senders`."""
    async with _beside("senders", "backend", str(port)):
        yield


@asynccontextmanager
async def _beside(module: str, *arguments: str) -> AsyncIterator[Process]:
    """A process of `tests.support`, from the moment that it says it is ready."""
    command = [sys.executable, "-m", f"tests.support.{module}", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(OPENING_SECONDS):
            assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@contextmanager
def apart(pid: int) -> Iterator[None]:
    """A process has a processor of its own, as it would if this one and those it starts were on other machines."""
    if sys.platform != "linux" or len(processors := os.sched_getaffinity(0)) == 1:
        yield
        return
    own = min(processors)
    os.sched_setaffinity(pid, {own})
    os.sched_setaffinity(0, processors - {own})
    try:
        yield
    finally:
        os.sched_setaffinity(pid, processors)
        os.sched_setaffinity(0, processors)
