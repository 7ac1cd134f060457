"""The scaler as a whole: sources, streams to the interceptors, the ExternalScaler, diagnostics; their start and end.

The only place of the package where the parts meet; decides nothing that they decide.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from fleet.demand.merge import AppPolicy, FleetDemand
from fleet.discovery.sources import MemberSource, RouteSource, SourceError
from fleet.discovery.uri import open_members, open_routes
from fleet.routing.route import Scaling
from fleet.routing.table import RoutingTable
from fleet.runtime.channels import ChannelFactory
from fleet.runtime.diagnostics import Diagnostics
from fleet.runtime.garbage import collect_rarely
from fleet.runtime.logs import configure_logging
from fleet.runtime.process import Shutdown, StartError
from fleet.runtime.rpc import RpcServer
from protos.externalscaler.externalscaler_pb2_grpc import add_ExternalScalerServicer_to_server
from scaler.members import MemberStreams, Watch
from scaler.service import SERVICE_NAME, ExternalScalerServicer
from scaler.settings import ScalerSettings
from scaler.telemetry import Metrics, pages

__all__ = ["Scaler", "run"]

STOP_GRACE_SECONDS = 1.0
"""For streams to end with OK and calls to be answered; both take milliseconds with a client that reads."""

_log = logging.getLogger(__name__)


class Scaler:
    """One scaler. `routes` and `members` replace the sources that the settings name."""

    def __init__(
        self,
        settings: ScalerSettings,
        *,
        routes: RouteSource | None = None,
        members: MemberSource | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises StartError for a source of an unknown form."""
        self._routes, self._members = _sources(settings, routes, members)
        self._demand = FleetDemand(
            on_wake=self._on_wake,
            concurrency_window=settings.concurrency_window,
            fresh_for=settings.news_timeout,
            grace=settings.startup_grace,
        )
        self._clock = clock
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
        )
        self._unsubscribe: Callable[[], None] | None = None
        self._serving = False

    @property
    def port(self) -> int:
        """Of the ExternalScaler; before `start` the one asked for."""
        return self._rpc.port

    @property
    def diagnostics_port(self) -> int:
        return self._diagnostics.port

    async def start(self) -> None:
        """Read the sources, listen to the interceptors, then serve. Raises StartError, with nothing left running."""
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End every stream with OK and stop. Not ready first, so that whoever looks goes elsewhere."""
        self._serving = False
        await self._rpc.set_serving(False)
        self._service.close()
        await self._rpc.stop(STOP_GRACE_SECONDS)
        await self._streams.close()
        await self._channels.close()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        await self._members.close()
        await self._routes.close()
        await self._diagnostics.stop()

    async def _start(self) -> None:
        self._unsubscribe = self._routes.subscribe(self._on_table)
        await self._routes.start()
        if self._routes.current is not None:
            self._on_table(self._routes.current)
        await self._members.start()
        await self._channels.start()
        self._streams.start()
        await self._diagnostics.start()
        await self._rpc.start()
        self._serving = True
        collect_rarely()  # 20,000 streams take a second of one, for which pushes would wait
        await self._rpc.set_serving(True)
        _log.info("ExternalScaler on port %d, diagnostics on port %d", self.port, self.diagnostics_port)

    def _on_table(self, table: RoutingTable) -> None:
        self._demand.configure({route.app: _policy(route.scaling) for route in table.routes})
        self._service.on_table(table)

    def _on_wake(self, app: str) -> None:
        self._service.wake(app)

    def _not_ready(self) -> str | None:
        """Interceptors that are down do not make the scaler unready: it would answer nothing at all then, and KEDA
        needs its GetMetricSpec."""
        if not self._serving:
            return "not serving"
        if self._routes.current is None:
            return "the routing table was not read yet"
        if self._members.current is None:
            return "the list of interceptors was not read yet"
        return None


async def run(settings: ScalerSettings) -> None:
    """A scaler until SIGTERM or SIGINT. Raises StartError."""
    configure_logging(settings.log_level, settings.log_json)
    with Shutdown() as shutdown:
        scaler = Scaler(settings)
        await scaler.start()
        try:
            await shutdown.wait()
        finally:
            await scaler.close()


def _sources(
    settings: ScalerSettings, routes: RouteSource | None, members: MemberSource | None
) -> tuple[RouteSource, MemberSource]:
    try:
        return (
            open_routes(settings.routes, resync=settings.resync) if routes is None else routes,
            open_members(settings.members, resync=settings.resync) if members is None else members,
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
