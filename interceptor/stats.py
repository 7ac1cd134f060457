"""What the proxy counts for metrics, cheap to add to. Demand is not counted here: the ledger does."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from fleet.runtime.exposition import Observed

__all__ = ["BUCKETS", "LAG_BUCKETS", "AppStats", "Histogram"]

BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0)
"""Upper bounds in seconds: a warm hop is below the first, a cold start within the last ones. Few, as each application has
each of them; but for the last they are among those of KEDA's HTTP add-on."""
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Of the event loop's lag, which there is once."""

_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"})

OTHER = b"_OTHER"
"""In place of any other method."""


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

    def cumulative(self) -> Iterator[tuple[str, float]]:
        """(upper bound, observations up to it), as Prometheus wants them."""
        total = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            yield bound, total


class AppStats:
    """Of one application, since the process started."""

    __slots__ = ("_answers", "cold", "cut", "duration", "fallbacks", "held", "own")

    def __init__(self) -> None:
        self._answers: dict[tuple[bytes, int], int] = {}
        self.duration = Histogram()
        """Whole exchanges, tunnels left out."""
        self.own: Counter[tuple[str, int]] = Counter()
        """What was answered in the backends' place, by (reason, status)."""
        self.fallbacks = 0
        """Exchanges that went to the fallback."""
        self.cold = Histogram()
        """Time that those that found no backend ready took to a connection to one."""
        self.cut: Counter[str] = Counter()
        """Answers that had begun and were ended with a reset, by reason."""
        self.held = Histogram()
        """Time that held requests waited for a backend."""

    @property
    def touched(self) -> bool:
        """Whether anything was answered. What was counted without an answer shows with the first one."""
        return bool(self._answers)

    def answered(self, method: bytes, status: int, seconds: float) -> None:
        """An exchange ended. 499 stands for a client that left before its answer."""
        key = (method, status)
        answers = self._answers
        answers[key if key in answers else self._new(method, status)] += 1
        duration = self.duration
        duration.counts[bisect_left(BUCKETS, seconds)] += 1
        duration.sum += seconds

    def timeless(self, method: bytes, status: int) -> None:
        """An answer whose duration says nothing of the application: one from the front, or a tunnel."""
        self._answers[self._new(method, status)] += 1

    def _new(self, method: bytes, status: int) -> tuple[bytes, int]:
        """Where these are counted. Clients may make up as many methods as they like."""
        key = (method if method in _METHODS else OTHER, status)
        self._answers.setdefault(key, 0)
        return key

    def tunnelled(self, method: bytes) -> None:
        """A tunnel ended."""
        self.timeless(method, 101)

    def answers(self) -> dict[tuple[str, str], int]:
        """Exchanges by (method, status code); methods nobody knows are one."""
        return {(method.decode(), str(status)): count for (method, status), count in list(self._answers.items())}
