"""The two sides of an exchange: Protocols that codecs implement, and the events that the sides report to an exchange or to the
tunnel it becomes.

A memoryview that is passed to a call is valid only during that call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from interceptor.core.messages import Fields, Request, Response
from interceptor.core.replies import Reply

if TYPE_CHECKING:
    from fleet.discovery.sources import Backend
    from fleet.routing.protocols import Spoken
    from fleet.routing.target import Connects
    from interceptor.core.deadlines import Deadlines
    from interceptor.core.errors import ExchangeError

__all__ = [
    "Client",
    "ClientTunnelEvents",
    "Dialer",
    "Downstream",
    "Place",
    "RequestEvents",
    "ResponseEvents",
    "Upstream",
    "UpstreamTunnelEvents",
]


class _Side(Protocol):
    """What both sides have in common."""

    deadline: float
    """When `on_deadline` is due, in the clock's seconds."""
    bucket: int
    """Used by Deadlines."""
    congested: bool
    """Whether the peer reads so slowly that sent data is buffered here."""

    def on_deadline(self, now: float) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def write_through(self, data: bytes | memoryview) -> None:
        """Send more of a body, or of a tunnel's data."""

    def splice(self, first: bytes | memoryview, source: object, count: int) -> int:
        """Send the first bytes of a stretch of data, and then up to `count` bytes more from the source inside the kernel,
        where both sides support that. Returns how many of these were sent; -1 where it is not supported."""

    def write_eof(self) -> None:
        """Close the sending side, inside a tunnel."""

    def stuck_for(self) -> float:
        """Seconds since the peer last accepted any of the buffered data; infinite when nothing is buffered or it is unknown."""

    def abort(self) -> None:
        """Reset the connection, so that a partial message does not look complete."""


class Downstream(_Side, Protocol):
    """Where a request came from: a connection of HTTP/1, which belongs to the request until it is answered, or a stream of
    HTTP/2."""

    peer: bytes
    """The client's address."""
    trusted: bool
    """Whether the peer is a trusted proxy, whose forwarding fields are kept."""
    unframed: bool
    """Whether bodies are passed to it as content alone. Otherwise they may keep the framing in which they came, where both sides
    have the same codec."""
    persists: bool
    """Whether the next request may use the same connection, as far as known."""
    half_closed: bool
    """Whether it has closed its sending side, and still gets a response."""
    own_backend: Upstream | None
    """A backend connection that authenticates this client as a whole; no other client may use it."""

    @property
    def paused(self) -> bool: ...
    def keep_deadline(self) -> None:
        """`deadline` was set, perhaps to an earlier time than before: see to it that it is checked."""

    def send_interim(self, head: Response) -> None:
        """Send an interim response, if the client supports them."""

    def send_head(self, head: Response, fields: Fields, data: bytes | memoryview, *, end: bool, trailers: Fields = ()) -> None:
        """Send the head of the response with added fields, and the part of the body received so far; with `end` that is all of
        it, and `trailers` follow it."""

    def send_trailers(self, trailers: Fields) -> None:
        """Fields that follow the body, just before the end of the answer. Dropped if the client's protocol has none."""

    def exchange_done(self, now: float) -> None:
        """The response was sent."""

    def reply(self, reply: Reply, *, method: bytes, now: float) -> None:
        """Send a response in place of the backend."""

    def cut(self, reason: str, rpc_status: int | None) -> None:
        """End a response that has begun, so that it does not look complete: with a status that says so where the protocol has
        one, or else by `abort`. `reason` is that for metrics, and `rpc_status` that of gRPC, where the cause has one."""

    def upgrade(self, tunnel: ClientTunnelEvents, head: Response, fields: Fields, data: bytes) -> bytes:
        """Answer that the protocol switches, with the data that followed the backend's head. Returns data that the client sent
        early."""

    def leave_tunnel(self, *, patience: float) -> None:
        """The backend has ended the tunnel: close after everything was sent; the client has `patience` seconds to end its
        side."""

    def cut_tunnel(self) -> None:
        """The backend connection was lost: reset after the client has taken the data that came before."""


