"""What the parts of an exchange share: its state, its time limits, and its ends.

Every way out goes through `end`, which releases the lease exactly once. The phases are those of `interceptor.exchange.phases`.
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
from interceptor.core.messages import Request
from interceptor.core.replies import Reply, text_reply
from interceptor.core.sides import Downstream, Upstream
from interceptor.exchange.body import RequestBody
from interceptor.exchange.phases import DIALING, DONE, NEW, WAITING
from interceptor.exchange.record import Record

if TYPE_CHECKING:
    from interceptor.app.app import App, Limits, Waiter
    from interceptor.app.applist import AppList
    from interceptor.backends.endpoint import Endpoint

__all__ = ["CLIENT_LEFT", "ExchangeHost", "Holder", "Life"]

CLIENT_LEFT: Final = 499
"""Status of an exchange whose client left before its response."""


class ExchangeHost(Protocol):
    """What an exchange needs of the proxy."""

    clock: Callable[[], float]
    """Seconds; it never goes back."""
    table: RoutingTable | None
    apps: dict[str, App]
    applist: AppList | None
    """What answers people whose request no route takes, on a machine of their own."""

    def missing(self, app: App) -> tuple[str, str] | None:
        """Why the application can have no backend, as a reason and in words."""

    def refused(self, error: ExchangeError) -> None:
        """A request that no application can be charged with was answered."""

    def watch(self, client: Downstream) -> None:
        """The client's deadline is nearer than before."""


class Holder(Protocol):
    """An attempt, as far as its end is concerned."""

    connection: Upstream | None

    def give_up(self, now: float) -> None:
        """Give back what it holds."""


class Life:
    """Of one exchange."""

    __slots__ = (
        "app", "attempt", "attempts", "body", "body_done", "client", "head", "host", "lease", "limits", "method", "phase",
        "record", "started", "status", "wait", "waits_since",
    )  # fmt: skip

    app: App
    lease: Lease
    started: float
    """When its head was here."""
    limits: Limits
    """Those of the route when it began, or when it last had to wait: what is sent is not hurried by a change of the route."""

    def __init__(self, host: ExchangeHost, client: Downstream, head: Request) -> None:
        self.host = host
        self.client = client
        self.head = head
        self.method = head.method
        self.phase = NEW
        self.waits_since = 0.0
        """Since when it has been without a connection; 0 before, and again once it was lost by a backend."""
        self.record: Record | None = None
        self.wait: Waiter | None = None
        """Its place in the waiting room, once it had to wait."""
        self.attempt: Holder | None = None
        """The one that goes on."""
        self.attempts = 0
        """Those that lost the request."""
        self.body: RequestBody | None = None
        self.body_done = head.length == 0
        self.status = 0
        """Of the response that went to the client."""

    def go(self, endpoint: Endpoint, now: float) -> None:
        """To this backend."""
        raise NotImplementedError

    def find_again(self, lost: Endpoint, now: float) -> None:
        """To another backend, or back to waiting, after one was lost."""
        raise NotImplementedError

    def flag(self, flag: int) -> None:
        """Note that something has happened to it."""
        if self.record is None:
            self.record = Record(flag)
        else:
            self.record.flags |= flag

    @property
    def kept_bytes(self) -> int:
        """Of it, while it waits."""
        return self.head.size + (0 if self.body is None else self.body.size)

    def pause_unread_body(self) -> None:
        """What is still to come of it is not wanted yet."""
        if not self.body_done:
            self.client.pause_reading()

    @property
    def waits_to_go_on(self) -> bool:
        """Whether it is the backend's turn to speak, although the body is still to come."""
        body = self.body
        return self.head.expects_continue and (body is None or (body.parts is not None and not body.size))

    # -- limits ---------------------------------------------------------------------------------------------------

    def limit(self, now: float, seconds: float) -> None:
        """The next thing has to happen within so many seconds, and all of it within the limit of the whole request."""
        until = now + seconds
        if self.limits.request != math.inf:
            until = min(until, self.started + self.limits.request)
        self.client.deadline = until
        self.host.watch(self.client)

    def wait_until(self, until: float) -> None:
        """Be asked then."""
        self.client.deadline = until
        self.host.watch(self.client)

    # -- ends -----------------------------------------------------------------------------------------------------

    def answer_locally(self, answer: LocalAnswer | None, now: float) -> bool:
        """Answer in the backends' place, if there is an answer. Such a request is not counted unless it is to wake the
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
        """Answer that it went wrong. Only before an answer has begun."""
        self.end_with(text_reply(error), error.reason)

    def end_with(self, reply: Reply, reason: str) -> None:
        """Answer in the backends' place what was counted. Only before an answer has begun."""
        now = self.host.clock()
        self.end(now, reply.status)
        self._reply(reply, now, reason=reason)

    def cut(self, now: float, reason: str) -> None:
        """End an answer that has begun."""
        self.app.stats.cut[reason] += 1
        self.end(now, self.status)
        self.client.abort()

    def _reply(self, reply: Reply, now: float, *, reason: str) -> None:
        self.app.stats.own[reason, reply.status] += 1
        self.client.reply(reply, method=self.method, now=now)

    def end(self, now: float, status: int) -> None:
        """Give back all that the exchange holds."""
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
            self.note_wait_in_vain(CANCELLED if status == CLIENT_LEFT else TIMED_OUT, now)
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.give_up(now)

    def note_wait_in_vain(self, outcome: str, now: float) -> None:
        """It has waited for a backend, and none became ready for it."""
        if self.record is not None:
            self.record.waited_in_vain(self.app, outcome, now - self.started, again=self.attempts > 0)
