"""A whole interceptor in a process of its own, whose memory is measured: prints its port, and its high mark when asked."""

from __future__ import annotations

import asyncio
import resource
import sys

import uvloop

from fleet.discovery.fixed import FixedBackends, FixedRoutes
from fleet.discovery.sources import Backend
from fleet.routing.table import RoutingTable
from interceptor.server import Interceptor
from tests.support.loopback import APP, loopback_settings, route

__all__: list[str] = []


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def serve(backend_port: int) -> None:
    """Each line on standard input is answered with the most memory used so far, in KiB; the end of input ends it."""
    backends = FixedBackends({APP: [Backend("127.0.0.1", backend_port)]})
    interceptor = Interceptor(loopback_settings(), routes=FixedRoutes(RoutingTable([route()])), backends=backends)
    await interceptor.start()
    say(interceptor.proxy_port)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        say(peak_kib())
    await interceptor.close()


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
