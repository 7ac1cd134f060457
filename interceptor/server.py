"""One interceptor: puts the proxy, its RPC server and its diagnostics together, and takes them down in order."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any

from fleet.demand.ledger import Ledger
from fleet.discovery.sources import BackendSource, RouteSource, SourceError
from fleet.discovery.uri import open_backends, open_routes
from fleet.discovery.work import shown_work
from fleet.runtime.diagnostics import Diagnostics
from fleet.runtime.documents import Pairs, Rows
from fleet.runtime.garbage import collect_in_a_calm, keep_what_is_here
from fleet.runtime.life import Component, Step
from fleet.runtime.rpc import RpcServer
from fleet.runtime.settings import SettingsError
from fleet.runtime.tasks import cancel_and_wait
from interceptor.backends.dialers import Dialers
from interceptor.drain import finish
from interceptor.http1.client import ClientConnection
from interceptor.http1.dialer import Http1Dialer
from interceptor.listener import Listener, room_for_clients
from interceptor.metrics import Metrics
from interceptor.proxy import TICK_SECONDS, Proxy
from interceptor.rpc import QueueServicer, RoutingServicer
from interceptor.settings import InterceptorSettings
from interceptor.transport.tcp import Outbox
from interceptor.waits_rpc import WaitingServicer
from protos.weir.interceptor.v1.queue_pb2_grpc import add_QueueServiceServicer_to_server
from protos.weir.interceptor.v1.routing_pb2_grpc import add_RoutingServiceServicer_to_server
from protos.weir.interceptor.v1.waiting_pb2_grpc import add_WaitingServiceServicer_to_server

__all__ = ["Interceptor"]

RPC_GRACE_SECONDS = 1.0
LIMITS_AT_ONCE = 64
"""Time limits applied in one turn of the event loop: about a millisecond's work."""

logger = logging.getLogger(__name__)


