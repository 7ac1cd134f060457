"""All flows of one interceptor: how many there may be of one application, of one source, and in all; which end for others.

Does no I/O. At a bound, a flow ends that has been idle: first one that was never answered, as those of false sources are. If
there is none, the new flow is refused.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Iterator
from ipaddress import IPv6Address
from typing import Final, Protocol

from interceptor.trust import plain_address

__all__ = ["FlowEntry", "Flows", "source_of"]

VAIN_SECONDS: Final = 0.05
"""For this long after a search in vain there is no other one: a flood costs little then."""
MOST_LOOKS: Final = 8
"""Flows that are looked at to find one that may end: bounded, because a flood would ask for each of its datagrams."""
ANSWERED_SECONDS: Final = 10.0
"""An answered flow that has been idle for this long may end for another one."""
UNANSWERED_SECONDS: Final = 1.0
"""The same for one that was not answered."""
LARGEST_SECONDS: Final = 0.1
"""Seconds between two searches for the application that has most flows."""
FEWEST: Final = 16
"""Flows that each application and each source may have in any case, however small the bound in all is."""


class FlowEntry(Protocol):
    """A flow, as the list of all of them sees it."""

    app_name: str
    source: str
    answered: bool
    """Whether the backend has sent anything."""
    protocol: str
    since: float
    requests: int
    trusted: bool

    @property
    def peer(self) -> bytes:
        """The client's address."""

    @property
    def activity(self) -> str:
        """What it is doing, for people."""

    @property
    def waits(self) -> bool:
        """Whether it has no backend yet."""

    def idle_for(self, now: float) -> float:
        """Seconds since its last datagram."""

    def end(self, now: float) -> None: ...


class _Ring(OrderedDict[FlowEntry, None]):
    """Flows; those that were looked at in vain are last."""

    __slots__ = ("_next_search",)

    def __init__(self) -> None:
        super().__init__()
        self._next_search = -math.inf

    def stale(self, now: float) -> FlowEntry | None:
        """One that may end for another."""
        if now < self._next_search:
            return None
        for _ in range(min(MOST_LOOKS, len(self))):
            flow = next(iter(self))
            if not flow.waits and flow.idle_for(now) >= (ANSWERED_SECONDS if flow.answered else UNANSWERED_SECONDS):
                return flow
            self.move_to_end(flow)
        self._next_search = now + VAIN_SECONDS
        return None


class _Group:
    """The flows of one application."""

    __slots__ = ("answered", "unanswered")

    def __init__(self) -> None:
        self.unanswered = _Ring()
        self.answered = _Ring()

    def __len__(self) -> int:
        return len(self.unanswered) + len(self.answered)

    def stale(self, now: float) -> FlowEntry | None:
        return self.unanswered.stale(now) or self.answered.stale(now)

    @property
    def oldest(self) -> FlowEntry:
        return next(iter(self.unanswered or self.answered))


class Flows:
    """The flows, and their bounds."""

    def __init__(self, most: int, most_of_source: int, most_bytes: int) -> None:
        self.most = most
        """Flows in all. If several applications have UDP ports, none has more than half of them."""
        self.most_of_source = most_of_source
        """Flows of one address, or of one /64 of IPv6; 0 for no bound."""
        self.most_bytes = most_bytes
        """Bytes of datagrams that are kept."""
        self.kept_bytes = 0
        self.evicted = 0
        """Flows that ended for others."""
        self._share = most
        self._apps = 1
        self._count = 0
        self._groups: dict[str, _Group] = {}
        self._sources: dict[str, _Ring] = {}
        self._largest: _Group | None = None
        self._next_search = 0.0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[FlowEntry]:
        """Those that there are now: some may have ended when they come."""
        for group in list(self._groups.values()):
            yield from [*group.unanswered, *group.answered]

    def share_out(self, apps: Collection[str]) -> None:
        """These applications have UDP ports."""
        self._apps = len(apps)
        self.limit(self.most)

    def limit(self, most: int) -> None:
        """Set the bound in all."""
        self.most = most
        self._share = max(FEWEST, most // 2) if self._apps > 1 else most

    def make_room(self, app: str, source: str, now: float) -> str:
        """Make room for one more flow. Returns why there is none, as a reason for metrics; "" if there is."""
        group, ring = self._groups.get(app), self._sources.get(source)
        if ring is not None and self.most_of_source and len(ring) >= max(FEWEST, self.most_of_source):
            if not self._end(ring.stale(now), now):
                return "source_flows"
            group = self._groups.get(app)
        if group is not None and len(group) >= self._share and not self._end(group.stale(now), now):
            return "flows"
        if self._count >= self.most and not self._make_room_in_all(self._groups.get(app), now):
            return "flows"
        return ""

    def _make_room_in_all(self, own: _Group | None, now: float) -> bool:
        """An application that has fewer flows than another gets one in place of the other's, whatever that flow does."""
        largest = self._find_largest(now)
        if largest is None:
            return False
        if own is None or len(own) < len(largest):
            return self._end(largest.stale(now) or largest.oldest, now)
        return self._end(own.stale(now), now)

    def _find_largest(self, now: float) -> _Group | None:
        if now >= self._next_search or not self._largest:
            self._next_search = now + LARGEST_SECONDS
            self._largest = max(self._groups.values(), key=len, default=None)
        return self._largest

    def _end(self, flow: FlowEntry | None, now: float) -> bool:
        if flow is None:
            return False
        self.evicted += 1
        flow.end(now)
        return True

    def add(self, flow: FlowEntry) -> None:
        self._count += 1
        group = self._groups.get(flow.app_name)
        if group is None:
            group = self._groups[flow.app_name] = _Group()
        group.unanswered[flow] = None
        ring = self._sources.get(flow.source)
        if ring is None:
            ring = self._sources[flow.source] = _Ring()
        ring[flow] = None

    def note_answered(self, flow: FlowEntry) -> None:
        """The first datagram of its backend has come."""
        group = self._groups[flow.app_name]
        del group.unanswered[flow]
        group.answered[flow] = None

    def remove(self, flow: FlowEntry) -> None:
        self._count -= 1
        group = self._groups[flow.app_name]
        del (group.answered if flow.answered else group.unanswered)[flow]
        if not group:
            del self._groups[flow.app_name]
            if self._largest is group:
                self._largest = None
        ring = self._sources[flow.source]
        del ring[flow]
        if not ring:
            del self._sources[flow.source]

    def keep(self, size: int) -> bool:
        """Keep so many bytes more. Returns False if there is no room for them."""
        if self.kept_bytes + size > self.most_bytes:
            return False
        self.kept_bytes += size
        return True

    def give_back(self, size: int) -> None:
        self.kept_bytes -= size

    def end_idle(self, now: float, seconds: float) -> None:
        """End those that have a backend, and no datagram for so long."""
        for flow in self:
            if not flow.waits and flow.idle_for(now) >= seconds:
                flow.end(now)

    def close(self, now: float) -> None:
        """End all of them."""
        for flow in self:
            flow.end(now)


def source_of(host: str) -> str:
    """Whose flows are counted together: an address, or a /64 of IPv6, as everybody has all addresses of one."""
    plain = plain_address(host)
    if ":" not in plain:
        return plain
    return f"{int(IPv6Address(plain.partition('%')[0])) >> 64:x}"
