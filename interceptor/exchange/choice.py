"""Choice of a backend for a request. Knows neither phases nor time.

The usual choice, the less loaded of two random backends, is made in `Exchange.begin`. This module has the other cases: that
backend cannot take the request, the request's session belongs to another backend, or a connection has failed.
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
    """The backend of the request's session, if it has one and that backend is ready."""
    sessions = app.sessions
    return None if sessions is None else sessions.find(head, app.endpoints.ready)


def settled(app: App, head: Request, endpoint: Endpoint | None) -> Endpoint | None:
    """Replace the backend that was found by the one of the request's session, unless that one is at the route's ceiling.

    None if too many connections to the session's backend are being opened: then the request waits, because that takes only a
    moment, whereas a session that moves to another backend does not come back.
    """
    own, ceiling = None if endpoint is None else preferred(app, head), app.ceiling
    if own is None or own.load >= ceiling:
        return endpoint
    return own if own.takes(ceiling) else None


def another(app: App, head: Request, *, lost: Endpoint | None = None, attempts: int = 0) -> Endpoint | None:
    """Any backend that can take the request now; None if it has to wait, also because other requests wait already.

    The backend whose connection failed (`lost`) is the last choice. But a session's backend is tried once more, because one
    failed connection does not mean that the backend is down.
    """
    endpoint = None if app.room else app.endpoints.find(app.ceiling, but=lost)
    if app.sessions is not None and attempts <= 1:
        return settled(app, head, endpoint)
    return endpoint


def another_fallback(app: App) -> Endpoint | None:
    """A backend of the fallback for a request whose connection to another backend of the fallback has failed."""
    fallback = app.fallback
    return None if fallback is None else fallback.find(UNBOUNDED) or fallback.choose()


def fallback_now(app: App) -> tuple[Endpoint | None, Endpoint | None]:
    """A backend of the fallback that can take a request now, and one to use if there is no such backend; both None if no backend
    of the fallback is ready."""
    fallback = app.fallback
    if fallback is None or not fallback.ready:
        return None, None
    found = fallback.find(UNBOUNDED)
    return found, found or fallback.ready[0]


def of_authenticated(app: App, own: Upstream) -> Endpoint | None:
    """The backend to which the client has authenticated a connection, if it is ready; otherwise another one."""
    endpoints = app.endpoints
    return own.endpoint if own.endpoint in endpoints.ready else endpoints.choose()
