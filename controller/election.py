"""Who leads: the rules of a Lease. Pure, with a clock that is handed in; controller.leader does the asking.

As in Kubernetes' own components, nobody's wall clock is trusted: a lease has run out when it has not changed for its
duration by the observer's own clock. A leader stops before anyone may take over.
"""

from __future__ import annotations

import msgspec

__all__ = ["RENEWALS", "Election", "Lease"]

RENEWALS = 5
"""Renewals in the duration of a lease: four may fail before it runs out."""
GIVE_UP = 2 / 3
"""Part of the duration after which a leader that cannot renew stops leading."""


class Lease(msgspec.Struct, frozen=True):
    """A coordination.k8s.io Lease, as far as it matters. `renewed` is only compared with itself."""

    holder: str
    duration: float
    """Seconds."""
    renewed: str
    transitions: int
    version: str
    """Its resourceVersion: an update of another version is refused."""


class Election:
    """What is known of the lease, and what to do now."""

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
        """Seconds."""
        return self._duration / RENEWALS

    def observed(self, lease: Lease | None, now: float) -> None:
        """This is the lease; None when there is none."""
        if lease is None or self._lease is None or _life(lease) != _life(self._lease):
            self._changed_at = now
        self._lease = lease

    def renewed(self, lease: Lease, asked_at: float, now: float) -> None:
        """We hold it. It counts from before the question: the answer may have taken long."""
        self.observed(lease, now)
        self._renewed_at = asked_at

    def lost(self) -> None:
        """Another one has it, or it was given back."""
        self._renewed_at = None

    def may_take(self, now: float) -> bool:
        """Whether the lease is ours, nobody's, or one that has run out."""
        lease = self._lease
        if lease is None or lease.holder in ("", self._name):
            return True
        return now - self._changed_at >= lease.duration

    def leads(self, now: float) -> bool:
        """Whether we lead, with time left to finish what is begun before anyone else does."""
        return self._renewed_at is not None and now - self._renewed_at < self._duration * GIVE_UP

    @property
    def next_transitions(self) -> int:
        """How often the lease has changed hands once we have it."""
        if self._lease is None:
            return 0
        return self._lease.transitions + (self._lease.holder != self._name)


def _life(lease: Lease) -> tuple[str, str]:
    return (lease.holder, lease.renewed)
