"""HTTPScaledObject, http.keda.sh/v1alpha1: a workload that sleeps at zero, and the requests that wake it.

The add-on's schema says little of what its numbers and texts may be, and objects that it took have to be taken here: fields
of the add-on are as open as there. Whether a value can be honoured is found when the object is translated.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from controller.schema.answers import ATOMIC, Headers, Methods, Treatment
from controller.schema.common import (
    ANY_SIZE,
    LIST_OF_CONDITIONS,
    NOT_IN_ADDON,
    ONE_PORT,
    PORT_NAME,
    PORT_NUMBER,
    SERVICE_NAME,
    ActivityPeriod,
    Condition,
    Connect,
    Duration,
    Granularity,
    Idle,
    MaxBusy,
    Positive,
    Readiness,
    ResponseHeader,
    Rule,
    Window,
    as_duration,
    check_port,
    follows,
)
from controller.schema.outside import ONE_TARGET, PORT_OF_TARGET, Addresses, Host, check_target
from controller.schema.ports import PortPlaces
from controller.schema.rules import Backends, RedirectField, RequestHeaders, ResponseHeaders, RewriteField, RouteRule
from controller.schema.targets import AppProtocol, TlsField
from fleet import defaults
from fleet.routing import route as routes

__all__ = [
    "Failover",
    "HTTPScaledObjectSpec",
    "HTTPScaledObjectStatus",
    "Replicas",
    "ScaleTarget",
    "ScalingMetric",
    "Timeouts",
]


AnyNumber = Annotated[int, Meta(extra_json_schema=ANY_SIZE)]


class ScaleTarget(msgspec.Struct, frozen=True, rename="camel"):
    """The workload that is scaled, and the Service that its requests go to, or what else they go to."""

    cel: ClassVar[tuple[Rule, ...]] = (ONE_TARGET, PORT_OF_TARGET)

    service: Annotated[str | None, SERVICE_NAME] = None
    name: Annotated[str | None, Meta(description="Name of the workload to scale.")] = None
    api_version: Annotated[str | None, Meta(description="API version of the workload; KEDA takes apps/v1 without it.")] = None
    kind: Annotated[str | None, Meta(description="Kind of the workload; KEDA takes Deployment without it.")] = None
    port: Annotated[int | None, PORT_NUMBER] = None
    port_name: Annotated[str | None, PORT_NAME] = None
    host: Host = None
    addresses: Addresses = None
    app_protocol: AppProtocol = None
    tls: TlsField = None

    def __post_init__(self) -> None:
        check_target(self)

    @property
    def is_scaled(self) -> bool:
        """Whether there is a workload to scale. What is outside of the cluster needs none."""
        return self.service is not None or bool(self.name)


class Failover(msgspec.Struct, frozen=True, rename="camel"):
    """Where requests go that waited too long for the workload."""

    cel: ClassVar[tuple[Rule, ...]] = (ONE_PORT,)

    service: Annotated[str, SERVICE_NAME]
    port: Annotated[int | None, PORT_NUMBER] = None
    port_name: Annotated[str | None, PORT_NAME] = None
    app_protocol: AppProtocol = None
    tls: TlsField = None
    timeout_seconds: Annotated[int, Meta(description="Seconds for which a request waits for the workload.")] = (
        defaults.FAILOVER_SECONDS
    )

    def __post_init__(self) -> None:
        check_port(self.port, self.port_name)


class Replicas(msgspec.Struct, frozen=True, rename="camel"):
    """Bounds of the number of replicas."""

    min: Annotated[int | None, Meta(description="Fewest replicas; KEDA takes 0 without it.")] = None
    max: Annotated[int | None, Meta(description="Most replicas; KEDA takes 100 without it.")] = None


class Concurrency(msgspec.Struct, frozen=True, rename="camel"):
    """Scale by requests at once."""

    target_value: Annotated[AnyNumber, follows(routes.Scaling, "concurrency")] = defaults.TARGET


class Rate(msgspec.Struct, frozen=True, rename="camel"):
    """Scale by requests per second."""

    target_value: Annotated[AnyNumber, follows(routes.RateTarget, "target")] = defaults.TARGET
    window: Window = as_duration(defaults.RATE_WINDOW)
    granularity: Granularity = as_duration(defaults.RATE_GRANULARITY)


class ScalingMetric(msgspec.Struct, frozen=True, rename="camel"):
    """What replicas are counted by. With both, the larger number of replicas is taken."""

    concurrency: Annotated[Concurrency | None, Meta(description="Scale by requests at once.")] = None
    request_rate: Annotated[Rate | None, follows(routes.Scaling, "rate")] = None


class Timeouts(msgspec.Struct, frozen=True, rename="camel"):
    """Limits of this application's requests; "0s" switches one off. Without one, the interceptors' setting holds."""

    condition_wait: Readiness = None
    response_header: ResponseHeader = None
    request: Annotated[Duration | None, follows(routes.Timeouts, "request", NOT_IN_ADDON)] = None
    connect: Connect = None
    idle: Idle = None


_ONE_FALLBACK = Rule(
    "!(has(self.coldStartTimeoutFailoverRef) && has(self.coldStart) && has(self.coldStart.fallback))",
    "'coldStartTimeoutFailoverRef' and 'coldStart.fallback' exclude each other",
)


_OF_A_RULE = (
    "hosts", "pathPrefixes", "headers", "methods", "rewrite", "requestHeaders", "responseHeaders", "redirect", "backends",
)  # fmt: skip
_RULES_ALONE = Rule(
    f"!has(self.rules) || size(self.rules) == 0 || !({' || '.join(f'has(self.{field})' for field in _OF_A_RULE)})",
    f"'rules' excludes {', '.join(map(repr, _OF_A_RULE))}",
)


class HTTPScaledObjectSpec(Treatment, frozen=True, rename="camel", kw_only=True):
    """Which requests belong to a workload, and how it is scaled by them."""

    cel: ClassVar[tuple[Rule, ...]] = (_ONE_FALLBACK, _RULES_ALONE)

    scale_target_ref: Annotated[
        ScaleTarget, follows(routes.Route, "target", words="The workload, and the Service in front of it.")
    ]
    hosts: Annotated[tuple[str, ...] | None, follows(routes.Rule, "hosts")] = None
    path_prefixes: Annotated[tuple[str, ...] | None, follows(routes.Rule, "paths")] = None
    headers: Headers = None
    methods: Methods = None
    rewrite: RewriteField = None
    request_headers: RequestHeaders = None
    response_headers: ResponseHeaders = None
    redirect: RedirectField = None
    backends: Backends = None
    rules: Annotated[
        tuple[RouteRule, ...] | None,
        follows(
            routes.Route,
            "rules",
            NOT_IN_ADDON,
            words="Several ways to the workload, as in an InterceptorRoute, instead of the one that hosts, pathPrefixes and the "
            "like say.",
        ),
        ATOMIC,
    ] = None
    cold_start_timeout_failover_ref: Annotated[
        Failover | None,
        follows(routes.ColdStart, "fallback", words="Where requests go that waited too long for the workload."),
    ] = None
    replicas: Annotated[Replicas | None, Meta(description="Bounds of the number of replicas.")] = None
    target_pending_requests: Annotated[
        int | None, Meta(description="Deprecated: scalingMetric.concurrency.targetValue says the same.")
    ] = None
    scaledown_period: Annotated[
        int | None, Meta(description="Seconds without requests after which the workload sleeps; KEDA takes 300 without it.")
    ] = None
    initial_cooldown_period: Annotated[
        int | None, Meta(description="Seconds after the creation before the workload may sleep; 0 without it.")
    ] = None
    scaling_metric: Annotated[
        ScalingMetric | None,
        follows(routes.Route, "scaling", words=f"What replicas are counted by; {defaults.TARGET} requests at once without it."),
    ] = None
    timeouts: Annotated[Timeouts | None, follows(routes.Route, "timeouts")] = None
    activity_period: ActivityPeriod = None
    max_busy: MaxBusy = None
    polling_interval: Annotated[
        Positive | None,
        Meta(description=f"Seconds between KEDA's questions to the scaler; {defaults.POLLING_SECONDS}. (Not in the add-on.)"),
    ] = None

    def __post_init__(self) -> None:
        if (
            self.cold_start_timeout_failover_ref is not None
            and self.cold_start is not None
            and self.cold_start.fallback is not None
        ):
            raise ValueError(_ONE_FALLBACK.message)
        own = (self.hosts, self.path_prefixes, self.headers, self.methods)
        treatment = (self.rewrite, self.request_headers, self.response_headers, self.redirect, self.backends)
        if self.rules and any(field is not None for field in (*own, *treatment)):
            raise ValueError(_RULES_ALONE.message)


class HTTPScaledObjectStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What the controller found."""

    target_workload: Annotated[str, Meta(description="The workload: apiVersion/kind/name.")] = ""
    target_service: Annotated[str, Meta(description="The Service and its port.")] = ""
    hosts: Annotated[str, Meta(description="The hosts whose requests it gets, for people.")] = ""
    scaled_by: Annotated[str, Meta(description="What scales the workload, as kind/name; empty when nothing does.")] = ""
    observed_generation: Annotated[
        int, Meta(extra_json_schema={"format": "int64"}, description="Generation of the spec that this is about.")
    ] = 0
    last_wake_time: Annotated[
        str,
        Meta(
            extra_json_schema={"format": "date-time"},
            description="When an application of the Admin API last went from zero to a replica, if a controller has seen it.",
        ),
    ] = ""
    conditions: Annotated[tuple[Condition, ...], Meta(description="By type.", extra_json_schema=LIST_OF_CONDITIONS)] = ()
    ports: PortPlaces = ()
