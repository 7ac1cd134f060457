"""Times and flags of an exchange that was not served at once, or whose route adds fields to responses.

Created only when needed: most exchanges have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interceptor.app.flags import COLD, FALLBACK, STICKY, added_fields
from interceptor.app.stats import READY

if TYPE_CHECKING:
    from interceptor.app.app import App
    from interceptor.backends.endpoint import Endpoint
    from interceptor.core.messages import FieldEdit, Fields, Request, RequestEdit
    from interceptor.exchange.preview import Chosen

__all__ = ["Record"]


class Record:
    """Times are from the caller's clock, in seconds."""

    __slots__ = ("chosen", "dialed", "flags", "request", "response", "sent")

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.dialed = 0.0
        """When the dial began."""
        self.sent = 0.0
        """When the request was sent."""
        self.request: RequestEdit | None = None
        """What the route changes about the request on its way to the backend."""
        self.response: FieldEdit | None = None
        """What it changes about the response."""
        self.chosen: Chosen | None = None
        """What was found of a request whose application has previews."""

    def change(self, edit: RequestEdit | None, head: Request) -> None:
        """Set what a rule changes about the request, beside what carries the choice of a preview."""
        self.request = edit if self.chosen is None else self.chosen.with_rule(edit, head)

    def note_sent(self, app: App, now: float, *, started: float, dialed: bool, again: bool) -> None:
        """The request is sent now, on a connection opened for it (`dialed`) or an idle one; `again` after a failed attempt."""
        if not dialed:
            self.dialed = now
        self.sent = now
        if self.flags & COLD and not self.flags & FALLBACK and not again:
            app.stats.cold[READY].observe(now - started)

    def fields(self, app: App, head: Request, endpoint: Endpoint, *, now: float, started: float) -> Fields:
        """Fields that are added to the response."""
        flags = self.flags
        held, connect = self.dialed - started, self.sent - self.dialed
        fields = added_fields(flags, app.fields, held=held, connect=connect, backend=now - self.sent)
        if flags & STICKY and not flags & FALLBACK:
            fields += app.session_fields(head, endpoint.backend)
        return fields if self.chosen is None else fields + self.chosen.cookie

    def failed_wait(self, app: App, outcome: str, seconds: float, *, again: bool) -> None:
        """No backend became ready in time. Requests that were sent before, or that go to the fallback, are already counted."""
        if self.flags & (COLD | FALLBACK) == COLD and not again:
            app.stats.cold[outcome].observe(seconds)
