"""What both custom resources share: ports, headers, durations, metrics, conditions.

Field names, limits and defaults are those of the KEDA HTTP add-on; what is ours is optional and says so. A struct is at once
the decoder of an object and the source of its schema in the CRD, so that both say the same.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from fleet import defaults
from fleet.routing.quantity import QUANTITY_PATTERN

__all__ = [
    "ANY_SIZE",
    "BY_NAME",
    "DURATION_PATTERN",
    "LIST_OF_CONDITIONS",
    "MAX_DURATION",
    "ONE_PORT",
    "AnyText",
    "Concurrency",
    "Condition",
    "Duration",
    "Header",
    "Name",
    "Natural",
    "Port",
    "Positive",
    "Quantity",
    "Rate",
    "Rule",
    "ScalingMetric",
    "check_port",
]

# Go's time.ParseDuration, without signs. Of fields that the add-on has not: its schemas take any text for a duration.
DURATION_PATTERN: Final = r"^(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$"

MAX_DURATION: Final = 64
"""Characters. More than any duration needs, few enough to be read whole."""

Duration = Annotated[str, Meta(pattern=DURATION_PATTERN, max_length=MAX_DURATION)]
AnyText = str
"""A duration, in fields of the add-on. Its schemas do not look into them, so that a wrong one is for the status to tell."""
Name = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Natural = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]

Quantity = Annotated[
    Annotated[int, Meta(ge=0)] | Annotated[str, Meta(pattern=QUANTITY_PATTERN, max_length=32)],
    Meta(extra_json_schema={"x-kubernetes-int-or-string": True}),
]
"""Bytes, by number or as a quantity."""


class Rule(msgspec.Struct, frozen=True):
    """A rule that the API server checks (CEL), and what it says when it is broken."""

    rule: str
    message: str


def check_port(port: int | None, port_name: str | None) -> None:
    """The rule in ONE_PORT once more, for objects that came in past it. Raises ValueError."""
    if (port is None) == (port_name is None):
        raise ValueError(ONE_PORT.message)


ONE_PORT: Final = Rule("has(self.port) != has(self.portName)", "exactly one of 'port' or 'portName' must be set")


class Header(msgspec.Struct, frozen=True, rename="camel"):
    """A header that a request must carry."""

    name: Annotated[Name, Meta(description="Name of the header; its case does not matter.")]
    value: Annotated[
        str | None, Meta(description="Exact value. Without it, any value is accepted, but the header must be there.")
    ] = None


class Concurrency(msgspec.Struct, frozen=True, rename="camel"):
    """Scale by requests at once."""

    target_value: Annotated[int, Meta(ge=1, description="Requests at once that one replica should carry.")] = defaults.TARGET


class Rate(msgspec.Struct, frozen=True, rename="camel"):
    """Scale by requests per second."""

    target_value: Annotated[int, Meta(ge=1, description="Requests per second that one replica should carry.")] = defaults.TARGET
    window: Annotated[AnyText, Meta(description="Time over which the rate is averaged.")] = defaults.RATE_WINDOW_TEXT
    granularity: Annotated[AnyText, Meta(description="Size of the window's parts; from 1ms up to the window.")] = (
        defaults.RATE_GRANULARITY_TEXT
    )


class ScalingMetric(msgspec.Struct, frozen=True, rename="camel"):
    """What replicas are counted by. With both, the larger number of replicas is taken."""

    concurrency: Annotated[Concurrency | None, Meta(description="Scale by requests at once.")] = None
    request_rate: Annotated[Rate | None, Meta(description="Scale by requests per second.")] = None


class Condition(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One aspect of the state of an object, as in metav1.Condition."""

    type: Annotated[str, Meta(max_length=316)]
    status: Annotated[str, Meta(extra_json_schema={"enum": ["True", "False", "Unknown"]})]
    reason: Annotated[str, Meta(max_length=1024, description="One word for programs.")] = ""
    message: Annotated[str, Meta(max_length=32768, description="For people.")] = ""
    observed_generation: Annotated[
        int, Meta(ge=0, extra_json_schema={"format": "int64"}, description="Generation of the spec that this is about.")
    ] = 0
    last_transition_time: Annotated[
        str, Meta(extra_json_schema={"format": "date-time"}, description="When the status last became another.")
    ] = ""


ANY_SIZE: Final[dict[str, Any]] = {"format": None}
"""Of integers of which the add-on does not say how large they may be."""
BY_NAME: Final[dict[str, Any]] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
LIST_OF_CONDITIONS: Final[dict[str, Any]] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
