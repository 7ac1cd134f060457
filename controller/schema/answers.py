"""What both custom resources say of requests that meet no ready backend, or no backend at all.

Names, limits and defaults are those of the add-on's InterceptorRoute at 0.16; what is ours is optional and says so.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from controller.schema.common import (
    BY_NAME,
    NEEDED_IN_ADDON,
    NOT_IN_ADDON,
    ONE_PORT,
    PORT_NAME,
    PORT_NUMBER,
    SERVICE_NAME,
    Duration,
    Header,
    Name,
    Natural,
    Port,
    Positive,
    Quantity,
    Rule,
    check_port,
    follows,
)
from controller.schema.cors import Cors
from controller.schema.depends import DependsOn
from controller.schema.outside import ONE_TARGET, Addresses, Host, OutsidePort
from controller.schema.ports import Ports
from controller.schema.previews import PreviewOf, Previews
from controller.schema.schedules import ScheduleField
from controller.schema.targets import AppProtocol, TlsField
from fleet.routing import route as routes
from fleet.routing.kinds import AGENT, REQUEST_TARGET
from fleet.routing.route import MAX_AGENTS

__all__ = [
    "ATOMIC",
    "Affinity",
    "BodyFromConfigMap",
    "ColdStart",
    "Fallback",
    "FallbackService",
    "Headers",
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
Agents = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=AGENT.max_length)], ...], Meta(max_length=MAX_AGENTS)]
RequestTarget = Annotated[str, Meta(pattern=REQUEST_TARGET.pattern, max_length=1024)]

ATOMIC: Final = Meta(extra_json_schema={"x-kubernetes-list-type": "atomic"})
_SET: Final = Meta(extra_json_schema={"x-kubernetes-list-type": "set"})


class PathMatch(msgspec.Struct, frozen=True, rename="camel"):
    """A prefix of paths."""

    value: Annotated[Name, Meta(description="Prefix of the path, by whole segments; the longest wins.")]


Methods = Annotated[Annotated[tuple[Name, ...], Meta(max_length=32)] | None, follows(routes.Rule, "methods", NOT_IN_ADDON), _SET]
Headers = Annotated[tuple[Header, ...] | None, follows(routes.Rule, "headers"), Meta(extra_json_schema=BY_NAME)]


class RoutingRule(msgspec.Struct, frozen=True, rename="camel"):
    """One way to the target: any of the hosts, any of the paths, any of the methods, and all of the headers."""

    hosts: Annotated[tuple[str, ...] | None, follows(routes.Rule, "hosts"), _SET] = None
    paths: Annotated[tuple[PathMatch, ...] | None, follows(routes.Rule, "paths"), ATOMIC] = None
    headers: Headers = None
    methods: Methods = None


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

    status_code: Annotated[StatusCode | None, follows(routes.StaticResponse, "status")] = None
    body: Annotated[Body | None, follows(routes.StaticResponse, "body")] = None
    body_from_config_map: Annotated[
        BodyFromConfigMap | None, follows(routes.StaticResponse, "files", words="A body that a ConfigMap holds.")
    ] = None
    headers: Annotated[dict[str, str] | None, follows(routes.StaticResponse, "headers")] = None

    def __post_init__(self) -> None:
        if self.body is not None and self.body_from_config_map is not None:
            raise ValueError(_ONE_BODY.message)


_RESPONSE_OR_AUDIENCE = Rule("has(self.response) || has(self.audience)", "at least one of 'response' or 'audience' must be set")


class Placeholder(msgspec.Struct, frozen=True, rename="camel"):
    """An answer for requests that come while no backend is ready."""

    cel: ClassVar[tuple[Rule, ...]] = (_RESPONSE_OR_AUDIENCE,)

    response: Annotated[StaticResponse | None, follows(routes.Placeholder, "response", NEEDED_IN_ADDON)] = None
    audience: Annotated[
        Literal["Browsers", "Everyone"] | None,
        follows(
            routes.Placeholder,
            "browsers_only",
            NOT_IN_ADDON,
            words="Browsers: only who asks for a page gets it, and programs wait. Without it Everyone where there is a response.",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.response is None and self.audience is None:
            raise ValueError(_RESPONSE_OR_AUDIENCE.message)


class FallbackService(msgspec.Struct, frozen=True, rename="camel"):
    """A Service and a port of it."""

    cel: ClassVar[tuple[Rule, ...]] = (ONE_PORT,)

    name: Annotated[Name, SERVICE_NAME]
    port: Annotated[Port | None, PORT_NUMBER] = None
    port_name: Annotated[Name | None, PORT_NAME] = None
    app_protocol: AppProtocol = None
    tls: TlsField = None

    def __post_init__(self) -> None:
        check_port(self.port, self.port_name)


_OF_OUTSIDE = Rule(
    "!has(self.service) || !(has(self.port) || has(self.appProtocol) || has(self.tls))",
    "'port', 'appProtocol' and 'tls' of a service are within 'service'",
)


class Fallback(msgspec.Struct, frozen=True, rename="camel"):
    """Where requests go that waited too long."""

    cel: ClassVar[tuple[Rule, ...]] = (ONE_TARGET, _OF_OUTSIDE)

    service: Annotated[FallbackService | None, Meta(description="The Service that takes them.")] = None
    port: OutsidePort = None
    host: Host = None
    addresses: Addresses = None
    app_protocol: AppProtocol = None
    tls: TlsField = None

    def __post_init__(self) -> None:
        if sum(one is not None for one in (self.service, self.host, self.addresses)) != 1:
            raise ValueError(ONE_TARGET.message)
        if self.service is not None and (self.port, self.app_protocol, self.tls) != (None, None, None):
            raise ValueError(_OF_OUTSIDE.message)


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

    fallback: Annotated[Fallback | None, follows(routes.ColdStart, "fallback")] = None
    placeholder: Annotated[Placeholder | None, follows(routes.ColdStart, "placeholder")] = None
    max_pending_requests: Annotated[Positive | None, follows(routes.ColdStart, "max_held")] = None
    max_pending_bytes: Annotated[Quantity | None, follows(routes.ColdStart, "max_held_bytes", NOT_IN_ADDON)] = None
    overflow: Annotated[
        Literal["Reject", "Placeholder"] | None,
        follows(
            routes.ColdStart,
            "overflow_placeholder",
            words="What requests beyond maxPendingRequests get: 503, or the placeholder. With Placeholder, those within "
            "maxPendingRequests wait.",
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

    response: Annotated[StaticResponse, follows(routes.StaticRoute, "response")]
    rules: Annotated[tuple[RoutingRule, ...] | None, follows(routes.StaticRoute, "rules", NEEDED_IN_ADDON), ATOMIC] = None
    user_agents: Annotated[Agents | None, follows(routes.StaticRoute, "user_agents", NOT_IN_ADDON), ATOMIC] = None
    response_mode: Annotated[Literal["WhenUnavailable", "Always"], follows(routes.StaticRoute, "always")] = "WhenUnavailable"

    def __post_init__(self) -> None:
        if not self.rules and not self.user_agents:
            raise ValueError(_SELECTS.message)


_COOKIE_OR_HEADER = Rule("has(self.cookie) != has(self.header)", "exactly one of 'cookie' or 'header' must be set")
_AGE_OF_A_COOKIE = Rule("!has(self.maxAge) || has(self.cookie)", "'maxAge' is of a cookie")


class Affinity(msgspec.Struct, frozen=True, rename="camel"):
    """Requests of one session go to one replica for as long as it is ready."""

    cel: ClassVar[tuple[Rule, ...]] = (_COOKIE_OR_HEADER, _AGE_OF_A_COOKIE)

    cookie: Annotated[Name | None, follows(routes.Affinity, "cookie")] = None
    header: Annotated[Name | None, follows(routes.Affinity, "header")] = None
    max_age: Annotated[Duration | None, follows(routes.Affinity, "max_age")] = None

    def __post_init__(self) -> None:
        if (self.cookie is None) == (self.header is None):
            raise ValueError(_COOKIE_OR_HEADER.message)
        if self.max_age is not None and self.cookie is None:
            raise ValueError(_AGE_OF_A_COOKIE.message)


class Treatment(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Fields that both custom resources have at their end."""

    cold_start: Annotated[ColdStart | None, follows(routes.Route, "cold_start")] = None
    static_routes: Annotated[tuple[StaticRoute, ...] | None, follows(routes.Route, "static_routes"), ATOMIC] = None
    affinity: Annotated[Affinity | None, follows(routes.Route, "affinity", NOT_IN_ADDON)] = None
    cors: Annotated[Cors | None, follows(routes.Route, "cors", NOT_IN_ADDON)] = None
    backend_concurrency: Annotated[Natural | None, follows(routes.Protection, "backend_concurrency", NOT_IN_ADDON)] = None
    max_requests: Annotated[Positive | None, follows(routes.Protection, "max_requests", NOT_IN_ADDON)] = None
    readiness_path: Annotated[RequestTarget | None, follows(routes.Protection, "readiness_path", NOT_IN_ADDON)] = None
    server_timing: Annotated[bool, follows(routes.Route, "server_timing", NOT_IN_ADDON)] = False
    direct_pod_routing: Annotated[bool | None, follows(routes.Target, "direct", NOT_IN_ADDON)] = None
    answer_half_closed: Annotated[bool | None, follows(routes.Route, "answer_half_closed", NOT_IN_ADDON)] = None
    ports: Ports = None
    schedule: ScheduleField = None
    previews: Annotated[Previews | None, follows(routes.Route, "previews", NOT_IN_ADDON)] = None
    depends_on: DependsOn = None
    preview_of: Annotated[
        PreviewOf | None,
        Meta(
            description="Makes it a preview of another object: it gets those of its requests that name it. Everything about "
            f"requests is then as the other object has it. {NOT_IN_ADDON}"
        ),
    ] = None