class Client(Protocol):
    """A connection of a client, as the list of all of them sees it."""

    deadline: float
    """When `on_deadline` is due, in the clock's seconds."""
    bucket: int
    """Belongs to the time limits (Deadlines)."""
    protocol: str
    """The protocol's name, for people."""
    since: float
    """When it was opened, in the clock's seconds."""
    requests: int
    """How many have come by it."""
    peer: bytes
    """The client's address."""
    trusted: bool
    """Whether the peer is a trusted proxy."""

    @property
    def activity(self) -> str:
        """What it is doing, for people."""

    def on_deadline(self, now: float) -> None: ...
    def abort(self) -> None:
        """Close at once, and abort all exchanges of the connection."""

    @property
    def idle(self) -> bool:
        """Whether it is between requests, with nothing of the next request and nothing left to send."""

    @property
    def begun(self) -> bool:
        """Whether only a part of a head has been received."""

    def close_if_idle(self) -> bool:
        """Close between requests. Returns False, and does nothing, if there is unread data."""

    def evict(self) -> None:
        """Discard buffered bytes of requests that have not begun."""

    def wind_down(self, now: float, seconds: float) -> None:
        """End a tunnel within `seconds`. Other exchanges end by themselves."""


class Targeted(Protocol):
    """All backends of one target."""

    key: str
    """Of the target: "namespace/service:port"."""
    connects: Connects
    server_name: str
    """The name that their certificates must have, where they are spoken to over TLS."""
    deadlines: Deadlines


class Place(Protocol):
    """The backend of an upstream, with the parts that the upstream uses."""

    backend: Backend
    address: str
    authority: bytes
    """Used as Host of a request without one."""
    speaks: Spoken
    own: set[Upstream]
    """Idle connections, each reserved for one client."""

    @property
    def owner(self) -> Targeted: ...
    def offer(self, connection: Upstream, now: float) -> None:
        """It can take an exchange."""

    def withdraw(self, connection: Upstream) -> None:
        """The connection was closed while idle, and cannot be used any more."""


class Upstream(_Side, Protocol):
    """Where a request goes: a connection of HTTP/1 to a backend, or a place on one of HTTP/2."""

    endpoint: Place
    personal: bool
    """Whether a client may have authenticated it as a whole. Then it belongs to that client and is never pooled."""
    reports_unprocessed: bool
    """Whether its protocol can report that the backend has not processed a request. Then what was sent of a request is kept,
    whatever its method, within bounds, to be sent again."""

    def send_request(
        self, sink: ResponseEvents, head: Request, body: list[bytes] | None, *, end: bool, peer: bytes, trusted: bool
    ) -> None:
        """Send a request of the client at `peer`, with the part of its body received so far; `end` if that is all of it. Its
        forwarding fields are kept if it is `trusted`."""

    def send_end(self, trailers: Fields) -> None:
        """End a body that was not complete when the request was sent, with the trailers that follow it."""

    def write(self, data: bytes) -> None:
        """Send data that came early, inside a tunnel."""

    def ending(self, status: Fields) -> bytes:
        """Content that ends a response that is cut short, with this status of gRPC; empty if its form has none, or not here."""

    def release(self) -> None:
        """The exchange is over: become idle, ready for the next one."""

    def has_input(self) -> bool:
        """Whether something arrived while it was idle: its end, or unexpected bytes."""

    def enter_tunnel(self, tunnel: UpstreamTunnelEvents) -> None:
        """From now on bytes are passed on unchanged."""

    def close_after_flush(self, now: float) -> None:
        """Close after the written data was accepted, within a time limit."""

    def close(self) -> None: ...


