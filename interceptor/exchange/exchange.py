"""One request from its route to its end: counted, answered locally, waiting, or given to a backend by one attempt or several.

Knows no wire format, and no clock but its host's. What a downstream tells of its request comes in here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from interceptor.app.flags import FALLBACK
from interceptor.app.local_answers import UNCOUNTED
from interceptor.backends.endpoint import MAX_DIALS, Endpoint
from interceptor.core.errors import ExchangeError, Unavailable
from interceptor.core.messages import IDEMPOTENT
from interceptor.core.replies import Reply, no_route, text_reply
from interceptor.exchange.attempt import Attempt
from interceptor.exchange.body import MAX_EARLY_BYTES, RequestBody
from interceptor.exchange.choice import another, another_fallback, of_authenticated, preferred
from interceptor.exchange.life import CLIENT_LEFT, Life
from interceptor.exchange.limits import stalled, unanswered
from interceptor.exchange.phases import ANSWERING, DONE, NEW, SENT
from interceptor.exchange.record import Record
from interceptor.exchange.wait import Wait

if TYPE_CHECKING:
    from interceptor.app.local_answers import LocalAnswers

__all__ = ["Exchange"]


class Exchange(Life):
    """Between one client and, at a time, at most one backend."""

    __slots__ = ()

    # -- the request ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The head is there: find the application and, at best, a connection that rests."""
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
        if app.flags:
            self.record = Record(app.flags)
        self.limits = app.limits
        if app.answers_first is not None and self._begin_locally(app.answers_first, now):
            return
        own = self.client.own_backend
        endpoint = None if app.room else app.endpoints.choose() if own is None else of_authenticated(app, own)
        if app.sessions is not None and endpoint is not None:
            endpoint = preferred(app, head) or endpoint
        if endpoint is None or endpoint.load >= app.ceiling or app.entry.in_flight >= app.max_requests:
            self.waiting.begin(now)
        elif own is None and endpoint.spare and self.method in IDEMPOTENT:
            self.lease = app.entry.acquire(now)
            Attempt(self, endpoint).send(endpoint.spare.pop(), now)
        elif own is not None or endpoint.spare or endpoint.dialing < MAX_DIALS:
            self.lease = app.entry.acquire(now)
            self.go(endpoint, now)
        else:
            self.waiting.begin(now)

    def _begin_locally(self, answers: LocalAnswers, now: float) -> bool:
        """Whether a request of such a route needs nothing more: it is answered, or goes to a backend uncounted."""
        answer = answers.at_once(self.head)
        if answer is not UNCOUNTED:
            return self.answer_locally(answer, now)
        app = self.app
        endpoint = None if app.room else app.endpoints.find(app.ceiling)
        if endpoint is None or app.uncounted is None or app.uncounted.in_flight >= app.max_requests:
            return False  # asleep, or so busy that one more does not matter
        self.lease = app.uncounted.acquire(now)
        self.go(endpoint, now)
        return True

    @property
    def waiting(self) -> Wait:
        """Made when it is needed."""
        wait = self.wait
        if not isinstance(wait, Wait):
            wait = self.wait = Wait(self)
        return wait

    @property
    def answers_half_closed(self) -> bool:
        """Whether a client that will send no more is waited for."""
        return self.app.answers_half_closed

    # -- its body -------------------------------------------------------------------------------------------------

    def on_body(self, data: bytes | memoryview, *, complete: bool) -> None:
        """More of the request's body, as it goes on."""
        if complete:
            self.body_done = True
        attempt, body = self.attempt, self.body
        connection = None if attempt is None else attempt.connection
        if connection is None:
            if body is None:
                body = self.body = RequestBody(data)
            else:
                body.keep(data)
            if body.size > MAX_EARLY_BYTES and not complete:
                self.client.pause_reading()
            return
        connection.write_through(data)
        if self.phase == SENT:
            if body is None:
                body = self.body = RequestBody(b"")
            body.keep_for_replay(data, idempotent=self.head.idempotent)
            self.limit(self.host.clock(), self.limits.response_header if complete else self.limits.idle)
        else:
            self.limit(self.host.clock(), self.limits.idle)

    def on_bulk(self, data: bytes | memoryview, source: object, left: int) -> int:
        """More of a body too large to be kept."""
        attempt, body = self.attempt, self.body
        connection = None if attempt is None else attempt.connection
        if body is None:
            body = self.body = RequestBody(b"")
        if connection is None or (body.parts is not None and self.head.idempotent and self.phase == SENT):
            self.on_body(data, complete=False)
            return 0
        body.parts = None
        self.limit(self.host.clock(), self.limits.idle)
        return connection.splice(data, source, left)

    # -- to a backend ---------------------------------------------------------------------------------------------

    def go(self, endpoint: Endpoint, now: float) -> None:
        """To this backend. What was lost on one connection goes out on a new one: others that rest may have ended too."""
        own, self.client.own_backend = self.client.own_backend, None
        if own is not None:
            own.endpoint.own.discard(own)
            if own.endpoint is endpoint and not own.has_news():
                Attempt(self, endpoint).send(own, now)
                return
            own.close()
        while endpoint.spare and not self.attempts:
            connection = endpoint.spare.pop()
            if self.method in IDEMPOTENT or not connection.has_news():  # what is sent once only is not sent to one that has ended
                Attempt(self, endpoint).send(connection, now)
                return
            connection.close()
        Attempt(self, endpoint).dial(now)

    def find_again(self, lost: Endpoint, now: float) -> None:
        """To another backend, or back to waiting, after one was lost."""
        to_fallback = self.record is not None and self.record.flags & FALLBACK
        app = self.app
        endpoint = another_fallback(app) if to_fallback else another(app, self.head, lost=lost, attempts=self.attempts)
        if endpoint is not None:
            self.go(endpoint, now)
        elif to_fallback:
            self.waiting.fail_in_vain(now)
        else:
            self.waiting.enter(now)

    # -- losses of the client's side --------------------------------------------------------------------------------

    def on_client_lost(self) -> None:
        """The client left: nothing is owed to it any more."""
        if self.phase not in (NEW, DONE):
            self.end(self.host.clock(), CLIENT_LEFT if self.phase < ANSWERING else self.status)

    def on_broken_body(self, error: ExchangeError) -> bool:
        """What came of the body is not to be answered by a backend; an answer that has begun is cut."""
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
            self.cut(now, found)
        else:
            self.limit(now, found)

    def pause_answer(self) -> None:
        """The client takes no more of the answer for now."""
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.pause_reading()

    def resume_answer(self) -> None:
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.resume_reading()

    # -- ends -----------------------------------------------------------------------------------------------------

    def _refuse_unrouted(self, error: ExchangeError, listed: Reply | None = None) -> None:
        self.phase = DONE
        self.host.refused(error if listed is None else ExchangeError(str(error), status=listed.status, reason="app_list"))
        self.client.reply(listed or text_reply(error), method=self.method, now=self.started)


def _nothing_is_due(exchange: Exchange, now: float) -> None:
    """It has not begun, or is over."""


_ON_DEADLINE: Final[tuple[Callable[[Exchange, float], None], ...]] = (
    _nothing_is_due,
    Exchange._on_wait_deadline,  # noqa: SLF001 -- the table of its own module
    Exchange._on_answer_deadline,  # noqa: SLF001
    Exchange._on_answer_deadline,  # noqa: SLF001
    Exchange._on_relay_deadline,  # noqa: SLF001
    _nothing_is_due,
)
"""By phase."""
