"""When the time of a Preview is over. Pure; times are seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from controller.by_hand import moment
from controller.preview.resource import MAX_TTL, Preview

__all__ = ["KEEP_UNTIL", "Life", "life_of", "read_time", "write_time"]

KEEP_UNTIL = "weir.dev/keep-until"
"""Annotation: the Preview lives until this time at least, if it has a time to live. The longest one is its bound."""


class Life(msgspec.Struct, frozen=True):
    """When it was last used, and when it is to be deleted."""

    last_used: float | None = None
    ends: float | None = None

    def left(self, now: float) -> float | None:
        """Seconds until its end; None without one, 0 when it is over."""
        return None if self.ends is None else max(0.0, self.ends - now)


def life_of(preview: Preview, last_active: float | None) -> Life:
    """`last_active` is when KEDA last saw it active; what is known from before counts where KEDA has forgotten it."""
    known = [time for time in (last_active, read_time(preview.status.last_used)) if time is not None]
    last_used = max(known, default=None)
    if preview.ttl is None or preview.spec is None:
        return Life(last_used)
    extended = last_used is not None and preview.spec.expires == "AfterLastRequest"
    begins = max(preview.meta.created, last_used or 0.0) if extended else preview.meta.created
    kept = read_time((preview.meta.annotations or {}).get(KEEP_UNTIL, "")) or 0.0
    return Life(last_used, max(begins + preview.ttl, min(kept, begins + MAX_TTL)))


def read_time(text: str) -> float | None:
    """A time of Kubernetes; None if it is none."""
    return moment(text)


def write_time(time: float | None) -> str:
    """In whole seconds; empty for None."""
    return "" if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
