"""The rules of leader election with a Lease. Pure; the clock is passed in. controller.leader makes the requests.

As in Kubernetes' own components, wall clocks of other processes are not trusted: a lease has expired when an observer has seen no
change for its duration, by the observer's own clock. A leader stops before another may take over.
"""

from __future__ import annotations

import msgspec

__all__ = ["RENEWALS", "Election", "Lease"]

RENEWALS = 5
"""Renewals per lease duration: four may fail before it expires."""
GIVE_UP = 2 / 3
"""Fraction of the duration after which a leader that cannot renew stops leading."""


class Lease(msgspec.Struct, frozen=True):
    """A coordination.k8s.io Lease with the fields used here. `renewed` is only compared for equality."""

    holder: str
    duration: float
    """Seconds."""
    renewed: str
    transitions: int
    version: str
    """Its resourceVersion: an update based on another version is refused."""


class Election:
    """The known state of the lease, and what to do now."""

    def __init__(self, name: str, duration: float) -> None:
        self._name = name
        self._duration = duration
        self._lease: Lease | None = None
        self._changed_at = 0.0
        self._renewed_at: float | None = None

    @property
    def lease(self) -> Lease | None:
        return self._lease

    @property
    def renew_every(self) -> float:
        """Seconds between renewals."""
        return self._duration / RENEWALS

    def observed(self, lease: Lease | None, now: float) -> None:
        """The lease was read; None when it does not exist."""
        if lease is None or self._lease is None or _life(lease) != _life(self._lease):
            self._changed_at = now
        self._lease = lease

    def renewed(self, lease: Lease, asked_at: float, now: float) -> None:
        """We hold the lease. Its time counts from before the request was sent, because the answer may have taken long."""
        self.observed(lease, now)
        self._renewed_at = asked_at

    def lost(self) -> None:
        """Another process holds it, or it was released."""
        self._renewed_at = None

    def may_take(self, now: float) -> bool:
        """Whether the lease is ours, has no holder, or has expired."""
        lease = self._lease
        if lease is None or lease.holder in ("", self._name):
            return True
        return now - self._changed_at >= lease.duration

    def leads(self, now: float) -> bool:
        """Whether we lead, with enough time left to finish running work before another process may lead."""
        return self._renewed_at is not None and now - self._renewed_at < self._duration * GIVE_UP

    @property
    def next_transitions(self) -> int:
        """The value of leaseTransitions when we take the lease."""
        if self._lease is None:
            return 0
        return self._lease.transitions + (self._lease.holder != self._name)


def _life(lease: Lease) -> tuple[str, str]:
    return (lease.holder, lease.renewed)
