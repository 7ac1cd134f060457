"""Two connections whose ends have agreed to speak something else: bytes pass both ways until both sides are through.

Knows no wire format. Every way out goes through `_end`, which releases the lease exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from fleet.demand.ledger import Lease
from interceptor.backends.endpoint import Slot
from interceptor.core.messages import Fields, Response
from interceptor.core.sides import Downstream, Upstream

if TYPE_CHECKING:
    from interceptor.app.app import App

__all__ = ["Tunnel"]

TUNNEL_GRACE_SECONDS = 30.0
"""How long one side of a tunnel may go on after the other has ended."""

PATIENCE_SHARE = 0.5
"""Of the time that a tunnel is given to wind down: there is as much again after it."""

_CLIENT, _BACKEND = 1, 2
_BOTH = _CLIENT | _BACKEND


class _Host(Protocol):
    clock: Callable[[], float]

    def watch(self, client: Downstream) -> None: ...


class Tunnel:
    """Takes over the connections, the lease and the place at the backend of an exchange that is over with this."""

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
        """Seconds for a client that was not told before to hear of the end."""

    def open(self, slot: Slot, connection: Upstream, head: Response, fields: Fields, data: bytes) -> None:
        """Begin, with what the backend sent so far: its agreement, to which fields are added, and perhaps more."""
        now = self._host.clock()
        self._slot = slot
        self._connection = connection
        self._lease.upgrade(now)
        early = self._client.upgrade(self, head, fields, data)
        connection.enter_tunnel(self)
        if early:
            connection.write(early)
        if self._client.congested:  # by an answer before
            connection.pause_reading()
        self._limit(now, self._app.limits.idle)
        if self._client.half_closed:
            self.on_client_end()

    # -- what the client's connection tells -----------------------------------------------------------------------

    def on_client_data(self, data: memoryview) -> None:
        if self._connection is not None and not self._ends & _CLIENT:
            self._connection.write_through(data)
            self._alive()

    def on_client_end(self) -> None:
        if self._connection is not None:
            self._connection.write_eof()
        self._side_ended(_CLIENT)

    def on_client_lost(self) -> None:
        self._end(self._host.clock())

    def on_deadline(self, now: float) -> None:
        wound_down, idle = self._wound_down, self._app.limits.idle
        if self._connection is not None and not self._ends:
            stuck = min(self._client.stuck_for(), self._connection.stuck_for())
            if stuck < idle:  # one side is slow to take what the other has sent
                self._limit(now, idle - stuck)
                return
        self._end(now)
        if wound_down:
            self._client.leave_tunnel(patience=self._patience)
        else:
            self._client.abort()

    def wind_down(self, now: float, seconds: float) -> None:
        """Tell the backend that the client will send no more, and give it so many seconds to say goodbye.

        What is spoken inside is not known here, and no message of its own could be put between two others: the middle of one
        looks like any other place. A backend whose client ends its side says what there is to say, and ends its own.
        """
        if self._connection is not None and not self._ends:
            self._wound_down = True
            self._patience = seconds * PATIENCE_SHARE
            self._connection.write_eof()
            self._ends = _CLIENT
            self._limit(now, seconds)

    def pause_answer(self) -> None:
        if self._connection is not None:
            self._connection.pause_reading()

    def resume_answer(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    # -- what the backend's connection tells ----------------------------------------------------------------------

    def on_tunnel_data(self, data: memoryview) -> None:
        self._client.write_through(data)
        self._alive()

    def on_tunnel_end(self) -> None:
        self._client.write_eof()
        self._side_ended(_BACKEND)

    def on_lost(self, error: Exception) -> None:
        said_all = self._ends & _BACKEND
        self._end(self._host.clock())
        if said_all:  # it only takes no more of what the client sends
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
        elif not self._wound_down:  # then its time is set already
            self._limit(now, TUNNEL_GRACE_SECONDS)

    def _limit(self, now: float, seconds: float) -> None:
        self._client.deadline = now + seconds
        self._host.watch(self._client)

    def _end(self, now: float) -> None:
        """Give back all that the tunnel holds. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._lease.release(now)
        if self._ends:
            connection.part(now)
        else:
            connection.abort()
        self._app.stats.tunnelled(self._method)
        self._slot.leave(now)
