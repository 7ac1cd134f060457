"""One interceptor: creates the proxy, its RPC server and its diagnostics, and starts and stops them in order."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, Final

from fleet import defaults
from fleet.demand.ledger import Entry, Ledger
from fleet.discovery.busy import open_busy
from fleet.discovery.outside.backends import OutsideBackends
from fleet.discovery.outside.beside import WithOutside
from fleet.discovery.outside.lookup import Lookup, Resolver
from fleet.discovery.outside.names import Ttl
from fleet.discovery.outside.policy import DEFAULT, AddressPolicy
from fleet.discovery.sources import BackendSource, RouteSource, SourceError
from fleet.discovery.uri import open_backends, open_routes
from fleet.routing.port_index import PortKey
from fleet.routing.protocols import DATAGRAMS, HTTP1, HTTP2, STREAM, Spoken
from fleet.runtime.diagnostics import Diagnostics
from fleet.runtime.garbage import collect_while_idle, keep_what_is_here
from fleet.runtime.life import Component, Step
from fleet.runtime.rpc import RpcServer
from fleet.runtime.settings import SettingsError
from fleet.runtime.tasks import cancel_and_wait
from interceptor.backends.dialers import Dialers
from interceptor.called import Called
from interceptor.drain import finish
from interceptor.exchange.redirect import Redirects
from interceptor.http1.client import ClientConnection
from interceptor.http1.dialer import Http1Dialer
from interceptor.http1.over_tls import TlsHttp1Dialer
from interceptor.http2.client import take_over
from interceptor.http2.dialer import Http2Dialer
from interceptor.http2.over_tls import TlsHttp2Dialer
from interceptor.listener import Listener, room_for_clients, room_for_flows
from interceptor.metrics import Metrics
from interceptor.pages import ListenerRow, Pages
from interceptor.port_listeners import PortListeners
from interceptor.proxy import TICK_SECONDS, Proxy
from interceptor.proxy_protocol.reception import HeaderConnection, Reception, hand_over
from interceptor.rpc import QueueServicer, RoutingServicer
from interceptor.settings import InterceptorSettings
from interceptor.tcp.backend import StreamDialer
from interceptor.tls.upstream import BackendTls
from interceptor.tls_listener import TlsListener
from interceptor.transport.tcp import Outbox
from interceptor.trust import TrustedProxies
from interceptor.udp.backend import DatagramDialer
from interceptor.waits_rpc import WaitingServicer
from protos.weir.interceptor.v1.queue_pb2_grpc import add_QueueServiceServicer_to_server
from protos.weir.interceptor.v1.routing_pb2_grpc import add_RoutingServiceServicer_to_server
from protos.weir.interceptor.v1.waiting_pb2_grpc import add_WaitingServiceServicer_to_server

__all__ = ["Interceptor"]

RPC_GRACE_SECONDS: Final = 1.0
LIMITS_AT_ONCE: Final = 64
"""Deadlines handled in one turn of the event loop: about a millisecond of work."""

logger = logging.getLogger(__name__)


class Interceptor(Component):
    """The component. Sources that are not passed are opened from the settings."""

    def __init__(
        self,
        settings: InterceptorSettings,
        *,
        routes: RouteSource | None = None,
        backends: BackendSource | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        """`resolver` looks up DNS names of targets; by default as this machine is configured to."""
        super().__init__()
        self._settings = settings
        self._routes = routes or _open("routes", settings.routes, partial(open_routes, resync=settings.resync))
        reading = partial(open_backends, resync=settings.resync, direct=settings.direct_pod_routing)
        services: BackendSource = backends or _open("backends", settings.backends, reading)
        self._backends = WithOutside(services, _outside(settings, resolver or Lookup()))
        self.ledger = Ledger()
        outbox = Outbox()
        tls = BackendTls(settings.tls_policy, settings.authority_directories, verify=not settings.backend_tls_skip_verify)
        dialer = Dialers(
            {
                Spoken(HTTP1): Http1Dialer(outbox),
                Spoken(HTTP2): Http2Dialer(outbox, monotonic),
                Spoken(HTTP1, tls=True): TlsHttp1Dialer(outbox, tls),
                Spoken(HTTP2, tls=True): TlsHttp2Dialer(outbox, monotonic, tls),
                Spoken(STREAM): StreamDialer(outbox),
                Spoken(DATAGRAMS): DatagramDialer(),
            }
        )
        self.proxy = Proxy(settings, self.ledger, self._backends, monotonic, outbox=outbox, dialer=dialer)
        self.proxy.on_http2 = partial(take_over, self.proxy)
        self._listener = Listener(self._first_protocol(), settings.host, settings.proxy_port, monotonic)
        self._tls = TlsListener(settings, self.proxy) if settings.has_proxy_tls else None
        self._plaintext = settings.proxy_plaintext != "off"
        if settings.proxy_plaintext == "redirect":
            redirects = Redirects(
                self.proxy,
                self.proxy.open_exchange,
                https_port=lambda: settings.https_port or self.proxy_tls_port or defaults.HTTPS_PORT,
            )
            self.proxy.open_exchange = redirects
        self.proxy.on_full, self.proxy.on_room = self._pause, self._resume
        self._ports = PortListeners(self.proxy, settings, monotonic, self._tls)
        leases = _open("busy", settings.busy, partial(open_busy, resync=settings.resync), optional=True)
        self._called = Called(leases, self._entry, clock=monotonic)
        self._queue = QueueServicer(
            self.ledger,
            member=settings.member_name,
            incarnation=uuid.uuid4().hex,
            clock=monotonic,
            draining=lambda: self.proxy.draining,
            called=self._called.replicas,
        )
        self.ledger.on_edge = self._queue.wake
        self._waiting = WaitingServicer(
            lambda: self.proxy.waits.report(monotonic()), busy=self.ledger.busy, member=settings.member_name
        )
        self._rpc = RpcServer(settings.host, settings.rpc_port, tls=settings.server_tls)
        self._rpc.add(add_QueueServiceServicer_to_server, self._queue, "weir.interceptor.v1.QueueService")
        self._rpc.add(add_WaitingServiceServicer_to_server, self._waiting, "weir.interceptor.v1.WaitingService")
        self._rpc.add(
            add_RoutingServiceServicer_to_server,
            RoutingServicer(self._routes, member=settings.member_name, unbound=self._ports.unbound),
            "weir.interceptor.v1.RoutingService",
        )
        self.pages = Pages(self.proxy, settings, called=self._called.replicas)
        shown = [*([self._show_proxy] if self._plaintext else ()), *([] if self._tls is None else [self._show_tls])]
        self.pages.listeners += [*shown, self._show_rpc, self._show_diagnostics]
        self.pages.ports = self._ports.rows
        if self._tls is not None:
            self.pages.certificates.append(self._tls.certificates.shown)
        self._diagnostics = Diagnostics(
            settings.host,
            settings.diagnostics_port,
            not_ready=self._not_ready,
            metrics=Metrics(self.proxy, settings.metrics_max_bytes, tls=self._tls, lost=self._ports.lost).parts,
            pages=self.pages.all(),
            names=settings.diagnostics_hosts,
        )
        self._sweeper: asyncio.Task[None] | None = None
        self._unsubscribe: list[Callable[[], None]] = []
        self._served = False

    def _first_protocol(self) -> Callable[[], asyncio.BaseProtocol]:
        """What reads a connection at first: the codec, or the header of the PROXY protocol where it can come."""
        proxy, balancers = self.proxy, TrustedProxies.parse(self._settings.proxy_protocol)
        if not balancers:
            return lambda: ClientConnection(proxy)
        reception = Reception(proxy, balancers)
        return lambda: HeaderConnection(
            reception, lambda transport, source: hand_over(transport, ClientConnection(proxy, source))
        )

    def _entry(self, app: str) -> Entry | None:
        found = self.proxy.apps.get(app)
        return None if found is None else found.entry

    @property
    def proxy_port(self) -> int:
        """The bound port; before `start` the requested one."""
        return self._listener.port

    @property
    def proxy_tls_port(self) -> int | None:
        """The same for TLS; None without certificates."""
        return None if self._tls is None else self._tls.port

    def listens_at(self, key: PortKey) -> int | None:
        """The port of a route, once it is bound."""
        return self._ports.port_of(key)

    @property
    def rpc_port(self) -> int:
        return self._rpc.port

    @property
    def diagnostics_port(self) -> int:
        return self._diagnostics.port

    def _steps(self) -> Sequence[Step]:
        """Read the table first, then listen. On close, demand is reported until the last connection is closed."""
        return (
            Step("backends", self._backends.start, self._backends.close),
            Step("routes", self._routes.start, self._routes.close),
            Step("leases by calls", self._called.start, self._called.close),
            Step("table", self._follow, self._unfollow),
            Step("diagnostics", self._diagnostics.start, self._diagnostics.stop),
            Step("RPC", self._rpc.start, self._stop_rpc),
            Step("time limits", self._start_sweeping, self._stop_sweeping),
            Step("connections", close=self._cut),
            Step("listener", self._listen, self._close_listeners),
            Step("garbage", keep_what_is_here),  # full collections then skip the objects created so far
            Step("serving", self._serve),
        )

    def _follow(self) -> None:
        self._unsubscribe = [
            self._backends.subscribe(self.proxy.backends_changed),
            self._routes.subscribe(self.proxy.set_table),
            self._routes.subscribe(self._ports.set_table),
            self._routes.subscribe(self._called.set_table),
        ]
        if self._routes.current is not None:
            self.proxy.set_table(self._routes.current)
            self._ports.set_table(self._routes.current)
            self._called.set_table(self._routes.current)

    def _unfollow(self) -> None:
        unsubscribe, self._unsubscribe = self._unsubscribe, []
        for one in unsubscribe:
            one()

    def _start_sweeping(self) -> None:
        self._sweeper = asyncio.create_task(self._sweep(), name="time limits")

    async def _stop_sweeping(self) -> None:
        await cancel_and_wait(self._sweeper)

    async def _listen(self) -> None:
        asked = "max_flows" in self._settings.model_fields_set
        flows = room_for_flows(self._settings.max_flows, asked=asked)
        self.proxy.flows.limit(flows)
        self.proxy.most_clients = room_for_clients(self._settings.max_connections, flows=flows)
        if self._plaintext:
            await self._listener.start()
        if self._tls is not None:
            await self._tls.start()
        await self._ports.start()

    async def _stop_accepting(self) -> None:
        await self._listener.close()
        await self._ports.stop_accepting()
        if self._tls is not None:
            await self._tls.stop_accepting()

    async def _close_listeners(self) -> None:
        await self._stop_accepting()
        if self._tls is not None:
            await self._tls.close()

    def _pause(self) -> None:
        self._listener.pause()
        self._ports.pause()
        if self._tls is not None:
            self._tls.pause()

    def _resume(self) -> None:
        self._listener.resume()
        self._ports.resume()
        if self._tls is not None:
            self._tls.resume()

    async def _serve(self) -> None:
        await self._rpc.set_serving(True)
        self._served = True
        ports = [f"port {self.proxy_port}"] if self._plaintext else []
        ports += [] if self._tls is None else [f"port {self._tls.port} (TLS)"]
        logger.info("interceptor %s serves on %s", self._settings.member_name, " and ".join(ports))

    async def _cut(self) -> None:
        self._unfollow()  # changes from here on must not open connections
        await self.proxy.close()
        self._ports.close()
        await asyncio.sleep(0)  # reset connections release their leases

    async def _stop_rpc(self) -> None:
        self._queue.close()
        self._waiting.close()
        await self._rpc.stop(RPC_GRACE_SECONDS)

    async def drain(self) -> None:
        """Report not ready, wait, stop accepting, let open exchanges finish. Demand is reported until the end."""
        settings, proxy, began = self._settings, self.proxy, monotonic()
        proxy.draining = True
        self._queue.tell_draining()
        await self._rpc.set_serving(False)
        logger.info("draining: not ready, %d connections, %d requests", len(proxy.clients), self.ledger.outstanding)
        await asyncio.sleep(settings.drain_delay)
        await self._stop_accepting()
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
            while not self._apply_limits():  # noqa: ASYNC110 -- no event to wait for: only lets other tasks run
                await asyncio.sleep(0)
            if not self.ledger.outstanding:
                collect_while_idle()

    def _apply_limits(self) -> bool:
        """Handle some of the due deadlines. Returns whether all have been handled."""
        try:
            return self.proxy.deadlines.sweep(monotonic(), most=LIMITS_AT_ONCE)
        except Exception:  # an error in one connection must not end the time limits of all
            logger.exception("a time limit could not be applied")
            return False

    def _not_ready(self) -> str | None:
        if self.proxy.draining:
            return "draining"
        if (self._plaintext and not self._listener.started) or (self._tls is not None and not self._tls.started):
            return "not listening yet"
        if self.proxy.table is None:
            return "the routing table has not been read yet"
        return None if self._backends.synced else "the backends have not been read yet"

    def _show_proxy(self) -> ListenerRow:
        proxy, settings = self.proxy, self._settings
        return ListenerRow(
            "requests",
            settings.host,
            self.proxy_port,
            "HTTP/1.1, HTTP/2",
            accepts=self._listener.started and not proxy.full,
            connections=len(proxy.clients),
            most_connections=proxy.most_clients,
            proxy_protocol=settings.proxy_protocol,
        )

    def _show_tls(self) -> ListenerRow:
        assert self._tls is not None  # noqa: S101 -- its row is only there if it is
        settings = self._settings
        return ListenerRow(
            "requests",
            settings.host,
            self._tls.port,
            "HTTP/1.1, HTTP/2",
            tls=True,
            accepts=self._tls.started and not self.proxy.full,
            proxy_protocol=settings.proxy_protocol,
        )

    def _show_rpc(self) -> ListenerRow:
        settings = self._settings
        return ListenerRow("RPC", settings.host, self.rpc_port, "gRPC", tls=settings.server_tls is not None)

    def _show_diagnostics(self) -> ListenerRow:
        return ListenerRow("diagnostics", self._settings.host, self.diagnostics_port, "HTTP/1.1")


def _outside(settings: InterceptorSettings, resolver: Resolver) -> OutsideBackends:
    policy = AddressPolicy.parse(settings.outside_allowed or DEFAULT)
    return OutsideBackends(resolver, policy, Ttl(settings.outside_min_ttl, settings.outside_max_ttl), clock=monotonic)


def _open(what: str, uri: str, opener: Callable[[str], Any], *, optional: bool = False) -> Any:
    if not uri and not optional:
        raise SettingsError(f"--{what} (WEIR_{what.upper()}) is not set: an interceptor has to know where they are")
    try:
        return opener(uri)
    except SourceError as error:
        raise SettingsError(str(error)) from error
