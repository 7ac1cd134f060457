"""The two sides of an exchange, as it sees them and as they see it. Codecs implement the sides; an exchange, and the tunnel that
one may turn into, are told by them what happens.

Views that are handed over are good for the call only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from interceptor.core.messages import Fields, Request, Response
from interceptor.core.replies import Reply

if TYPE_CHECKING:
    from fleet.discovery.sources import Backend
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
    """What both have in common."""

    deadline: float
    """When it is to be asked, in the clock's seconds."""
    bucket: int
    """Of the time limits; theirs."""
    congested: bool
    """Whether the peer takes so little that what is sent waits here."""

    def on_deadline(self, now: float) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def write_through(self, data: bytes | memoryview) -> None:
        """Send more of a body, or of what passes through a tunnel."""

    def splice(self, first: bytes | memoryview, source: object, count: int) -> int:
        """Send the first bytes of a stretch, and what more of it the source has, at most `count` bytes, where both can do so
        without this process; how many those were."""

    def write_eof(self) -> None:
        """Send no more inside a tunnel."""

    def stuck_for(self) -> float:
        """Seconds since the peer last took any of what waits for it; infinite when nothing does, or nobody knows."""

    def abort(self) -> None:
        """End at once, so that what was cut short does not look complete."""


class Downstream(_Side, Protocol):
    """Where a request came from: a connection of HTTP/1, which is the request's until it is answered."""

    peer: bytes
    """Its address."""
    trusted: bool
    """Whether what it tells of those before it is believed."""
    unframed: bool
    """Whether bodies go to it without the chunks of HTTP/1."""
    persists: bool
    """Whether the next request may come by the same connection, as far as is known."""
    half_closed: bool
    """Whether it will send no more, and gets an answer nevertheless."""
    own_backend: Upstream | None
    """A connection to a backend that authenticates this client as a whole: it is nobody else's."""

    @property
    def paused(self) -> bool: ...
    def send_interim(self, head: Response) -> None:
        """An interim response, where the client knows them."""

    def send_head(self, head: Response, fields: Fields, data: bytes | memoryview, *, end: bool) -> None:
        """The head of the answer, with fields that are added to it, and what is here of its body: all of it at the `end`."""

    def exchange_done(self, now: float) -> None:
        """The answer is sent."""

    def reply(self, reply: Reply, *, method: bytes, now: float) -> None:
        """Answer in the backend's place."""

    def upgrade(self, tunnel: ClientTunnelEvents, head: Response, fields: Fields, data: bytes) -> bytes:
        """Answer that another protocol is spoken from here on, with what followed. Returns what came early."""

    def leave_tunnel(self, *, patience: float) -> None:
        """The backend is through: end, once all is sent, with so many seconds for a client that has not ended its side."""

    def cut_tunnel(self) -> None:
        """The backend is lost: reset, once the client has taken what came before."""


class Client(Downstream, Protocol):
    """A downstream as whoever keeps all of them sees it."""

    @property
    def idle(self) -> bool:
        """Between requests, with nothing of the next one, nor of the last answer."""

    @property
    def begun(self) -> bool:
        """A part of a head is here, and no more."""

    def close_at_rest(self) -> bool:
        """Close between requests. False, and nothing done, where there is something to read."""

    def evict(self) -> None:
        """Give up what is kept of requests to come."""

    def wind_down(self, now: float, seconds: float) -> None:
        """Have a tunnel end within so many seconds. Anything else ends by itself."""


class Targeted(Protocol):
    """All backends of one target."""

    deadlines: Deadlines


class Place(Protocol):
    """The backend that an upstream is connected to, as far as it is concerned."""

    backend: Backend
    address: str
    authority: bytes
    """For a request that names none."""
    own: set[Upstream]
    """Those that rest, and are each kept for one client."""

    @property
    def owner(self) -> Targeted: ...
    def withdraw(self, connection: Upstream) -> None:
        """It can take no exchange any more: it ended while it rested."""


