"""InterceptorRoute, http.keda.sh/v1beta1: where requests go. Its user writes the ScaledObject."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from controller.schema.answers import ATOMIC, RoutingRule, Treatment
from controller.schema.common import (
    LIST_OF_CONDITIONS,
    ONE_PORT,
    AnyText,
    Condition,
    Duration,
    Name,
    Port,
    Rule,
    ScalingMetric,
    check_port,
)

__all__ = ["InterceptorRouteSpec", "InterceptorRouteStatus", "RouteMetric", "ServiceTarget", "Timeouts"]


class ServiceTarget(msgspec.Struct, frozen=True, rename="camel"):
    """A Service and a port of it."""

    cel: ClassVar[tuple[Rule, ...]] = (ONE_PORT,)

    service: Annotated[Name, Meta(description="Service, in the namespace of this object.")]
    port: Annotated[Port | None, Meta(description="Number of the Service's port.")] = None
    port_name: Annotated[Name | None, Meta(description="Name of the Service's port.")] = None

    def __post_init__(self) -> None:
        check_port(self.port, self.port_name)


_ONE_METRIC = Rule("has(self.concurrency) || has(self.requestRate)", "at least one of 'concurrency' or 'requestRate' must be set")


class RouteMetric(ScalingMetric, frozen=True, rename="camel"):
    """What replicas are counted by. With both, the larger number of replicas is taken."""

    cel: ClassVar[tuple[Rule, ...]] = (_ONE_METRIC,)

    def __post_init__(self) -> None:
        if self.concurrency is None and self.request_rate is None:
            raise ValueError(_ONE_METRIC.message)


class Timeouts(msgspec.Struct, frozen=True, rename="camel"):
    """Limits of this application's requests; "0s" switches one off. Without one, the interceptors' setting holds."""

    readiness: Annotated[
        AnyText | None, Meta(description='How long a request waits for a backend; "0s" with a fallback is 30s.')
    ] = None
    request: Annotated[AnyText | None, Meta(description="Time of the whole exchange.")] = None
    response_header: Annotated[
        AnyText | None, Meta(description="How long the head of the answer may take after the request was sent.")
    ] = None
    connect: Annotated[Duration | None, Meta(description="Time of one attempt to connect. (Not in the add-on.)")] = None
    idle: Annotated[Duration | None, Meta(description="Silence of a body or of a tunnel. (Not in the add-on.)")] = None


class InterceptorRouteSpec(Treatment, frozen=True, rename="camel", kw_only=True):
    """Which requests go to a Service, and what they are counted by."""

    target: Annotated[ServiceTarget, Meta(description="Where the requests go.")]
    scaling_metric: Annotated[RouteMetric, Meta(description="What replicas are counted by.")]
    rules: Annotated[
        tuple[RoutingRule, ...] | None,
        Meta(description="Any of them selects a request. Without rules, no request is selected.", extra_json_schema=ATOMIC),
    ] = None
    timeouts: Annotated[Timeouts | None, Meta(description="Limits of this application's requests.")] = None
    activity_period: Annotated[
        Duration | None,
        Meta(description="How long the application counts as active after its last request; 15s. (Not in the add-on.)"),
    ] = None


class InterceptorRouteStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What the controller found."""

    target_service: Annotated[str, Meta(description="The Service and its port.")] = ""
    hosts: Annotated[str, Meta(description="The hosts whose requests it gets, for people.")] = ""
    scaled_by: Annotated[str, Meta(description="What scales the workload, as kind/name; empty when nothing does.")] = ""
    observed_generation: Annotated[
        int, Meta(extra_json_schema={"format": "int64"}, description="Generation of the spec that this is about.")
    ] = 0
    conditions: Annotated[tuple[Condition, ...], Meta(description="By type.", extra_json_schema=LIST_OF_CONDITIONS)] = ()
