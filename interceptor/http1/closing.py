"""How a client connection is closed: after everything was sent, after a slow client has read it, or with a reset.

A client must be able to distinguish a truncated response from a complete one. And closing a socket with unread input makes the
kernel send a reset, which destroys data on its way to the client. So there are several ways to close; this module chooses.
"""

from __future__ import annotations

from typing import Final

from interceptor.core.errors import ExchangeError
from interceptor.core.replies import Reply, text_reply
from interceptor.core.sides import ClientTunnelEvents
from interceptor.date import http_date
from interceptor.http1.host import ClientHost
from interceptor.http1.reply import encode_reply
from interceptor.http1.states import CUT, DISCARD, HEAD
from interceptor.transport.tcp import BODY_VIEW, CHUNKS_VIEW, Connection

__all__ = ["ClosingClient"]

LINGER_SECONDS: Final = 2.0
"""How long the rest of a refused request is read and dropped, because closing at once could destroy the response on its way."""


class ClosingClient(Connection):
    """The part of a client connection that closes it."""

    __slots__ = ("_guarded", "_host", "_state", "_tunnel", "_view")

    def __init__(self, host: ClientHost) -> None:
        super().__init__(host.outbox, deadline=0.0)
        self._host = host
        self._state = HEAD
        """One of `interceptor.http1.states`."""
        self._tunnel: ClientTunnelEvents | None = None
        self._view = BODY_VIEW
        """The buffer for reads, except of heads."""
        self._guarded = False

    def _drop_input(self) -> None:
        """Discard all buffered input."""
        raise NotImplementedError

    def on_deadline(self, now: float) -> None:
        """`deadline` has passed."""
        raise NotImplementedError

    # -- while idle -----------------------------------------------------------------------------------------------

    def close_if_idle(self) -> bool:
        """Close between requests. Returns False, and does nothing, if there is unread data: a process that got no CPU time may
        see the time limit before it reads a request that arrived in time."""
        if self.has_input():
            return False
        self.close()
        return True

    def wait_for(self, deadline: float) -> None:
        """Set the deadline to this time."""
        self.deadline = deadline
        self._host.deadlines.watch(self)

    def keep_deadline(self) -> None:
        self._host.deadlines.watch(self)

    # -- after everything was sent --------------------------------------------------------------------------------

    def _refuse(self, error: ExchangeError, reply: Reply | None = None) -> None:
        """Answer and close: the following bytes on this connection cannot be trusted, or are not processed any more."""
        self._host.refused(error)
        self.write(encode_reply(reply or text_reply(error), method=b"GET", close=True, date=http_date()))
        self._state = DISCARD
        self._linger(self._host.clock())

    def _close_after_flush(self, now: float) -> None:
        """Close after the client has accepted everything that was written."""
        self._state = DISCARD
        self.flush()
        if self.congested:
            self._linger(now)
        else:
            self._guard(on=False)
            self.close()

    def _linger(self, now: float, seconds: float = LINGER_SECONDS) -> None:
        self._drop_input()
        self._view = CHUNKS_VIEW
        self.write_eof()
        if not self.congested:
            self._guard(on=False)
        self.resume_reading()
        self.deadline = now + seconds
        self._host.deadlines.watch(self)

    # -- after a slow client has read the response ----------------------------------------------------------------

    def _wait_for_reader(self, now: float) -> None:
        """The client reads its response slowly: give it more time, or abort if it has read nothing for too long."""
        stuck, limit = self.stuck_for(), self._host.keep_alive_timeout
        if stuck >= limit:
            self.abort()
        else:
            self.deadline = now + limit - stuck
            self._host.deadlines.watch(self)

    def _wait_to_reset(self, now: float) -> None:
        """Reset after the client's machine has accepted all data, because a reset drops data on its way."""
        if self.congested:
            self._wait_for_reader(now)
        elif self.in_flight():
            self.wait_for(now)  # check again at the next tick
        else:
            self.abort()

    # -- with a reset ---------------------------------------------------------------------------------------------

    def guard_end(self) -> None:
        """The response that follows ends with the connection. Until all of it is written, make every other end of the connection
        a reset, also when the process dies and the kernel closes it: a truncated response must not look complete."""
        self._guard(on=True)

    def _guard(self, *, on: bool) -> None:
        if self._guarded != on and not self._transport.is_closing():
            self._guarded = on
            self.reset_on_close(on=on)

    def abort(self) -> None:
        """Close at once with a reset: a truncated response must not look complete, even if it ends with the connection. The
        exchange is informed by `connection_lost`."""
        if not self._transport.is_closing():
            self.reset_on_close(on=True)
        super().abort()

    def cut(self, reason: str, rpc_status: int | None) -> None:
        """End a response that has begun: HTTP/1 cannot tell why."""
        self.abort()

    # -- from inside a tunnel -------------------------------------------------------------------------------------

    def wind_down(self, now: float, seconds: float) -> None:
        """End a tunnel within `seconds`. Other exchanges end by themselves."""
        if self._tunnel is not None:
            self._tunnel.wind_down(now, seconds)

    def leave_tunnel(self, *, patience: float) -> None:
        """The backend has ended the tunnel: close after everything was sent. Input of a client that has not closed its side is
        read and dropped for `patience` seconds, because otherwise the kernel would answer it with a reset, which drops data on
        its way to the client."""
        self._tunnel = None
        if patience:
            self._state = DISCARD
            self._linger(self._host.clock(), min(patience, LINGER_SECONDS))
        else:
            self._close_after_flush(self._host.clock())

    def cut_tunnel(self) -> None:
        """The backend connection failed: reset after the client has accepted the data that came before."""
        self._tunnel, self._state, self._view = None, CUT, CHUNKS_VIEW
        self.flush()
        self.resume_reading()
        self._wait_to_reset(self._host.clock())
