"""What both custom resources say of requests that meet no ready backend, or no backend at all.

Names, limits and defaults are those of the add-on's InterceptorRoute at 0.16; what is ours is optional and says so.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from controller.schema.common import (
    BY_NAME,
    ONE_PORT,
    Duration,
    Header,
    Name,
    Natural,
    Port,
    Positive,
    Quantity,
    Rule,
    check_port,
)

__all__ = [
    "ATOMIC",
    "Affinity",
    "BodyFromConfigMap",
    "ColdStart",
    "Fallback",
    "FallbackService",
    "Methods",
    "PathMatch",
    "Placeholder",
    "RoutingRule",
    "StaticResponse",
    "StaticRoute",
    "Treatment",
]

StatusCode = Annotated[int, Meta(ge=100, le=599)]
Body = Annotated[str, Meta(max_length=32768)]
Agents = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...], Meta(max_length=100)]
RequestTarget = Annotated[str, Meta(pattern='^/[!"$-~]*$', max_length=1024)]

ATOMIC: Final[dict[str, Any]] = {"x-kubernetes-list-type": "atomic"}


class PathMatch(msgspec.Struct, frozen=True, rename="camel"):
    """A prefix of paths."""

    value: Annotated[Name, Meta(description="Prefix of the path, by whole segments; the longest wins.")]


Methods = Annotated[
    tuple[Name, ...],
    Meta(
        description="Methods, in capitals; GET does not take HEAD. Without any, every method. (Not in the add-on.)",
        extra_json_schema={"x-kubernetes-list-type": "set"},
        max_length=32,
    ),
]


class RoutingRule(msgspec.Struct, frozen=True, rename="camel"):
    """One way to the target: any of the hosts, any of the paths, any of the methods, and all of the headers."""

    hosts: Annotated[
        tuple[str, ...] | None,
        Meta(
            description='Exact, "*.example.com", or "*". Without any, every host.',
            extra_json_schema={"x-kubernetes-list-type": "set"},
        ),
    ] = None
    paths: Annotated[
        tuple[PathMatch, ...] | None, Meta(description="Prefixes. Without any, every path.", extra_json_schema=ATOMIC)
    ] = None
    headers: Annotated[
        tuple[Header, ...] | None, Meta(description="Headers that a request must carry, all of them.", extra_json_schema=BY_NAME)
    ] = None
    methods: Methods | None = None


class BodyFromConfigMap(msgspec.Struct, frozen=True, rename="camel"):
    """A body that a ConfigMap holds. Without the ConfigMap or the key the answer is 500, and the status says so."""

    name: Annotated[
        Name, Meta(description='ConfigMap in the namespace of this object, with the label http.keda.sh/response-body: "true".')
    ]
    key: Annotated[
        str | None,
        Meta(description='Key in the ConfigMap. Without it, the path of the request is: "/style.css" is the key style.css.'),
    ] = None


_ONE_BODY = Rule("!(has(self.body) && has(self.bodyFromConfigMap))", "'body' and 'bodyFromConfigMap' exclude each other")


class StaticResponse(msgspec.Struct, frozen=True, rename="camel"):
    """An answer that needs no backend."""

    cel: ClassVar[tuple[Rule, ...]] = (_ONE_BODY,)

    status_code: Annotated[
        StatusCode | None, Meta(description="Status from 200 on; without it 503 for a placeholder, 200 for a static route.")
    ] = None
    body: Annotated[Body | None, Meta(description="The body; empty without it.")] = None
    body_from_config_map: Annotated[BodyFromConfigMap | None, Meta(description="A body that a ConfigMap holds.")] = None
    headers: Annotated[dict[str, str] | None, Meta(description="Headers of the answer.")] = None

    def __post_init__(self) -> None:
        if self.body is not None and self.body_from_config_map is not None:
            raise ValueError(_ONE_BODY.message)


_RESPONSE_OR_AUDIENCE = Rule("has(self.response) || has(self.audience)", "at least one of 'response' or 'audience' must be set")


class Placeholder(msgspec.Struct, frozen=True, rename="camel"):
    """An answer for requests that come while no backend is ready."""

    cel: ClassVar[tuple[Rule, ...]] = (_RESPONSE_OR_AUDIENCE,)

    response: Annotated[
        StaticResponse | None, Meta(description="The answer. Without it, a built-in page. (Needed in the add-on.)")
    ] = None
    audience: Annotated[
        Literal["Browsers", "Everyone"] | None,
        Meta(
            description="Browsers: only who asks for a page gets it, and programs wait. Without it Everyone where there is a "
            "response. (Not in the add-on.)"
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.response is None and self.audience is None:
            raise ValueError(_RESPONSE_OR_AUDIENCE.message)


class FallbackService(msgspec.Struct, frozen=True, rename="camel"):
    """A Service and a port of it."""

    cel: ClassVar[tuple[Rule, ...]] = (ONE_PORT,)

    name: Annotated[Name, Meta(description="Service, in the namespace of this object.")]
    port: Annotated[Port | None, Meta(description="Number of the Service's port.")] = None
    port_name: Annotated[Name | None, Meta(description="Name of the Service's port.")] = None

    def __post_init__(self) -> None:
        check_port(self.port, self.port_name)


class Fallback(msgspec.Struct, frozen=True, rename="camel"):
    """Where requests go that waited too long."""

    service: Annotated[FallbackService, Meta(description="The Service that takes them.")]


_ONE_COLD_START = Rule(
    "has(self.fallback) || has(self.placeholder) || has(self.maxPendingRequests) || has(self.maxPendingBytes)",
    "at least one of 'fallback', 'placeholder', 'maxPendingRequests' or 'maxPendingBytes' must be set",
)
_OVERFLOW_NEEDS_PLACEHOLDER = Rule(
    "!has(self.overflow) || self.overflow != 'Placeholder' || has(self.placeholder)",
    "'placeholder' must be set when 'overflow' is 'Placeholder'",
)


class ColdStart(msgspec.Struct, frozen=True, rename="camel"):
    """What happens to requests that come while no backend is ready."""

    cel: ClassVar[tuple[Rule, ...]] = (_ONE_COLD_START, _OVERFLOW_NEEDS_PLACEHOLDER)

    fallback: Annotated[Fallback | None, Meta(description="Service for requests that waited too long.")] = None
    placeholder: Annotated[
        Placeholder | None, Meta(description="Answered at once instead of waiting; wins over the fallback.")
    ] = None
    max_pending_requests: Annotated[
        Positive | None, Meta(description="Most requests that wait at once, at each interceptor.")
    ] = None
    max_pending_bytes: Annotated[
        Quantity | None,
        Meta(
            description="Most memory for what waits at once, at each interceptor: bytes, or a quantity such as 16Mi. "
            "(Not in the add-on.)"
        ),
    ] = None
    overflow: Annotated[
        Literal["Reject", "Placeholder"] | None,
        Meta(
            description="What requests beyond maxPendingRequests get: 503, or the placeholder. With Placeholder, those within "
            "maxPendingRequests wait."
        ),
    ] = None

    def __post_init__(self) -> None:
        if all(field is None for field in (self.fallback, self.placeholder, self.max_pending_requests, self.max_pending_bytes)):
            raise ValueError(_ONE_COLD_START.message)
        if self.overflow == "Placeholder" and self.placeholder is None:
            raise ValueError(_OVERFLOW_NEEDS_PLACEHOLDER.message)


_SELECTS = Rule(
    "has(self.rules) && size(self.rules) > 0 || has(self.userAgents) && size(self.userAgents) > 0",
    "at least one of 'rules' or 'userAgents' must be set",
)


class StaticRoute(msgspec.Struct, frozen=True, rename="camel"):
    """Requests that get a fixed answer, and are not counted."""

    cel: ClassVar[tuple[Rule, ...]] = (_SELECTS,)

    response: Annotated[StaticResponse, Meta(description="The answer.")]
    rules: Annotated[
        tuple[RoutingRule, ...] | None,
        Meta(description="Any of them selects a request. (Needed in the add-on.)", extra_json_schema=ATOMIC),
    ] = None
    user_agents: Annotated[
        Agents | None,
        Meta(
            description='Patterns with "*", one of which has to fit the User-Agent as well; case does not matter. '
            "(Not in the add-on.)",
            extra_json_schema=ATOMIC,
        ),
    ] = None
    response_mode: Annotated[Literal["WhenUnavailable", "Always"], Meta(description="Whether also while a backend is ready.")] = (
        "WhenUnavailable"
    )

    def __post_init__(self) -> None:
        if not self.rules and not self.user_agents:
            raise ValueError(_SELECTS.message)


_COOKIE_OR_HEADER = Rule("has(self.cookie) != has(self.header)", "exactly one of 'cookie' or 'header' must be set")
_AGE_OF_A_COOKIE = Rule("!has(self.maxAge) || has(self.cookie)", "'maxAge' is of a cookie")


class Affinity(msgspec.Struct, frozen=True, rename="camel"):
    """Requests of one session go to one replica for as long as it is ready."""

    cel: ClassVar[tuple[Rule, ...]] = (_COOKIE_OR_HEADER, _AGE_OF_A_COOKIE)

    cookie: Annotated[Name | None, Meta(description="Name of a cookie that interceptors set.")] = None
    header: Annotated[Name | None, Meta(description="Name of a request header whose value is the session.")] = None
    max_age: Annotated[
        Duration | None, Meta(description="How long a browser keeps the cookie; without it, until it is closed.")
    ] = None

    def __post_init__(self) -> None:
        if (self.cookie is None) == (self.header is None):
            raise ValueError(_COOKIE_OR_HEADER.message)
        if self.max_age is not None and self.cookie is None:
            raise ValueError(_AGE_OF_A_COOKIE.message)


class Treatment(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Fields that both custom resources have at their end."""

    cold_start: Annotated[ColdStart | None, Meta(description="For requests that come while no backend is ready.")] = None
    static_routes: Annotated[
        tuple[StaticRoute, ...] | None, Meta(description="Fixed answers; the first fit is taken.", extra_json_schema=ATOMIC)
    ] = None
    affinity: Annotated[
        Affinity | None, Meta(description="Keeps a session at one replica while it is ready. (Not in the add-on.)")
    ] = None
    backend_concurrency: Annotated[
        Natural | None,
        Meta(
            description="Requests that one interceptor has on one replica at once; more wait. 0 is no bound. Without it, "
            "replicas that come up get what they are scaled for. (Not in the add-on.)"
        ),
    ] = None
    max_requests: Annotated[
        Positive | None,
        Meta(description="Requests at one interceptor, waiting and at work; more get 503. (Not in the add-on.)"),
    ] = None
    readiness_path: Annotated[
        RequestTarget | None,
        Meta(
            description="Path that a new replica has to answer with 200 to 399 before it gets requests. (Not in the add-on.)",
        ),
    ] = None
    server_timing: Annotated[
        bool, Meta(description="Whether answers tell in Server-Timing how long a request waited. (Not in the add-on.)")
    ] = False
    direct_pod_routing: Annotated[
        bool | None,
        Meta(
            description="Whether requests go to pods themselves; false: to their Service's address. Without it, the setting of "
            "the interceptors counts. (Not in the add-on.)"
        ),
    ] = None
    answer_half_closed: Annotated[
        bool | None,
        Meta(
            description="Whether a client that shuts its side of the connection down after its request is answered, instead of "
            "being taken for gone. Without it, the interceptors' setting counts. (Not in the add-on.)"
        ),
    ] = None
