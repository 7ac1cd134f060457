"""What the parts of an exchange share: its state, its time limits, and its ends.

An exchange ends through `end`, unless the whole response was sent (`Attempt._answered`) or a tunnel takes over its lease
(`Attempt.on_switched`). The lease is released exactly once in each case. The phases are in `interceptor.exchange.phases`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from fleet.demand.ledger import Lease
from fleet.routing.table import RoutingTable
from interceptor.app.flags import COLD
from interceptor.app.local_answers import LocalAnswer
from interceptor.app.stats import CANCELLED, TIMED_OUT
from interceptor.core.errors import ExchangeError
from interceptor.core.grpc import cut_fields
from interceptor.core.messages import Request
from interceptor.core.replies import Reply, text_reply
from interceptor.core.sides import Downstream, Upstream
from interceptor.exchange.body import RequestBody
from interceptor.exchange.phases import DIALING, DONE, NEW, WAITING
from interceptor.exchange.record import Record
from interceptor.grpcweb.answers import own_answer

if TYPE_CHECKING:
    from interceptor.app.app import App, Limits, Waiter
    from interceptor.app.applist import AppList
    from interceptor.backends.endpoint import Endpoint

__all__ = ["CLIENT_LEFT", "ExchangeHost", "Holder", "Life"]

CLIENT_LEFT: Final = 499
"""Status recorded for a client that disconnected before the response. Never sent."""


class ExchangeHost(Protocol):
    """What an exchange needs of the proxy."""

    clock: Callable[[], float]
    """Monotonic time in seconds."""
    table: RoutingTable | None
    apps: dict[str, App]
    applist: AppList | None
    """The page that lists the applications, for requests without a route, when Weir runs on a developer's machine."""

    def missing(self, app: App) -> tuple[str, str] | None:
        """Why the application can never have a backend, as a reason for metrics and as text; None if it can have one."""

    def refused(self, error: ExchangeError) -> None:
        """Count an error response to a request that belongs to no application."""


class Holder(Protocol):
    """An attempt, as the exchange's end sees it."""

    connection: Upstream | None

    def give_up(self, now: float) -> None:
        """Release what the attempt holds."""


