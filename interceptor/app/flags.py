"""What an answer tells of its way, besides what its backend said: X-KEDA-HTTP-Cold-Start, and Server-Timing. Pure.

An exchange with no flags, which is nearly every one, adds fields that its application has ready.
"""

from __future__ import annotations

from interceptor.core.messages import Fields

__all__ = ["COLD", "FALLBACK", "STICKY", "TIMED", "added_fields", "usual_fields"]

COLD = 1
"""It found no backend that was ready."""
FALLBACK = 2
"""Its answer is not the application's own. Then nothing is said of a cold start, as KEDA's HTTP add-on has it."""
TIMED = 4
"""Its route asks for Server-Timing."""
STICKY = 8
"""Its route keeps sessions by a cookie, which the answer may have to set."""

_COLD_START, _TIMING = b"X-KEDA-HTTP-Cold-Start", b"Server-Timing"


def usual_fields(*, cold_start: bool) -> Fields:
    """For an exchange without flags; none when the setting is off."""
    return ((_COLD_START, b"false"),) if cold_start else ()


def added_fields(flags: int, usual: Fields, *, held: float, connect: float, backend: float) -> Fields:
    """For an exchange with flags. Seconds come in, milliseconds go out; a field that the backend sent stays before it."""
    fields = usual
    if flags & FALLBACK:
        fields = ()
    elif flags & COLD and usual:
        fields = ((_COLD_START, b"true"),)
    if flags & TIMED:
        timing = b"held;dur=%.1f, connect;dur=%.1f, backend;dur=%.1f" % (held * 1000, connect * 1000, backend * 1000)
        fields = (*fields, (_TIMING, timing))
    return fields
