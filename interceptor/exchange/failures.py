"""Why an application did not answer in time: status, reason for metrics, and words with its name and the limit. Pure."""

from __future__ import annotations

from interceptor.app.app import App, Limits
from interceptor.backends.endpoints import CONNECT_TIMED_OUT
from interceptor.core.errors import BackendError, ExchangeError, Unavailable

__all__ = ["never_ready", "no_response", "request_took_too_long", "silent_client", "stuck_body"]

RETRY_AFTER = 5
"""Seconds after which to ask again for an application that does not start: it is tried again, later each time."""


def never_ready(app: App) -> ExchangeError:
    """A request waited for the readiness timeout, and so it was in vain."""
    within = f"within {app.limits.readiness:g} s"
    also = "" if app.fallback is None else "; its fallback has none either"
    if app.endpoints.ready:
        message = f"no backend of application {app.name} had room {within}{also}"
        return Unavailable(message, reason="busy", retry_after=1)
    why = app.endpoints.why
    if app.endpoints.hopeless:
        return Unavailable(f"application {app.name} does not start: {why}{also}", reason="failing", retry_after=RETRY_AFTER)
    last = app.endpoints.last_error if len(app.endpoints) else ""
    if not last:
        message = f"no backend of application {app.name} was ready {within}{f': {why}' if why else ''}{also}"
        return _timeout(message, "readiness_timeout")
    message = f"no backend of application {app.name} took a connection {within} (last: {last}){also}"
    if last == CONNECT_TIMED_OUT:
        return _timeout(message, "connect_timeout")
    return BackendError(message, reason="connect")


def request_took_too_long(app: str, limits: Limits) -> ExchangeError:
    """Wherever it was when its time was up."""
    return _timeout(f"application {app} took longer than {limits.request:g} s for the whole request", "request_timeout")


def no_response(app: str, limits: Limits) -> ExchangeError:
    """The whole request was sent, and no head of a response came."""
    message = f"application {app} sent no response within {limits.response_header:g} s"
    return _timeout(message, "response_header_timeout")


def stuck_body(app: str, limits: Limits) -> ExchangeError:
    """The client would send more of the body, and the backend takes none: its doing."""
    return _timeout(f"application {app} took nothing of the request's body for {limits.idle:g} s", "body_timeout")


def silent_client(app: str, limits: Limits) -> ExchangeError:
    """The backend would take more of the body, and the client sends none: 408, for it is the client's doing."""
    message = f"application {app} waits for the request's body, of which nothing came for {limits.idle:g} s"
    return ExchangeError(message, status=408, reason="slow_body")


def _timeout(message: str, reason: str) -> ExchangeError:
    return ExchangeError(message, status=504, reason=reason)