class Life:
    """State, limits and ends of one exchange."""

    __slots__ = (
        "app", "attempt", "attempts", "body", "body_done", "client", "head", "host", "lease", "limits", "method", "phase",
        "record", "started", "status", "wait", "waits_since",
    )  # fmt: skip

    app: App
    lease: Lease
    started: float
    """When the head had been received."""
    limits: Limits
    """The route's limits when the request began or last waited: a route change does not affect requests already sent."""

    def __init__(self, host: ExchangeHost, client: Downstream, head: Request) -> None:
        self.host = host
        self.client = client
        self.head = head
        self.method = head.method
        self.phase = NEW
        self.waits_since = 0.0
        """When the exchange began to wait for a connection; 0 before that, and again after a connection has failed."""
        self.record: Record | None = None
        self.wait: Waiter | None = None
        """The entry in the waiting room; None if the request does not wait."""
        self.attempt: Holder | None = None
        """The current attempt."""
        self.attempts = 0
        """Number of attempts that have failed after the request was sent."""
        self.body: RequestBody | None = None
        self.body_done = head.length == 0
        self.status = 0
        """Status of the response that was sent to the client; 0 before."""

    def go(self, endpoint: Endpoint, now: float) -> None:
        """Send the request to this backend."""
        raise NotImplementedError

    def find_again(self, lost: Endpoint, now: float) -> None:
        """Send the request to another backend, or wait again, after a connection to one has failed."""
        raise NotImplementedError

    def follow_again(self, now: float) -> bool:
        """Apply the rules of the route as it is now to a request that waits: it may have changed. Returns False if it was
        refused."""
        raise NotImplementedError

    def flag(self, flag: int) -> None:
        """Record a flag of `interceptor.app.flags`."""
        if self.record is None:
            self.record = Record(flag)
        else:
            self.record.flags |= flag

    @property
    def kept_bytes(self) -> int:
        """Memory that the request takes while it waits: head and buffered body."""
        return self.head.size + (0 if self.body is None else self.body.size)

    def pause_unread_body(self) -> None:
        """Stop reading the body until there is a backend."""
        if not self.body_done:
            self.client.pause_reading()

    @property
    def waits_to_go_on(self) -> bool:
        """Whether the client waits for 100 Continue, so that the backend must respond before the body is sent."""
        body = self.body
        return self.head.expects_continue and (body is None or (body.parts is not None and not body.size))

    # -- limits ---------------------------------------------------------------------------------------------------

    def limit(self, now: float, seconds: float) -> None:
        """Set the deadline to `seconds` from now, but not later than the limit of the whole request."""
        until = now + seconds
        if self.limits.request != math.inf:
            until = min(until, self.started + self.limits.request)
        self.client.deadline = until
        self.client.keep_deadline()

    def wait_until(self, until: float) -> None:
        """Set the deadline to this time."""
        self.client.deadline = until
        self.client.keep_deadline()

    # -- ends -----------------------------------------------------------------------------------------------------

    def answer_locally(self, answer: LocalAnswer | None, now: float) -> bool:
        """Send a local answer, if there is one; returns whether there was. Such a request is only counted if it should start the
        application."""
        if answer is None:
            return False
        if answer.wakes:
            self.app.waits.unserved(self.app, now)
        if self.phase == NEW:
            self.phase, self.wait = DONE, None
            if answer.wakes:
                self.app.entry.acquire(now).release(now)
            self.app.stats.timeless(self.method, answer.reply.status)
        else:
            self.end(now, answer.reply.status)
        self._reply(answer.reply, now, reason=answer.reason)
        return True

    def fail(self, error: ExchangeError) -> None:
        """Answer with an error. Only before a response has begun."""
        self.end_with(text_reply(error), error.reason)

    def end_with(self, reply: Reply, reason: str) -> None:
        """End a counted request with a reply of our own. Only before a response has begun."""
        now = self.host.clock()
        self.end(now, reply.status)
        self._reply(reply, now, reason=reason)

    def cut(self, now: float, reason: str, rpc_status: int | None = None, *, connection: Upstream | None) -> None:
        """End a response that has begun, and that its backend's connection does not complete: with a status if its form has a
        place for one, or else with a reset."""
        self.app.stats.cut[reason] += 1
        last = b"" if connection is None else connection.ending(cut_fields(reason, rpc_status))
        self.end(now, self.status)
        if last:
            self.client.write_through(last)
            self.client.exchange_done(now)
        else:
            self.client.cut(reason, rpc_status)

    def _reply(self, reply: Reply, now: float, *, reason: str) -> None:
        self.app.stats.own[reason, reply.status] += 1
        reply = own_answer(self.head, reply)
        if self.app.cors is not None:
            reply = self.app.cors.of_reply(self.head, reply)
        self.client.reply(reply, method=self.method, now=now)

    def end(self, now: float, status: int) -> None:
        """Release everything that the exchange holds, and count its result."""
        phase, self.phase = self.phase, DONE
        wait, self.wait = self.wait, None
        if phase == WAITING and wait is not None:
            self.app.leave(wait)
            if status == CLIENT_LEFT:
                self.app.waits.unserved(self.app, now)
        self.lease.release(now)
        self.body = None
        cold = 0 if self.record is None else self.record.flags & COLD
        self.app.stats.answered(self.method, status, now - self.started, cold)
        if phase in (WAITING, DIALING):
            self.note_failed_wait(CANCELLED if status == CLIENT_LEFT else TIMED_OUT, now)
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.give_up(now)

    def note_failed_wait(self, outcome: str, now: float) -> None:
        """Record that the request has waited for a backend without getting one."""
        if self.record is not None:
            self.record.failed_wait(self.app, outcome, now - self.started, again=self.attempts > 0)
