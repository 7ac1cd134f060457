"""What the status says of an object's ports: whether they are its own, lead to interceptors, and are listened on. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from controller.finding import Finding
from controller.propagation import Missing, Verdict
from controller.scaling import PENDING
from controller.schema.common import Condition
from controller.schema.ports import PortPlace
from controller.table import Lost
from fleet.routing.port import TRANSPORTS

__all__ = ["PortFacts", "port_finding"]

MAX_TOLD = 5
"""Ports and interceptors in one message."""
TAKEN, NOT_LEASED, NOT_IN_SERVICE = "Taken", "NotLeased", "NotInService"
_NOT_OF_INTERCEPTORS = frozenset({TAKEN, NOT_LEASED, NOT_IN_SERVICE})
"""Reasons that are known to be over when they are."""
_OF_PORTS = tuple(f"{protocol} port " for protocol in TRANSPORTS)


class PortFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about the ports of one object."""

    waits: tuple[str, ...] = ()
    """Ports that it does not have yet, and why."""
    not_let_in: tuple[str, ...] = ()
    """Ports that do not lead to interceptors, and why."""
    not_listening: tuple[Missing, ...] = ()
    """Interceptors that cannot listen on a port of it."""
    places: tuple[PortPlace, ...] = ()
    """Its ports, and where they are."""


def port_finding(
    lost: Sequence[Lost], facts: PortFacts, verdict: Verdict | None, before: Condition | None = None
) -> Finding | None:
    """`lost` are claims of others, `before` is what the status says now. None to keep that, until interceptors have answered."""
    taken = [f"{one.claim} belongs to {one.winner}" for one in lost if one.claim.startswith(_OF_PORTS)]
    if taken:
        return Finding("False", TAKEN, _some(taken))
    if facts.waits:
        return Finding("False", NOT_LEASED, _some(facts.waits))
    if facts.not_let_in:
        return Finding("False", NOT_IN_SERVICE, _some(facts.not_let_in))
    if facts.not_listening:
        return Finding("False", "NotBound", _some([f"{one.name}: {one.why}" for one in facts.not_listening]))
    if verdict is None or not verdict.everywhere:
        is_past = before is not None and before.reason in _NOT_OF_INTERCEPTORS
        return Finding("Unknown", PENDING, "the interceptors were not heard yet") if is_past else None
    where = _some([str(place) for place in facts.places if place.entry])
    return Finding("True", "Listening", "all interceptors listen on its ports" + (f": {where}" if where else ""))


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - MAX_TOLD
    return "; ".join(texts[:MAX_TOLD]) + (f" and {more} more" if more > 0 else "")
