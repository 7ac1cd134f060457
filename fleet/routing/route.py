"""A route: how requests find an application, and how it is treated. Values only."""

from __future__ import annotations

import msgspec

from fleet import defaults

__all__ = [
    "Affinity",
    "ColdStart",
    "HeaderMatch",
    "Placeholder",
    "Protection",
    "RateTarget",
    "Route",
    "Rule",
    "Scaling",
    "StaticFile",
    "StaticResponse",
    "StaticRoute",
    "Target",
    "Timeouts",
]


class HeaderMatch(msgspec.Struct, frozen=True):
    """A header that a request must carry. Names compare without case; without a value, presence is enough."""

    name: str
    value: str | None = None


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way to a route: any of the hosts, any of the paths, any of the methods, and all of the headers.

    A host is exact, a wildcard ("*.example.com", any depth) or "*". No hosts means any host, no paths any path, no methods any
    method. A path is a prefix on segment boundaries: "/api" takes "/api" and "/api/v1", not "/apis". Methods are exact: "GET"
    does not take HEAD.
    """

    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    headers: tuple[HeaderMatch, ...] = ()
    methods: tuple[str, ...] = ()


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the backends of a route are found: a Service and a port of it, by number or by name."""

    service: str
    """"namespace/name"."""
    port: int | str | None = None
    direct: bool | None = None
    """Whether requests go to the pods themselves, and not to the Service's address. None takes the interceptor's setting."""

    @property
    def key(self) -> str:
        """Name under which discovery lists the backends: "namespace/name" or "namespace/name:port", and "@pods" or "@service"
        behind it where `direct` is said.
        """
        place = self.service if self.port is None else f"{self.service}:{self.port}"
        return place if self.direct is None else f"{place}@{'pods' if self.direct else 'service'}"


class RateTarget(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requests per second per replica, averaged over a window of seconds."""

    target: float
    window: float = defaults.RATE_WINDOW
    granularity: float = defaults.RATE_GRANULARITY


class Scaling(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one replica should carry: requests at once, requests per second, or both."""

    concurrency: float | None = None
    rate: RateTarget | None = None
    activity_period: float = defaults.ACTIVITY_PERIOD
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


class StaticFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of the bodies of a static response, for requests of a path of its own."""

    path: str
    """The whole path of a request, such as "/index.html"."""
    body: bytes
    content_type: str | None = None


class StaticResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer that needs no backend. Whole in itself: what a ConfigMap held was put in when the table was made."""

    status: int | None = None
    """None is 200 for a static route, and 503 for a placeholder and for maintenance."""
    headers: tuple[tuple[str, str], ...] = ()
    """Name and value. They replace those that the interceptor would send; Content-Length is always its own."""
    body: bytes | None = None
    """None is no body; for a placeholder and for maintenance it is the built-in page."""
    files: tuple[StaticFile, ...] = ()
    """Bodies by path, instead of `body`; a path that ends with "/" finds its "index.html", an unknown one an empty body."""


class StaticRoute(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requests that are answered in the backends' place: health checks, crawlers, fixed pages. They are not counted, by whomever
    they are answered: a probe neither wakes an application nor keeps it awake."""

    response: StaticResponse
    rules: tuple[Rule, ...] = ()
    """Any of them selects a request. None selects every request."""
    user_agents: tuple[str, ...] = ()
    """Patterns with "*", compared without case; when there are any, the request's User-Agent has to fit one as well."""
    always: bool = False
    """Also while a backend is ready, which gets them otherwise."""


class Placeholder(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer for who comes while no backend is ready. It wakes the application like any request."""

    response: StaticResponse = StaticResponse()
    browsers_only: bool = False
    """Only a GET or HEAD that accepts text/html gets it; programs are held."""


class ColdStart(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happens to requests that come while no backend is ready, or that none can take."""

    placeholder: Placeholder | None = None
    """Wins over the fallback."""
    fallback: Target | None = None
    """Takes requests that have waited for the readiness timeout."""
    max_held: int | None = None
    """Requests that wait at once, at one interceptor. None takes the interceptor's setting."""
    max_held_bytes: int | None = None
    """Bytes of waiting requests' heads and bodies kept in memory. None takes the interceptor's setting."""
    overflow_placeholder: bool = False
    """Who does not fit into the waiting room gets the placeholder instead of a 503, and nobody else does."""


class Affinity(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requests of one session go to one backend for as long as it is ready. Exactly one of cookie and header is set."""

    cookie: str | None = None
    """Name of a cookie that the interceptor sets. The session stays where it is when backends are added."""
    header: str | None = None
    """Name of a request header whose value is the session. When backends come or go, few sessions move."""
    max_age: float | None = None
    """Seconds for which a browser keeps the cookie; None until it is closed."""


class Protection(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one backend and one interceptor take of an application at once."""

    backend_concurrency: int | None = None
    """Requests that one interceptor has on one backend at once; more wait. None: the scaling target bounds only what comes
    out of the waiting room, and yields to requests that would otherwise wait too long. 0 is no bound."""
    max_requests: int | None = None
    """Requests, held and in flight, of the application at one interceptor; more get 503. None takes the setting."""
    readiness_path: str | None = None
    """A path that a new backend has to answer with 200 to 399 before it gets requests."""


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
    static_routes: tuple[StaticRoute, ...] = ()
    """The first that fits is taken."""
    cold_start: ColdStart = ColdStart()
    maintenance: StaticResponse | None = None
    """Answers every request, and lets the application sleep."""
    affinity: Affinity | None = None
    protection: Protection = Protection()
    server_timing: bool = False
    """Whether answers carry Server-Timing with the times that a request was held, a connection opened, and its backend took."""
    answer_half_closed: bool | None = None
    """Whether a client that shut its side of the connection down after its request is answered. None takes the setting."""
