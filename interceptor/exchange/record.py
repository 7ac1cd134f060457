"""What is noted of an exchange that something has happened to, or whose route asks for more: times, and added fields.

Nearly every exchange has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interceptor.app.flags import COLD, FALLBACK, STICKY, added_fields
from interceptor.app.stats import READY

if TYPE_CHECKING:
    from interceptor.app.app import App
    from interceptor.backends.endpoint import Endpoint
    from interceptor.core.messages import Fields, Request

__all__ = ["Record"]


class Record:
    """Times are the caller's, in seconds."""

    __slots__ = ("dialed", "flags", "sent")

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.dialed = 0.0
        """When its connection began to be opened."""
        self.sent = 0.0
        """When it went out."""

    def note_sent(self, app: App, now: float, *, started: float, dialed: bool, again: bool) -> None:
        """It goes out now, on a connection that was opened for it (`dialed`) or rested."""
        if not dialed:
            self.dialed = now
        self.sent = now
        if self.flags & COLD and not self.flags & FALLBACK and not again:
            app.stats.cold[READY].observe(now - started)

    def fields(self, app: App, head: Request, endpoint: Endpoint, *, now: float, started: float) -> Fields:
        """What the response gets besides its own fields."""
        flags = self.flags
        held, connect = self.dialed - started, self.sent - self.dialed
        fields = added_fields(flags, app.fields, held=held, connect=connect, backend=now - self.sent)
        if flags & STICKY and not flags & FALLBACK and app.sessions is not None:
            fields += app.sessions.fields(head, endpoint.backend)
        return fields

    def waited_in_vain(self, app: App, outcome: str, seconds: float, *, again: bool) -> None:
        """No backend became ready for it. What was sent once, or goes to the fallback, was counted before."""
        if self.flags & (COLD | FALLBACK) == COLD and not again:
            app.stats.cold[outcome].observe(seconds)