class Upstream(_Side, Protocol):
    """Where a request goes: a connection of HTTP/1 to a backend."""

    endpoint: Place
    personal: bool
    """Whether a client may have authenticated it as a whole. Then it is that client's, and never pooled."""

    def send_request(self, sink: ResponseEvents, head: Request, body: list[bytes] | None, *, peer: bytes, trusted: bool) -> None:
        """Send a request that came from `peer`, with what is here of its body. What it tells of others before `peer` goes on
        where that is `trusted`."""

    def write(self, data: bytes) -> None:
        """Send what came early, inside a tunnel."""

    def rest(self) -> None:
        """Be ready for the next exchange."""

    def has_news(self) -> bool:
        """Whether something came while it rested: its end, or bytes that nobody asked for."""

    def enter_tunnel(self, tunnel: UpstreamTunnelEvents) -> None:
        """From now on bytes pass as they are."""

    def part(self, now: float) -> None:
        """Close after what is written was taken, for which there is time, but not for ever."""

    def close(self) -> None: ...


class Dialer(Protocol):
    """Opens connections to backends that speak one protocol, or several."""

    async def connect(self, endpoint: Place) -> Upstream:
        """A connection that is open, and at rest. Raises OSError."""

    def probe(self, endpoint: Place, path: str) -> Request:
        """A GET of our own, as its connections send it."""


class RequestEvents(Protocol):
    """What a downstream tells the exchange of its request."""

    def on_body(self, data: bytes | memoryview, *, complete: bool) -> None:
        """Bytes of the request's body, framed as they go on; also called once, before `begin`, when some came with the head."""

    def on_bulk(self, data: bytes | memoryview, source: object, left: int) -> int:
        """More of a large body, of which the source has more, up to `left` bytes. Returns how many of those have gone on."""

    def begin(self) -> None: ...
    def on_client_lost(self) -> None:
        """The client left. The exchange ends now."""

    def on_broken_body(self, error: ExchangeError) -> bool:
        """The body breaks a rule. The exchange ends now; False when its answer has begun, so that there is no other."""

    def on_deadline(self, now: float) -> None: ...
    def pause_answer(self) -> None: ...
    def resume_answer(self) -> None: ...
    @property
    def answers_half_closed(self) -> bool:
        """Whether a client that will send no more, its request being whole, still gets its answer."""


class ResponseEvents(Protocol):
    """What an upstream tells, in this order: interim heads, one head, its body, its end. Or that it was lost."""

    method: bytes
    unframed: bool
    """Whether chunks must be taken off the body."""

    def on_interim(self, head: Response) -> None: ...
    def on_answer(self, head: Response, body: bytes | memoryview, *, complete: bool, reusable: bool) -> None:
        """The final head and what came of the body with it. `complete` when that was all."""

    def on_answer_data(self, data: bytes | memoryview) -> None:
        """More of the body."""

    def on_answer_bulk(self, data: memoryview, source: object, left: int) -> int:
        """More of a large body, of which the source has more, up to `left` bytes. Returns how many of those have gone on."""

    def on_answer_end(self, *, reusable: bool) -> None: ...
    def on_switched(self, head: Response, data: bytes) -> None:
        """The backend speaks the protocol that was asked for; data came with its answer."""

    def on_lost(self, error: Exception) -> None:
        """The connection failed before the response was complete."""

    def pause_body(self) -> None: ...
    def resume_body(self) -> None: ...


class ClientTunnelEvents(Protocol):
    """What a downstream tells a tunnel."""

    def on_client_data(self, data: memoryview) -> None: ...
    def on_client_end(self) -> None:
        """The client will send no more."""

    def wind_down(self, now: float, seconds: float) -> None:
        """Come to an end within so many seconds. May be said more than once."""

    def on_client_lost(self) -> None: ...
    def on_deadline(self, now: float) -> None: ...
    def pause_answer(self) -> None: ...
    def resume_answer(self) -> None: ...


class UpstreamTunnelEvents(Protocol):
    """What an upstream tells a tunnel."""

    def on_tunnel_data(self, data: memoryview) -> None: ...
    def on_tunnel_end(self) -> None:
        """The backend will send no more."""

    def on_lost(self, error: Exception) -> None: ...
    def pause_body(self) -> None: ...
    def resume_body(self) -> None: ...
