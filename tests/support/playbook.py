"""Conversations with one exchange, as text: lines that begin with ">" go in, and those that begin with "<" must come out of it.

In memory, on a clock that only a playbook moves: client and backends are lists of what they were told. What goes in is a verb of
`Stage`; a line that begins with "=" is the state after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from fleet.demand.ledger import Ledger
from fleet.discovery.sources import Backend, Trouble
from fleet.routing.route import Route, Rule, Target, Timeouts
from fleet.routing.table import RoutingTable
from interceptor.app.app import App
from interceptor.app.applist import AppList
from interceptor.app.waits import Waits
from interceptor.backends.endpoint import DialRequest, Endpoint, PoolLimits
from interceptor.backends.endpoints import EndpointSet
from interceptor.core.deadlines import Deadlines
from interceptor.core.errors import BackendError, BadRequest, BadResponse, ExchangeError, Unavailable
from interceptor.core.messages import Fields, Request, Response
from interceptor.core.replies import Reply
from interceptor.core.sides import ClientTunnelEvents, Place, ResponseEvents, UpstreamTunnelEvents
from interceptor.exchange.exchange import Exchange
from interceptor.exchange.life import Life
from interceptor.exchange.phases import DONE, NAMES, NEXT
from tests.wire.proxy_rig import loopback_settings

__all__ = ["WARM", "Stage", "StrictExchange", "play"]

WARM = """
> backends a+
> request GET
< a request GET 0
= SENT held=0 in_flight=1 load=1
"""
"""How many playbooks begin: a request on a connection that rested."""

APP = "default/a"
LIMITS: dict[str, float] = {"connect": 5, "readiness": 20, "response_header": 30, "request": 100, "idle": 10}
"""Seconds; all different, so that each can be told by its time."""


class StrictExchange(Exchange):
    """Goes from one phase to another only as the table says."""

    __slots__ = ()

    @property
    def phase(self) -> int:
        return cast("int", Life.phase.__get__(self))  # type: ignore[attr-defined, misc]

    @phase.setter
    def phase(self, phase: int) -> None:
        try:
            before = self.phase
        except AttributeError:
            before = phase  # the first
        else:
            assert phase in NEXT[before], f"{NAMES[before]} -> {NAMES[phase]}"
        Life.phase.__set__(self, phase)  # type: ignore[attr-defined, misc]


class PlainRequest(Request):
    """Of a protocol that has nothing but requests."""

    kept: int = 0
    for_another: bool = False

    @property
    def size(self) -> int:
        return self.kept

    @property
    def is_for_another(self) -> bool:
        return self.for_another

    def match_fields(self) -> list[tuple[bytes, bytes]]:
        return []


class _Side:
    """What both sides note in the same way."""

    def __init__(self, name: str, told: list[str]) -> None:
        self._name, self._told = name, told
        self.deadline, self.bucket, self.congested, self.paused = math.inf, 0, False, False
        self.stuck = math.inf

    def note(self, what: str) -> None:
        self._told.append(f"{self._name} {what}")

    def on_deadline(self, now: float) -> None:
        raise AssertionError("the stage asks the exchange itself")

    def pause_reading(self) -> None:
        if not self.paused:
            self.paused = True
            self.note("pause")

    def resume_reading(self) -> None:
        if self.paused:
            self.paused = False
            self.note("resume")

    def write_through(self, data: bytes | memoryview) -> None:
        self.note(f"data {len(data)}")

    def splice(self, first: bytes | memoryview, source: object, count: int) -> int:
        self.note(f"splice {len(first)} of {count}")
        return count

    def write_eof(self) -> None:
        self.note("eof")

    def stuck_for(self) -> float:
        return self.stuck if self.congested else math.inf

    def abort(self) -> None:
        self.note("abort")


class Client(_Side):
    """A downstream."""

    peer, unframed = b"192.0.2.9", False

    def __init__(self, told: list[str]) -> None:
        super().__init__("client", told)
        self.trusted = self.half_closed = False
        self.persists = True
        self.own_backend: Any = None
        self.tunnel: ClientTunnelEvents | None = None

    def send_interim(self, head: Response) -> None:
        self.note(f"interim {head.status}")

    def send_head(self, head: Response, fields: Fields, data: bytes | memoryview, *, end: bool) -> None:
        added = "".join(f" +{name.decode()}" for name, value in fields if (name, value) != (b"X-KEDA-HTTP-Cold-Start", b"false"))
        self.note(f"head {head.status} {len(data)}{' end' if end else ''}{added}")

    def exchange_done(self, now: float) -> None:
        self.note("done")

    def reply(self, reply: Reply, *, method: bytes, now: float) -> None:
        self.note(f"reply {reply.status}")

    def upgrade(self, tunnel: ClientTunnelEvents, head: Response, fields: Fields, data: bytes) -> bytes:
        self.tunnel = tunnel
        self.note(f"upgrade {len(data)}")
        return b""

    def leave_tunnel(self, *, patience: float) -> None:
        self.note("leave tunnel")

    def cut_tunnel(self) -> None:
        self.note("cut tunnel")


class Server(_Side):
    """An upstream."""

    def __init__(self, name: str, told: list[str], endpoint: Endpoint) -> None:
        super().__init__(name, told)
        self.endpoint: Place = endpoint
        self.personal = self.ended = False
        self.sink: ResponseEvents | None = None
        self.tunnel: UpstreamTunnelEvents | None = None

    def send_request(self, sink: ResponseEvents, head: Request, body: list[bytes] | None, *, peer: bytes, trusted: bool) -> None:
        self.sink = sink
        self.note(f"request {head.method.decode()} {0 if body is None else sum(map(len, body))}")

    def write(self, data: bytes) -> None:
        self.note(f"early {len(data)}")

    def rest(self) -> None:
        self.sink = None
        self.note("rest")

    def has_news(self) -> bool:
        return self.ended

    def enter_tunnel(self, tunnel: UpstreamTunnelEvents) -> None:
        self.tunnel = tunnel

    def part(self, now: float) -> None:
        self.note("part")

    def close(self) -> None:
        self.note("close")

    def abort(self) -> None:
        self.sink = None
        super().abort()


class _Dials(EndpointSet):
    """Notes who asks for a connection."""

    def __init__(self, stage: Stage, **options: Any) -> None:
        super().__init__(**options)
        self._stage = stage

    def dial(self, endpoint: Endpoint, request: DialRequest, *, timeout: float) -> None:
        self._stage.dials.append((endpoint, request))
        endpoint.dialing += 1
        self._stage.told.append(f"dial {endpoint.backend.host} {timeout:g}")


class _Nobody:
    """No connections are made, so nobody is probed."""

    async def connect(self, endpoint: Endpoint) -> Any:
        raise AssertionError(endpoint)

    def probe(self, endpoint: Endpoint) -> None:
        """Never told."""


class Stage:
    """One exchange with all that it needs. The host of it."""

    applist: AppList | None = None

    def __init__(self, **fields: Any) -> None:
        """`fields` are of the route."""
        self.told: list[str] = []
        self.now = 0.0
        self.dials: list[tuple[Endpoint, DialRequest]] = []
        self.servers: dict[str, Server] = {}
        self.none_ever: tuple[str, str] | None = None
        limits = PoolLimits(idle_timeout=60, max_idle=8)
        shared = {"limits": limits, "deadlines": Deadlines(0.1, now=0.0), "dialer": _Nobody(), "prober": _Nobody()}
        self.sets = {key: _Dials(self, key=key, clock=self.clock, **shared) for key in ("a", "fallback")}
        timeouts = Timeouts(**{**LIMITS, **fields.pop("timeouts", {})})
        self.route = Route(app=APP, target=Target(APP), rules=(Rule(hosts=("a.test",)),), timeouts=timeouts, **fields)
        fallback = None if self.route.cold_start.fallback is None else self.sets["fallback"]
        self.entry = Ledger().entry(APP)
        self.app = App(self.route, self.entry, self.sets["a"], loopback_settings(), fallback=fallback, waits=Waits())
        self.apps = {APP: self.app}
        self.table: RoutingTable | None = RoutingTable([self.route])
        self.client = Client(self.told)
        self.exchange: StrictExchange | None = None
        """The last that began."""
        self.begun = 0

    def clock(self) -> float:
        return self.now

    # -- host of the exchange -------------------------------------------------------------------------------------

    def missing(self, app: App) -> tuple[str, str] | None:
        return self.none_ever

    def refused(self, error: ExchangeError) -> None:
        self.told.append(f"refused {error.reason}")

    def watch(self, client: object) -> None:
        """Playbooks ask themselves."""

    # -- what a playbook says -------------------------------------------------------------------------------------

    def backends(self, *names: str, of: str = "a") -> None:
        """Listed now, and ready. "b+" has a connection that rests, "b++" two, "b-" one that has ended unheard."""
        backends = {name.rstrip("+-"): name for name in names}
        self.sets[of].update(tuple(Backend(name, 80) for name in backends))
        for endpoint in self.sets[of].endpoints:
            marks = backends[endpoint.backend.host].removeprefix(endpoint.backend.host)
            for mark in marks if not endpoint.spare else "":
                server = self._server(endpoint)
                server.ended = mark == "-"
                endpoint.spare.append(server)

    def fallback(self, *names: str) -> None:
        self.backends(*names, of="fallback")

    def trouble(self, reason: str = "") -> None:
        """Why there are no backends."""
        self.sets["a"].update((), Trouble(reason, hopeless=True) if reason else None)

    def never(self, reason: str) -> None:
        """No backend can ever come."""
        self.none_ever = reason, reason

    def request(self, method: str, length: str = "0", *flags: str) -> None:
        """Of so many bytes. Flags: "expects", "upgrade", "personal", "forwarded", or another host."""
        host = next((flag for flag in flags if "." in flag), "a.test").encode()
        head = PlainRequest(
            method.encode(), b"/", b"/", host, int(length),
            upgrade=b"websocket" if "upgrade" in flags else None,
            expects_continue="expects" in flags,
            personal="personal" in flags,
            kept=100,
            for_another="forwarded" in flags,
        )  # fmt: skip
        self.begun += 1
        self.exchange = StrictExchange(self, self.client, head)  # type: ignore[arg-type]
        self.exchange.begin()

    def body(self, size: str, end: str = "") -> None:
        self._exchange.on_body(bytes(int(size)), complete=bool(end))

    def bulk(self, size: str, left: str) -> None:
        self._exchange.on_bulk(bytes(int(size)), None, int(left))

    def broken(self) -> None:
        """The body breaks a rule."""
        answered = self._exchange.on_broken_body(BadRequest("broken"))
        self.told.append("refuse" if answered else "cut")

    def client_lost(self) -> None:
        self._exchange.on_client_lost()

    def congested(self, who: str, seconds: str = "0") -> None:
        """That side takes nothing since so many seconds."""
        side: _Side = self.client if who == "client" else self.servers[who]
        if not side.congested:
            side.congested = True
            ((self.client.tunnel or self._exchange).pause_answer if who == "client" else self._sink(who).pause_body)()
        side.stuck = float(seconds)

    def free(self, who: str) -> None:
        side: _Side = self.client if who == "client" else self.servers[who]
        side.congested = False
        ((self.client.tunnel or self._exchange).resume_answer if who == "client" else self._sink(who).resume_body)()

    def connected(self) -> None:
        """The oldest dial succeeds."""
        endpoint, request = self.dials.pop(0)
        endpoint.dialing -= 1
        server = self._server(endpoint)
        if not request.connected(endpoint, server):
            endpoint.offer(server, self.now)
            self.told.append(f"{endpoint.backend.host} kept")

    def refuses(self, why: str = "") -> None:
        """The oldest dial fails."""
        endpoint, request = self.dials.pop(0)
        endpoint.dialing -= 1
        endpoint.set_aside(self.now)
        request.dial_failed(endpoint, Unavailable("no sockets", reason="sockets") if why else ConnectionRefusedError("refused"))

    def interim(self, who: str, status: str) -> None:
        self._sink(who).on_interim(Response(int(status), 0))

    def answer(self, who: str, status: str, size: str = "5", *flags: str) -> None:
        """Flags: "begun" (more follows), "close", "personal"."""
        self.servers[who].personal |= "personal" in flags
        head = Response(int(status), int(size), keep_alive="close" not in flags)
        self._sink(who).on_answer(head, bytes(int(size)), complete="begun" not in flags, reusable="close" not in flags)

    def data(self, who: str, size: str) -> None:
        self._sink(who).on_answer_data(bytes(int(size)))

    def bulk_answer(self, who: str, size: str, left: str) -> None:
        self._sink(who).on_answer_bulk(memoryview(bytes(int(size))), None, int(left))

    def end(self, who: str, reusable: str = "") -> None:
        self._sink(who).on_answer_end(reusable=reusable != "close")

    def lost(self, who: str, how: str = "") -> None:
        """Its connection ends. "malformed": its answer was none; "reset": by the system."""
        errors = {"malformed": BadResponse("bad"), "reset": ConnectionResetError(), "": BackendError("ended")}
        sink, self.servers[who].sink = self._sink(who), None
        sink.on_lost(errors[how])

    def switched(self, who: str) -> None:
        self._sink(who).on_switched(Response(101, 0, upgrade=b"websocket"), b"hi")

    def client_says(self, size: str) -> None:
        """Inside a tunnel, as all of these."""
        self._tunnel.on_client_data(memoryview(bytes(int(size))))

    def client_ends(self) -> None:
        self._tunnel.on_client_end()

    def client_leaves(self) -> None:
        self._tunnel.on_client_lost()

    def wind_down(self, seconds: str) -> None:
        self._tunnel.wind_down(self.now, float(seconds))

    def backend_says(self, who: str, size: str) -> None:
        self._end_of(who).on_tunnel_data(memoryview(bytes(int(size))))

    def backend_ends(self, who: str) -> None:
        self._end_of(who).on_tunnel_end()

    def backend_leaves(self, who: str) -> None:
        self._end_of(who).on_lost(ConnectionResetError())

    def at(self, seconds: str) -> None:
        """The time, and the exchange is asked if its own has come by then."""
        self.now = float(seconds)
        if self.client.deadline <= self.now:
            (self.client.tunnel or self._exchange).on_deadline(self.now)

    def pump(self) -> None:
        self.sets["a"].pump(self.now)

    def remove(self) -> None:
        """The route goes."""
        self.app.close()

    def reconsider(self) -> None:
        self.app.ask_again(self.now)

    def state(self) -> str:
        """Phase; what is counted as held and in flight; slots that are taken."""
        exchange = self._exchange
        load = sum(endpoint.load for each in self.sets.values() for endpoint in each.endpoints)
        return f"{NAMES[exchange.phase]} held={self.entry.held} in_flight={self.entry.in_flight} load={load}"

    @property
    def _tunnel(self) -> ClientTunnelEvents:
        assert self.client.tunnel is not None
        return self.client.tunnel

    def _end_of(self, who: str) -> UpstreamTunnelEvents:
        tunnel = self.servers[who].tunnel
        assert tunnel is not None
        return tunnel

    @property
    def _exchange(self) -> StrictExchange:
        assert self.exchange is not None
        return self.exchange

    def _server(self, endpoint: Endpoint) -> Server:
        host = endpoint.backend.host
        name = (
            host if host not in self.servers else f"{host}{sum(each.rstrip('0123456789') == host for each in self.servers) + 1}"
        )
        self.servers[name] = Server(name, self.told, endpoint)
        return self.servers[name]

    def _sink(self, who: str) -> ResponseEvents:
        sink = self.servers[who].sink
        assert sink is not None, f"{who} answers nothing"
        return sink


def play(script: str, **route: Any) -> Stage:
    """Fails at the first line that is not met. At the end nothing may be held by an exchange that is over."""
    stage = Stage(**route)
    lines = [line.strip() for line in script.strip().splitlines() if line.strip() and not line.strip().startswith("#")]
    for number, line in enumerate(lines):
        kind, _, text = line.partition(" ")
        if kind == ">":
            assert stage.told == [], f"{stage.told} came before {line!r}"
            verb, *words = text.split()
            act: Callable[..., None] = getattr(stage, verb)
            act(*words)
        elif kind == "<":
            assert stage.told, f"{text!r} did not come; state {stage.state()}"
            assert stage.told.pop(0) == text, f"line {number + 1}"
        else:
            assert stage.state() == text, line
    assert stage.told == []
    if stage.exchange is not None and stage.state().startswith(NAMES[DONE]):
        assert (stage.exchange.wait, stage.exchange.attempt) == (None, None), "it would stay in memory until a collection"
    if stage.begun == 1 and stage.state().startswith(NAMES[DONE]) and stage.client.tunnel is None:
        assert stage.state() == "DONE held=0 in_flight=0 load=0"
    return stage
