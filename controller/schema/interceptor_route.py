"""InterceptorRoute, http.keda.sh/v1beta1: where requests go. Its user writes the ScaledObject."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from controller.schema.answers import ATOMIC, Treatment
from controller.schema.common import (
    LIST_OF_CONDITIONS,
    PORT_NAME,
    PORT_NUMBER,
    SERVICE_NAME,
    ActivityPeriod,
    AnyText,
    Condition,
    Connect,
    Idle,
    MaxBusy,
    Name,
    Port,
    Readiness,
    ResponseHeader,
    Rule,
    ScalingMetric,
    follows,
)
from controller.schema.outside import ONE_TARGET, PORT_OF_TARGET, Addresses, Host, check_target
from controller.schema.ports import PortPlaces
from controller.schema.rules import RouteRule
from controller.schema.targets import AppProtocol, TlsField
from fleet.routing import route as routes

__all__ = ["InterceptorRouteSpec", "InterceptorRouteStatus", "RouteMetric", "ServiceTarget", "Timeouts"]


class ServiceTarget(msgspec.Struct, frozen=True, rename="camel"):
    """A Service and a port of it, or what else requests go to."""

    cel: ClassVar[tuple[Rule, ...]] = (ONE_TARGET, PORT_OF_TARGET)

    service: Annotated[Name | None, SERVICE_NAME] = None
    port: Annotated[Port | None, PORT_NUMBER] = None
    port_name: Annotated[Name | None, PORT_NAME] = None
    host: Host = None
    addresses: Addresses = None
    app_protocol: AppProtocol = None
    tls: TlsField = None

    def __post_init__(self) -> None:
        check_target(self)


_ONE_METRIC = Rule("has(self.concurrency) || has(self.requestRate)", "at least one of 'concurrency' or 'requestRate' must be set")


class RouteMetric(ScalingMetric, frozen=True, rename="camel"):
    """What replicas are counted by. With both, the larger number of replicas is taken."""

    cel: ClassVar[tuple[Rule, ...]] = (_ONE_METRIC,)

    def __post_init__(self) -> None:
        if self.concurrency is None and self.request_rate is None:
            raise ValueError(_ONE_METRIC.message)


class Timeouts(msgspec.Struct, frozen=True, rename="camel"):
    """Limits of this application's requests; "0s" switches one off. Without one, the interceptors' setting holds."""

    readiness: Readiness = None
    request: Annotated[AnyText | None, follows(routes.Timeouts, "request")] = None
    response_header: ResponseHeader = None
    connect: Connect = None
    idle: Idle = None


class InterceptorRouteSpec(Treatment, frozen=True, rename="camel", kw_only=True):
    """Which requests go to a Service, and what they are counted by."""

    target: Annotated[ServiceTarget, follows(routes.Route, "target")]
    scaling_metric: Annotated[RouteMetric, follows(routes.Route, "scaling")]
    rules: Annotated[tuple[RouteRule, ...] | None, follows(routes.Route, "rules"), ATOMIC] = None
    timeouts: Annotated[Timeouts | None, follows(routes.Route, "timeouts")] = None
    activity_period: ActivityPeriod = None
    max_busy: MaxBusy = None


class InterceptorRouteStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What the controller found."""

    target_service: Annotated[str, Meta(description="The Service and its port.")] = ""
    hosts: Annotated[str, Meta(description="The hosts whose requests it gets, for people.")] = ""
    scaled_by: Annotated[str, Meta(description="What scales the workload, as kind/name; empty when nothing does.")] = ""
    observed_generation: Annotated[
        int, Meta(extra_json_schema={"format": "int64"}, description="Generation of the spec that this is about.")
    ] = 0
    conditions: Annotated[tuple[Condition, ...], Meta(description="By type.", extra_json_schema=LIST_OF_CONDITIONS)] = ()
    ports: PortPlaces = ()
