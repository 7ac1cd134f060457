"""What a flood for one application, and the worst senders known, do to another application behind the same proxy.

Half of the flood's connections send heads that never end, half ask for an application that does not come up: Weir holds those
requests up to its bound, HAProxy refuses them all. The senders are those of `tests.support.senders`, each by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import uvloop

from tests.bench.measure import Server
from tests.bench.origin import SMALL
from tests.bench.processes import BenchError
from tests.support.neighbour import Sent, apart, calm, felt_p99, flooded, p99, sending, work_of

__all__ = ["BesideSender", "Neighbour", "beside_senders", "neighbour"]

Neighbour = tuple[list[float], list[float]]
"""99th percentiles in milliseconds of rounds in quiet, and of rounds beside a flood."""

SENDER_REQUESTS = 100
"""Of each client in a round: more than half a second."""


@dataclass(frozen=True)
class BesideSender:
    """Rounds in quiet and beside a sender: milliseconds, and how many of them the proxy itself worked, for whomever."""

    quiet: list[float]
    beside: list[float]
    quiet_work: list[float]
    beside_work: list[float]
    moved: Sent


def neighbour(server: Server, *, flooded_host: str, connections: int, rounds: int) -> Neighbour:
    """Rounds of about a second each."""
    return uvloop.run(_measured(server, flooded_host, connections, rounds))


def beside_senders(
    servers: Sequence[Server], names: Sequence[str], *, host: str, rounds: int, say: Callable[[str], None]
) -> dict[str, dict[str, BesideSender]]:
    """By sender, then by server: rounds of half a second in quiet and beside it. The host is that of the senders' backend."""
    measured: dict[str, dict[str, BesideSender]] = {}
    for name in names:
        say(f"beside {name}")
        measured[name] = {server.name: uvloop.run(_beside_sender(server, name, host, rounds)) for server in servers}
    return measured


async def _beside_sender(server: Server, name: str, host: str, rounds: int) -> BesideSender:
    clocks = (perf_counter, work_of(server.pid))

    async def measured() -> list[list[float]]:
        """Of each clock the rounds."""
        felt = [await felt_p99(server.port, server.host, SMALL, requests=SENDER_REQUESTS, clocks=clocks) for _ in range(rounds)]
        return [[1e3 * seconds for seconds in clock] for clock in zip(*felt, strict=True)]

    with apart(server.pid):
        try:
            await calm(server.port, server.host, SMALL)
        except TimeoutError as error:
            raise BenchError(f"{server.name}: still busy with the sender before {name}, which is gone") from error
        quiet, quiet_work = await measured()
        async with sending(name, server.port, host) as moved:
            beside, beside_work = await measured()
        return BesideSender(quiet, beside, quiet_work, beside_work, moved)


async def _measured(server: Server, flooded_host: str, connections: int, rounds: int) -> Neighbour:
    async def measured() -> list[float]:
        return [1e3 * await p99(server.port, server.host, SMALL) for _ in range(rounds)]

    with apart(server.pid):
        quiet = await measured()
        async with flooded(server.port, flooded_host, connections):
            return quiet, await measured()
