"""Datagrams that come from ports on which interceptors listen: their answers may come back as questions, without end.

Anybody can send a datagram with the address and a port of another interceptor as its source. The answer goes there, begins a flow
of that port's application, and is answered in turn; two applications that echo would do so for ever. As all interceptors listen
on the same ports, such datagrams are known by the port that they come from. Servers of some protocols do send from the port that
they listen on (SIP, NTP, DNS), so such datagrams are not refused, but bounded: of a loop the bound ends all but the rest that it
lets through.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from interceptor.udp.flow import Flow

if TYPE_CHECKING:
    from interceptor.app.app import App
    from interceptor.udp.exchange import Address, FlowHost, FlowSite

__all__ = ["LOOP", "RETURNS_A_SECOND", "Bound", "BoundedFlow", "Bounds"]

LOOP: Final = "loop"
"""The reason for metrics."""
RETURNS_A_SECOND: Final = 200.0
"""Datagrams of one such address and port to one port, and so many at once. A datagram that goes round within a cluster does so
thousands of times a second."""
MAX_BOUNDS: Final = 1024
"""Addresses that are remembered without a flow. More than there are interceptors, between which loops can be."""


class Bound:
    """What one address and port may still send."""

    __slots__ = ("_left", "_then")

    def __init__(self, now: float) -> None:
        self._left, self._then = RETURNS_A_SECOND, now

    def permits(self, now: float) -> bool:
        """Whether one more datagram is within the bound, which it counts for."""
        left = min(RETURNS_A_SECOND, self._left + (now - self._then) * RETURNS_A_SECOND)
        self._then = now
        self._left = left - 1.0 if left >= 1.0 else left
        return left >= 1.0


class Bounds:
    """Of the addresses that were last heard from: also without a flow, as one with a known number of answers ends with them."""

    def __init__(self) -> None:
        self._bounds: OrderedDict[Address, Bound] = OrderedDict()

    def __len__(self) -> int:
        return len(self._bounds)

    def of(self, address: Address, now: float) -> Bound:
        bound = self._bounds.get(address)
        if bound is None:
            bound = self._bounds[address] = Bound(now)
            if len(self._bounds) > MAX_BOUNDS:
                self._bounds.popitem(last=False)
        else:
            self._bounds.move_to_end(address)
        return bound


class BoundedFlow(Flow):
    """A flow from such a port."""

    __slots__ = ("_bound",)

    def __init__(self, host: FlowHost, site: FlowSite, app: App, address: Address, local: bytes, *, bound: Bound) -> None:
        super().__init__(host, site, app, address, local)
        self._bound = bound

    def take(self, data: memoryview, now: float) -> None:
        if self._bound.permits(now):
            super().take(data, now)
        else:
            self._stats.datagrams_in += 1
            self._drop(LOOP)
