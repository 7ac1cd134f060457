"""Counts for metrics that are cheap to update. Demand is counted in the ledger, not here."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Final

from fleet.runtime.exposition import Observed

__all__ = ["BUCKETS", "CANCELLED", "LAG_BUCKETS", "MAX_KINDS", "READY", "TIMED_OUT", "Answers", "AppStats", "Histogram"]

BUCKETS: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0)
"""Upper bounds in seconds: a warm request is below the first, a cold start in the last ones. Few, because every application
has its own; except for the last they are buckets of KEDA's HTTP add-on."""
LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets of the event loop's lag, which exists once."""

_METHODS: Final = frozenset(
    {b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"TCP", b"UDP"}
)
"""The last two are connections and flows of ports."""

OTHER: Final = b"_OTHER"
"""Label for all non-standard methods."""

MAX_KINDS: Final = 200
"""Maximum kinds of exchanges counted separately per application: a dozen is usual, but a backend may send any code."""

READY: Final = "ready"
TIMED_OUT: Final = "timeout"
CANCELLED: Final = "cancelled"
"""How the wait of a cold start ended: with a connection to a backend, with an error, or with a client that disconnected."""

Kind = tuple[bytes, int, int]
"""Method, status, and whether no backend was ready (not 0)."""


class Histogram:
    """Observed seconds by bucket."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = BUCKETS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def observed(self) -> Observed:
        """A copy of the current state."""
        return Observed(self.counts, self.sum)


class Answers(Histogram):
    """Exchanges of one kind: their durations, and the number of those whose duration is not meaningful."""

    __slots__ = ("timeless",)

    def __init__(self) -> None:
        super().__init__()
        self.timeless = 0

    @property
    def count(self) -> int:
        return sum(self.counts) + self.timeless


class AppStats:
    """The counts of one application since the process started."""

    __slots__ = (
        "_kinds",
        "cold",
        "cut",
        "datagrams_in",
        "datagrams_out",
        "dropped",
        "fallbacks",
        "held",
        "keeping_ignored",
        "own",
        "rejections",
    )

    def __init__(self) -> None:
        self._kinds: dict[Kind, Answers] = {}
        self.own: Counter[tuple[str, int]] = Counter()
        """Local answers, by (reason, status)."""
        self.fallbacks = 0
        """Exchanges that went to the fallback."""
        self.rejections = 0
        """Requests without a ready backend that were refused because the waiting room was full."""
        self.cold = {outcome: Histogram() for outcome in (READY, TIMED_OUT, CANCELLED)}
        """How long cold starts waited for a connection to a backend, by outcome."""
        self.cut: Counter[str] = Counter()
        """Responses that had begun and were reset, by reason."""
        self.keeping_ignored: Counter[str] = Counter()
        """Fields Weir-Keep-Awake without effect, by reason."""
        self.held = Histogram()
        """How long held requests waited for a backend."""
        self.datagrams_in = 0
        """Datagrams of clients, at UDP ports."""
        self.datagrams_out = 0
        """Datagrams of backends, passed on to clients."""
        self.dropped: Counter[str] = Counter()
        """Datagrams that were dropped, by reason."""

    @property
    def touched(self) -> bool:
        """Whether anything was answered, or dropped. Counts without an answer are shown with the first one."""
        return bool(self._kinds or self.dropped)

    def answered(self, method: bytes, status: int, seconds: float, cold: int = 0) -> None:
        """An exchange ended. Status 499 means that the client disconnected before the response; `cold` is not 0 when no
        backend was ready."""
        try:
            kind = self._kinds[method, status, cold]
        except KeyError:
            kind = self._of(method, status, cold)
        kind.counts[bisect_left(BUCKETS, seconds)] += 1
        kind.sum += seconds

    def timeless(self, method: bytes, status: int) -> None:
        """A response whose duration says nothing about the application: a local answer, or a tunnel."""
        self._of(method, status, 0).timeless += 1

    def _of(self, method: bytes, status: int, cold: int) -> Answers:
        """The counter of this kind. Bounded, because clients may send any method and backends any code."""
        kind = (method if method in _METHODS else OTHER, status, cold)
        if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
            kind = (OTHER, status // 100 * 100, cold)  # RFC 9110 section 15: an unknown code is treated as x00 of its class
        return self._kinds.get(kind) or self._kinds.setdefault(kind, Answers())

    def tunnelled(self, method: bytes) -> None:
        """A tunnel ended."""
        self.timeless(method, 101)

    def answers(self) -> dict[tuple[str, str, str], Answers]:
        """Exchanges by method, status code and whether no backend was ready ("true" or "false")."""
        kinds = list(self._kinds.items())
        return {(method.decode(), str(status), "true" if cold else "false"): found for (method, status, cold), found in kinds}
