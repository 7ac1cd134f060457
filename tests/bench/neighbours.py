"""What a flood for one application does to another one behind the same proxy.

Half of the flood's connections send heads that never end, half ask for an application that does not come up: Weir holds those
requests up to its bound, HAProxy refuses them all.
"""

from __future__ import annotations

import uvloop

from tests.bench.measure import Server
from tests.bench.origin import SMALL
from tests.support.neighbour import apart, flooded, p99

__all__ = ["Neighbour", "neighbour"]

Neighbour = tuple[list[float], list[float]]
"""99th percentiles in milliseconds of rounds in quiet, and of rounds beside a flood."""


def neighbour(server: Server, *, flooded_host: str, connections: int, rounds: int) -> Neighbour:
    """Rounds of about a second each."""
    return uvloop.run(_measured(server, flooded_host, connections, rounds))


async def _measured(server: Server, flooded_host: str, connections: int, rounds: int) -> Neighbour:
    async def measured() -> list[float]:
        return [1e3 * await p99(server.port, server.host, SMALL) for _ in range(rounds)]

    with apart(server.pid):
        quiet = await measured()
        async with flooded(server.port, flooded_host, connections):
            return quiet, await measured()
