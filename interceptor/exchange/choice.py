"""Which backend, and which of its connections, a request goes to. Knows neither phases nor time.

The usual choice, the less loaded of two, is made where an exchange begins; here is what happens when that one cannot take the
request, when its session belongs elsewhere, and when a backend has lost it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interceptor.app.admission import UNBOUNDED

if TYPE_CHECKING:
    from interceptor.app.app import App
    from interceptor.backends.endpoint import Endpoint
    from interceptor.core.messages import Request
    from interceptor.core.sides import Upstream

__all__ = ["another", "another_fallback", "fallback_now", "of_authenticated", "preferred", "settled"]


def preferred(app: App, head: Request) -> Endpoint | None:
    """The backend of the request's session, if it has one that is ready."""
    sessions = app.sessions
    return None if sessions is None else sessions.find(head, app.endpoints.ready)


def settled(app: App, head: Request, endpoint: Endpoint | None) -> Endpoint | None:
    """The backend of its session instead of the one that was found, unless it has all that the route lets it have. None when too
    many connections are being opened to it: that is over in a moment, and a session that has moved does not come back.
    """
    own, ceiling = None if endpoint is None else preferred(app, head), app.ceiling
    if own is None or own.load >= ceiling:
        return endpoint
    return own if own.takes(ceiling) else None


def another(app: App, head: Request, *, lost: Endpoint | None = None, attempts: int = 0) -> Endpoint | None:
    """Any backend that can take it now, rather not the one that has `lost` it; None when it has to wait. Others that wait come
    first. Its session's is tried again once: a connection ended, not yet a backend."""
    endpoint = None if app.room else app.endpoints.find(app.ceiling, but=lost)
    if app.sessions is not None and attempts <= 1:
        return settled(app, head, endpoint)
    return endpoint


def another_fallback(app: App) -> Endpoint | None:
    """A backend of the fallback for a request that another of them has lost."""
    fallback = app.fallback
    return None if fallback is None else fallback.find(UNBOUNDED) or fallback.choose()


def fallback_now(app: App) -> tuple[Endpoint | None, Endpoint | None]:
    """A backend of the fallback that can take a request now, and one that will have to; both None when none is ready."""
    fallback = app.fallback
    if fallback is None or not fallback.ready:
        return None, None
    found = fallback.find(UNBOUNDED)
    return found, found or fallback.ready[0]


def of_authenticated(app: App, own: Upstream) -> Endpoint | None:
    """The backend that the client has authenticated a connection to, as long as it may be chosen; another one otherwise."""
    endpoints = app.endpoints
    return own.endpoint if own.endpoint in endpoints.ready else endpoints.choose()
