"""Fields that the interceptor adds to a response: X-KEDA-HTTP-Cold-Start and Server-Timing. Pure.

An exchange without flags, the usual case, adds fields that its application has prepared.
"""

from __future__ import annotations

from typing import Final

from interceptor.core.messages import Fields

__all__ = [
    "AS_CLIENTS",
    "COLD",
    "FALLBACK",
    "OUTSIDE",
    "PREVIEWED",
    "RULED",
    "SHARED",
    "STICKY",
    "TIMED",
    "TREATED",
    "added_fields",
    "usual_fields",
]

COLD: Final = 1
"""No backend was ready when the request arrived."""
FALLBACK: Final = 2
"""The response is from a fallback. Then X-KEDA-HTTP-Cold-Start is not sent, as in KEDA's HTTP add-on."""
TIMED: Final = 4
"""The route enables Server-Timing."""
STICKY: Final = 8
"""The route uses an affinity cookie, which the response may have to set."""
SHARED: Final = 32
"""The route lets pages of other origins use the application (CORS)."""

RULED: Final = 16
"""The rules of the route say more than which requests fit them."""

OUTSIDE: Final = 64
"""The backends of the application are outside of discovery: requests to them are marked, and refused when they come back."""
PREVIEWED: Final = 128
"""The application has previews, which the request may be for."""
AS_CLIENTS: Final = 256
"""Backends are spoken to over TLS for clients that speak TLS."""
TREATED: Final = RULED | OUTSIDE | PREVIEWED | AS_CLIENTS
"""A request has to be looked at before it goes to a backend."""

_COLD_START: Final = b"X-KEDA-HTTP-Cold-Start"
_TIMING: Final = b"Server-Timing"


def usual_fields(*, cold_start: bool) -> Fields:
    """The fields for an exchange without flags; none when the setting is off."""
    return ((_COLD_START, b"false"),) if cold_start else ()


def added_fields(flags: int, usual: Fields, *, held: float, connect: float, backend: float) -> Fields:
    """The fields for an exchange with flags. Arguments are seconds, the field's values milliseconds; a field of the backend
    stays first."""
    fields = usual
    if flags & FALLBACK:
        fields = ()
    elif flags & COLD and usual:
        fields = ((_COLD_START, b"true"),)
    if flags & TIMED:
        timing = b"held;dur=%.1f, connect;dur=%.1f, backend;dur=%.1f" % (held * 1000, connect * 1000, backend * 1000)
        fields = (*fields, (_TIMING, timing))
    return fields
