"""HTTPScaledObject, http.keda.sh/v1alpha1: a workload that sleeps at zero, and the requests that wake it.

The add-on's schema says little of what its numbers and texts may be, and objects that it took have to be taken here: fields
of the add-on are as open as there. Whether a value can be honoured is found when the object is translated.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from controller.schema.answers import Methods, Treatment
from controller.schema.common import (
    ANY_SIZE,
    BY_NAME,
    LIST_OF_CONDITIONS,
    ONE_PORT,
    AnyText,
    Condition,
    Duration,
    Header,
    Positive,
    Rule,
    check_port,
)
from fleet import defaults

__all__ = [
    "Failover",
    "HTTPScaledObjectSpec",
    "HTTPScaledObjectStatus",
    "Replicas",
    "ScaleTarget",
    "ScalingMetric",
    "Timeouts",
]


class ScaleTarget(msgspec.Struct, frozen=True, rename="camel"):
    """The workload that is scaled, and the Service that its requests go to."""

    cel: ClassVar[tuple[Rule, ...]] = (ONE_PORT,)

    service: Annotated[str, Meta(description="Service, in the namespace of this object.")]
    name: Annotated[str | None, Meta(description="Name of the workload to scale.")] = None
    api_version: Annotated[str | None, Meta(description="API version of the workload; KEDA takes apps/v1 without it.")] = None
    kind: Annotated[str | None, Meta(description="Kind of the workload; KEDA takes Deployment without it.")] = None
    port: Annotated[int | None, Meta(description="Number of the Service's port.")] = None
    port_name: Annotated[str | None, Meta(description="Name of the Service's port.")] = None

    def __post_init__(self) -> None:
        check_port(self.port, self.port_name)


class Failover(msgspec.Struct, frozen=True, rename="camel"):
    """Where requests go that waited too long for the workload."""

    cel: ClassVar[tuple[Rule, ...]] = (ONE_PORT,)

    service: Annotated[str, Meta(description="Service, in the namespace of this object.")]
    port: Annotated[int | None, Meta(description="Number of the Service's port.")] = None
    port_name: Annotated[str | None, Meta(description="Name of the Service's port.")] = None
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

    target_value: Annotated[
        int, Meta(description="Requests at once that one replica should carry.", extra_json_schema=ANY_SIZE)
    ] = defaults.TARGET


class Rate(msgspec.Struct, frozen=True, rename="camel"):
    """Scale by requests per second."""

    target_value: Annotated[
        int, Meta(description="Requests per second that one replica should carry.", extra_json_schema=ANY_SIZE)
    ] = defaults.TARGET
    window: Annotated[AnyText, Meta(description="Time over which the rate is averaged.")] = defaults.RATE_WINDOW_TEXT
    granularity: Annotated[AnyText, Meta(description="Size of the window's parts; from 1ms up to the window.")] = (
        defaults.RATE_GRANULARITY_TEXT
    )


class ScalingMetric(msgspec.Struct, frozen=True, rename="camel"):
    """What replicas are counted by. With both, the larger number of replicas is taken."""

    concurrency: Annotated[Concurrency | None, Meta(description="Scale by requests at once.")] = None
    request_rate: Annotated[Rate | None, Meta(description="Scale by requests per second.")] = None


class Timeouts(msgspec.Struct, frozen=True, rename="camel"):
    """Limits of this application's requests; "0s" switches one off. Without one, the interceptors' setting holds."""

    condition_wait: Annotated[AnyText | None, Meta(description="How long a request waits for the workload.")] = None
    response_header: Annotated[
        AnyText | None, Meta(description="How long the head of the answer may take after the request was sent.")
    ] = None
    request: Annotated[Duration | None, Meta(description="Time of the whole exchange. (Not in the add-on.)")] = None
    connect: Annotated[Duration | None, Meta(description="Time of one attempt to connect. (Not in the add-on.)")] = None
    idle: Annotated[Duration | None, Meta(description="Silence of a body or of a tunnel. (Not in the add-on.)")] = None


_ONE_FALLBACK = Rule(
    "!(has(self.coldStartTimeoutFailoverRef) && has(self.coldStart) && has(self.coldStart.fallback))",
    "'coldStartTimeoutFailoverRef' and 'coldStart.fallback' exclude each other",
)


class HTTPScaledObjectSpec(Treatment, frozen=True, rename="camel", kw_only=True):
    """Which requests belong to a workload, and how it is scaled by them."""

    cel: ClassVar[tuple[Rule, ...]] = (_ONE_FALLBACK,)

    scale_target_ref: Annotated[ScaleTarget, Meta(description="The workload, and the Service in front of it.")]
    hosts: Annotated[
        tuple[str, ...] | None,
        Meta(description='Hosts of the requests: exact, "*.example.com", or "*". Without any, every host.'),
    ] = None
    path_prefixes: Annotated[
        tuple[str, ...] | None, Meta(description="Prefixes of the requests' paths, by whole segments. Without any, every path.")
    ] = None
    headers: Annotated[
        tuple[Header, ...] | None, Meta(description="Headers that a request must carry, all of them.", extra_json_schema=BY_NAME)
    ] = None
    methods: Methods | None = None
    cold_start_timeout_failover_ref: Annotated[
        Failover | None, Meta(description="Where requests go that waited too long for the workload.")
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
        ScalingMetric | None, Meta(description=f"What replicas are counted by; {defaults.TARGET} requests at once without it.")
    ] = None
    timeouts: Annotated[Timeouts | None, Meta(description="Limits of this application's requests.")] = None
    activity_period: Annotated[
        Duration | None,
        Meta(description="How long the application counts as active after its last request; 15s. (Not in the add-on.)"),
    ] = None
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


class HTTPScaledObjectStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What the controller found."""

    target_workload: Annotated[str, Meta(description="The workload: apiVersion/kind/name.")] = ""
    target_service: Annotated[str, Meta(description="The Service and its port.")] = ""
    hosts: Annotated[str, Meta(description="The hosts whose requests it gets, for people.")] = ""
    scaled_by: Annotated[str, Meta(description="What scales the workload, as kind/name; empty when nothing does.")] = ""
    observed_generation: Annotated[
        int, Meta(extra_json_schema={"format": "int64"}, description="Generation of the spec that this is about.")
    ] = 0
    conditions: Annotated[tuple[Condition, ...], Meta(description="By type.", extra_json_schema=LIST_OF_CONDITIONS)] = ()
