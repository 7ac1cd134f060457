"""The verbs of playbooks for one exchange, by what they are about."""

from __future__ import annotations

import math
from errno import ECONNREFUSED

import msgspec

from fleet.discovery.sources import Backend, Trouble
from fleet.routing.route import Timeouts
from interceptor.backends.endpoints import reason
from interceptor.core.errors import BackendError, BadRequest, BadResponse, Unavailable
from interceptor.core.messages import Response
from tests.support.exchange_sides import PlainRequest, Side
from tests.support.exchange_stage import LIMITS, Hall
from tests.support.loopback import loopback_settings
from tests.support.strict import StrictExchange

__all__ = ["ClientVerbs", "RouteVerbs", "ServerVerbs", "TunnelVerbs"]


class RouteVerbs(Hall):
    """The route, its backends, and time."""

    def backends(self, *names: str, of: str = "a") -> None:
        """Ready backends. "b+" has an idle connection, "b++" two, "b-" one that was closed without the proxy's knowledge."""
        backends = {name.rstrip("+-"): name for name in names}
        self.sets[of].update(tuple(Backend(name, 80) for name in backends))
        for endpoint in self.sets[of].endpoints:
            marks = backends[endpoint.backend.host].removeprefix(endpoint.backend.host)
            for mark in marks if not endpoint.spare else "":
                server = self.server(endpoint)
                server.ended = mark == "-"
                endpoint.spare.append(server)

    def fallback(self, *names: str) -> None:
        self.backends(*names, of="fallback")

    def trouble(self, reason: str = "") -> None:
        """Why there are no backends."""
        self.sets["a"].update((), Trouble(reason, hopeless=True) if reason else None)

    def no_table(self) -> None:
        """The routing table has not been read yet."""
        self.table = None

    def never(self, reason: str) -> None:
        """No backend can ever come."""
        self.none_ever = reason, reason

    def at(self, seconds: str) -> None:
        """Set the time, and call the exchange if its deadline has passed and the host was told about it."""
        self.now = float(seconds)
        if self.client.bucket:  # its deadline is looked at within the horizon, whether the host heard of it or not
            self.asks_at = min(self.asks_at, max(self.client.deadline, self.now))
        if self.asks_at > self.now:
            return
        if self.client.deadline > self.now:
            self.asks_at = self.client.deadline
        else:
            self.asks_at = math.inf
            (self.client.tunnel or self.current).on_deadline(self.now)

    def checked(self) -> None:
        """The client's deadline is checked regularly, since an earlier request."""
        self.client.bucket = 1

    def pump(self) -> None:
        self.sets["a"].pump(self.now)

    def remove(self) -> None:
        """The route is removed."""
        self.app.close()

    def new_route(self, name: str) -> None:
        """The route changes to one of those that `routes` has."""
        limits = Timeouts(**{**LIMITS, **self.routes[name].pop("timeouts", {})})
        route = msgspec.structs.replace(self.route, timeouts=limits, **self.routes[name])
        self.app.update(route, self.sets["a"], loopback_settings())

    def reconsider(self) -> None:
        self.app.reconsider_waiting(self.now)

    def counts(self) -> None:
        """Record everything that was counted of the application, with the seconds."""
        stats = self.app.stats
        for (method, status, cold), found in stats.answers().items():
            kind = f"{method} {status}{' cold' if cold == 'true' else ''}"
            self.outputs.append(
                f"counted {kind}: " + (f"{found.count} in {found.sum:g}" if sum(found.counts) else f"{found.count}")
            )
        self.outputs += [f"counted own {reason} {status}" for (reason, status), count in stats.own.items() for _ in range(count)]
        self.outputs += [f"counted cut {reason}" for reason, count in stats.cut.items() for _ in range(count)]
        observed = {**{f"start {outcome}": found for outcome, found in stats.cold.items()}, "held": stats.held}
        self.outputs += [
            f"counted {name}: {sum(found.counts)} in {found.sum:g}" for name, found in observed.items() if sum(found.counts)
        ]
        numbers = {"fallbacks": stats.fallbacks, "rejections": stats.rejections}
        self.outputs += [f"counted {name}: {number}" for name, number in numbers.items() if number]
        for wait in self.app.waits.report(self.now):
            self.outputs.append(f"reported {wait.timed_out} timed out, {wait.unserved} unserved")


