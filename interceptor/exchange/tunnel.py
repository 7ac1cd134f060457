"""A tunnel after a protocol switch (WebSocket, for example): bytes are copied in both directions until both sides have ended.

Knows no wire format. A tunnel always ends through `_end`, which releases the lease exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from fleet.demand.ledger import Lease
from interceptor.backends.endpoint import Slot
from interceptor.core.messages import Fields, Response
from interceptor.core.sides import Downstream, Upstream

if TYPE_CHECKING:
    from interceptor.app.app import App

__all__ = ["BACKEND_SIDE", "CLIENT_SIDE", "Tunnel"]

TUNNEL_GRACE_SECONDS: Final = 30.0
"""How long one side of a tunnel may continue after the other has closed its sending side."""

PATIENCE_SHARE: Final = 0.5
"""Share of the wind-down time that the client then has to close its side, in addition to that time."""

CLIENT_SIDE: Final = 1
BACKEND_SIDE: Final = 2
_BOTH: Final = CLIENT_SIDE | BACKEND_SIDE


class _Host(Protocol):
    clock: Callable[[], float]


class Tunnel:
    """Takes over the connections, the lease and the slot of an exchange, which ends with that."""

    __slots__ = ("_app", "_client", "_connection", "_ends", "_host", "_lease", "_method", "_patience", "_slot", "_wound_down")

    def __init__(self, host: _Host, client: Downstream, app: App, lease: Lease, method: bytes) -> None:
        self._host = host
        self._client = client
        self._app = app
        self._lease = lease
        self._method = method
        self._connection: Upstream | None = None
        self._ends = 0
        self._wound_down = False
        self._patience = 0.0
        """Seconds that the client has to close its side after the tunnel has ended."""

    def open(self, slot: Slot, connection: Upstream, head: Response, fields: Fields, data: bytes) -> None:
        """Begin with the backend's response (101, or 2xx to CONNECT), to which fields are added, and the data after it."""
        now = self._host.clock()
        self._slot = slot
        self._connection = connection
        self._lease.upgrade(now)
        early = self._client.upgrade(self, head, fields, data)
        connection.enter_tunnel(self)
        if early:
            connection.write(early)
        if self._client.congested:  # by an earlier response
            connection.pause_reading()
        self._limit(now, self._app.limits.idle)
        if self._client.half_closed:
            self.on_client_end()

    # -- events of the client's connection ------------------------------------------------------------------------

    def on_client_data(self, data: memoryview) -> None:
        if self._connection is not None and not self._ends & CLIENT_SIDE:
            self._connection.write_through(data)
            self._alive()

    def on_client_end(self) -> None:
        if self._connection is not None:
            self._connection.write_eof()
        self._side_ended(CLIENT_SIDE)

    def on_client_lost(self) -> None:
        self._end(self._host.clock())

    def on_deadline(self, now: float) -> None:
        wound_down, idle = self._wound_down, self._app.limits.idle
        if self._connection is not None and not self._ends:
            stuck = min(self._client.stuck_for(), self._connection.stuck_for())
            if stuck < idle:  # one side reads slowly, but it still reads
                self._limit(now, idle - stuck)
                return
        self._end(now)
        if wound_down:
            self._client.leave_tunnel(patience=self._patience)
        else:
            self._client.abort()

    def wind_down(self, now: float, seconds: float) -> None:
        """Close the sending side towards the backend, and give the backend `seconds` to end the tunnel.

        The protocol inside is unknown, so no closing message can be inserted: message boundaries cannot be seen. A backend whose
        client closes its sending side sends its own closing message and closes the connection.
        """
        if self._connection is not None and not self._ends:
            self._wound_down = True
            self._patience = seconds * PATIENCE_SHARE
            self._connection.write_eof()
            self._ends = CLIENT_SIDE
            self._limit(now, seconds)

    def pause_answer(self) -> None:
        if self._connection is not None:
            self._connection.pause_reading()

    def resume_answer(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    # -- events of the backend's connection -----------------------------------------------------------------------

    def on_tunnel_data(self, data: memoryview) -> None:
        self._client.write_through(data)
        self._alive()

    def on_tunnel_end(self) -> None:
        self._client.write_eof()
        self._side_ended(BACKEND_SIDE)

    def on_lost(self, error: Exception) -> None:
        said_all = self._ends & BACKEND_SIDE
        self._end(self._host.clock())
        if said_all:  # the backend had sent everything, and has only stopped reading
            self._client.leave_tunnel(patience=TUNNEL_GRACE_SECONDS)
        else:
            self._client.cut_tunnel()

    def pause_body(self) -> None:
        self._client.pause_reading()

    def resume_body(self) -> None:
        self._client.resume_reading()

    # -- limits and the end ---------------------------------------------------------------------------------------

    def _alive(self) -> None:
        if not self._ends:
            self._client.deadline = self._host.clock() + self._app.limits.idle

    def _side_ended(self, side: int) -> None:
        now = self._host.clock()
        self._ends |= side
        if self._ends == _BOTH:
            self._end(now)
            self._client.leave_tunnel(patience=self._patience)
        elif not self._wound_down:  # wind_down has set its own deadline
            self._limit(now, TUNNEL_GRACE_SECONDS)

    def _limit(self, now: float, seconds: float) -> None:
        self._client.deadline = now + seconds
        self._client.keep_deadline()

    def _end(self, now: float, *, cut: bool = False) -> None:
        """Release everything that the tunnel holds; `cut` if the backend must not take what it got for everything. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._lease.release(now)
        if self._ends and not cut:
            connection.close_after_flush(now)
        else:
            connection.abort()
        self._app.stats.tunnelled(self._method)
        self._slot.leave(now)
