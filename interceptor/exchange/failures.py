"""Errors for an application that did not respond in time: status, reason for metrics, and a message with its name and the limit.
Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fleet import defaults
from interceptor.core.errors import CONNECT_TIMED_OUT, BackendError, ExchangeError, Unavailable

if TYPE_CHECKING:
    from interceptor.app.app import App, Limits

__all__ = ["CLIENT_DEADLINE", "never_ready", "no_response", "request_took_too_long", "silent_client", "stuck_body"]

CLIENT_DEADLINE: Final = "grpc_timeout"
"""Reason for metrics where the client had set the limit of the whole request."""
RETRY_AFTER: Final = 5
"""Retry-After, in seconds, for an application that does not start: the cluster tries again, with increasing delays."""


def never_ready(app: App) -> ExchangeError:
    """A request has waited for the readiness timeout and got no backend."""
    within = f"within {app.limits.readiness:g} s"
    also = "" if app.fallback is None else "; its fallback has none either"
    if app.endpoints.ready:
        message = f"no backend of application {app.name} had room {within}{also}"
        return Unavailable(message, reason="busy", retry_after=1)
    why = app.endpoints.why
    if app.endpoints.hopeless:
        outside = app.endpoints.trouble is not None and app.endpoints.trouble.kind
        what = "has no backend" if outside else "does not start"
        return Unavailable(f"application {app.name} {what}: {why}{also}", reason="failing", retry_after=RETRY_AFTER)
    last = app.endpoints.last_error if len(app.endpoints) else ""
    if last == defaults.SPEAKS_HTTP2:
        why, last = last, ""
    if not last:
        message = f"no backend of application {app.name} was ready {within}{f': {why}' if why else ''}{also}"
        return _timeout(message, "readiness_timeout")
    message = f"no backend of application {app.name} took a connection {within} (last: {last}){also}"
    if last == CONNECT_TIMED_OUT:
        return _timeout(message, "connect_timeout")
    return BackendError(message, reason="connect")


def request_took_too_long(app: str, limits: Limits) -> ExchangeError:
    """The limit of the whole request has passed, in whatever phase."""
    if limits.of_client:
        message = f"the call's deadline of {limits.request:g} s has passed before application {app} answered"
        return _timeout(message, CLIENT_DEADLINE)
    return _timeout(f"application {app} took longer than {limits.request:g} s for the whole request", "request_timeout")


def no_response(app: str, limits: Limits) -> ExchangeError:
    """The whole request was sent, and no response head arrived."""
    message = f"application {app} sent no response within {limits.response_header:g} s"
    return _timeout(message, "response_header_timeout")


def stuck_body(app: str, limits: Limits) -> ExchangeError:
    """The backend has stopped reading the request body: 504, because the backend is at fault."""
    return _timeout(f"application {app} took nothing of the request's body for {limits.idle:g} s", "body_timeout")


def silent_client(app: str, limits: Limits) -> ExchangeError:
    """The client has stopped sending the request body: 408, because the client is at fault."""
    message = f"application {app} waits for the request's body, of which nothing came for {limits.idle:g} s"
    return ExchangeError(message, status=408, reason="slow_body")


def _timeout(message: str, reason: str) -> ExchangeError:
    return ExchangeError(message, status=504, reason=reason)
