"""The scaler as a whole: sources, streams to the interceptors, the ExternalScaler, diagnostics; their start and end.

The composition root of the package; makes no decisions of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from fleet.demand.merge import AppPolicy, FleetDemand
from fleet.demand.needs import Need
from fleet.discovery.busy import BusySource, open_busy
from fleet.discovery.sources import MemberSource, RouteSource, SourceError
from fleet.discovery.uri import open_members, open_routes
from fleet.routing.route import Scaling
from fleet.routing.table import RoutingTable
from fleet.runtime.channels import ChannelFactory
from fleet.runtime.diagnostics import Diagnostics
from fleet.runtime.garbage import keep_what_is_here
from fleet.runtime.life import Component, Step
from fleet.runtime.process import StartError
from fleet.runtime.rpc import RpcServer
from protos.externalscaler.externalscaler_pb2_grpc import add_ExternalScalerServicer_to_server
from scaler.busy import BusyLeases
from scaler.members import MemberStreams, Watch
from scaler.service import SERVICE_NAME, ExternalScalerServicer
from scaler.settings import ScalerSettings
from scaler.telemetry import Metrics, pages

__all__ = ["Scaler"]

STOP_GRACE_SECONDS = 1.0
"""Seconds for streams to end with OK and for calls to be answered; both take milliseconds with a client that reads."""

_log = logging.getLogger(__name__)


class Scaler(Component):
    """One scaler. `routes` and `members` replace the sources named in the settings."""

    def __init__(
        self,
        settings: ScalerSettings,
        *,
        routes: RouteSource | None = None,
        members: MemberSource | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises StartError for a source of an unknown form."""
        super().__init__()
        self._routes, self._members, busy = _sources(settings, routes, members)
        self._demand = FleetDemand(
            on_wake=self._on_wake,
            concurrency_window=settings.concurrency_window,
            fresh_for=settings.news_timeout,
            grace=settings.startup_grace,
        )
        self._clock = clock
        self._busy = BusyLeases(self._demand, busy, clock=clock)
        self._service = ExternalScalerServicer(
            self._demand,
            self._routes,
            clock=clock,
            reassert_interval=settings.reassert_interval,
            fleet_namespace=settings.fleet_namespace,
        )
        self._channels = ChannelFactory(settings.member_tls, server_name=settings.member_tls_name or None)
        self._streams = MemberStreams(self._members, _watch(settings, self._demand, self._channels, clock))
        self._rpc = RpcServer(settings.host, settings.port, tls=settings.server_tls)
        self._rpc.add(add_ExternalScalerServicer_to_server, self._service, SERVICE_NAME)
        self._diagnostics = Diagnostics(
            settings.host,
            settings.diagnostics_port,
            not_ready=self._not_ready,
            metrics=Metrics(self._demand, self._service, clock, most_bytes=settings.metrics_max_bytes).parts,
            pages=pages(self._demand, clock),
            names=settings.diagnostics_hosts,
        )
        self._unsubscribe: Callable[[], None] | None = None
        self._serving = False

    @property
    def port(self) -> int:
        """The ExternalScaler's port; before `start` the configured one."""
        return self._rpc.port

    @property
    def diagnostics_port(self) -> int:
        return self._diagnostics.port

    def _steps(self) -> Sequence[Step]:
        """Read the sources, connect to the interceptors, then serve. At the end readiness is withdrawn first, so that clients
        go to another scaler."""
        return (
            Step("diagnostics", self._diagnostics.start, self._diagnostics.stop),
            Step("routes", self._start_routes, self._close_routes),
            Step("busy leases", self._busy.start, self._busy.close),
            Step("members", self._members.start, self._members.close),
            Step("channels", self._channels.start, self._channels.close),
            Step("streams", self._streams.start, self._streams.close),
            Step("RPC", self._rpc.start, lambda: self._rpc.stop(STOP_GRACE_SECONDS)),
            Step("garbage", keep_what_is_here),  # with 20,000 streams a full collection would block pushes for a second
            Step("serving", self._serve, self._serve_no_more),
        )

    async def _start_routes(self) -> None:
        self._unsubscribe = self._routes.subscribe(self._on_table)
        await self._routes.start()
        if self._routes.current is not None:
            self._on_table(self._routes.current)

    async def _close_routes(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        await self._routes.close()

    async def _serve(self) -> None:
        self._serving = True
        await self._rpc.set_serving(True)
        _log.info("ExternalScaler on port %d, diagnostics on port %d", self.port, self.diagnostics_port)

    async def _serve_no_more(self) -> None:
        """End every stream with OK."""
        self._serving = False
        await self._rpc.set_serving(False)
        self._service.close()

    def _on_table(self, table: RoutingTable) -> None:
        self._demand.configure({route.app: _policy(route.scaling) for route in table.apps.values()})
        needs = table.dependencies.needs.items()
        self._demand.needs.configure(
            {app: [Need(each.app, each.keep_awake) for each in named] for app, named in needs}, self._clock()
        )
        busy = {route.app: route.scaling.max_busy for route in table.apps.values()}
        self._busy.configure({app: most for app, most in busy.items() if most})
        self._service.on_table(table)

    def _on_wake(self, app: str) -> None:
        self._service.wake(app)

    def _not_ready(self) -> str | None:
        """Unreachable interceptors do not make the scaler unready: then no call would reach it, and KEDA needs its
        GetMetricSpec."""
        if not self._serving:
            return "not serving"
        if self._routes.current is None:
            return "the routing table was not read yet"
        if self._members.current is None:
            return "the list of interceptors was not read yet"
        return None


def _sources(
    settings: ScalerSettings, routes: RouteSource | None, members: MemberSource | None
) -> tuple[RouteSource, MemberSource, BusySource]:
    try:
        return (
            open_routes(settings.routes, resync=settings.resync) if routes is None else routes,
            open_members(settings.members, resync=settings.resync) if members is None else members,
            open_busy(settings.busy, resync=settings.resync),
        )
    except SourceError as error:
        raise StartError(str(error)) from error


def _watch(settings: ScalerSettings, demand: FleetDemand, channels: ChannelFactory, clock: Callable[[], float]) -> Watch:
    return Watch(
        demand,
        channels,
        settings.scaler_name,
        clock,
        news_timeout=settings.news_timeout,
        retry_limit=settings.retry_limit,
        ttl=settings.member_ttl,
    )


def _policy(scaling: Scaling) -> AppPolicy:
    if scaling.rate is None:
        return AppPolicy(scaling.activity_period)
    return AppPolicy(scaling.activity_period, scaling.rate.window, scaling.rate.granularity)
