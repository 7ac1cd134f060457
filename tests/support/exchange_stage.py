"""The host of one exchange in memory: an application, its backends, a client, and a clock that only a test moves."""

from __future__ import annotations

import math
from typing import Any

from fleet.demand.ledger import Ledger
from fleet.routing.route import Route, Rule, Target, Timeouts
from fleet.routing.table import RoutingTable
from interceptor.app.app import App
from interceptor.app.applist import AppList
from interceptor.app.waits import Waits
from interceptor.backends.endpoint import DialRequest, Endpoint, PoolLimits
from interceptor.backends.endpoints import EndpointSet
from interceptor.core.deadlines import Deadlines
from interceptor.core.errors import ExchangeError
from interceptor.core.sides import ClientTunnelEvents, ResponseEvents, UpstreamTunnelEvents
from interceptor.exchange.phases import NAMES
from tests.support.exchange_sides import Client, Server
from tests.support.loopback import loopback_settings
from tests.support.strict import StrictExchange

__all__ = ["LIMITS", "Hall"]

APP = "default/a"
LIMITS: dict[str, float] = {"connect": 5, "readiness": 20, "response_header": 30, "request": 100, "idle": 10}
"""Seconds; all different, so that a timeout shows which limit it was."""


class _Dials(EndpointSet):
    """Records requests for connections."""

    def __init__(self, stage: Hall, **options: Any) -> None:
        super().__init__(**options)
        self._stage = stage

    def dial(self, endpoint: Endpoint, request: DialRequest, *, timeout: float) -> None:
        self._stage.dials.append((endpoint, request))
        endpoint.dialing += 1
        self._stage.outputs.append(f"dial {endpoint.backend.host} {timeout:g}")


class _Nobody:
    """A prober that does nothing, because there are no connections."""

    async def connect(self, endpoint: Endpoint) -> Any:
        raise AssertionError(endpoint)

    def probe(self, endpoint: Endpoint) -> None:
        """No result is ever reported."""


class Hall:
    """One exchange with everything that it needs; the exchange's host."""

    applist: AppList | None = None

    def __init__(self, **fields: Any) -> None:
        """`fields` are fields of the route."""
        self.outputs: list[str] = []
        self.now = 0.0
        self.dials: list[tuple[Endpoint, DialRequest]] = []
        self.servers: dict[str, Server] = {}
        self.none_ever: tuple[str, str] | None = None
        limits = PoolLimits(idle_timeout=60, max_idle=8)
        shared = {"limits": limits, "deadlines": Deadlines(0.1, now=0.0), "dialer": _Nobody(), "prober": _Nobody()}
        self.sets = {key: _Dials(self, target=Target(key), clock=self.clock, **shared) for key in ("a", "fallback")}
        timeouts = Timeouts(**{**LIMITS, **fields.pop("timeouts", {})})
        rules = fields.pop("rules", (Rule(hosts=("a.test",)),))
        self.route = Route(app=APP, target=Target(APP), rules=rules, timeouts=timeouts, **fields)
        fallback = None if self.route.cold_start.fallback is None else self.sets["fallback"]
        self.entry = Ledger().entry(APP)
        self.app = App(self.route, self.entry, self.sets["a"], loopback_settings(), fallback=fallback, waits=Waits())
        self.apps = {APP: self.app}
        self.table: RoutingTable | None = RoutingTable([self.route])
        self.client = Client(self.outputs, self.keep_deadline)
        self.routes: dict[str, dict[str, Any]] = {}
        """Fields of routes that it may change to."""
        self.exchange: StrictExchange | None = None
        """The exchange that began last."""
        self.begun = 0
        self.asks_at = math.inf
        """When the host checks the client's deadline: at the earliest time that it was set to, even if it was moved later."""

        self.watched = 0
        """How often the host heard of a deadline."""

    def clock(self) -> float:
        return self.now

    # -- host of the exchange -------------------------------------------------------------------------------------

    def missing(self, app: App) -> tuple[str, str] | None:
        return self.none_ever

    def refused(self, error: ExchangeError) -> None:
        self.outputs.append(f"refused {error.reason}")

    def keep_deadline(self) -> None:
        self.watched += 1
        self.asks_at = min(self.asks_at, self.client.deadline)

    # -- what the verbs of playbooks use ---------------------------------------------------------------------------

    def state(self) -> str:
        """Phase; requests counted as held and in flight; slots in use; tunnels, if there are any."""
        exchange = self.current
        load = sum(sum(each.at_work().values()) for each in self.sets.values())
        tunnels = f" tunnels={self.entry.connections}" if self.entry.connections else ""
        return f"{NAMES[exchange.phase]} held={self.entry.held} in_flight={self.entry.in_flight} load={load}{tunnels}"

    @property
    def tunnel(self) -> ClientTunnelEvents:
        assert self.client.tunnel is not None
        return self.client.tunnel

    def end_of(self, who: str) -> UpstreamTunnelEvents:
        tunnel = self.servers[who].tunnel
        assert tunnel is not None
        return tunnel

    @property
    def current(self) -> StrictExchange:
        assert self.exchange is not None
        return self.exchange

    def server(self, endpoint: Endpoint) -> Server:
        host = endpoint.backend.host
        name = (
            host if host not in self.servers else f"{host}{sum(each.rstrip('0123456789') == host for each in self.servers) + 1}"
        )
        self.servers[name] = Server(name, self.outputs, endpoint)
        return self.servers[name]

    def sink(self, who: str) -> ResponseEvents:
        sink = self.servers[who].sink
        assert sink is not None, f"{who} answers nothing"
        return sink
