"""What an answer tells of its way, besides what its backend said: X-KEDA-HTTP-Cold-Start, and Server-Timing. Pure.

An exchange with no marks, which is nearly every one, adds fields that its application has ready.
"""

from __future__ import annotations

from interceptor.core.messages import Fields

__all__ = ["COLD", "FALLBACK", "STICKY", "TIMED", "marked_fields", "unmarked_fields"]

COLD = 1
"""It found no backend that was ready."""
FALLBACK = 2
"""Its answer is not the application's own. Then nothing is said of a cold start, as KEDA's HTTP add-on has it."""
TIMED = 4
"""Its route asks for Server-Timing."""
STICKY = 8
"""Its route keeps sessions by a cookie, which the answer may have to set."""

_COLD_START, _TIMING = b"X-KEDA-HTTP-Cold-Start", b"Server-Timing"


def unmarked_fields(*, cold_start: bool) -> Fields:
    """For an exchange without marks; none when the setting is off."""
    return ((_COLD_START, b"false"),) if cold_start else ()


def marked_fields(marks: int, unmarked: Fields, *, held: float, connect: float, backend: float) -> Fields:
    """For an exchange with marks. Seconds come in, milliseconds go out; a field that the backend sent stays before it."""
    fields = unmarked
    if marks & FALLBACK:
        fields = ()
    elif marks & COLD and unmarked:
        fields = ((_COLD_START, b"true"),)
    if marks & TIMED:
        timing = b"held;dur=%.1f, connect;dur=%.1f, backend;dur=%.1f" % (held * 1000, connect * 1000, backend * 1000)
        fields = (*fields, (_TIMING, timing))
    return fields
