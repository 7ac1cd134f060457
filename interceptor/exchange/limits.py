"""What happens to an exchange whose time is up: an error, a cut, or more time for a side that is slow but moves. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interceptor.exchange.failures import no_response, request_took_too_long, silent_client, stuck_body

if TYPE_CHECKING:
    from interceptor.app.app import Limits
    from interceptor.core.errors import ExchangeError

__all__ = ["stalled", "unanswered"]


def unanswered(
    app: str, limits: Limits, *, now: float, started: float, stuck: float | None, backend_speaks_next: bool
) -> ExchangeError | float:
    """Of a request without a response: the error, or for how many seconds it is let go on.

    `stuck` is for how many seconds the backend has taken nothing of the body that waits for it; None when nothing waits.
    """
    if now >= started + limits.request:
        return request_took_too_long(app, limits)
    if stuck is not None:
        return stuck_body(app, limits) if stuck >= limits.idle else limits.idle - stuck
    if backend_speaks_next:
        return no_response(app, limits)
    return silent_client(app, limits)


def stalled(limits: Limits, *, now: float, started: float, stuck: float) -> str | float:
    """Of a response that has begun: the reason for which it is cut, or for how many seconds it is let go on.

    `stuck` is for how many seconds neither side has taken what waits for it; infinite when nothing waits.
    """
    if now >= started + limits.request:
        return "request_timeout"
    return "idle_timeout" if stuck >= limits.idle else limits.idle - stuck
