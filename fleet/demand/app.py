"""The demand of one application over all members: its policy, its state, what is told of it, and leases by calls. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from fleet import defaults
from fleet.demand.window import Window

__all__ = ["DEFAULT_POLICY", "NEVER", "AppDemand", "AppPolicy", "AppState", "Leased"]

NEVER: Final = float("-inf")


class AppPolicy(msgspec.Struct, frozen=True):
    """How the demand of an application is evaluated. Seconds."""

    activity_period: float = defaults.ACTIVITY_PERIOD
    """How long the application stays active after its last request."""
    rate_window: float = defaults.RATE_WINDOW
    rate_granularity: float = defaults.RATE_GRANULARITY


DEFAULT_POLICY: Final = AppPolicy()


class AppDemand(msgspec.Struct, frozen=True):
    """The demand of one application, summed over all members."""

    app: str
    active: bool
    held: int
    in_flight: int
    connections: int
    concurrency: float
    """The larger of the current level and its mean over the window."""
    rate: float
    """Requests per second, the mean over the window."""
    busy: int = 0
    """Backends that keep it awake although they have answered."""
    awake_for: str = ""
    """An application with demand that depends on it, and for which it is active."""


class AppState:
    """Sums over the members. Gauges are integers, changed by differences; they cannot drift."""

    __slots__ = (
        "busy",
        "concurrency",
        "connections",
        "held",
        "in_flight",
        "last_demand",
        "last_request",
        "leases",
        "policy",
        "rate",
    )

    def __init__(self, policy: AppPolicy, concurrency_window: float) -> None:
        self.policy = policy
        self.held = 0
        self.in_flight = 0
        self.connections = 0
        self.busy = 0
        self.leases = 0
        """Replicas that keep it awake by a call."""
        self.last_demand = NEVER
        self.last_request = NEVER
        self.concurrency = Window(concurrency_window)
        self.rate = Window(policy.rate_window, policy.rate_granularity)

    @property
    def level(self) -> int:
        return self.held + self.in_flight + self.at_work

    @property
    def at_work(self) -> int:
        """A replica may say it in an answer and by a call, and is one."""
        return max(self.busy, self.leases)

    def active(self, now: float) -> bool:
        return self.level > 0 or now - self.last_demand < self.policy.activity_period

    def configure(self, policy: AppPolicy) -> None:
        before, self.policy = self.policy, policy
        if (before.rate_window, before.rate_granularity) != (policy.rate_window, policy.rate_granularity):
            self.rate = self.rate.resized(policy.rate_window, policy.rate_granularity)


class Leased:
    """What replicas keep awake by calls, in the states of `apps`, of which `make` makes new ones."""

    def __init__(self, apps: Mapping[str, AppState], make: Callable[[str], AppState], wake: Callable[[str, float], None]) -> None:
        self._apps, self._make, self._wake = apps, make, wake

    def keep(self, app: str, replicas: int, now: float) -> None:
        """So many replicas keep the application awake by a call, until the next word."""
        state = self._make(app)
        was_active = state.active(now)
        if state.leases or replicas:
            state.last_demand = now
        state.leases = replicas
        if replicas and not was_active:
            self._wake(app, now)

    def last_request(self, app: str) -> float:
        """When it last had a request; NEVER if none is known."""
        state = self._apps.get(app)
        return NEVER if state is None else state.last_request
