"""InterceptorRoute, http.keda.sh/v1beta1: where requests go. Its user writes the ScaledObject."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from controller.schema.common import (
    LIST_OF_CONDITIONS,
    ONE_PORT,
    Condition,
    Duration,
    Header,
    Name,
    Natural,
    Port,
    Rule,
    ScalingMetric,
    check_port,
)

__all__ = [
    "BodyFromConfigMap",
    "ColdStart",
    "InterceptorRouteSpec",
    "InterceptorRouteStatus",
    "PathMatch",
    "Placeholder",
    "RouteMetric",
    "RoutingRule",
    "ServiceTarget",
    "StaticResponse",
    "StaticRoute",
    "Timeouts",
]

StatusCode = Annotated[int, Meta(ge=100, le=599)]
Body = Annotated[str, Meta(max_length=32768)]

_ATOMIC = {"x-kubernetes-list-type": "atomic"}
_BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class ServiceTarget(msgspec.Struct, frozen=True, rename="camel"):
    """A Service and a port of it."""

    cel: ClassVar[tuple[Rule, ...]] = (ONE_PORT,)

    service: Annotated[Name, Meta(description="Service, in the namespace of this object.")]
    port: Annotated[Port | None, Meta(description="Number of the Service's port.")] = None
    port_name: Annotated[Name | None, Meta(description="Name of the Service's port.")] = None

    def __post_init__(self) -> None:
        check_port(self.port, self.port_name)


class Fallback(ServiceTarget, frozen=True, rename="camel"):
    """The Service for requests that waited too long."""


class PathMatch(msgspec.Struct, frozen=True, rename="camel"):
    """A prefix of paths."""

    value: Annotated[Name, Meta(description="Prefix of the path, by whole segments; the longest wins.")]


class RoutingRule(msgspec.Struct, frozen=True, rename="camel"):
    """One way to the target: any of the hosts and any of the paths and all of the headers."""

    hosts: Annotated[
        tuple[str, ...] | None,
        Meta(
            description='Exact, "*.example.com", or "*". Without any, every host.',
            extra_json_schema={"x-kubernetes-list-type": "set"},
        ),
    ] = None
    paths: Annotated[
        tuple[PathMatch, ...] | None, Meta(description="Prefixes. Without any, every path.", extra_json_schema=_ATOMIC)
    ] = None
    headers: Annotated[
        tuple[Header, ...] | None, Meta(description="Headers that a request must carry, all of them.", extra_json_schema=_BY_NAME)
    ] = None


_ONE_METRIC = Rule("has(self.concurrency) || has(self.requestRate)", "at least one of 'concurrency' or 'requestRate' must be set")


class RouteMetric(ScalingMetric, frozen=True, rename="camel"):
    """What replicas are counted by. With both, the larger number of replicas is taken."""

    cel: ClassVar[tuple[Rule, ...]] = (_ONE_METRIC,)

    def __post_init__(self) -> None:
        if self.concurrency is None and self.request_rate is None:
            raise ValueError(_ONE_METRIC.message)


class BodyFromConfigMap(msgspec.Struct, frozen=True, rename="camel"):
    """A body that a ConfigMap holds."""

    name: Annotated[
        Name, Meta(description='ConfigMap in the namespace of this object, with the label http.keda.sh/response-body: "true".')
    ]
    key: Annotated[str | None, Meta(description="Key in the ConfigMap; without it the path of the request.")] = None


_ONE_BODY = Rule("!(has(self.body) && has(self.bodyFromConfigMap))", "'body' and 'bodyFromConfigMap' exclude each other")


class StaticResponse(msgspec.Struct, frozen=True, rename="camel"):
    """An answer that needs no backend."""

    cel: ClassVar[tuple[Rule, ...]] = (_ONE_BODY,)

    status_code: Annotated[
        StatusCode | None, Meta(description="Status; without it 503 for a placeholder, 200 for a static route.")
    ] = None
    body: Annotated[Body | None, Meta(description="The body.")] = None
    body_from_config_map: Annotated[BodyFromConfigMap | None, Meta(description="A body that a ConfigMap holds.")] = None
    headers: Annotated[dict[str, str] | None, Meta(description="Headers of the answer.")] = None

    def __post_init__(self) -> None:
        if self.body is not None and self.body_from_config_map is not None:
            raise ValueError(_ONE_BODY.message)


class Placeholder(msgspec.Struct, frozen=True, rename="camel"):
    """An answer for requests that come while no backend is ready."""

    response: Annotated[StaticResponse, Meta(description="The answer.")]


_ONE_COLD_START = Rule(
    "has(self.fallback) || has(self.placeholder) || has(self.maxPendingRequests)",
    "at least one of 'fallback', 'placeholder' or 'maxPendingRequests' must be set",
)


class ColdStart(msgspec.Struct, frozen=True, rename="camel"):
    """What happens to requests that come while no backend is ready."""

    cel: ClassVar[tuple[Rule, ...]] = (_ONE_COLD_START,)

    fallback: Annotated[Fallback | None, Meta(description="Service for requests that waited too long.")] = None
    placeholder: Annotated[Placeholder | None, Meta(description="Answered at once; wins over the fallback.")] = None
    max_pending_requests: Annotated[Natural | None, Meta(description="Most requests that wait at once.")] = None
    overflow: Annotated[
        Literal["Reject", "Placeholder"] | None, Meta(description="What the requests beyond maxPendingRequests get.")
    ] = None

    def __post_init__(self) -> None:
        if self.fallback is None and self.placeholder is None and self.max_pending_requests is None:
            raise ValueError(_ONE_COLD_START.message)


class Timeouts(msgspec.Struct, frozen=True, rename="camel"):
    """Limits of this application's requests; "0s" switches one off. Without one, the interceptors' setting holds."""

    readiness: Annotated[
        Duration | None, Meta(description='How long a request waits for a backend; "0s" with a fallback is 30s.')
    ] = None
    request: Annotated[Duration | None, Meta(description="Time of the whole exchange.")] = None
    response_header: Annotated[
        Duration | None, Meta(description="How long the head of the answer may take after the request was sent.")
    ] = None
    connect: Annotated[Duration | None, Meta(description="Time of one attempt to connect. (Not in the add-on.)")] = None
    idle: Annotated[Duration | None, Meta(description="Silence of a body or of a tunnel. (Not in the add-on.)")] = None


class StaticRoute(msgspec.Struct, frozen=True, rename="camel"):
    """Requests that get a fixed answer, and are not counted."""

    rules: Annotated[
        tuple[RoutingRule, ...], Meta(min_length=1, description="Any of them selects a request.", extra_json_schema=_ATOMIC)
    ]
    response: Annotated[StaticResponse, Meta(description="The answer.")]
    response_mode: Annotated[Literal["WhenUnavailable", "Always"], Meta(description="Whether also while a backend is ready.")] = (
        "WhenUnavailable"
    )


class InterceptorRouteSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Which requests go to a Service, and what they are counted by."""

    target: Annotated[ServiceTarget, Meta(description="Where the requests go.")]
    scaling_metric: Annotated[RouteMetric, Meta(description="What replicas are counted by.")]
    rules: Annotated[
        tuple[RoutingRule, ...] | None,
        Meta(description="Any of them selects a request. Without rules, no request is selected.", extra_json_schema=_ATOMIC),
    ] = None
    cold_start: Annotated[ColdStart | None, Meta(description="For requests that come while no backend is ready.")] = None
    timeouts: Annotated[Timeouts | None, Meta(description="Limits of this application's requests.")] = None
    static_routes: Annotated[
        tuple[StaticRoute, ...] | None,
        Meta(description="Fixed answers; the first fit is taken.", extra_json_schema=_ATOMIC),
    ] = None
    activity_period: Annotated[
        Duration | None,
        Meta(description="How long the application counts as active after its last request; 15s. (Not in the add-on.)"),
    ] = None


class InterceptorRouteStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What the controller found."""

    observed_generation: Annotated[
        int, Meta(extra_json_schema={"format": "int64"}, description="Generation of the spec that this is about.")
    ] = 0
    conditions: Annotated[tuple[Condition, ...], Meta(description="By type.", extra_json_schema=LIST_OF_CONDITIONS)] = ()
