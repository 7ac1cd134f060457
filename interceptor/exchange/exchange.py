"""One request from routing to its end: it is counted, and answered locally, or it waits, or it is sent to a backend in one or
more attempts.

Receives the events of the request from the downstream. Knows no wire format, and no clock but its host's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from interceptor.app.flags import AS_CLIENTS, FALLBACK, OUTSIDE, PREVIEWED, RULED, TREATED
from interceptor.app.local_answers import UNCOUNTED, LocalAnswer
from interceptor.app.outward import came_back, loop
from interceptor.backends.endpoint import MAX_DIALS, Endpoint
from interceptor.core.errors import BadRequest, ExchangeError, Unavailable
from interceptor.core.messages import HTTPS, IDEMPOTENT, Fields
from interceptor.core.replies import Reply, no_route, text_reply
from interceptor.exchange.attempt import Attempt
from interceptor.exchange.body import MAX_EARLY_BYTES, RequestBody
from interceptor.exchange.choice import another, another_fallback, of_authenticated, preferred
from interceptor.exchange.life import CLIENT_LEFT, Life
from interceptor.exchange.limits import stalled, unanswered
from interceptor.exchange.phases import ANSWERING, DONE, NEW, SENT
from interceptor.exchange.preview import choose, is_for_base
from interceptor.exchange.record import Record
from interceptor.exchange.wait import Wait
from interceptor.grpcweb.answers import own_answer

if TYPE_CHECKING:
    from fleet.routing.table import RoutingTable
    from interceptor.app.app import Chooser
    from interceptor.app.local_answers import LocalAnswers
    from interceptor.app.rules import Rules

__all__ = ["Exchange"]


class Exchange(Life):
    """Connects one client with at most one backend at a time."""

    __slots__ = ()

    # -- the request ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The head was received: find the application, and send the request on an idle connection if there is one."""
        host, head = self.host, self.head
        now = self.started = host.clock()
        table = host.table
        if table is None:
            self._refuse_unrouted(Unavailable("the routing table has not been read yet", reason="no_table", retry_after=1))
            return
        fields = head.routing_fields(headers=table.reads_headers, method=table.reads_methods) if table.reads_fields else ()
        route = table.match(head.host, head.path, fields)
        if route is None:
            self._refuse_unrouted(no_route(head.host, head.path), None if host.applist is None else host.applist.reply(head))
            return
        app = self.app = host.apps[route.app]
        # The last two are `is_for_base`, without its call: most requests of an application with previews are for itself.
        if app.flags and (app.flags != PREVIEWED or head.host not in table.whole or head.may_have(app.marks)):
            record = self.record = Record(app.flags)
            if app.flags & TREATED and (refusal := self._treat(table, record)) is not None:
                self.answer_locally(LocalAnswer(text_reply(refusal), refusal.reason), now)
                return
            app = self.app
        self.limits = app.limits if head.timeout is None else app.limits.within(head.timeout)
        if app.answers_first is not None and self._begin_locally(app.answers_first, now):
            return
        own = self.client.own_backend
        endpoint = None if app.room else app.endpoints.choose() if own is None else of_authenticated(app, own)
        if app.sessions is not None and endpoint is not None:
            endpoint = preferred(app, head) or endpoint
        if endpoint is None or endpoint.load >= app.ceiling or app.entry.in_flight >= app.max_requests:
            self.waiting.begin(now)
        elif own is None and endpoint.spare and (self.method in IDEMPOTENT or not endpoint.spare[-1].has_input()):
            self.lease = app.entry.acquire(now)
            Attempt(self, endpoint).send(endpoint.spare.pop(), now)
        elif own is not None or endpoint.spare or endpoint.dialing < MAX_DIALS:
            self.lease = app.entry.acquire(now)
            self.go(endpoint, now)
        else:
            self.waiting.begin(now)

    def _treat(self, table: RoutingTable, record: Record) -> ExchangeError | None:
        """Choose among the previews of the application, and apply the rule that the request fits. Returns why it is refused, if
        it is."""
        flags = self.app.flags
        if flags & PREVIEWED and (flags == PREVIEWED or not is_for_base(table, self.app, self.head)):
            chosen = choose(table, self.app, self.head, trusted=self.client.trusted)
            if isinstance(chosen, ExchangeError):
                return chosen
            record.chosen = chosen
            if chosen.base_host:
                self.head = self.head.at_base(chosen.base_host)
            self.app = self.host.apps[chosen.app]
            record.flags = self.app.flags
        return self._follow(self.app.rules, record)

    def _follow(self, rules: Rules[Chooser] | None, record: Record) -> ExchangeError | None:
        """Apply the rule of the route that the request fits. Returns why it is refused, if it is."""
        treatment = None if rules is None else rules.find(self.head)
        shares = edit = None
        if treatment is not None:
            try:
                edit, record.response = treatment.edit(self.head), treatment.response
            except BadRequest as error:
                return error
            shares = treatment.shares
        record.change(edit, self.head)
        if shares is None:
            self.app = self.app.main
        elif shares is not self.app.shares:
            self.app = shares.pick(self.head, self.client.own_backend)
        app = self.app
        if app.over_tls is not None and self.head.scheme == HTTPS:
            app = self.app = app.over_tls
        return loop(app.name) if app.flags & OUTSIDE and came_back(self.head, app.mark) else None

    def follow_again(self, now: float) -> bool:
        """Apply the rules of the route as it is now to a request that waits: it may have changed. Returns False if it was
        refused."""
        before, record = self.app, self.record
        rules = before.main.rules
        if record is not None:
            record.response = None
            record.change(None, self.head)
        if rules is None and not before.main.flags & AS_CLIENTS:
            self.app = before.main
        else:
            record = self.record = record or Record(RULED)
            refusal = self._follow(rules, record)
            if refusal is not None:
                self.fail(refusal)
                return False
        if self.app is not before and self.wait is not None:
            before.leave(self.wait)
            self.app.enter(self.wait, now=now, size=self.kept_bytes, again=True)
        return True

    def _begin_locally(self, answers: LocalAnswers, now: float) -> bool:
        """Begin a request of a route with local answers. Returns True if the request was answered, or was sent to a backend
        without being counted; False if it continues like any other request."""
        answer = answers.at_once(self.head)
        if answer is not UNCOUNTED:
            return self.answer_locally(answer, now)
        app = self.app
        endpoint = None if app.room else app.endpoints.find(app.ceiling)
        if endpoint is None or app.uncounted is None or app.uncounted.in_flight >= app.max_requests:
            return False  # no backend, or so many requests that one more does not change the scale
        self.lease = app.uncounted.acquire(now)
        self.go(endpoint, now)
        return True

    @property
    def waiting(self) -> Wait:
        """Created when it is first used."""
        wait = self.wait
        if not isinstance(wait, Wait):
            wait = self.wait = Wait(self)
        return wait

    @property
    def answers_half_closed(self) -> bool:
        """Whether a client that has closed its sending side still gets a response."""
        return self.app.answers_half_closed

    # -- the request's body ---------------------------------------------------------------------------------------

    def on_body(self, data: bytes | memoryview, *, complete: bool, trailers: Fields = ()) -> None:
        """Send more of the request's body to the backend, or buffer it until there is a connection."""
        if complete:
            self.body_done = True
            if trailers:
                self._keep_trailers(trailers)
        attempt, body = self.attempt, self.body
        connection = None if attempt is None else attempt.connection
        if connection is None:
            if self.phase == DONE:
                return
            if body is None:
                body = self.body = RequestBody(data)
            else:
                body.keep(data)
            if not complete and body.size > MAX_EARLY_BYTES:
                self.client.pause_reading()
            return
        connection.write_through(data)
        if complete:
            connection.send_end(trailers)
        if self.phase == SENT:
            if body is None:
                body = self.body = RequestBody(b"")
            body.keep_for_replay(data, again=self.head.idempotent or connection.reports_unprocessed)
            self.limit(self.host.clock(), self.limits.response_header if complete else self.limits.idle)
        else:
            self.limit(self.host.clock(), self.limits.idle)

    def _keep_trailers(self, trailers: Fields) -> None:
        """Keep them until the request is sent, and in case it is sent again."""
        if self.phase == DONE:
            return
        if self.body is None:
            self.body = RequestBody(b"")
        self.body.trailers = trailers

    def on_bulk(self, data: bytes | memoryview, source: object, left: int) -> int:
        """Relay more of a large body from socket to socket, unless it must be buffered or kept for another attempt."""
        if self.phase == DONE:
            return 0
        attempt, body = self.attempt, self.body
        connection = None if attempt is None else attempt.connection
        if body is None:
            body = self.body = RequestBody(b"")
        again = self.head.idempotent or (connection is not None and connection.reports_unprocessed)
        if connection is None or (body.parts is not None and again and self.phase == SENT):
            self.on_body(data, complete=False)
            return 0
        body.parts = None
        self.limit(self.host.clock(), self.limits.idle)
        return connection.splice(data, source, left)

    # -- to a backend ---------------------------------------------------------------------------------------------

    def go(self, endpoint: Endpoint, now: float) -> None:
        """Send the request to this backend. After a failed attempt use a new connection, because other idle connections may have
        been closed as well."""
        own, self.client.own_backend = self.client.own_backend, None
        if own is not None:
            own.endpoint.own.discard(own)
            if own.endpoint is endpoint and not own.has_input():
                Attempt(self, endpoint).send(own, now)
                return
            own.close()
        while endpoint.spare and not self.attempts:
            connection = endpoint.spare.pop()
            if self.method in IDEMPOTENT or not connection.has_input():  # not idempotent: check that it is open
                Attempt(self, endpoint).send(connection, now)
                return
            connection.close()
        Attempt(self, endpoint).dial(now)

    def find_again(self, lost: Endpoint, now: float) -> None:
        """Send the request to another backend, or wait again, after a connection to one has failed."""
        to_fallback = self.record is not None and self.record.flags & FALLBACK
        app = self.app
        if app.shares is not None and not app.endpoints.ready:
            app = self.app = app.shares.pick(self.head)
        endpoint = another_fallback(app) if to_fallback else another(app, self.head, lost=lost, attempts=self.attempts)
        if endpoint is not None:
            self.go(endpoint, now)
        elif to_fallback:
            self.waiting.time_out(now)
        else:
            self.waiting.enter(now)

    # -- failures of the client -------------------------------------------------------------------------------------

    def on_client_lost(self) -> None:
        """The client disconnected: end the exchange."""
        if self.phase not in (NEW, DONE):
            self.end(self.host.clock(), CLIENT_LEFT if self.phase < ANSWERING else self.status)

    def on_broken_body(self, error: ExchangeError) -> bool:
        """The request body is malformed: end the exchange. Returns False if a response has begun, which the caller resets."""
        begun = self.phase == ANSWERING
        if self.phase not in (NEW, DONE):
            self.end(self.host.clock(), self.status if begun else error.status)
        return not begun

    # -- limits and back-pressure ---------------------------------------------------------------------------------

    def on_deadline(self, now: float) -> None:
        """The client's deadline has passed."""
        _ON_DEADLINE[self.phase](self, now)

    def _on_wait_deadline(self, now: float) -> None:
        self.waiting.on_deadline(now)

    def _on_answer_deadline(self, now: float) -> None:
        connection = None if self.attempt is None else self.attempt.connection
        stuck = connection.stuck_for() if connection is not None and connection.congested else None
        speaks = self.body_done or self.waits_to_go_on
        found = unanswered(self.app.name, self.limits, now=now, started=self.started, stuck=stuck, backend_speaks_next=speaks)
        if isinstance(found, ExchangeError):
            self.fail(found)
        else:
            self.limit(now, found)

    def _on_relay_deadline(self, now: float) -> None:
        connection = None if self.attempt is None else self.attempt.connection
        stuck = math.inf if connection is None else min(self.client.stuck_for(), connection.stuck_for())
        found = stalled(self.limits, now=now, started=self.started, stuck=stuck)
        if isinstance(found, str):
            self.cut(now, found, connection=connection)
        elif now >= self.started + self.limits.request:  # the backend is to end it itself
            self.wait_until(now + found)
        else:
            self.limit(now, found)

    def pause_answer(self) -> None:
        """The client accepts no more of the response for now."""
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.pause_reading()

    def resume_answer(self) -> None:
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.resume_reading()

    # -- ends -----------------------------------------------------------------------------------------------------

    def _refuse_unrouted(self, error: ExchangeError, listed: Reply | None = None) -> None:
        self.phase = DONE
        self.host.refused(error if listed is None else ExchangeError(str(error), status=listed.status, reason="app_list"))
        self.client.reply(listed or own_answer(self.head, text_reply(error)), method=self.method, now=self.started)


def _nothing_is_due(exchange: Exchange, now: float) -> None:
    """A deadline in the phases NEW and DONE has no effect."""


_ON_DEADLINE: Final[tuple[Callable[[Exchange, float], None], ...]] = (
    _nothing_is_due,
    Exchange._on_wait_deadline,  # noqa: SLF001 -- the table of its own module
    Exchange._on_answer_deadline,  # noqa: SLF001
    Exchange._on_answer_deadline,  # noqa: SLF001
    Exchange._on_relay_deadline,  # noqa: SLF001
    _nothing_is_due,
)
"""Indexed by phase."""
