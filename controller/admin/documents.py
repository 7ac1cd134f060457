"""The document of an application, as callers write it, and what the API answers. Pure: no I/O, no clock.

Every text, list and number has a bound here. What depends on more than one field, and what the routing table demands of hosts
and paths, is checked in controller.admin.objects.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

from fleet import defaults
from fleet.routing.depends import MAX_DEPENDENCIES
from fleet.schedules.cron import CRON_PATTERN, MAX_CRON
from fleet.schedules.declared import MAX_SCHEDULES, MAX_ZONE, ZONE_PATTERN

__all__ = [
    "CLOSED",
    "IMAGE",
    "MAX_REPLICAS",
    "MAX_SECONDS",
    "NAME",
    "App",
    "AppList",
    "AppState",
    "AppSummary",
    "Condition",
    "Dependency",
    "Document",
    "EnvironmentSource",
    "Fault",
    "ObjectName",
    "Plan",
    "Port",
    "Problem",
    "Replicas",
    "Resources",
    "RunningReplicas",
    "Schedule",
    "SecretKey",
    "Target",
    "Value",
    "Variable",
]

NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""A name that a Service may have (RFC 1035 section 2.3.1)."""
IMAGE = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"
_OBJECT_NAME = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"
_QUANTITY = r"^[0-9]{1,15}(\.[0-9]{1,9})?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_RESOURCE = r"^[a-z0-9]([-./a-zA-Z0-9]*[a-zA-Z0-9])?$"
_PATH = r"^/[!-~]*$"
_NO_NUL = r"^[^\x00]*$"

MAX_REPLICAS = 1000
"""More replicas of one application than any known installation of KEDA runs."""
MAX_SECONDS = 86_400
"""What is to last longer than a day is a minimum of replicas, or a schedule."""
DEFAULT_MAX_REPLICAS = 10
"""Few enough that a mistake in a target does not fill a cluster."""

ObjectName = Annotated[str, StringConstraints(pattern=_OBJECT_NAME, max_length=253)]
Word = Annotated[str, StringConstraints(pattern=_NO_NUL, max_length=4096)]
Quantity = Annotated[str, StringConstraints(pattern=_QUANTITY, max_length=32)]
ResourceName = Annotated[str, StringConstraints(pattern=_RESOURCE, max_length=253)]
Variable = Annotated[str, StringConstraints(pattern=_VARIABLE, max_length=256)]
Value = Annotated[str, StringConstraints(pattern=_NO_NUL, max_length=32_768)]
CLOSED = {"additionalProperties": False}
"""For the schema of a mapping whose keys have a pattern: there are no others."""
Quantities = Annotated[dict[ResourceName, Quantity], Field(max_length=10, json_schema_extra=CLOSED)]


class _Model(BaseModel):
    """A field that nobody knows is a mistake, not something to ignore; "5" is not 5."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Port(_Model):
    """A port that the application listens on. Requests go to the first one."""

    port: Annotated[int, Field(ge=1, le=defaults.PORT_LIMIT, description="Number in the container, and of the Service.")]
    name: Annotated[
        str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=15), Field(description="Unique in the app.")
    ] = "http"
    protocol: Annotated[
        Literal["http", "h2c", "https", "h2"],
        Field(description="What it speaks: HTTP/1.1, HTTP/2 (as gRPC does), or either over TLS."),
    ] = "http"


class SecretKey(_Model):
    """One key of a Secret of the application's namespace."""

    name: ObjectName
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]


class EnvironmentSource(_Model):
    """A value that is read from a Secret when a container starts. The API never reads it."""

    secret: SecretKey


_TEXT, _SOURCE = "(text)", "(source)"
"""Tags of a union. They stand in the places of errors, and can be no names of fields there."""


def _kind_of_value(value: object) -> str:
    return _TEXT if isinstance(value, str) else _SOURCE


