"""How many replicas an app should have: KEDA's activation and an HPA's arithmetic, as one pure decision.

No clock, no I/O: metric values and `now` come in, a number of replicas comes out. What is simpler than the original:
one trigger per app, the target is read anew with every poll (KEDA freezes it into the HPA), and an HPA sync is a poll.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Autoscaler", "Metric", "Policy", "Reading"]

TOLERANCE = 0.1
"""A deviation from the target that is not worth a change (kube-controller-manager's default)."""
SCALE_UP_FACTOR, SCALE_UP_STEP = 2, 4
"""A step up at most doubles, or reaches four, as an HPA without behaviour rules does."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the owner of an app asks for. Times in seconds."""

    minimum: int
    maximum: int
    cooldown: float
    """Silence before an app goes to zero (KEDA's cooldownPeriod)."""
    scale_down_window: float
    """The highest wish of this window counts when replicas become fewer (an HPA's stabilisation window)."""


@dataclass(frozen=True, slots=True)
class Metric:
    """The sum over the fleet, and the share of one replica (an HPA's AverageValue)."""

    value: float
    target: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What one poll of the scaler gave."""

    active: bool
    metrics: Sequence[Metric]


class Autoscaler:
    """The replicas of one app. Starts at its minimum, as if the app had just been active."""

    def __init__(self, policy: Policy, now: float) -> None:
        self._policy = policy
        self._last_active = now
        self._wishes: deque[tuple[float, int]] = deque()
        self._put_to_sleep = False
        """Whether somebody wanted it to be asleep. Requests of before are no reason to wake; new ones are pushed."""
        self.desired = policy.minimum

    def configure(self, policy: Policy) -> int:
        """Take a changed policy; replicas outside of the new bounds are not kept."""
        self._policy = policy
        self.desired = _clamp(self.desired, max(policy.minimum, 1), policy.maximum) if self.desired else policy.minimum
        return self.desired

    def pushed(self, now: float) -> int:
        """The scaler said that the app is active: it leaves zero at once."""
        self._last_active = now
        self._put_to_sleep = False
        if self.desired == 0:
            self._activate()
        return self.desired

    def sleep(self) -> int:
        """To the minimum at once."""
        self.desired = self._policy.minimum
        self._put_to_sleep = self.desired == 0
        self._wishes.clear()
        return self.desired

    def polled(self, reading: Reading, now: float) -> int:
        """A reading of the metrics: to zero and back is KEDA's part, between one and many the HPA's."""
        if reading.active:
            self._last_active = now
        self._put_to_sleep &= reading.active
        if self.desired == 0:
            if (reading.active and not self._put_to_sleep) or self._policy.minimum > 0:
                self._activate()
        elif self._asleep(reading, now):
            self.desired = 0
            self._wishes.clear()
        else:
            self.desired = self._scaled(reading, now)
        return self.desired

    def _activate(self) -> None:
        self.desired = max(self._policy.minimum, 1)

    def _asleep(self, reading: Reading, now: float) -> bool:
        return not reading.active and self._policy.minimum == 0 and now - self._last_active >= self._policy.cooldown

    def _scaled(self, reading: Reading, now: float) -> int:
        wish = max((_wish(metric, self.desired) for metric in reading.metrics), default=self.desired)
        wish = min(self._stabilised(wish, now), max(SCALE_UP_FACTOR * self.desired, SCALE_UP_STEP))
        return _clamp(wish, max(self._policy.minimum, 1), self._policy.maximum)

    def _stabilised(self, wish: int, now: float) -> int:
        """Up at once; down only to the highest wish of the window, and never up again by an old wish."""
        self._wishes.append((now, wish))
        while self._wishes[0][0] < now - self._policy.scale_down_window:
            self._wishes.popleft()
        if wish >= self.desired:
            return wish
        return min(self.desired, max(wish for _, wish in self._wishes))


def _wish(metric: Metric, current: int) -> int:
    """GetExternalPerPodMetricReplicas of the HPA's replica calculator."""
    if 1.0 - TOLERANCE <= metric.value / (metric.target * current) <= 1.0 + TOLERANCE:
        return current
    # Thousandths, as Kubernetes' quantities are: 3.3 / 1.1 is three replicas, not four.
    return -(-round(metric.value * 1000) // max(round(metric.target * 1000), 1))


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))
