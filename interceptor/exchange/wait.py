"""An exchange's wait for a backend: how it enters the waiting room, and how it leaves it.

Created only for requests that find no backend at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interceptor.app.admission import UNBOUNDED
from interceptor.app.flags import COLD, FALLBACK
from interceptor.app.local_answers import UNCOUNTED, LocalAnswer
from interceptor.app.outward import came_back, loop
from interceptor.app.stats import TIMED_OUT
from interceptor.core.errors import BackendError, ExchangeError, Unavailable
from interceptor.core.replies import text_reply
from interceptor.exchange.choice import another, fallback_now, settled
from interceptor.exchange.failures import never_ready, request_took_too_long
from interceptor.exchange.phases import NEW, WAITING

if TYPE_CHECKING:
    from interceptor.app.app import App, Fallback
    from interceptor.backends.endpoint import Endpoint
    from interceptor.exchange.life import Life

__all__ = ["Wait"]

FALLBACK_PATIENCE_SECONDS: Final = 2.0
"""How long requests that all move to a fallback at the same time wait for a free dial; then they connect in any case."""


class Wait:
    """The wait of one exchange: the entry in the waiting room, which passes decisions on to the exchange."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Life) -> None:
        self._exchange = exchange

    @property
    def _app(self) -> App:
        return self._exchange.app

    # -- entering the waiting room --------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """The backend chosen at random cannot take the request: use another one, or wait."""
        exchange, app = self._exchange, self._app
        if app.entry.held + app.entry.in_flight >= app.max_requests:
            exchange.lease = app.entry.hold(now)
            self._overflow(Unavailable(f"application {app.name} has too many requests", reason="max_requests", retry_after=1))
            return
        endpoint = another(app, exchange.head)
        if endpoint is None:
            self.enter(now)
        else:
            exchange.lease = app.entry.acquire(now)
            self._go(endpoint, now)

    def enter(self, now: float) -> None:
        """Wait for a backend, counted as held. The rest of the body is not read meanwhile."""
        exchange, app, again = self._exchange, self._app, self._exchange.phase != NEW
        if not app.endpoints.ready and self._end_without_backends(now):
            return
        if again:
            exchange.lease.hold(now)
        else:
            exchange.lease = app.entry.hold(now)
        if not exchange.waits_since:
            exchange.waits_since = now
        cold = not app.endpoints.ready
        if cold:
            exchange.flag(COLD)
        exchange.phase = WAITING
        if app.removed:
            exchange.fail(app.removal())
            return
        if not app.enter(self, now=now, size=exchange.kept_bytes, again=again):
            self._do_not_wait(again=again)
            self._overflow(Unavailable(f"too many requests wait for application {app.name}", reason="overflow", retry_after=1))
            return
        exchange.pause_unread_body()
        self._limit(now)

    def _end_without_backends(self, now: float) -> bool:
        """Answer a request for which there is no backend: by a local answer, by the fallback, or by an error. Returns False if it
        should wait. If the application can never have a backend, the request is not counted, so it starts nothing."""
        exchange, app = self._exchange, self._app
        local = app.answers_asleep
        answer = None if local is None else local.while_asleep(exchange.head, app.endpoints.why)
        missing = exchange.host.missing(app)
        if missing is None or (answer is not None and not answer.wakes):
            return exchange.answer_locally(answer, now)
        if app.fallback is not None and app.fallback.ready:
            return self._go_to_fallback(app.fallback, now)
        reason, why = missing
        error = BackendError(f"application {app.name}: {why}", reason=reason)
        return exchange.answer_locally(LocalAnswer(text_reply(error), reason), now)

    def _go_to_fallback(self, fallback: Fallback, now: float) -> bool:
        """Send the request to the fallback, counted apart: a counted request would start the application."""
        exchange, app = self._exchange, self._app
        if exchange.phase != NEW:
            return False
        exchange.flag(FALLBACK)
        app.stats.fallbacks += 1
        exchange.lease = app.uncounted_entry().acquire(now)
        self._go(fallback.find(UNBOUNDED) or fallback.ready[0], now)
        return True

    def _go(self, endpoint: Endpoint, now: float) -> None:
        """Send the request to the backend. Dropping the reference first lets the exchange be freed without the garbage
        collector."""
        exchange = self._exchange
        exchange.wait = None
        if endpoint.owner.outside and came_back(exchange.head, exchange.app.mark):
            exchange.fail(loop(exchange.app.name))
        else:
            exchange.go(endpoint, now)

    def _do_not_wait(self, *, again: bool) -> None:
        """The waiting room is full, so the request's duration is not measured as a cold start."""
        record = self._exchange.record
        if record is not None and record.flags & COLD and not again:
            record.flags &= ~COLD
            self._app.stats.rejections += 1

    def _overflow(self, error: Unavailable) -> None:
        """Answer that too many requests wait, with the route's own page if it has one."""
        exchange, local = self._exchange, self._app.answers_asleep
        reply = None if local is None else local.on_overflow(exchange.head, self._app.endpoints.why)
        exchange.end_with(reply or text_reply(error), error.reason)

    # -- called by the waiting room ---------------------------------------------------------------------------------

    def settle(self, endpoint: Endpoint | None) -> Endpoint | None:
        """The backend of the request's session instead of the one that was found; None if it has to wait for that backend."""
        return settled(self._app, self._exchange.head, endpoint)

    def admit(self, endpoint: Endpoint, now: float) -> None:
        """The request may go to this backend."""
        exchange = self._exchange
        self._app.stats.held.observe(now - exchange.waits_since)
        exchange.lease.admit(now)
        self._go(endpoint, now)

    def reconsider(self, now: float) -> None:
        """The route has changed: answer the request if the new route has a local answer for it, or else apply the new limits."""
        exchange = self._exchange
        if not exchange.follow_again(now):
            return
        app = exchange.app
        answer = None if app.answers_first is None else app.answers_first.at_once(exchange.head)
        if (answer is None or answer is UNCOUNTED) and app.answers_asleep is not None and not app.endpoints.ready:
            answer = app.answers_asleep.while_asleep(exchange.head, app.endpoints.why)
        if answer is UNCOUNTED or not exchange.answer_locally(answer, now):
            self._limit(now)

    def reject(self, error: Unavailable) -> None:
        """Answer with an error, because the application was removed or the interceptor shuts down."""
        self._exchange.fail(error)

    # -- limits ---------------------------------------------------------------------------------------------------

    @property
    def _patience(self) -> float:
        """Seconds that the request may wait for a backend."""
        return 0.0 if self._app.endpoints.hopeless else self._exchange.limits.readiness

    def _limit(self, now: float) -> None:
        """Set the deadline from the route's current limits: a waiting request follows changes of its route."""
        exchange = self._exchange
        limits, timeout = self._app.limits, exchange.head.timeout
        limits = exchange.limits = limits if timeout is None else limits.within(timeout)
        until = min(exchange.waits_since + self._patience, exchange.started + limits.request)
        if self._app.endpoints.hopeless:
            exchange.client.deadline = until
            self.on_deadline(now)
        else:
            exchange.wait_until(until)

    def on_deadline(self, now: float) -> None:
        """The readiness timeout or the limit of the whole request has passed."""
        exchange, app = self._exchange, self._app
        if now >= exchange.waits_since + self._patience:
            if not self._fall_back(now):
                self.time_out(now)
        elif now >= exchange.started + exchange.limits.request:
            app.waits.unserved(app, now)
            exchange.fail(request_took_too_long(app.name, exchange.limits))

    def _fall_back(self, now: float) -> bool:
        """The application did not become ready in time: send the request to its fallback. False if no backend of it is ready."""
        exchange, app = self._exchange, self._app
        free, ready = fallback_now(app)
        if ready is None:
            return False
        if free is None and now < exchange.waits_since + self._patience + FALLBACK_PATIENCE_SECONDS:
            exchange.wait_until(now)  # many requests time out together: dial a few at a time
            return True
        app.leave(self)
        app.stats.fallbacks += 1
        app.waits.unserved(app, now)
        exchange.note_failed_wait(TIMED_OUT, now)
        exchange.flag(FALLBACK)
        exchange.lease.admit(now)
        self._go(ready, now)
        return True

    def time_out(self, now: float) -> None:
        """The readiness timeout has passed without a backend."""
        exchange, app = self._exchange, self._app
        error: ExchangeError = never_ready(app)
        if not app.endpoints.ready:
            app.waits.note_timeout(app, now - exchange.waits_since, str(error), now)
        exchange.fail(error)
