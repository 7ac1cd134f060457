"""The local answers of a route: a preflight, maintenance, static routes, redirects, a placeholder. Pure.

For a route without local answers, a request only costs two tests for None.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from fleet.routing.route import Route, StaticResponse, StaticRoute
from fleet.routing.static import StaticRoutes
from interceptor.app.answers import Answer, accepts_html
from interceptor.app.cors import Cors
from interceptor.app.pages import MAINTENANCE, PLACEHOLDER
from interceptor.app.rules import Rules, S
from interceptor.core.errors import BadRequest
from interceptor.core.messages import Field, Request
from interceptor.core.replies import Reply, text_reply

__all__ = ["UNCOUNTED", "LocalAnswer", "LocalAnswers"]

_NO_STORE: Final[Field] = (b"Cache-Control", b"no-store")
_SOON: Final[Field] = (b"Retry-After", b"2")
"""For clients that are not browsers: how soon a retry makes sense while the application starts."""
_LATER: Final[Field] = (b"Retry-After", b"60")
_READERS: Final = frozenset({b"GET", b"HEAD"})


class LocalAnswer(NamedTuple):
    """A response, its reason for metrics, and whether the request still starts the application."""

    reply: Reply
    reason: str
    wakes: bool = False


UNCOUNTED: Final = LocalAnswer(Reply(0, ()), "uncounted")
"""No response: the request goes to a backend if one is ready, and is not counted, because probes must not keep an application
running."""


class LocalAnswers:
    """Created anew with each version of a route."""

    __slots__ = ("_answers", "_browsers_only", "_cors", "_maintenance", "_overflow_only", "_placeholder", "_rules", "_statics")

    def __init__(self, route: Route, cors: Cors | None = None, rules: Rules[S] | None = None) -> None:
        self._cors = cors
        self._rules = rules if rules is not None and rules.redirects else None
        cold = route.cold_start
        self._maintenance = None if route.maintenance is None else _of_maintenance(route.maintenance)
        self._statics = StaticRoutes(route.static_routes) if route.static_routes else None
        self._answers = {id(static): Answer(static.response, status=200) for static in route.static_routes}
        self._placeholder = None if cold.placeholder is None else _of_placeholder(cold.placeholder.response)
        self._browsers_only = cold.placeholder is not None and cold.placeholder.browsers_only
        self._overflow_only = cold.overflow_placeholder

    @property
    def first(self) -> bool:
        """Whether `at_once` must be called."""
        return any(part is not None for part in (self._maintenance, self._statics, self._cors, self._rules))

    @property
    def asleep(self) -> bool:
        """Whether `while_asleep` and `on_overflow` must be called."""
        return self._statics is not None or self._placeholder is not None

    def at_once(self, head: Request) -> LocalAnswer | None:
        """The response whether or not a backend is ready. UNCOUNTED for a request that a static route matches which answers
        only while no backend is ready."""
        if self._cors is not None and (preflight := self._cors.preflight(head)) is not None:
            return LocalAnswer(preflight, "cors")
        if self._maintenance is not None:
            return LocalAnswer(self._maintenance.reply(head), "maintenance")
        found = self._static(head)
        if found is not None and found.always:
            return self._answered(found, head)
        redirect = None if self._rules is None else _redirect(self._rules, head)
        return redirect or (None if found is None else UNCOUNTED)

    def while_asleep(self, head: Request, why: str = "") -> LocalAnswer | None:
        """The response while no backend is ready. `why` is the reason, if known, for the page."""
        static = self._static(head)
        if static is not None:
            return self._answered(static, head)
        if self._overflow_only:
            return None
        reply = self._place(head, why)
        return None if reply is None else LocalAnswer(reply, "placeholder", wakes=True)

    def on_overflow(self, head: Request, why: str = "") -> Reply | None:
        """The response to a request that does not fit into the waiting room."""
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
        return statics.find(head.base_host or head.host, head.path, fields)

    def _answered(self, static: StaticRoute, head: Request) -> LocalAnswer:
        return LocalAnswer(self._answers[id(static)].reply(head), "static")


def _redirect(rules: Rules[S], head: Request) -> LocalAnswer | None:
    treatment = rules.find(head)
    answer = None if treatment is None else treatment.redirect(head)
    if isinstance(answer, BadRequest):
        return LocalAnswer(text_reply(answer), answer.reason)
    return None if answer is None else LocalAnswer(answer, "redirect")


def _of_maintenance(response: StaticResponse) -> Answer:
    return Answer(response, status=503, fields=(_LATER, _NO_STORE), page=MAINTENANCE)


def _of_placeholder(response: StaticResponse) -> Answer:
    return Answer(response, status=503, fields=(_SOON, _NO_STORE), page=PLACEHOLDER)


def _is_for_eyes(head: Request) -> bool:
    return head.method in _READERS and head.upgrade is None and accepts_html(head)