class ClientVerbs(Hall):
    """What the client does."""

    def request(self, method: str, length: str = "0", *flags: str) -> None:
        """A request that begins with its head alone; see `open`."""
        self.open(method, length, *flags)
        self.begin()

    def open(self, method: str, length: str = "0", *flags: str) -> None:
        """A request with a body of `length` bytes, which has not begun: parts of its body may come before `begin`. Flags:
        "expects", "upgrade", "personal", "forwarded", "within=5" (seconds that the client gives it), a session like "of=b", or
        another host."""
        host = next((flag for flag in flags if "." in flag), "a.test").encode()
        within = next((flag.removeprefix("within=") for flag in flags if flag.startswith("within=")), "")
        head = PlainRequest(
            method.encode(), b"/", b"/", host, int(length),
            timeout=float(within) if within else None,
            upgrade=b"websocket" if "upgrade" in flags else None,
            expects_continue="expects" in flags,
            personal="personal" in flags,
            kept=100,
            for_another="forwarded" in flags,
            session=next((flag.removeprefix("of=").encode() for flag in flags if flag.startswith("of=")), b""),
        )  # fmt: skip
        self.begun += 1
        self.exchange = StrictExchange(self, self.client, head)  # type: ignore[arg-type]

    def begin(self) -> None:
        self.current.begin()

    def body(self, size: str, end: str = "", trailers: str = "0") -> None:
        fields = ((b"checksum", b"1"),) * int(trailers)
        self.current.on_body(bytes(int(size)), complete=bool(end), trailers=fields)

    def bulk(self, size: str, left: str) -> None:
        self.current.on_bulk(bytes(int(size)), None, int(left))

    def broken(self) -> None:
        """The request body is malformed."""
        answered = self.current.on_broken_body(BadRequest("broken"))
        self.outputs.append("refuse" if answered else "cut")

    def client_lost(self) -> None:
        self.current.on_client_lost()

    def congested(self, who: str, seconds: str = "0") -> None:
        """That side has read nothing for this many seconds."""
        side: Side = self.client if who == "client" else self.servers[who]
        if not side.congested:
            side.congested = True
            ((self.client.tunnel or self.current).pause_answer if who == "client" else self.sink(who).pause_body)()
        side.stuck = float(seconds)

    def free(self, who: str) -> None:
        side: Side = self.client if who == "client" else self.servers[who]
        side.congested = False
        ((self.client.tunnel or self.current).resume_answer if who == "client" else self.sink(who).resume_body)()


class ServerVerbs(Hall):
    """What backends do."""

    def connected(self) -> None:
        """The oldest dial succeeds."""
        endpoint, request = self.dials.pop(0)
        endpoint.dialing -= 1
        server = self.server(endpoint)
        if not request.connected(endpoint, server):
            endpoint.offer(server, self.now)
            self.outputs.append(f"{endpoint.backend.host} kept")

    def refuses(self, why: str = "") -> None:
        """The oldest dial fails. "sockets": this machine has none left; "timeout": it took too long."""
        endpoint, request = self.dials.pop(0)
        endpoint.dialing -= 1
        if why == "sockets":
            request.dial_failed(endpoint, Unavailable("no sockets", reason="sockets", retry_after=1))
            return
        error = TimeoutError() if why else ConnectionRefusedError(ECONNREFUSED, "refused")
        endpoint.owner.last_error = reason(error)
        endpoint.set_aside(self.now)
        request.dial_failed(endpoint, error)

    def interim(self, who: str, status: str) -> None:
        self.sink(who).on_interim(Response(int(status), 0))

    def answer(self, who: str, status: str, size: str = "5", *flags: str) -> None:
        """Flags: "begun" (more follows), "close", "personal"."""
        self.servers[who].personal |= "personal" in flags
        head = Response(int(status), int(size), keep_alive="close" not in flags)
        self.sink(who).on_answer(head, bytes(int(size)), complete="begun" not in flags, reusable="close" not in flags)

    def data(self, who: str, size: str) -> None:
        self.sink(who).on_answer_data(bytes(int(size)))

    def bulk_answer(self, who: str, size: str, left: str) -> None:
        self.sink(who).on_answer_bulk(memoryview(bytes(int(size))), None, int(left))

    def end(self, who: str, reusable: str = "", trailers: str = "0") -> None:
        fields = ((b"grpc-status", b"0"),) * int(trailers)
        self.sink(who).on_answer_end(reusable=reusable != "close", trailers=fields)

    def lost(self, who: str, how: str = "") -> None:
        """Its connection fails. "malformed": the response was invalid; "reset": by the kernel; "unprocessed": the backend has
        said that it has not processed the request."""
        unprocessed = BackendError("refused", unprocessed=True)
        errors = {
            "malformed": BadResponse("bad"),
            "reset": ConnectionResetError(),
            "": BackendError("ended"),
            "unprocessed": unprocessed,
        }
        sink, self.servers[who].sink = self.sink(who), None
        sink.on_lost(errors[how])

    def reports_unprocessed(self, who: str) -> None:
        """From now on it tells of requests that it has not processed."""
        self.servers[who].reports_unprocessed = True

    def may_retry(self, who: str) -> None:
        """A codec asks whether the request may be sent again."""
        self.outputs.append("yes" if self.sink(who).may_retry() else "no")


class TunnelVerbs(Hall):
    """What happens in a tunnel, and before it."""

    def early(self, size: str) -> None:
        """Bytes that the client sent before the tunnel was open."""
        self.client.early = bytes(int(size))

    def half_closes(self) -> None:
        """The client closes its sending side after its request."""
        self.client.half_closed = True

    def switched(self, who: str) -> None:
        self.sink(who).on_switched(Response(101, 0, upgrade=b"websocket"), b"hi")

    def client_says(self, size: str) -> None:
        """Data inside a tunnel, like all of these."""
        self.tunnel.on_client_data(memoryview(bytes(int(size))))

    def client_ends(self) -> None:
        self.tunnel.on_client_end()

    def client_leaves(self) -> None:
        self.tunnel.on_client_lost()

    def wind_down(self, seconds: str) -> None:
        self.tunnel.wind_down(self.now, float(seconds))

    def backend_says(self, who: str, size: str) -> None:
        self.end_of(who).on_tunnel_data(memoryview(bytes(int(size))))

    def backend_full(self, who: str) -> None:
        self.end_of(who).pause_body()

    def backend_free(self, who: str) -> None:
        self.end_of(who).resume_body()

    def backend_ends(self, who: str) -> None:
        self.end_of(who).on_tunnel_end()

    def backend_leaves(self, who: str) -> None:
        self.end_of(who).on_lost(ConnectionResetError())
