"""How a connection from a client ends: with all that was answered, slowly, or with a reset.

A client must be able to tell an answer that was cut short from a whole one, and closing a socket of which not everything was read
destroys what is on its way to the client. So there are several ways to end, and this module knows when each is safe.
"""

from __future__ import annotations

import socket
import struct

from interceptor.core.errors import ExchangeError
from interceptor.core.replies import Reply, text_reply
from interceptor.core.sides import ClientTunnelEvents
from interceptor.http1.date import http_date
from interceptor.http1.host import ClientHost
from interceptor.http1.reply import encode_reply
from interceptor.http1.states import CUT, DISCARD, HEAD
from interceptor.transport.tcp import BODY_VIEW, CHUNKS_VIEW, Connection

__all__ = ["ClosingClient"]

LINGER_SECONDS = 2.0
"""How long the rest of a refused request is read and dropped: closing at once could destroy the answer on its way."""

NO_LINGER = struct.pack("ii", 1, 0)
"""Socket option by which closing resets."""
LINGER = struct.pack("ii", 0, 0)
"""The usual way: what is written goes out, and then the end."""


class ClosingClient(Connection):
    """A connection from a client, as far as its end is concerned."""

    __slots__ = ("_guarded", "_host", "_state", "_tunnel", "_view")

    def __init__(self, host: ClientHost) -> None:
        super().__init__(host.outbox, deadline=0.0)
        self._host = host
        self._state = HEAD
        """One of those of `interceptor.http1.states`."""
        self._tunnel: ClientTunnelEvents | None = None
        self._view = BODY_VIEW
        """What bytes are read into, but those of heads."""
        self._guarded = False

    def _drop_input(self) -> None:
        """Nothing of what was read, and is still here, will be looked at."""
        raise NotImplementedError

    def on_deadline(self, now: float) -> None:
        """The time of `deadline` has come."""
        raise NotImplementedError

    # -- at rest --------------------------------------------------------------------------------------------------

    def close_at_rest(self) -> bool:
        """Close between requests. False, and nothing done, where there is something to read: a process that was not given its
        time finds the limit passed before it finds the request that came in time."""
        if self.has_news():
            return False
        self.close()
        return True

    def wait_for(self, deadline: float) -> None:
        """Be asked at this time, if nothing has changed by then."""
        self.deadline = deadline
        self._host.deadlines.watch(self)

    # -- with all that was answered -------------------------------------------------------------------------------

    def _refuse(self, error: ExchangeError, reply: Reply | None = None) -> None:
        """Answer and close: nothing that follows on this connection can be trusted, or it is not looked at any more."""
        self._host.refused(error)
        self.write(encode_reply(reply or text_reply(error), method=b"GET", close=True, date=http_date()))
        self._state = DISCARD
        self._linger(self._host.clock())

    def _part(self, now: float) -> None:
        """Close, once the client has taken what was written."""
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

    # -- slowly ---------------------------------------------------------------------------------------------------

    def _wait_for_reader(self, now: float) -> None:
        """What was answered goes out slowly, or not at all: then it would wait here for as long as the client likes."""
        stuck, limit = self.stuck_for(), self._host.keep_alive_timeout
        if stuck >= limit:
            self.abort()
        else:
            self.deadline = now + limit - stuck
            self._host.deadlines.watch(self)

    def _wait_to_reset(self, now: float) -> None:
        """A reset drops what the client's machine has not taken yet, so it comes after that."""
        if self.congested:
            self._wait_for_reader(now)
        elif self.in_flight():
            self.wait_for(now)  # to be asked again in a moment
        else:
            self.abort()

    # -- with a reset ---------------------------------------------------------------------------------------------

    def guard_end(self) -> None:
        """What follows ends with this connection. Until all of it is written, whatever else ends the connection resets it, the
        end of this process too, at which the kernel closes it: cut short, it must not look complete."""
        self._guard(on=True)

    def _guard(self, *, on: bool) -> None:
        if self._guarded != on and not self._transport.is_closing():
            self._guarded = on
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER if on else LINGER)

    def abort(self) -> None:
        """Close at once and with a reset: an answer that was cut short must not look complete, even where its end is its
        connection's. What was under way is told by the connection's loss."""
        if not self._transport.is_closing():
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        super().abort()

    # -- from inside a tunnel -------------------------------------------------------------------------------------

    def wind_down(self, now: float, seconds: float) -> None:
        """Have a tunnel end within so many seconds. Anything else ends by itself."""
        if self._tunnel is not None:
            self._tunnel.wind_down(now, seconds)

    def leave_tunnel(self, *, patience: float) -> None:
        """The backend is through: flush and close. What comes of a client that has not ended its side is read and dropped for so
        many seconds, since the kernel would answer it with a reset, and drop what is on its way to the client."""
        self._tunnel = None
        if patience:
            self._state = DISCARD
            self._linger(self._host.clock(), min(patience, LINGER_SECONDS))
        else:
            self._part(self._host.clock())

    def cut_tunnel(self) -> None:
        """The backend is lost: reset, once the client has taken what came before. A reset drops what is on its way."""
        self._tunnel, self._state, self._view = None, CUT, CHUNKS_VIEW
        self.flush()
        self.resume_reading()
        self._wait_to_reset(self._host.clock())
