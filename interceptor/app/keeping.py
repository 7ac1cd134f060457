"""Backends that keep an application awake after their answers, because they say so in Weir-Keep-Awake.

A backend has one lease at most for an application, so their number is bounded by that of the backends. A lease counts as demand,
and ends when its time is over, when the backend says 0, and when discovery no longer lists the backend. Only an answer to a
counted request renews it, by no more than the route's maximum: so that is also the longest time from the last request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet.demand.ledger import Entry, Lease
from interceptor.core.deadlines import NEVER

if TYPE_CHECKING:
    from interceptor.backends.endpoint import Endpoint

__all__ = ["Keeping"]


class Kept:
    """One backend that keeps an application awake."""

    __slots__ = ("_keeping", "_lease", "bucket", "deadline", "endpoint")

    def __init__(self, keeping: Keeping, endpoint: Endpoint, lease: Lease) -> None:
        self._keeping = keeping
        self._lease = lease
        self.endpoint = endpoint
        self.deadline = NEVER
        self.bucket = 0

    def on_deadline(self, now: float) -> None:
        """Its time is over."""
        self.end(now)

    def backend_gone(self, now: float) -> None:
        """Discovery does not list the backend any more: it has ended or crashed."""
        self.end(now)

    def until(self, deadline: float) -> None:
        self.deadline = deadline
        self.endpoint.owner.deadlines.watch(self)

    def end(self, now: float) -> None:
        """Once: the backend may have another one after it."""
        self.deadline = NEVER  # or it would be watched again
        self.endpoint.owner.deadlines.forget(self)
        self.endpoint.kept.discard(self)
        del self._keeping.kept[self.endpoint]
        self._lease.release(now)


class Keeping:
    """Those of one application."""

    __slots__ = ("entry", "kept")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.kept: dict[Endpoint, Kept] = {}

    def renew(self, endpoint: Endpoint, seconds: float, now: float) -> None:
        """The backend goes on working for so long from now; 0: it has finished."""
        kept = self.kept.get(endpoint)
        if not seconds:
            if kept is not None:
                kept.end(now)
            return
        if kept is None:
            kept = self.kept[endpoint] = Kept(self, endpoint, self.entry.keep(now))
            endpoint.kept.add(kept)
        kept.until(now + seconds)

    def bound(self, most: float, now: float) -> None:
        """The route's maximum may have changed: none lasts longer than that from now."""
        for kept in list(self.kept.values()):
            if not most:
                kept.end(now)
            elif kept.deadline > now + most:
                kept.until(now + most)
