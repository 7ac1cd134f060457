"""A route: how requests find an application, and how it is treated. Values only."""

from __future__ import annotations

import msgspec

__all__ = ["HeaderMatch", "RateTarget", "Route", "Rule", "Scaling", "Target", "Timeouts"]


class HeaderMatch(msgspec.Struct, frozen=True):
    """A header that a request must carry. Names compare without case; without a value, presence is enough."""

    name: str
    value: str | None = None


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way to a route: any of the hosts and any of the paths and all of the headers.

    A host is exact, a wildcard ("*.example.com", any depth) or "*". No hosts means any host, no paths any path.
    A path is a prefix on segment boundaries: "/api" takes "/api" and "/api/v1", not "/apis".
    """

    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    headers: tuple[HeaderMatch, ...] = ()


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the backends of a route are found: a Service and a port of it, by number or by name."""

    service: str
    """"namespace/name"."""
    port: int | str | None = None

    @property
    def key(self) -> str:
        """Name under which discovery lists the backends: "namespace/name" or "namespace/name:port"."""
        return self.service if self.port is None else f"{self.service}:{self.port}"


class RateTarget(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requests per second per replica, averaged over a window of seconds."""

    target: float
    window: float = 60.0
    granularity: float = 1.0


class Scaling(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one replica should carry: requests at once, requests per second, or both."""

    concurrency: float | None = None
    rate: RateTarget | None = None
    activity_period: float = 15.0
    """Seconds for which an application stays active after its last request."""


class Timeouts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits in seconds. None takes the interceptor's setting; 0 switches the limit off."""

    readiness: float | None = None
    """How long a request is held for a backend."""
    connect: float | None = None
    response_header: float | None = None
    request: float | None = None
    """Wall clock of the whole exchange."""
    idle: float | None = None
    """Silence of an exchange's body or of a tunnel."""


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """How requests find an application and what it is given."""

    app: str
    """"namespace/name", unique in a table."""
    target: Target
    rules: tuple[Rule, ...] = ()
    scaling: Scaling = Scaling()
    timeouts: Timeouts = Timeouts()
    created: float = 0.0
    """Seconds since the epoch. Of two equal claims the older wins."""
