"""Measures one application's requests during a flood or during abusive clients: the load, the attackers, and their isolation."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import compress
from time import clock_gettime, perf_counter

import psutil

from tests.support.caller import Caller
from tests.support.raw_requests import get
from tests.support.stalls import Stalls

__all__ = [
    "CLIENTS",
    "Sent",
    "ahead",
    "apart",
    "at_rest",
    "felt_p99",
    "flooded",
    "others_give_way",
    "p99",
    "sending",
    "work_of",
    "worst_backend",
]

Clock = Callable[[], float]
"""Returns seconds."""

CLIENTS = 8
REQUESTS = 200
"""Requests per client."""
PAUSE_SECONDS = 0.005
OPENING_SECONDS = 60.0
ENDING_SECONDS = 60.0
REST_SECONDS = 60.0
"""Time for a blocked proxy to process the input of an attacker that has ended."""
REST_PERIOD_SECONDS = 0.2
ROUND_SECONDS = 5.0
"""Limit for a round, which takes little more than a second unless the proxy is blocked."""


async def p99(port: int, host: str, path: str = "/", *, clock: Clock = perf_counter) -> float:
    """The 99th percentile of the response time, in the clock's seconds, under a light load: eight clients, each with a request
    every 5 ms."""
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
    longest: float = ROUND_SECONDS,
    clocks: Sequence[Clock] = (perf_counter,),
    stalls: Stalls | None = None,
) -> list[float]:
    """As `p99`, but corrected for requests that were not sent during a stall (coordinated omission).

    A client that waits for a response sends nothing meanwhile, so a second without responses would count as one slow request
    among hundreds. A request without a response within the limit counts with the time it has waited. The first ones, which open
    the connections, do not count, nor do those that met a stall of the machine. One result per clock.
    """
    waits: list[list[float]] = [[] for _ in clocks]
    moments: list[tuple[float, float]] = []
    wire = get(path.encode(), host=host.encode())
    end = asyncio.get_running_loop().time() + longest

    async def ask(caller: Caller) -> None:
        opening, late = True, False
        for _ in range(1 + requests):
            begun, began = perf_counter(), [clock() for clock in clocks]
            try:
                async with asyncio.timeout_at(end):
                    assert (await caller.ask(wire)).status == 200
            except TimeoutError:
                late = True
            if late or not opening:
                for clock, start, seconds in zip(clocks, began, waits, strict=True):
                    seconds.append(clock() - start)
                moments.append((begun, perf_counter()))
            if late:
                break
            opening = False
            await asyncio.sleep(PAUSE_SECONDS)
        caller.leave(politely=False)

    await asyncio.gather(*(ask(Caller(port)) for _ in range(CLIENTS)))
    spared = [] if stalls is None else stalls.spared(moments)
    if not any(spared):
        spared = [True] * len(moments)
    felt = (sorted(left for wait in compress(seconds, spared) for left in _felt(wait)) for seconds in waits)
    return [seconds[len(seconds) * 99 // 100] for seconds in felt]


async def at_rest(pid: int) -> None:
    """Wait until a process has next to nothing to do: what an attacker that has ended has sent may still be queued."""
    process = psutil.Process(pid)
    async with asyncio.timeout(REST_SECONDS):
        busy = REST_PERIOD_SECONDS
        while busy > REST_PERIOD_SECONDS / 10:
            before = process.cpu_times()
            await asyncio.sleep(REST_PERIOD_SECONDS)
            after = process.cpu_times()
            busy = after.user + after.system - before.user - before.system


def work_of(pid: int) -> Clock:
    """A clock that counts the CPU time of a process.

    Measured by it, a response time is the work that the proxy did for other clients meanwhile, however busy the machine is.
    """
    if sys.platform != "linux":
        return perf_counter
    number = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(number)):
        raise ProcessLookupError(pid)
    return partial(clock_gettime, number.value)


def _felt(seconds: float) -> Iterator[float]:
    """A response time, and the times of the requests that would have been sent meanwhile."""
    yield seconds
    while (seconds := seconds - PAUSE_SECONDS) > 0:
        yield seconds


@asynccontextmanager
async def flooded(port: int, host: str, connections: int) -> AsyncIterator[None]:
    """A flood for an application; the block begins when nearly all of its connections are open."""
    async with _beside("flood", str(port), host, str(connections)):
        yield


@dataclass
class Sent:
    """The result of a sender, known when it has ended."""

    sent: int = 0
    """Bytes, like the next one."""
    received: int = 0
    opened: int = 0
    """Connections opened in total; more than its number if some were refused or closed."""
    first: str = ""
    """The beginning of the first response."""
    seconds: float = 0.0
    """Duration since all its connections were active."""

    def add(self, other: Sent) -> None:
        self.sent += other.sent
        self.received += other.received
        self.opened += other.opened
        self.first = self.first or other.first
        self.seconds += other.seconds


@asynccontextmanager
async def sending(name: str, port: int, host: str, *, ended: bool = False) -> AsyncIterator[Sent]:
    """One of `tests.support.senders`; the block begins when each of its connections has sent or received something, or, with
    `ended`, when the proxy has ended one."""
    moved = Sent()
    async with _beside("senders", name, str(port), host, *(["ended"] if ended else [])) as process:
        began = perf_counter()
        yield moved
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        async with asyncio.timeout(ENDING_SECONDS):
            measured = json.loads(await process.stdout.readline())
        moved.__dict__.update(measured, seconds=perf_counter() - began)


@asynccontextmanager
async def worst_backend(port: int) -> AsyncIterator[None]:
    """The backend of `tests.support.senders`."""
    async with _beside("senders", "backend", str(port)):
        yield


@asynccontextmanager
async def _beside(module: str, *arguments: str) -> AsyncIterator[Process]:
    """A process of `tests.support`; the block begins when it reports that it is ready."""
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
    """Give a process, of those that this one has started, a CPU of its own, as if all the others ran on other machines."""
    if sys.platform != "linux" or len(processors := os.sched_getaffinity(0)) == 1:
        yield
        return
    own = min(processors)
    this = psutil.Process()
    others = [process.pid for process in (this, *this.children(recursive=True)) if process.pid != pid]
    _bind([pid], {own})
    _bind(others, processors - {own})
    try:
        yield
    finally:
        _bind([pid, *others], processors)


@contextmanager
def ahead(*pids: int) -> Iterator[bool]:
    """Let these processes run whenever they can, as on a machine without others: with real-time priority. Yields whether that is
    permitted.

    Even a process of the lowest priority else runs before one that has just had its share, until the kernel's next tick: up to
    4 ms.
    """
    threads = [thread for pid in pids for thread in _threads(pid)] if sys.platform == "linux" else []
    try:
        for thread in threads:
            os.sched_setscheduler(thread, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        yield False
        return
    try:
        yield bool(threads)
    finally:
        for thread in threads:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def others_give_way(pids: Collection[int]) -> None:
    """Give all processes that this one has started, but for these, the lowest CPU priority for good."""
    if sys.platform != "linux":
        return
    for process in psutil.Process().children(recursive=True):
        if process.pid not in pids:
            for thread in _threads(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


def _bind(pids: Iterable[int], processors: set[int]) -> None:
    """Have all threads of processes run on these processors only."""
    for pid in pids:
        for thread in _threads(pid):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, processors)


def _threads(pid: int) -> list[int]:
    """Numbers of a process's threads; none if it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [thread.id for thread in psutil.Process(pid).threads()]
    return []
