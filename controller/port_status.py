"""What the status says of an object's ports: whether they are its own, lead to interceptors, and are listened on. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from controller.finding import Finding
from controller.propagation import Missing, Verdict
from controller.schema.ports import PortPlace
from controller.table import Lost
from fleet.routing.port import TRANSPORTS

__all__ = ["PortFacts", "port_finding"]

MAX_TOLD = 5
"""Ports and interceptors in one message."""
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


def port_finding(lost: Sequence[Lost], facts: PortFacts, verdict: Verdict | None) -> Finding | None:
    """`lost` are claims of others. None while the interceptors have not answered yet."""
    taken = [f"{one.claim} belongs to {one.winner}" for one in lost if one.claim.startswith(_OF_PORTS)]
    if taken:
        return Finding("False", "Taken", _some(taken))
    if facts.waits:
        return Finding("False", "NotLeased", _some(facts.waits))
    if facts.not_let_in:
        return Finding("False", "NotInService", _some(facts.not_let_in))
    if facts.not_listening:
        return Finding("False", "NotBound", _some([f"{one.name}: {one.why}" for one in facts.not_listening]))
    if verdict is None or not verdict.everywhere:
        return None
    where = _some([str(place) for place in facts.places if place.entry])
    return Finding("True", "Listening", "all interceptors listen on its ports" + (f": {where}" if where else ""))


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - MAX_TOLD
    return "; ".join(texts[:MAX_TOLD]) + (f" and {more} more" if more > 0 else "")
