"""Whether the name by which a request comes is one of this process's own: against DNS rebinding. Pure.

A page of somebody else can have its own name resolve to an address of this machine, or of its network, and then read what answers
there: for the browser it is the page's own origin. The name in Host gives it away. Addresses cannot be rebound, and the names
that are accepted nobody can register.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final

from fleet.routing.host import is_host, normal_host

__all__ = ["ABOUT_OWN_NAMES", "is_own", "own_names"]

ABOUT_OWN_NAMES: Final = (
    "More names by which the diagnostics may be asked for, separated by commas, beside addresses, names without a dot, this "
    "machine's name, and names below .localhost, .svc, .cluster.local and .keda: those of a cluster with another domain, for "
    "example. *.NAME is every name that has one label before NAME. Under other names only /livez answers, because a web page "
    "could read the others by DNS rebinding."
)
_ENDS: Final = (".localhost", ".svc", ".cluster.local", ".keda")
"""RFC 6761 6.3; and names of Services, which no public name server has: also those of the HTTP add-on, in the namespace keda."""
_EVERY: Final = "*."


def own_names(text: str) -> frozenset[str]:
    """Of names separated by commas."""
    given = [name for part in text.split(",") if (name := part.strip())]
    return frozenset(_EVERY * name.startswith(_EVERY) + _normal(name.removeprefix(_EVERY)) for name in given)


def is_own(host: str, names: Collection[str] = ()) -> bool:
    """Whether a request with this Host may be answered. `names` are more than the usual ones. A request without a Host is of no
    browser."""
    if not host:
        return True
    if not is_host(host):
        return False
    name = _normal(host)
    is_named = name in names or _EVERY + name.partition(".")[2] in names
    return "." not in name or name.endswith(_ENDS) or is_named or _is_address(name)


def _normal(host: str) -> str:
    return normal_host(host.encode()).decode()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
