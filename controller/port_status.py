"""What the status says of an object's ports: whether they are its own, and whether interceptors listen there. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from controller.finding import Finding
from controller.propagation import Missing, Verdict
from fleet.routing.port import TRANSPORTS

__all__ = ["port_finding"]

MAX_TOLD = 5
"""Ports and interceptors in one message."""
_OF_PORTS = tuple(f"{protocol} port " for protocol in TRANSPORTS)


def port_finding(lost: Sequence[str], not_listening: Sequence[Missing], verdict: Verdict | None) -> Finding | None:
    """`lost` are the claims, as text, that older objects have. None while the interceptors have not answered yet."""
    taken = [claim for claim in lost if claim.startswith(_OF_PORTS)]
    if taken:
        return Finding("False", "Taken", f"an older object has {_some(taken)}")
    if not_listening:
        return Finding("False", "NotBound", _some([f"{one.name}: {one.why}" for one in not_listening]))
    if verdict is None or not verdict.everywhere:
        return None
    return Finding("True", "Listening", "all interceptors listen on its ports")


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - MAX_TOLD
    return "; ".join(texts[:MAX_TOLD]) + (f" and {more} more" if more > 0 else "")
