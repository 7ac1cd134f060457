"""The pages of an interceptor's diagnostics: what it knows of routes, requests, backends, clients, listeners and certificates.

Only reads. A page with many rows is generated row by row, with turns of the event loop in between, and never iterates over what
may change meanwhile. Other parts plug in by `listeners` and `certificates`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Final

import msgspec
from msgspec.structs import asdict

from fleet.demand.ledger import QueueSize
from fleet.discovery.work import BackendWork, TargetWork
from fleet.runtime.certificates import ShownCertificate, certificates_of_file
from fleet.runtime.documents import Pairs, Rows
from fleet.runtime.forms import Page
from fleet.runtime.terminal import one_line
from interceptor.backends.endpoint import Endpoint
from interceptor.backends.endpoints import EndpointSet
from interceptor.core.sides import Client
from interceptor.proxy import Proxy
from interceptor.settings import InterceptorSettings
from interceptor.tls.upstream import verifies
from interceptor.udp.flows import FlowEntry

__all__ = ["ListenerRow", "Pages"]

CONNECTIONS_SHOWN: Final = 1000
"""Client connections of the page /connections, unless its query asks for another number; there may be 50,000."""


class ListenerRow(msgspec.Struct, omit_defaults=True):
    """Something that listens."""

    purpose: str
    host: str
    port: int
    protocols: str
    tls: bool = False
    accepts: bool = True
    """False while there is no room for more connections, and in a drain."""
    connections: int | None = None
    most_connections: int | None = None
    failure: str = ""
    """Why nothing listens, at a port that a route names."""
    proxy_protocol: str | None = None
    """Peers whose connections begin with a header of the PROXY protocol."""
    dropped: dict[str, int] | None = None
    """Datagrams of a UDP port that were dropped, by reason: of all ports of its application, and what the kernel has lost
    here."""


class QueueRow(QueueSize, frozen=True, gc=False):
    """The demand of one application, as the page shows it."""

    busy_by_call: int = 0
    """Replicas that keep it awake by a call."""


class ConnectionRow(msgspec.Struct):
    """The connection of one client."""

    address: str
    protocol: str
    seconds: float
    """Since it was opened."""
    state: str
    requests: int
    trusted_proxy: bool


class Pages:
    """By path: what is shown."""

    def __init__(self, proxy: Proxy, settings: InterceptorSettings, *, called: Callable[[], Mapping[str, int]] = dict) -> None:
        """`called`: replicas that keep applications awake by a call."""
        self._proxy = proxy
        self._called = called
        self._settings = settings
        self.listeners: list[Callable[[], ListenerRow]] = []
        """One for each listener, in the order of the page."""
        self.ports: Callable[[], Iterable[ListenerRow]] = tuple
        """Those of ports that routes name."""
        self.certificates: list[Callable[[], Iterable[ShownCertificate]]] = [self._rpc_certificates]
        """The certificates of each part that has any."""

    def all(self) -> Mapping[str, Page]:
        return {
            "/routes": Page(self._routes, "the routing table that is served"),
            "/queue": Page(self._queue, "requests held and in flight, and replicas that are busy, by application"),
            "/backends": Page(self._backends, "backends of each target: state, requests in flight, connections, failures"),
            "/connections": Page(
                self._connections, "client connections, flows, and connections to backends (?limit=N)", limit=CONNECTIONS_SHOWN
            ),
            "/config": Page(self._settings.shown, "the settings, without secrets"),
            "/listeners": Page(self._listeners, "ports, and what listens there"),
            "/certs": Page(self._certs, "certificates: names, and when they expire"),
        }

    def _routes(self) -> Any:
        table = self._proxy.table
        if table is None:
            return {"version": None, "routes": []}
        return {"version": table.version, "routes": Rows(table.routes), "conflicts": Rows(table.conflicts)}

    def _queue(self) -> Any:
        clock, called = self._proxy.clock, self._called()
        return Pairs(
            (app.name, QueueRow(**asdict(app.entry.size(clock())), busy_by_call=called.get(app.name, 0)))
            for app in list(self._proxy.apps.values())
        )

    def _listeners(self) -> Any:
        return Rows(chain((show() for show in self.listeners), self.ports()))

    # -- backends -------------------------------------------------------------------------------------------------

    def _backends(self) -> Any:
        verify = not self._settings.backend_tls_skip_verify
        return Pairs(_targets(self._proxy.endpoint_sets, self._proxy.removed_sets, verify=verify))

    # -- connections ----------------------------------------------------------------------------------------------

    def _connections(self, most: int) -> Any:
        proxy, now = self._proxy, self._proxy.clock()
        clients = list(islice(proxy.clients, most))
        return {
            "clients": len(proxy.clients),
            "most_clients": proxy.most_clients,
            "shown": len(clients),
            "connections": Rows(_of_client(client, now) for client in clients),
            "flows": Rows(_of_client(flow, now) for flow in islice(proxy.flows, most)),
            "to_backends": Rows(_to_backends(proxy.endpoint_sets, most)),
        }

    # -- certificates ---------------------------------------------------------------------------------------------

    def _certs(self) -> Any:
        return Rows(chain.from_iterable(show() for show in self.certificates))

    def _rpc_certificates(self) -> Iterator[ShownCertificate]:
        files = self._settings.server_tls
        if files is not None:
            yield from certificates_of_file("RPC server", files.cert)
            if files.ca is not None:
                yield from certificates_of_file("authority of RPC clients", files.ca)


def _targets(sets: Iterable[EndpointSet], removed: Iterable[EndpointSet], *, verify: bool) -> Iterator[tuple[str, TargetWork]]:
    """One entry for each key. A target that is spoken to in two ways has two sets, and so has, for a while, one that was removed
    and named again."""
    every: dict[str, list[EndpointSet]] = {}
    for one in chain(sets, removed):
        every.setdefault(one.key, []).append(one)
    for key, same in every.items():
        yield key, _target(same, verify=verify)


def _target(same: list[EndpointSet], *, verify: bool) -> TargetWork:
    current = same[0]
    return TargetWork(
        backends=[_of_endpoint(endpoint, verify=verify) for one in same for endpoint in one.in_use],
        trouble="" if current.trouble is None else current.trouble.reason,
        last_error=next((one.last_error for one in same if one.last_error), ""),
    )


def _of_endpoint(endpoint: Endpoint, *, verify: bool) -> BackendWork:
    tls, owner = endpoint.speaks.tls, endpoint.owner
    backend = endpoint.backend
    return BackendWork(
        host=backend.host,
        port=backend.port,
        in_flight=endpoint.work,
        state=_state(endpoint),
        app_protocol=backend.app_protocol,
        protocol=endpoint.speaks.protocol,
        tls=_trust(verified=verifies(owner.connects.tls, by_default=verify)) if tls else "",
        server_name=one_line(owner.server_name) if tls else "",
        pooled=len(endpoint.spare),
        reserved=len(endpoint.own),
        dialing=endpoint.dialing,
        failures=endpoint.failures,
        pod=one_line(backend.behind),
    )


def _state(endpoint: Endpoint) -> str:
    if endpoint.gone:
        return "leaving"
    if endpoint.trusted:
        return "ready"
    return "set aside" if endpoint.owner.rule.path is None or endpoint.failures else "probing"


def _trust(*, verified: bool) -> str:
    return "verified" if verified else "not verified"


def _of_client(client: Client | FlowEntry, now: float) -> ConnectionRow:
    return ConnectionRow(
        address=client.peer.decode(errors="replace"),
        protocol=client.protocol,
        seconds=round(now - client.since, 3),
        state=client.activity,
        requests=client.requests,
        trusted_proxy=client.trusted,
    )


def _to_backends(sets: Iterable[EndpointSet], most: int) -> Iterator[dict[str, Any] | None]:
    """At most so many rows, and a step without a row for each target, as most may be asleep."""
    for one in sets:
        yield None
        for endpoint in islice(one.endpoints, most):
            most -= 1
            yield {
                "target": one.key,
                "address": endpoint.address,
                "protocol": str(endpoint.speaks),
                "in_flight": endpoint.load,
                "pooled": len(endpoint.spare),
                "reserved": len(endpoint.own),
                "dialing": endpoint.dialing,
            }
        if most <= 0:
            return