EnvironmentValue = Annotated[
    Annotated[Value, Tag(_TEXT)] | Annotated[EnvironmentSource, Tag(_SOURCE)], Discriminator(_kind_of_value)
]
"""With a discriminator, a wrong value has one error instead of one for each kind."""


class Resources(_Model):
    """What a replica is given, as Kubernetes quantities: {"cpu": "250m", "memory": "128Mi"}."""

    requests: Quantities = {}
    limits: Quantities = {}


class Replicas(_Model):
    """Bounds of the number of replicas."""

    min: Annotated[int, Field(ge=0, le=MAX_REPLICAS, description="0: the application sleeps without requests.")] = 0
    max: Annotated[int, Field(ge=1, le=MAX_REPLICAS)] = DEFAULT_MAX_REPLICAS

    @model_validator(mode="after")
    def _in_order(self) -> Replicas:
        if self.min > self.max:
            raise ValueError(f"min is {self.min}, and max is only {self.max}")
        return self


class Target(_Model):
    """What one replica carries. With both, the larger number of replicas is taken."""

    concurrency: Annotated[int, Field(ge=1, le=1_000_000, description="Requests at once.")] | None = None
    rate: Annotated[int, Field(ge=1, le=1_000_000, description="Requests per second.")] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Target:
        if self.concurrency is None and self.rate is None:
            raise ValueError("needs concurrency, rate, or both")
        return self


class Dependency(_Model):
    """An application of the same namespace that wakes together with this one."""

    name: ObjectName
    optional: Annotated[bool, Field(description="Whether it may be missing, without a warning.")] = False
    keep_awake: Annotated[
        bool, Field(description="Whether it is active for as long as this application is; without it, it is only woken.")
    ] = True


DependencyValue = Annotated[
    Annotated[ObjectName, Tag(_TEXT)] | Annotated[Dependency, Tag(_SOURCE)], Discriminator(_kind_of_value)
]
"""A name alone is short for an object with that name."""


Cron = Annotated[str, StringConstraints(pattern=CRON_PATTERN, max_length=MAX_CRON)]


class Schedule(_Model):
    """A window in which there is a minimum of replicas, whatever requests there are."""

    start: Annotated[Cron, Field(description="When it begins: minute, hour, day of month, month, weekday.")]
    end: Annotated[Cron, Field(description="When it ends.")]
    timezone: Annotated[
        str, StringConstraints(pattern=ZONE_PATTERN, max_length=MAX_ZONE), Field(description='"Europe/Berlin", or "UTC".')
    ]
    replicas: Annotated[int, Field(ge=1, le=MAX_REPLICAS, description="Fewest replicas within the window.")] = 1


class Document(_Model):
    """An application. Only name and image are needed."""

    name: Annotated[str, StringConstraints(pattern=NAME, max_length=63), Field(description="Also of every object made for it.")]
    image: Annotated[str, StringConstraints(pattern=IMAGE, max_length=1000)]
    command: Annotated[list[Word], Field(max_length=64, description="Instead of the image's entrypoint.")] = []
    args: Annotated[list[Word], Field(max_length=256, description="Instead of the image's arguments.")] = []
    ports: Annotated[list[Port], Field(min_length=1, max_length=10)] = [Port(port=defaults.PORT_OF_APPS)]
    hosts: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=260)]],
        Field(max_length=50, description='Whose requests it gets: names, "*.example.com", "*". Without any, one is chosen.'),
    ] = []
    paths: Annotated[
        list[Annotated[str, StringConstraints(pattern=_PATH, max_length=1024)]],
        Field(max_length=50, description="Prefixes of the paths whose requests it gets; all without any."),
    ] = []
    environment: Annotated[dict[Variable, EnvironmentValue], Field(max_length=200, json_schema_extra=CLOSED)] = {}
    resources: Resources = Resources()
    replicas: Replicas = Replicas()
    target: Target = Target(concurrency=defaults.TARGET)
    health_path: Annotated[
        str | None,
        StringConstraints(pattern=_PATH, max_length=1024),
        Field(description="Path on the first port that answers 2xx or 3xx when a replica is ready; without it, a connection."),
    ] = None
    cooldown: Annotated[int, Field(ge=0, le=MAX_SECONDS, description="Seconds without requests before it sleeps.")] = 300
    schedule: Annotated[list[Schedule], Field(max_length=MAX_SCHEDULES, description="Minimum replicas by the clock.")] = []
    max_busy: Annotated[
        int, Field(ge=0, le=MAX_SECONDS, description="Most seconds for which an answer keeps it awake by Weir-Keep-Awake.")
    ] = 0
    depends_on: Annotated[
        list[DependencyValue],
        Field(max_length=MAX_DEPENDENCIES, description="Applications of the same namespace that wake together with this one."),
    ] = []
    service_account: Annotated[ObjectName, Field()] | None = None

    @model_validator(mode="after")
    def _ports_differ(self) -> Document:
        for what, values in (("name", [port.name for port in self.ports]), ("number", [port.port for port in self.ports])):
            if len(set(values)) < len(values):
                raise ValueError(f"two ports have the same {what}")
        return self


