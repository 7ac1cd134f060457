"""What conditions say of targets that are no Services: DNS names, addresses, and Services that are only another name. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from controller.finding import MAX_NAMED
from fleet.routing.route import Target

__all__ = ["OutsideCause", "causes_outside", "place_of"]

OutsideCause = tuple[str, str, bool]
"""Reason, message, and whether waiting cannot help."""


def place_of(target: Target) -> str:
    """A target outside of discovery, for people; "" for a Service."""
    if target.host is not None:
        return f"host {target.host}, port {target.port}"
    if not target.addresses:
        return ""
    more = len(target.addresses) - MAX_NAMED
    port = "" if target.port is None else f", port {target.port}"
    named = ", ".join(target.addresses[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{'address' if len(target.addresses) == 1 else 'addresses'} {named}{port}"


def causes_outside(place: str, *, kind: str, trouble: str, listed: int, last_error: str) -> Iterator[OutsideCause]:
    """Why nothing at a place takes requests. `kind` and `trouble` are what interceptors say of the look-up, `listed` is how many
    addresses they know."""
    if kind and not listed:
        yield kind, f"{place}: {trouble or 'interceptors know no address'}", True
    elif listed:
        addresses = f"1 address of {place}" if listed == 1 else f"none of {listed} addresses of {place}"
        takes = "does not take a connection" if listed == 1 else "takes a connection"
        if last_error:
            yield "NotAccepting", f"{addresses} {takes} ({last_error})", False
        else:
            passed = "has not passed" if listed == 1 else "has passed"
            yield "ProbeFails", f"{addresses} {passed} the interceptors' probe", False
    else:
        yield "NotSeen", f"{place}: the interceptors have no address yet: see their log", False