class Dialer(Protocol):
    """Opens connections to backends that speak certain protocols."""

    async def connect(self, endpoint: Place) -> Upstream:
        """Return an open, idle connection. Raises OSError."""

    def probe(self, endpoint: Place, path: str) -> Request:
        """A GET request of our own, for a readiness probe, in the codec's form."""


class RequestEvents(Protocol):
    """Events of a request, from a downstream to its exchange."""

    method: bytes

    def on_body(self, data: bytes | memoryview, *, complete: bool, trailers: Fields = ()) -> None:
        """Bytes of the body, in its framing if it has one (see `Request.body_reader`). With the last bytes the trailers, unless
        they are part of the framing. Also called once before `begin` if some came with the head."""

    def on_bulk(self, data: bytes | memoryview, source: object, left: int) -> int:
        """More of a large body, of which the source has up to `left` further bytes. Returns how many of these were passed on; -1
        if none will ever be in this way."""

    def begin(self) -> None: ...
    def on_client_lost(self) -> None:
        """The client disconnected. The exchange ends now."""

    def on_broken_body(self, error: ExchangeError) -> bool:
        """The body is malformed: end the exchange. Returns False if the response has begun, so that no other can be sent."""

    def on_deadline(self, now: float) -> None: ...
    def pause_answer(self) -> None: ...
    def resume_answer(self) -> None: ...
    @property
    def answers_half_closed(self) -> bool:
        """Whether a client that has closed its sending side after a complete request still gets a response."""


class ResponseEvents(Protocol):
    """Events of a response, from an upstream, in this order: interim heads, one head, body, end; or `on_lost` at any point."""

    method: bytes
    unframed: bool
    """Whether the body is passed on as content alone, without the framing in which it came."""

    def on_interim(self, head: Response) -> None: ...
    def on_answer(
        self, head: Response, body: bytes | memoryview, *, complete: bool, reusable: bool, trailers: Fields = ()
    ) -> None:
        """The final head and the part of the body that came with it; `complete` if that is all, with the trailers that follow
        it."""

    def on_answer_data(self, data: bytes | memoryview) -> None:
        """More of the body."""

    def on_answer_bulk(self, data: memoryview, source: object, left: int) -> int:
        """More of a large body, of which the source has up to `left` further bytes. Returns how many of these were passed on; -1
        if none will ever be in this way."""

    def on_answer_end(self, *, reusable: bool, trailers: Fields = ()) -> None:
        """The end of the body, and the fields that follow it, unless they are in the framing, which was kept."""

    def on_switched(self, head: Response, data: bytes) -> None:
        """The backend has switched to the requested protocol; data came with its response."""

    def may_retry(self) -> bool:
        """Whether the whole request was sent, and would be sent again if the connection failed now. Called for a response that
        may not belong to this request: if true, the codec reports `on_lost`, else it passes the response on."""

    def on_lost(self, error: Exception) -> None:
        """The connection failed before the response was complete."""

    def pause_body(self) -> None: ...
    def resume_body(self) -> None: ...


class ClientTunnelEvents(Protocol):
    """Events of a client's connection, for a tunnel."""

    def on_client_data(self, data: memoryview) -> None: ...
    def on_client_end(self) -> None:
        """The client has closed its sending side."""

    def wind_down(self, now: float, seconds: float) -> None:
        """End within `seconds`. May be called more than once."""

    def on_client_lost(self) -> None: ...
    def on_deadline(self, now: float) -> None: ...
    def pause_answer(self) -> None: ...
    def resume_answer(self) -> None: ...


class UpstreamTunnelEvents(Protocol):
    """Events of a backend's connection, for a tunnel."""

    def on_tunnel_data(self, data: memoryview) -> None: ...
    def on_tunnel_end(self) -> None:
        """The backend has closed its sending side."""

    def on_lost(self, error: Exception) -> None: ...
    def pause_body(self) -> None: ...
    def resume_body(self) -> None: ...
