"""What of a route answers requests in its backends' place: maintenance, static routes, a placeholder. Pure.

An application whose route has none of it has no front, so that its requests pass two tests for None and no more.
"""

from __future__ import annotations

from typing import NamedTuple

from fleet.routing.route import Route, StaticResponse, StaticRoute
from fleet.routing.static import StaticRoutes
from interceptor.app.answers import Answer, accepts_html
from interceptor.app.pages import MAINTENANCE, PLACEHOLDER
from interceptor.core.messages import Field, Request
from interceptor.core.replies import Reply

__all__ = ["UNCOUNTED", "LocalAnswer", "LocalAnswers"]

_NO_STORE: Field = (b"Cache-Control", b"no-store")
_SOON: Field = (b"Retry-After", b"2")
"""For programs: about as often as it is worth asking whether an application has woken."""
_LATER: Field = (b"Retry-After", b"60")
_READERS = frozenset({b"GET", b"HEAD"})


class LocalAnswer(NamedTuple):
    """An answer, and what it is for metrics. Whether the request wakes the application nevertheless."""

    reply: Reply
    reason: str
    wakes: bool = False


UNCOUNTED = LocalAnswer(Reply(0, ()), "uncounted")
"""No answer: the request goes to a backend if one is ready, and is not counted. Probes must not keep an application awake."""


class LocalAnswers:
    """Made anew with each version of a route."""

    __slots__ = ("_answers", "_browsers_only", "_maintenance", "_overflow_only", "_placeholder", "_statics")

    def __init__(self, route: Route) -> None:
        cold = route.cold_start
        self._maintenance = None if route.maintenance is None else _of_maintenance(route.maintenance)
        self._statics = StaticRoutes(route.static_routes) if route.static_routes else None
        self._answers = {id(static): Answer(static.response, status=200) for static in route.static_routes}
        self._placeholder = None if cold.placeholder is None else _of_placeholder(cold.placeholder.response)
        self._browsers_only = cold.placeholder is not None and cold.placeholder.browsers_only
        self._overflow_only = cold.overflow_placeholder

    @property
    def first(self) -> bool:
        """Whether `at_once` has to be asked."""
        return self._maintenance is not None or self._statics is not None

    @property
    def asleep(self) -> bool:
        """Whether `while_asleep` and `on_overflow` have to be asked."""
        return self._statics is not None or self._placeholder is not None

    def at_once(self, head: Request) -> LocalAnswer | None:
        """What is answered whether a backend is ready or not. UNCOUNTED of a request that a static route selects, but answers
        only while none is."""
        if self._maintenance is not None:
            return LocalAnswer(self._maintenance.reply(head), "maintenance")
        found = self._static(head)
        if found is None:
            return None
        return self._answered(found, head) if found.always else UNCOUNTED

    def while_asleep(self, head: Request, why: str = "") -> LocalAnswer | None:
        """What is answered while no backend is ready. `why` it is not, if that is known, stands on the page."""
        static = self._static(head)
        if static is not None:
            return self._answered(static, head)
        if self._overflow_only:
            return None
        reply = self._place(head, why)
        return None if reply is None else LocalAnswer(reply, "placeholder", wakes=True)

    def on_overflow(self, head: Request, why: str = "") -> Reply | None:
        """What is answered to who does not fit into the waiting room."""
        return self._place(head, why) if self._overflow_only else None

    def _place(self, head: Request, why: str) -> Reply | None:
        if self._placeholder is None or (self._browsers_only and not _is_for_eyes(head)):
            return None
        return self._placeholder.reply(head, why)

    def _static(self, head: Request) -> StaticRoute | None:
        statics = self._statics
        if statics is None:
            return None
        reads = statics.reads_fields
        fields = head.routing_fields(headers=statics.reads_headers, method=statics.reads_methods) if reads else ()
        return statics.find(head.host, head.path, fields)

    def _answered(self, static: StaticRoute, head: Request) -> LocalAnswer:
        return LocalAnswer(self._answers[id(static)].reply(head), "static")


def _of_maintenance(response: StaticResponse) -> Answer:
    return Answer(response, status=503, fields=(_LATER, _NO_STORE), page=MAINTENANCE)


def _of_placeholder(response: StaticResponse) -> Answer:
    return Answer(response, status=503, fields=(_SOON, _NO_STORE), page=PLACEHOLDER)


def _is_for_eyes(head: Request) -> bool:
    return head.method in _READERS and head.upgrade is None and accepts_html(head)