class Condition(_Model):
    """One aspect of the state, from the HTTPScaledObject or found by this API."""

    type: str
    status: str
    reason: str
    message: str
    since: str | None = None


class RunningReplicas(_Model):
    """Replicas of the Deployment."""

    wanted: int
    ready: int


AppState = Literal["changing", "deleting", "broken", "asleep", "waking", "awake"]


class App(_Model):
    """An application as it is now."""

    namespace: str
    name: str
    uid: str
    state: Annotated[
        AppState,
        Field(
            description="changing: a call is under way, or was cut off and is about to be rolled back. broken: an object of the "
            "application is missing, see the conditions. asleep: no replica. waking: replicas, and none ready."
        ),
    ]
    app: Annotated[Document | None, Field(description="The document that the objects say; null if they are too far from any.")]
    url: str
    urls: list[str]
    replicas: RunningReplicas
    active: Annotated[bool | None, Field(description="Whether KEDA sees demand: requests now, or within the activity period.")]
    last_active: Annotated[str | None, Field(description="When KEDA last saw demand.")]
    demand: Annotated[
        int | None,
        Field(description="Requests that interceptors hold or carry now, and busy replicas; null if one does not tell."),
    ]
    demand_unknown: Annotated[str | None, Field(description="Why there is no demand.")]
    last_wake: Annotated[str | None, Field(description="When it last went from zero to a replica; null if that is not known.")]
    awake_until: Annotated[str | None, Field(description="Until when a replica is kept, because somebody has asked for it.")]
    conditions: list[Condition]


class AppSummary(_Model):
    """An application in a list."""

    namespace: str
    name: str
    url: str
    replicas: Annotated[Replicas | None, Field(description="The bounds; null if they were changed to something unusable.")]
    ready: Annotated[str, Field(description="True, False or Unknown: the condition Ready.")]
    reason: str


class AppList(_Model):
    """A page of applications."""

    items: list[AppSummary]
    next: Annotated[str | None, Field(description="Pass it as `continue` to get the next page; null after the last one.")]


class Plan(_Model):
    """What a dry run would write, as the API server would store it."""

    objects: list[dict[str, Any]]


class Fault(_Model):
    """What is wrong with one field or parameter."""

    detail: str
    pointer: Annotated[str | None, Field(description="JSON pointer (RFC 6901) into the body.")] = None
    parameter: Annotated[str | None, Field(description="Name of a parameter of the path or the query, or of a header.")] = None


class Problem(_Model):
    """A problem (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] = []
    step: Annotated[str | None, Field(description="The step of a change that failed.")] = None
    rolled_back: Annotated[
        bool | None, Field(description="Whether everything is again as before the call; if false, the controller goes on trying.")
    ] = None
