"""A whole interceptor on loopback with scriptable backends, and the proof that nothing is left when a test ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psutil

from fleet.discovery.fixed import FixedBackends, FixedRoutes
from fleet.discovery.outside.lookup import Resolver
from fleet.routing.route import Route
from fleet.routing.table import RoutingTable
from fleet.runtime.process import raise_limit_of_files
from interceptor.app.app import App
from interceptor.backends.endpoints import EndpointSet
from interceptor.http1.client import ClientConnection
from interceptor.server import Interceptor
from tests.support.faultproxy import FaultProxy
from tests.support.loopback import APP, loopback_settings, route
from tests.support.waiting import until
from tests.wire.proxy_backend import RawBackend, Script
from tests.wire.proxy_client import RawClient

__all__ = ["Rig", "cold_starts", "eventually", "proxy_rig"]


async def eventually(holds: Callable[[], object], *, within: float = 60.0) -> None:
    """Wait until something holds; fail when it does not within so many seconds."""
    try:
        await until(holds, seconds=within)
    except TimeoutError:
        raise AssertionError(f"never came to be within {within:g} s") from None


def cold_starts(app: App) -> dict[str, int]:
    """How many waits for a backend have ended so, by outcome."""
    return {outcome: count for outcome, found in app.stats.cold.items() if (count := sum(found.counts))}


class _NoPages:
    """In place of the diagnostics server, which takes a tenth of a second to end: hundreds of tests have no use for it."""

    port = 0

    async def start(self) -> None:
        """Nothing listens."""

    async def stop(self) -> None:
        """Nothing did."""


class Rig:
    """An interceptor, its sources, and what was opened with it."""

    def __init__(self, routes: Sequence[Route], settings: dict[str, Any], resolver: Resolver | None = None) -> None:
        self.routes = FixedRoutes(RoutingTable(routes))
        self.sources = FixedBackends()
        self.backends: list[RawBackend] = []
        self.clients: list[RawClient] = []
        self.settings = loopback_settings(**settings)
        self.interceptor = Interceptor(self.settings, routes=self.routes, backends=self.sources, resolver=resolver)
        self.faults: list[dict[str, Any]] = []

    @property
    def ledger(self) -> Any:
        return self.interceptor.ledger

    @property
    def connections(self) -> set[ClientConnection]:
        """Of clients."""
        return {one for one in self.interceptor.proxy.clients if isinstance(one, ClientConnection)}

    @property
    def app(self) -> App:
        return self.interceptor.proxy.apps[APP]

    @property
    def endpoints(self) -> list[EndpointSet]:
        return self.interceptor.proxy.endpoint_sets

    async def client(self, **options: int) -> RawClient:
        client = await RawClient.connect(self.interceptor.proxy_port, **options)
        self.clients.append(client)
        return client

    async def backend(self, script: Script | None = None, *, listed: bool = True, **options: int) -> RawBackend:
        """Start one more backend; `listed` adds it to those of the first app."""
        backend = RawBackend(script, **options)
        await backend.start()
        self.backends.append(backend)
        if listed:
            self.sources.set(APP, [*self.sources.get(APP), backend.backend])
        return backend

    def set_routes(self, *routes: Route) -> None:
        self.routes.set(RoutingTable(routes))

    @property
    def pooled(self) -> int:
        """Connections to backends that are kept."""
        return sum(len(endpoint.spare) for each in self.endpoints for endpoint in each.endpoints)

    async def settle(self) -> None:
        """Nothing is open and nothing was leaked once every client has left: leases, load, places, connections, tasks."""
        for client in self.clients:
            client.close()
        proxy = self.interceptor.proxy
        await eventually(lambda: not proxy.clients)
        await eventually(self.ledger.balanced)
        assert self.ledger.outstanding == 0
        await eventually(lambda: not [task for task in asyncio.all_tasks() if task.get_name().startswith("dial ")])
        for app in proxy.apps.values():
            assert not app.room
            assert app.uncounted is None or not (app.uncounted.in_flight or app.uncounted.held)
        for each in self.endpoints:
            for endpoint in each.endpoints:
                assert (endpoint.load, endpoint.dialing) == (0, 0), endpoint.backend
        await eventually(lambda: self.connections_open <= self.pooled)

    @property
    def connections_open(self) -> int:
        """Sockets that the proxy has open to its backends."""
        return self.sockets_to(*self.backends)

    def sockets_to(self, *peers: RawBackend | FaultProxy) -> int:
        """Sockets of this process that are connected to any of them."""
        addresses = {peer.address for peer in peers}
        return sum(one.raddr in addresses and one.status != "TIME_WAIT" for one in psutil.Process().net_connections("tcp4"))

    def on_fault(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.faults.append(context)


@asynccontextmanager
async def proxy_rig(
    script: Script | None = None,
    *,
    routes: Sequence[Route] = (),
    backends: int = 1,
    settle: bool = True,
    diagnostics: bool = False,
    resolver: Resolver | None = None,
    **settings: Any,
) -> AsyncIterator[Rig]:
    """An interceptor with one route and some backends of one script; at the end everything must be given back."""
    rig = Rig(routes or [route()], settings, resolver)
    if not diagnostics:
        rig.interceptor._diagnostics = _NoPages()  # type: ignore[assignment]
    asyncio.get_running_loop().set_exception_handler(rig.on_fault)
    raise_limit_of_files()  # as run_component does
    await rig.interceptor.start()
    try:
        for _ in range(backends):
            await rig.backend(script)
        yield rig
        if settle:
            await rig.settle()
    finally:
        for client in rig.clients:
            client.close()
        await rig.interceptor.close()
        for backend in rig.backends:
            await backend.close()
        await asyncio.sleep(0)
    assert not rig.faults, rig.faults
    errors = [error for backend in rig.backends for error in backend.errors]
    if errors:
        raise errors[0]
