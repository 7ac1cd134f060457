"""What a flood for one application, and the worst senders known, do to another application behind the same proxy.

Half of the flood's connections send heads that never end, half ask for an application that does not come up: Weir holds those
requests up to its bound, HAProxy refuses them all. The senders are those of `tests.support.senders`, each by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import uvloop

from tests.bench.measure import Server
from tests.bench.origin import SMALL
from tests.support.neighbour import Sent, apart, felt_p99, flooded, p99, sending

__all__ = ["BesideSender", "Neighbour", "beside_senders", "neighbour"]

Neighbour = tuple[list[float], list[float]]
"""99th percentiles in milliseconds of rounds in quiet, and of rounds beside a flood."""

SENDER_REQUESTS = 100
"""Of each client in a round: more than half a second."""


@dataclass(frozen=True)
class BesideSender:
    """The same beside a sender."""

    quiet: list[float]
    beside: list[float]
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
    async def measured() -> list[float]:
        return [1e3 * await felt_p99(server.port, server.host, SMALL, requests=SENDER_REQUESTS) for _ in range(rounds)]

    with apart(server.pid):
        quiet = await measured()
        async with sending(name, server.port, host) as moved:
            beside = await measured()
        return BesideSender(quiet, beside, moved)


async def _measured(server: Server, flooded_host: str, connections: int, rounds: int) -> Neighbour:
    async def measured() -> list[float]:
        return [1e3 * await p99(server.port, server.host, SMALL) for _ in range(rounds)]

    with apart(server.pid):
        quiet = await measured()
        async with flooded(server.port, flooded_host, connections):
            return quiet, await measured()
