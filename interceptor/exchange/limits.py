"""Decides what happens to an exchange at its deadline: an error, a reset, or more time if a slow peer still reads. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interceptor.exchange.failures import CLIENT_DEADLINE, no_response, request_took_too_long, silent_client, stuck_body

if TYPE_CHECKING:
    from interceptor.app.app import Limits
    from interceptor.core.errors import ExchangeError

__all__ = ["stalled", "unanswered"]

LATE_SECONDS: Final = 0.5
"""What a backend gets beyond the client's deadline to end a response that has begun. It has the same deadline, and ends the call
with its own status and trailers, where an interceptor could say less, or only reset it."""


def unanswered(
    app: str, limits: Limits, *, now: float, started: float, stuck: float | None, backend_speaks_next: bool
) -> ExchangeError | float:
    """For a request without a response: the error, or the seconds until the next check.

    `stuck`: for how many seconds the backend has accepted none of the buffered body; None if nothing is buffered.
    """
    if now >= started + limits.request:
        return request_took_too_long(app, limits)
    if stuck is not None:
        return stuck_body(app, limits) if stuck >= limits.idle else limits.idle - stuck
    if backend_speaks_next:
        return no_response(app, limits)
    return silent_client(app, limits)


def stalled(limits: Limits, *, now: float, started: float, stuck: float) -> str | float:
    """For a response that has begun: the reason to reset it, or the seconds until the next check.

    `stuck`: for how many seconds neither side has accepted any buffered data; infinite if nothing is buffered.
    """
    over = now - started - limits.request
    if over >= 0:
        if not limits.of_client:
            return "request_timeout"
        return CLIENT_DEADLINE if over >= LATE_SECONDS else LATE_SECONDS - over
    return "idle_timeout" if stuck >= limits.idle else limits.idle - stuck
