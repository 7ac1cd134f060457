"""What both custom resources share: ports, headers, durations, metrics, conditions.

Field names, limits and defaults are those of the KEDA HTTP add-on; what is ours is optional and says so. A struct is at once
the decoder of an object and the source of its schema in the CRD, so that both say the same.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from fleet import defaults
from fleet.routing import route as routes
from fleet.routing.declare import declared
from fleet.routing.kinds import COUNT, OCTETS, PORT
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
Port = Annotated[int, Meta(ge=PORT.ge, le=PORT.le)]
Natural = Annotated[int, Meta(ge=COUNT.ge)]
Positive = Annotated[int, Meta(ge=1)]

Quantity = Annotated[
    Annotated[int, Meta(ge=OCTETS.ge)] | Annotated[str, Meta(pattern=QUANTITY_PATTERN, max_length=32)],
    Meta(extra_json_schema={"x-kubernetes-int-or-string": True}),
]
"""Bytes, by number or as a quantity."""


NOT_IN_ADDON: Final = "(Not in the add-on.)"
NEEDED_IN_ADDON: Final = "(Needed in the add-on.)"
FOLLOWS: Final = "follows"
"""Where the metadata of a field keep the field of a route that it becomes."""


def follows(struct: type[msgspec.Struct], field: str, *notes: str, words: str | None = None, more: str = "") -> Meta:
    """What a field of an object means: what the field of a route says that it becomes, `more`, and notes.

    `words` are instead of it where an object writes a value in another form than a route.
    """
    declaration = declared(struct)[field]
    meaning = words or declaration.field.meaning
    return Meta(
        description=" ".join((f"{meaning.removesuffix('.')}; {more}." if more else meaning, *notes)), extra={FOLLOWS: declaration}
    )


def as_duration(seconds: float) -> str:
    """A default as objects write it."""
    return f"{seconds / 60:g}m" if seconds >= 60 and seconds % 60 == 0 else f"{seconds:g}s"


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

    name: Annotated[Name, follows(routes.HeaderMatch, "name")]
    value: Annotated[str | None, follows(routes.HeaderMatch, "value")] = None


SERVICE_NAME: Final = follows(routes.Target, "service", words="Service, in the namespace of this object.")
PORT_NUMBER: Final = follows(routes.Target, "port", words="Number of the Service's port.")
PORT_NAME: Final = follows(routes.Target, "port", words="Name of the Service's port.")
Window = Annotated[AnyText, follows(routes.RateTarget, "window")]
Granularity = Annotated[AnyText, follows(routes.RateTarget, "granularity")]
ActivityPeriod = Annotated[
    Duration | None,
    follows(routes.Scaling, "activity_period", NOT_IN_ADDON, more=as_duration(defaults.ACTIVITY_PERIOD)),
]
MaxBusy = Annotated[Duration | None, follows(routes.Scaling, "max_busy", NOT_IN_ADDON)]
Readiness = Annotated[
    AnyText | None,
    follows(routes.Timeouts, "readiness", more=f'"0s" with a fallback is {as_duration(defaults.FAILOVER_SECONDS)}'),
]
ResponseHeader = Annotated[AnyText | None, follows(routes.Timeouts, "response_header")]
Connect = Annotated[Duration | None, follows(routes.Timeouts, "connect", NOT_IN_ADDON)]
Idle = Annotated[Duration | None, follows(routes.Timeouts, "idle", NOT_IN_ADDON)]


class Concurrency(msgspec.Struct, frozen=True, rename="camel"):
    """Scale by requests at once."""

    target_value: Annotated[Positive, follows(routes.Scaling, "concurrency")] = defaults.TARGET


class Rate(msgspec.Struct, frozen=True, rename="camel"):
    """Scale by requests per second."""

    target_value: Annotated[Positive, follows(routes.RateTarget, "target")] = defaults.TARGET
    window: Window = as_duration(defaults.RATE_WINDOW)
    granularity: Granularity = as_duration(defaults.RATE_GRANULARITY)


class ScalingMetric(msgspec.Struct, frozen=True, rename="camel"):
    """What replicas are counted by. With both, the larger number of replicas is taken."""

    concurrency: Annotated[Concurrency | None, Meta(description="Scale by requests at once.")] = None
    request_rate: Annotated[Rate | None, follows(routes.Scaling, "rate")] = None


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
"""Removes the format of integers for which the add-on's schema has none."""
BY_NAME: Final[dict[str, Any]] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
LIST_OF_CONDITIONS: Final[dict[str, Any]] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
