"""A route: how requests find an application, and how it is treated. Values only.

The one place where a field is declared: its type, its default, what it means, and what it may be. The JSON form, the check, the
schemas of custom resources and of the file of apps, and the tables in docs/ follow from here.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from fleet import defaults
from fleet.routing.cors import Cors
from fleet.routing.declare import Field
from fleet.routing.depends import MAX_DEPENDENCIES, Dependency
from fleet.routing.kinds import (
    AGENT,
    AMOUNT,
    ANSWER_HEADER,
    CHANGED_HEADER,
    CHANGED_NAME,
    CONTENT_TYPE,
    COOKIE_NAME,
    COUNT,
    GRANULARITY,
    HEADER_NAME,
    HOST,
    INSTANT,
    MATCHED,
    METHOD,
    NAME,
    NEW_PATH,
    OCTETS,
    PATH,
    PORT_NUMBER,
    POSITIVE_SECONDS,
    REDIRECT_HOST,
    REDIRECT_STATUS,
    REQUEST_TARGET,
    SCHEME,
    SECONDS,
    STATUS,
    WEIGHT,
)
from fleet.routing.port import MAX_PORTS, ListenPort, PortTarget
from fleet.routing.previews import Copy, Previews
from fleet.routing.target import Target

__all__ = [
    "MAX_AGENTS",
    "MAX_BACKENDS",
    "MAX_CHANGES",
    "MAX_FILES",
    "MAX_HEADERS",
    "MAX_RESPONSE_HEADERS",
    "MAX_STATIC_ROUTES",
    "Affinity",
    "ColdStart",
    "Copy",
    "Dependency",
    "HeaderChanges",
    "HeaderMatch",
    "ListenPort",
    "Placeholder",
    "Previews",
    "Protection",
    "RateTarget",
    "Redirect",
    "Rewrite",
    "Route",
    "Rule",
    "Scaling",
    "StaticFile",
    "StaticResponse",
    "StaticRoute",
    "Target",
    "Timeouts",
    "WeightedTarget",
]

MAX_HEADERS: Final = 100
"""Headers in one rule. Interceptors take about as many in a whole request, so more could never match."""
MAX_STATIC_ROUTES: Final = 100
"""Maximum static routes of one route. All that match the path are checked for each request, so more would slow it down."""
MAX_AGENTS: Final = 100
"""Patterns of user agents in one static route; each is compared with the header."""
MAX_BACKENDS: Final = 16
"""Maximum backends of one rule. All are looked at for each request."""
MAX_CHANGES: Final = 32
"""Maximum fields of one kind that a rule sets, adds or removes: twice what the Gateway API takes."""
MAX_FILES: Final = 1000
"""Maximum files of one response: more than a page needs."""
MAX_RESPONSE_HEADERS: Final = 100
"""Maximum fields of one response, which usual clients accept."""


class HeaderMatch(msgspec.Struct, frozen=True):
    """A header that a request must carry."""

    name: Annotated[str, Field("Name of the header; its case does not matter.", HEADER_NAME)]
    value: Annotated[
        str | None, Field("Exact value. Without it, any value is accepted, but the header must be there.", MATCHED)
    ] = None


class WeightedTarget(Target, frozen=True, omit_defaults=True):
    """One of the targets behind a rule."""

    weight: Annotated[
        int, Field("Share of the requests: how many of as many as all weights together. With 0 it gets none.", WEIGHT)
    ] = 1


class Rewrite(msgspec.Struct, frozen=True):
    """What the backend reads in place of what was requested."""

    prefix: Annotated[
        str,
        Field(
            'Path in place of the prefix that was matched: with "/", and the prefix /grpc, backends get /a for /grpc/a.', NEW_PATH
        ),
    ]


class HeaderChanges(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a rule changes about the header fields of a message. Each name is in one of the lists."""

    set: Annotated[
        tuple[tuple[str, str], ...],
        Field("Names and values, in place of what there is of these names.", CHANGED_HEADER, most=MAX_CHANGES, called="headers"),
    ] = ()
    add: Annotated[
        tuple[tuple[str, str], ...],
        Field("Names and values, beside what there is of these names.", CHANGED_HEADER, most=MAX_CHANGES, called="headers"),
    ] = ()
    remove: Annotated[
        tuple[str, ...], Field("Names of headers that are left out.", CHANGED_NAME, most=MAX_CHANGES, called="headers")
    ] = ()


