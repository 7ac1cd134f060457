"""How many replicas an app should have: KEDA's activation and the HPA's algorithm as one pure decision.

No clock, no I/O: metric values and `now` come in, a number of replicas is returned. Simplified compared with KEDA: one trigger
per app, the target is read at every poll (KEDA writes it into the HPA once), and each poll is also an HPA sync.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Autoscaler", "Metric", "Policy", "Reading"]

TOLERANCE = 0.1
"""Relative deviation from the target that does not change the number of replicas (kube-controller-manager's default)."""
SCALE_UP_FACTOR, SCALE_UP_STEP = 2, 4
"""One step up at most doubles the replicas, or reaches four: the HPA's default scale-up policy."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The scaling settings of one app. Times in seconds."""

    minimum: int
    maximum: int
    cooldown: float
    """Seconds without activity before the app is scaled to zero (KEDA's cooldownPeriod)."""
    scale_down_window: float
    """Scaling down uses the highest recommendation of this many seconds (the HPA's stabilization window)."""


@dataclass(frozen=True, slots=True)
class Metric:
    """The sum of a metric over all interceptors, and the target for one replica (the HPA's AverageValue)."""

    value: float
    target: float


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of one poll of the scaler."""

    active: bool
    metrics: Sequence[Metric]


class Autoscaler:
    """Decides the number of replicas of one app. Starts at the minimum, and counts the start as activity."""

    def __init__(self, policy: Policy, now: float) -> None:
        self._policy = policy
        self._last_active = now
        self._wishes: deque[tuple[float, int]] = deque()
        self._put_to_sleep = False
        """Set by `sleep`: polled metrics do not wake the app, because they may count older requests; a pushed activation does."""
        self._scheduled = 0
        self.desired = policy.minimum

    def configure(self, policy: Policy) -> int:
        """Apply a changed policy: clamp the current number of replicas to the new bounds. Returns the number."""
        self._policy = policy
        self.desired = _clamp(self.desired, max(self._minimum, 1), policy.maximum) if self.desired else self._minimum
        return self.desired

    def scheduled(self, minimum: int, now: float) -> int:
        """Set the minimum that schedules ask for now; 0 is none. More replicas are started at once, fewer as metrics say. As for
        KEDA a schedule is activity, so the cooldown begins when its window ends."""
        if self._scheduled or minimum:
            self._last_active = now
        self._scheduled = minimum
        if self.desired < self._minimum:
            self._put_to_sleep = False
            self.desired = self._minimum
        return self.desired

    def pushed(self, now: float) -> int:
        """The scaler pushed that the app is active: scale from zero at once."""
        self._last_active = now
        self._put_to_sleep = False
        if self.desired == 0:
            self._activate()
        return self.desired

    def sleep(self) -> int:
        """Scale to the minimum at once, whatever the metrics say."""
        self.desired = self._minimum
        self._put_to_sleep = self.desired == 0
        self._wishes.clear()
        return self.desired

    def polled(self, reading: Reading, now: float) -> int:
        """Apply polled metrics: KEDA's rules between zero and one replica, the HPA's from one to many."""
        if reading.active or self._scheduled:
            self._last_active = now
        self._put_to_sleep &= reading.active
        if self.desired == 0:
            if (reading.active and not self._put_to_sleep) or self._minimum > 0:
                self._activate()
        elif self._asleep(reading, now):
            self.desired = 0
            self._wishes.clear()
        else:
            self.desired = self._scaled(reading, now)
        return self.desired

    @property
    def _minimum(self) -> int:
        """The larger of the policy's and the schedules', within the policy's maximum."""
        return min(max(self._policy.minimum, self._scheduled), self._policy.maximum)

    def _activate(self) -> None:
        self.desired = max(self._minimum, 1)

    def _asleep(self, reading: Reading, now: float) -> bool:
        return not reading.active and self._minimum == 0 and now - self._last_active >= self._policy.cooldown

    def _scaled(self, reading: Reading, now: float) -> int:
        wish = max((_wish(metric, self.desired) for metric in reading.metrics), default=self.desired)
        wish = min(self._stabilised(wish, now), max(SCALE_UP_FACTOR * self.desired, SCALE_UP_STEP))
        return _clamp(wish, max(self._minimum, 1), self._policy.maximum)

    def _stabilised(self, wish: int, now: float) -> int:
        """Scale up at once. Scale down to the highest recommendation of the window; an old recommendation never scales up
        again."""
        self._wishes.append((now, wish))
        while self._wishes[0][0] < now - self._policy.scale_down_window:
            self._wishes.popleft()
        if wish >= self.desired:
            return wish
        return min(self.desired, max(wish for _, wish in self._wishes))


def _wish(metric: Metric, current: int) -> int:
    """The HPA's GetExternalPerPodMetricReplicas (replica_calculator.go)."""
    if 1.0 - TOLERANCE <= metric.value / (metric.target * current) <= 1.0 + TOLERANCE:
        return current
    # Computed in thousandths, as Kubernetes quantities are: 3.3 / 1.1 must give three replicas, not four.
    return -(-round(metric.value * 1000) // max(round(metric.target * 1000), 1))


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))
