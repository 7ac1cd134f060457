"""What a flood for one application, and the worst senders known, do to another application behind the same proxy.

Half of the flood's connections send heads that never end, half ask for an application that does not come up: Weir holds those
requests up to its bound, HAProxy refuses them all. The senders are those of `tests.support.senders`, each by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import uvloop

from tests.bench.measure import Server
from tests.bench.origin import SMALL
from tests.bench.processes import BenchError
from tests.support.neighbour import CLIENTS, Sent, apart, at_rest, felt_p99, flooded, sending, work_of
from tests.support.senders import SENDERS
from tests.support.stalls import Stalls, watched

__all__ = ["BesideSender", "Neighbour", "Windows", "beside_senders", "neighbour"]

Neighbour = tuple[list[float], list[float]]
"""99th percentiles in milliseconds of windows in quiet, and of windows beside a flood."""

SENDER_REQUESTS = 60
"""Of each client in a window: a third of a second. Whatever else runs on a machine takes a core for milliseconds about once a
second, and decides the percentile of the window that it falls into."""
WINDOWS = 3
"""In quiet, and then beside a sender, in each round."""


@dataclass
class Windows:
    """Windows in quiet, or beside a load, one after the other."""

    p99: list[float] = field(default_factory=list)
    """Milliseconds."""
    work: list[float] = field(default_factory=list)
    """How many of them the proxy itself worked, for whomever."""
    left_out: list[float] = field(default_factory=list)
    """The share of the requests that met a stall of the machine, and do not count."""


@dataclass(frozen=True)
class BesideSender:
    """An application's requests in quiet and beside a sender, and what that has moved."""

    quiet: Windows
    beside: Windows
    moved: Sent


def neighbour(server: Server, *, flooded_host: str, connections: int, rounds: int) -> Neighbour:
    """Rounds of about a second each, in quiet and then beside the flood."""
    return uvloop.run(_measured(server, flooded_host, connections, rounds))


def beside_senders(
    servers: Sequence[Server], names: Sequence[str], *, host: str, rounds: int, say: Callable[[str], None]
) -> dict[str, dict[str, BesideSender]]:
    """By sender, then by server: windows in quiet and beside it. The host is that of the senders' backend."""
    measured: dict[str, dict[str, BesideSender]] = {}
    for name in names:
        say(f"beside {name}")
        measured[name] = {server.name: uvloop.run(_beside_sender(server, name, host, rounds)) for server in servers}
    return measured


async def _beside_sender(server: Server, name: str, host: str, rounds: int) -> BesideSender:
    """A round in quiet and a round beside it, in turn: what else the machine does changes from second to second."""
    told = BesideSender(Windows(), Windows(), Sent())
    port = server.port if SENDERS[name].http2 is None else server.http2_port or server.port
    with apart(server.pid), watched(server.pid) as stalls:
        for _ in range(rounds):
            try:
                await at_rest(server.pid)
            except TimeoutError as error:
                raise BenchError(f"{server.name}: still busy with a sender that is gone, {name} or the one before") from error
            await _round(server, stalls, told.quiet)
            async with sending(name, port, host) as moved:
                await _round(server, stalls, told.beside)
            told.moved.add(moved)
    return told


async def _measured(server: Server, flooded_host: str, connections: int, rounds: int) -> Neighbour:
    quiet, beside = Windows(), Windows()
    with apart(server.pid), watched(server.pid) as stalls:
        for _ in range(rounds):
            await _round(server, stalls, quiet)
        async with flooded(server.port, flooded_host, connections):
            for _ in range(rounds):
                await _round(server, stalls, beside)
    return quiet.p99, beside.p99


async def _round(server: Server, stalls: Stalls, told: Windows) -> None:
    clocks = (perf_counter, work_of(server.pid))
    for _ in range(WINDOWS):
        met = stalls.met
        wait, work = await felt_p99(server.port, server.host, SMALL, requests=SENDER_REQUESTS, clocks=clocks, stalls=stalls)
        told.p99.append(1e3 * wait)
        told.work.append(1e3 * work)
        told.left_out.append((stalls.met - met) / (CLIENTS * SENDER_REQUESTS))