class Redirect(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer that sends the client elsewhere."""

    scheme: Annotated[str | None, Field("http or https; without it, that by which the client came.", SCHEME)] = None
    host: Annotated[str | None, Field("Host; without it, that of the request.", REDIRECT_HOST)] = None
    port: Annotated[int | None, Field("Port; without it, the usual one of the scheme.", PORT_NUMBER)] = None
    path: Annotated[str | None, Field("Path in place of the whole path.", NEW_PATH)] = None
    prefix: Annotated[str | None, Field("Path in place of the prefix that was matched.", NEW_PATH)] = None
    status: Annotated[int, Field("301, 302, 303, 307 or 308.", REDIRECT_STATUS)] = defaults.REDIRECT_STATUS


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way to a route: any of the hosts, any of the paths, any of the methods, and all of the headers; and what happens to the
    requests that come by it."""

    hosts: Annotated[tuple[str, ...], Field('Exact, "*.example.com", or "*". Without any, every host.', HOST)] = ()
    paths: Annotated[tuple[str, ...], Field("Prefixes of paths, by whole segments. Without any, every path.", PATH)] = ()
    headers: Annotated[
        tuple[HeaderMatch, ...],
        Field("Headers that a request must carry, all of them.", most=MAX_HEADERS, called="headers"),
    ] = ()
    methods: Annotated[
        tuple[str, ...], Field("Methods, in capitals; GET does not take HEAD. Without any, every method.", METHOD)
    ] = ()
    rewrite: Annotated[Rewrite | None, Field("Changes the path on its way to the backend.")] = None
    request_headers: Annotated[HeaderChanges | None, Field("Changes headers of the request on its way to the backend.")] = None
    response_headers: Annotated[HeaderChanges | None, Field("Changes headers of the backend's response.")] = None
    redirect: Annotated[Redirect | None, Field("Answers with a redirect. Wakes nothing, and is not counted.")] = None
    backends: Annotated[
        tuple[WeightedTarget, ...],
        Field("Where the requests go instead of to the target, by weight. All are counted together.", most=MAX_BACKENDS),
    ] = ()


class RateTarget(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requests per second per replica, averaged over a window."""

    target: Annotated[float, Field("Requests per second that one replica should carry.", AMOUNT)]
    window: Annotated[float, Field("Time over which the rate is averaged.", POSITIVE_SECONDS)] = defaults.RATE_WINDOW
    granularity: Annotated[float, Field("Size of the window's parts; from 1ms up to the window.", GRANULARITY)] = (
        defaults.RATE_GRANULARITY
    )


class Scaling(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one replica should carry: requests at once, requests per second, or both."""

    concurrency: Annotated[float | None, Field("Requests at once that one replica should carry.", AMOUNT)] = None
    rate: Annotated[RateTarget | None, Field("Scale by requests per second.")] = None
    activity_period: Annotated[float, Field("How long the application counts as active after its last request.", SECONDS)] = (
        defaults.ACTIVITY_PERIOD
    )
    max_busy: Annotated[
        float,
        Field("How long an answer may keep the application awake by Weir-Keep-Awake. With 0, that field has no effect.", SECONDS),
    ] = 0.0


class Timeouts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits of one exchange. None takes the interceptor's setting; 0 switches the limit off."""

    readiness: Annotated[float | None, Field("How long a request waits for a backend.", SECONDS)] = None
    connect: Annotated[float | None, Field("Time of one attempt to connect.", SECONDS)] = None
    response_header: Annotated[
        float | None, Field("How long the head of the answer may take after the request was sent.", SECONDS)
    ] = None
    request: Annotated[float | None, Field("Time of the whole exchange.", SECONDS)] = None
    idle: Annotated[float | None, Field("Silence of a body or of a tunnel.", SECONDS)] = None


class StaticFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of the bodies of a static response, for requests of a path of its own."""

    path: Annotated[str, Field('The whole path of a request, such as "/index.html".', PATH)]
    body: Annotated[bytes, Field("The body.")]
    content_type: Annotated[str | None, Field("Its Content-Type; none without it.", CONTENT_TYPE)] = None


class StaticResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer that needs no backend. Whole in itself: what a ConfigMap held was put in when the table was made."""

    status: Annotated[
        int | None, Field("Status from 200 on; without it 503 for a placeholder, 200 for a static route.", STATUS)
    ] = None
    headers: Annotated[
        tuple[tuple[str, str], ...],
        Field("Headers of the answer.", ANSWER_HEADER, most=MAX_RESPONSE_HEADERS, called="headers"),
    ] = ()
    """Name and value. They replace those that the interceptor would send; Content-Length is always its own."""
    body: Annotated[bytes | None, Field("The body; empty without it.")] = None
    """None is the built-in page for a placeholder and for maintenance."""
    files: Annotated[tuple[StaticFile, ...], Field("Bodies by path, instead of one body.", most=MAX_FILES, called="files")] = ()
    """A path that ends with "/" finds its "index.html", an unknown one an empty body."""


class StaticRoute(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requests that are answered in the backends' place: health checks, crawlers, fixed pages. They are not counted, by whomever
    they are answered: a probe neither wakes an application nor keeps it awake."""

    response: Annotated[StaticResponse, Field("The answer.")]
    rules: Annotated[tuple[Rule, ...], Field("Any of them selects a request.")] = ()
    """None selects every request."""
    user_agents: Annotated[
        tuple[str, ...],
        Field(
            'Patterns with "*", one of which has to fit the User-Agent as well; case does not matter.',
            AGENT,
            most=MAX_AGENTS,
            called="patterns",
        ),
    ] = ()
    always: Annotated[bool, Field("Whether also while a backend is ready.")] = False


class Placeholder(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer for who comes while no backend is ready. It wakes the application like any request."""

    response: Annotated[StaticResponse, Field("The answer. Without it, a built-in page.")] = StaticResponse()
    browsers_only: Annotated[bool, Field("Whether only who asks for a page gets it, and programs wait.")] = False
    """Who asks for a page: with a GET or HEAD that accepts text/html."""


class ColdStart(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happens to requests that come while no backend is ready, or that none can take."""

    placeholder: Annotated[Placeholder | None, Field("Answered at once instead of waiting; wins over the fallback.")] = None
    fallback: Annotated[Target | None, Field("Target of requests that waited too long.")] = None
    max_held: Annotated[int | None, Field("Most requests that wait at once, at each interceptor.", COUNT)] = None
    max_held_bytes: Annotated[
        int | None,
        Field("Most memory for what waits at once, at each interceptor: bytes, or a quantity such as 16Mi.", OCTETS),
    ] = None
    overflow_placeholder: Annotated[
        bool, Field("Whether only what does not fit among the requests that wait gets the placeholder, instead of 503.")
    ] = False


class Affinity(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requests of one session go to one backend for as long as it is ready. Exactly one of cookie and header is set."""

    cookie: Annotated[str | None, Field("Name of a cookie that interceptors set.", COOKIE_NAME)] = None
    """The session stays where it is when backends are added."""
    header: Annotated[str | None, Field("Name of a request header whose value is the session.", HEADER_NAME)] = None
    """When backends come or go, few sessions move."""
    max_age: Annotated[float | None, Field("How long a browser keeps the cookie; without it, until it is closed.", SECONDS)] = (
        None
    )


class Protection(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one backend and one interceptor take of an application at once."""

    backend_concurrency: Annotated[
        int | None,
        Field(
            "Requests that one interceptor has on one replica at once; more wait. 0 is no bound. Without it, replicas that "
            "come up get what they are scaled for.",
            COUNT,
        ),
    ] = None
    """None: the scaling target bounds only what comes out of the waiting room, and yields to requests that would otherwise wait
    too long."""
    max_requests: Annotated[int | None, Field("Requests at one interceptor, waiting and at work; more get 503.", COUNT)] = None
    readiness_path: Annotated[
        str | None,
        Field("Path that a new replica has to answer with 200 to 399 before it gets requests.", REQUEST_TARGET),
    ] = None


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """How requests find an application and what it is given."""

    app: Annotated[str, Field('The application, "namespace/name", unique in a table.', NAME)]
    target: Annotated[Target, Field("Where the requests go.")]
    rules: Annotated[tuple[Rule, ...], Field("Any of them selects a request. Without rules, no request is selected.")] = ()
    scaling: Annotated[Scaling, Field("What replicas are counted by.")] = Scaling()
    timeouts: Annotated[Timeouts, Field("Limits of this application's requests.")] = Timeouts()
    created: Annotated[float, Field("When the object was made: of two equal claims the older wins.", INSTANT)] = 0.0
    static_routes: Annotated[
        tuple[StaticRoute, ...], Field("Fixed answers; the first fit is taken.", most=MAX_STATIC_ROUTES)
    ] = ()
    cold_start: Annotated[ColdStart, Field("For requests that come while no backend is ready.")] = ColdStart()
    maintenance: Annotated[StaticResponse | None, Field("Answers every request, and lets the application sleep.")] = None
    affinity: Annotated[Affinity | None, Field("Keeps a session at one replica while it is ready.")] = None
    cors: Annotated[Cors | None, Field("Lets pages of other origins use the application.")] = None
    protection: Annotated[Protection, Field("What is taken of the application at once.")] = Protection()
    server_timing: Annotated[bool, Field("Whether answers tell in Server-Timing how long a request waited.")] = False
    """And for how long a connection was opened, and its backend took."""
    answer_half_closed: Annotated[
        bool | None,
        Field(
            "Whether a client that shuts its side of the connection down after its request is answered, instead of being "
            "taken for gone. Without it, the interceptors' setting counts."
        ),
    ] = None
    ports: Annotated[
        tuple[ListenPort, ...],
        Field(
            "Ports on which interceptors listen for it, beside its requests: TCP connections and UDP flows.",
            most=MAX_PORTS,
            called="ports",
        ),
    ] = ()
    previews: Annotated[
        Previews | None, Field("Copies of the application that some of its requests go to, by host, header, baggage or cookie.")
    ] = None
    depends_on: Annotated[
        tuple[Dependency, ...],
        Field("Applications that wake together with this one.", most=MAX_DEPENDENCIES, called="dependencies"),
    ] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        """All that requests and connections go to: the target, the fallback, the backends of rules, and those of ports."""
        fallback = self.cold_start.fallback
        own = (self.target,) if fallback is None else (self.target, fallback)
        of_rules = (target for rule in self.rules for target in rule.backends)
        return (*own, *of_rules, *(PortTarget.of(self.target, port) for port in self.ports))
