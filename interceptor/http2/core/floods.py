"""Limits for frames that are cheap to send but cause work here. Pure.

Each kind of such work has an allowance, in units of work. It grows with time and with useful work, because a normal peer sends
PING and RST_STREAM in proportion to its requests. A peer that has used it up gets GOAWAY with ENHANCE_YOUR_CALM (RFC 9113 10.5).
"""

from __future__ import annotations

from typing import Final

from interceptor.http2.core.frames import ENHANCE_YOUR_CALM, ConnectionFault

__all__ = [
    "MAX_CONTINUATIONS",
    "MAX_UNTAKEN_OUTPUT",
    "MIN_USEFUL_DATA",
    "UPDATES_PER_STREAM",
    "Allowance",
    "empty_frames",
    "pings",
    "resets",
    "settings_frames",
    "stray_frames",
    "window_updates",
]

MAX_CONTINUATIONS: Final = 16
"""Maximum CONTINUATION frames of one block. A list of 64 KiB needs three of the usual 16 KiB frames; attackers send blocks that
never end, in frames of few bytes or none (CVE-2024-27316 and others)."""

MAX_UNTAKEN_OUTPUT: Final = 1 << 20
"""Maximum bytes of frames without flow control that the transport has not accepted. A peer that causes answers without reading
them (CVE-2019-9512, -9514, -9515) exceeds it; for usual peers the caller stops reading long before (`Session.clogged`)."""

MIN_USEFUL_DATA: Final = 256
"""A DATA frame with fewer bytes, because the peer's window was small, is extra work caused by the peer (CVE-2019-9511)."""

UPDATES_PER_STREAM: Final = 64
"""Window updates that are kept of what a client has earned, for each open stream."""


class Allowance:
    """The allowance for one kind of work on one connection (a token bucket)."""

    __slots__ = ("_at", "_burst", "_gain", "_left", "_progress", "_rate", "_what")

    def __init__(self, what: str, *, burst: float, rate: float, gain: float) -> None:
        """At most `burst` units at once, `rate` more each second, `gain` more for each unit of progress."""
        self._what, self._burst, self._rate, self._gain = what, burst, rate, gain
        self._left, self._at, self._progress = burst, 0.0, 0

    def spend(self, now: float, progress: int, units: float = 1.0, *, room: float = 0.0) -> None:
        """Use `units` of the allowance. `progress` is a total that only grows; what was earned is kept up to the burst and
        `room`. Raises ConnectionFault if nothing is left."""
        grown = (now - self._at) * self._rate + (progress - self._progress) * self._gain
        self._left = min(self._burst + room, self._left + grown) - units
        self._at, self._progress = now, progress
        if self._left < 0:
            raise ConnectionFault(ENHANCE_YOUR_CALM, f"too many {self._what}")


def resets() -> Allowance:
    """Streams that end early: reset by the peer (rapid reset, CVE-2023-44487), by us after an error of the peer (MadeYouReset,
    CVE-2025-8671), or refused. Each may have started a request at a backend. Progress: streams that ended regularly, so a client
    that cancels up to half of its calls never reaches the limit. nghttp2 allows 1000 and then 33 a second; HAProxy counts in the
    same way."""
    return Allowance("resets", burst=200, rate=20, gain=1)


def settings_frames() -> Allowance:
    """Each is answered, and may change every stream's window (CVE-2019-9515). Peers send one, some of them two."""
    return Allowance("SETTINGS", burst=20, rate=1, gain=0)


def pings() -> Allowance:
    """Each is answered (CVE-2019-9512). gRPC clients send about one per response, to measure bandwidth. Progress: useful frames
    sent."""
    return Allowance("PING", burst=100, rate=10, gain=1)


def window_updates() -> Allowance:
    """Window updates that are needless or small (CVE-2019-9511, -9517). Some peers send two per read of 1.4 KB, one for the
    stream and one for the connection, which is 24 for one full DATA frame. Progress: useful frames sent.

    A slow client with many streams, whose connection's window is closed, opens it by a few bytes at a time: grpcio sends three
    updates for each message of which it reads the first five bytes, and hundreds in a second. So 2000 are allowed in a second,
    which costs about a hundredth of a core, and what was earned is kept for each open stream (`UPDATES_PER_STREAM`)."""
    return Allowance("WINDOW_UPDATE", burst=1000, rate=2000, gain=32)


def empty_frames() -> Allowance:
    """DATA frames without content or END_STREAM (CVE-2019-9518)."""
    return Allowance("empty DATA", burst=100, rate=10, gain=0)


def stray_frames() -> Allowance:
    """PRIORITY, frames of unknown types, and HEADERS and RST_STREAM for closed streams: they are ignored, but take time
    (CVE-2019-9513). Older browsers send five PRIORITY at the start and one with each request. Progress: useful frames sent."""
    return Allowance("frames that mean nothing", burst=500, rate=50, gain=2)
