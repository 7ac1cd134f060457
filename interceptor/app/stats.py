"""What the proxy counts for metrics, cheap to add to. Demand is not counted here: the ledger does."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from fleet.runtime.exposition import Observed

__all__ = ["BUCKETS", "CANCELLED", "LAG_BUCKETS", "MAX_KINDS", "READY", "TIMED_OUT", "Answers", "AppStats", "Histogram"]

BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0)
"""Upper bounds in seconds: a warm hop is below the first, a cold start within the last ones. Few, as each application has
each of them; but for the last they are among those of KEDA's HTTP add-on."""
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Of the event loop's lag, which there is once."""

_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"})

OTHER = b"_OTHER"
"""In place of any other method."""

MAX_KINDS = 200
"""Kinds of exchanges of one application that are told apart: a dozen is usual, and a backend may send any code it likes."""

READY, TIMED_OUT, CANCELLED = "ready", "timeout", "cancelled"
"""How the wait of a cold start ended: with a connection to a backend, with an error, or with a client that left."""

Kind = tuple[bytes, int, int]
"""Method, status, and whether no backend was ready: not 0."""


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
        """The state of now; the counts go on counting."""
        return Observed(self.counts, self.sum)


class Answers(Histogram):
    """Exchanges of one kind: how long they took, and how many there were whose time says nothing."""

    __slots__ = ("timeless",)

    def __init__(self) -> None:
        super().__init__()
        self.timeless = 0

    @property
    def count(self) -> int:
        return sum(self.counts) + self.timeless


class AppStats:
    """Of one application, since the process started."""

    __slots__ = ("_kinds", "cold", "cut", "fallbacks", "held", "own", "rejections")

    def __init__(self) -> None:
        self._kinds: dict[Kind, Answers] = {}
        self.own: Counter[tuple[str, int]] = Counter()
        """What was answered in the backends' place, by (reason, status)."""
        self.fallbacks = 0
        """Exchanges that went to the fallback."""
        self.rejections = 0
        """Requests that found no backend ready, and no room to wait for one."""
        self.cold = {outcome: Histogram() for outcome in (READY, TIMED_OUT, CANCELLED)}
        """Time for which those that found no backend ready waited for a connection to one, by how that ended."""
        self.cut: Counter[str] = Counter()
        """Answers that had begun and were ended with a reset, by reason."""
        self.held = Histogram()
        """Time that held requests waited for a backend."""

    @property
    def touched(self) -> bool:
        """Whether anything was answered. What was counted without an answer shows with the first one."""
        return bool(self._kinds)

    def answered(self, method: bytes, status: int, seconds: float, cold: int = 0) -> None:
        """An exchange ended. 499 stands for a client that left before its answer; `cold` is not 0 when no backend was ready."""
        try:
            kind = self._kinds[method, status, cold]
        except KeyError:
            kind = self._of(method, status, cold)
        kind.counts[bisect_left(BUCKETS, seconds)] += 1
        kind.sum += seconds

    def timeless(self, method: bytes, status: int) -> None:
        """An answer whose duration says nothing of the application: one from the front, or a tunnel."""
        self._of(method, status, 0).timeless += 1

    def _of(self, method: bytes, status: int, cold: int) -> Answers:
        """Where these are counted. Clients may make up as many methods as they like, and backends codes."""
        kind = (method if method in _METHODS else OTHER, status, cold)
        if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
            kind = (OTHER, status // 100 * 100, cold)  # RFC 9110 section 15: a code that is not known is as good as its class's
        return self._kinds.get(kind) or self._kinds.setdefault(kind, Answers())

    def tunnelled(self, method: bytes) -> None:
        """A tunnel ended."""
        self.timeless(method, 101)

    def answers(self) -> dict[tuple[str, str, str], Answers]:
        """Exchanges by method, status code and whether no backend was ready ("true" or "false")."""
        kinds = list(self._kinds.items())
        return {(method.decode(), str(status), "true" if cold else "false"): found for (method, status, cold), found in kinds}