class Interceptor(Component):
    """Sources that are not handed in are opened from the settings."""

    def __init__(
        self, settings: InterceptorSettings, *, routes: RouteSource | None = None, backends: BackendSource | None = None
    ) -> None:
        super().__init__()
        self._settings = settings
        self._routes = routes or _open("routes", settings.routes, partial(open_routes, resync=settings.resync))
        reading = partial(open_backends, resync=settings.resync, direct=settings.direct_pod_routing)
        self._backends = backends or _open("backends", settings.backends, reading)
        self.ledger = Ledger()
        outbox = Outbox()
        dialer = Dialers(Http1Dialer(outbox))
        self.proxy = Proxy(settings, self.ledger, self._backends, monotonic, outbox=outbox, dialer=dialer)
        self._listener = Listener(lambda: ClientConnection(self.proxy), settings.host, settings.proxy_port, monotonic)
        self.proxy.on_full, self.proxy.on_room = self._listener.pause, self._listener.resume
        self._queue = QueueServicer(
            self.ledger,
            member=settings.member_name,
            incarnation=uuid.uuid4().hex,
            clock=monotonic,
            draining=lambda: self.proxy.draining,
        )
        self.ledger.on_edge = self._queue.wake
        self._waiting = WaitingServicer(lambda: self.proxy.waits.report(monotonic()), member=settings.member_name)
        self._rpc = RpcServer(settings.host, settings.rpc_port, tls=settings.server_tls)
        self._rpc.add(add_QueueServiceServicer_to_server, self._queue, "weir.interceptor.v1.QueueService")
        self._rpc.add(add_WaitingServiceServicer_to_server, self._waiting, "weir.interceptor.v1.WaitingService")
        self._rpc.add(
            add_RoutingServiceServicer_to_server,
            RoutingServicer(self._routes, member=settings.member_name),
            "weir.interceptor.v1.RoutingService",
        )
        self._diagnostics = Diagnostics(
            settings.host,
            settings.diagnostics_port,
            not_ready=self._not_ready,
            metrics=Metrics(self.proxy, settings.metrics_max_bytes).parts,
            pages={"/routes": self._show_routes, "/queue": self._show_queue, "/backends": self._show_backends},
        )
        self._sweeper: asyncio.Task[None] | None = None
        self._unsubscribe: list[Callable[[], None]] = []
        self._served = False

    @property
    def proxy_port(self) -> int:
        """The port bound; before `start` the port asked for."""
        return self._listener.port

    @property
    def rpc_port(self) -> int:
        return self._rpc.port

    @property
    def diagnostics_port(self) -> int:
        return self._diagnostics.port

    def _steps(self) -> Sequence[Step]:
        """Read the table, then listen. Demand is told until the last connection is closed."""
        return (
            Step("backends", self._backends.start, self._backends.close),
            Step("routes", self._routes.start, self._routes.close),
            Step("table", self._follow, self._follow_no_more),
            Step("diagnostics", self._diagnostics.start, self._diagnostics.stop),
            Step("RPC", self._rpc.start, self._stop_rpc),
            Step("time limits", self._start_sweeping, self._stop_sweeping),
            Step("connections", close=self._cut),
            Step("listener", self._listen, self._listener.close),
            Step("garbage", keep_what_is_here),  # 2 ms per 1,000 connections, and a flood of them has one every few seconds
            Step("serving", self._serve),
        )

    def _follow(self) -> None:
        self._unsubscribe = [
            self._backends.subscribe(self.proxy.backends_changed),
            self._routes.subscribe(self.proxy.set_table),
        ]
        if self._routes.current is not None:
            self.proxy.set_table(self._routes.current)

    def _follow_no_more(self) -> None:
        unsubscribe, self._unsubscribe = self._unsubscribe, []
        for one in unsubscribe:
            one()

    def _start_sweeping(self) -> None:
        self._sweeper = asyncio.create_task(self._sweep(), name="time limits")

    async def _stop_sweeping(self) -> None:
        await cancel_and_wait(self._sweeper)

    async def _listen(self) -> None:
        self.proxy.most_clients = room_for_clients(self._settings.max_connections)
        await self._listener.start()

    async def _serve(self) -> None:
        await self._rpc.set_serving(True)
        self._served = True
        logger.info("interceptor %s serves on port %d", self._settings.member_name, self.proxy_port)

    async def _cut(self) -> None:
        self._follow_no_more()  # what changes from here on must not open anything
        await self.proxy.close()
        await asyncio.sleep(0)  # cut connections give their leases back

    async def _stop_rpc(self) -> None:
        self._queue.close()
        self._waiting.close()
        await self._rpc.stop(RPC_GRACE_SECONDS)

    async def drain(self) -> None:
        """Not ready, delay, stop accepting, finish what is open. Demand is told until the end."""
        settings, proxy, began = self._settings, self.proxy, monotonic()
        proxy.draining = True
        self._queue.tell_draining()
        await self._rpc.set_serving(False)
        logger.info("draining: not ready, %d connections, %d requests", len(proxy.clients), self.ledger.outstanding)
        await asyncio.sleep(settings.drain_delay)
        await self._listener.close()
        await finish(proxy, began=began, seconds=settings.drain_timeout)

    async def close(self) -> None:
        served, self._served = self._served, False
        await super().close()
        if served:
            logger.info("interceptor %s has ended", self._settings.member_name)

    async def _sweep(self) -> None:
        while True:
            due = monotonic() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self.proxy.lag.observe(max(0.0, monotonic() - due))
            while not self._apply_limits():  # noqa: ASYNC110 -- nothing to wait for: others' requests have their turn between
                await asyncio.sleep(0)
            if not self.ledger.outstanding:
                collect_in_a_calm()

    def _apply_limits(self) -> bool:
        """Whether all that were due have been asked."""
        try:
            return self.proxy.deadlines.sweep(monotonic(), most=LIMITS_AT_ONCE)
        except Exception:  # one connection's fault must not end everybody's time limits
            logger.exception("a time limit could not be applied")
            return False

    def _not_ready(self) -> str | None:
        if self.proxy.draining:
            return "draining"
        if not self._listener.started:
            return "not listening yet"
        if self.proxy.table is None:
            return "the routing table has not been read yet"
        return None if self._backends.synced else "the backends have not been read yet"

    def _show_routes(self) -> Any:
        table = self.proxy.table
        if table is None:
            return {"version": None, "routes": []}
        return {"version": table.version, "routes": Rows(table.routes), "conflicts": Rows(table.conflicts)}

    def _show_backends(self) -> Any:
        return shown_work(self.proxy.at_work())

    def _show_queue(self) -> Any:
        return Pairs((app.name, app.entry.size(monotonic())) for app in list(self.proxy.apps.values()))


def _open(what: str, uri: str, opener: Callable[[str], Any]) -> Any:
    if not uri:
        raise SettingsError(f"--{what} (WEIR_{what.upper()}) is not set: an interceptor has to know where they are")
    try:
        return opener(uri)
    except SourceError as error:
        raise SettingsError(str(error)) from error
